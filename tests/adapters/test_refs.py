"""Version names: what is one, and that reading and writing them agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.refs import ALIASES, Ref, parse_ref
from locum.errors import BadInputError

domains = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True)
refs = st.one_of(
    st.builds(Ref, domains, number=st.integers(1, 999_999_999)),
    st.builds(Ref, domains, alias=st.sampled_from(ALIASES)),
)


@given(refs)
def test_a_name_that_was_written_is_read_as_the_same_version(ref: Ref) -> None:
    assert parse_ref(str(ref)) == ref


@given(st.text())
def test_a_text_is_refused_or_names_one_version_that_is_written_back_as_it_was(text: str) -> None:
    try:
        ref = parse_ref(text)
    except BadInputError:
        return
    assert str(ref) == text.removesuffix("@production")


@given(domains, st.sampled_from(["\n", " ", "@", "@0", "@-1", "@01", "@latest", "@1\n", "@٣", "/x", "@1@2"]))
def test_a_name_with_anything_after_it_is_refused(domain: str, tail: str) -> None:
    with pytest.raises(BadInputError, match=r"is not a version name; expected DOMAIN, DOMAIN@NUMBER"):
        parse_ref(domain + tail)


def test_a_bare_domain_means_production() -> None:
    assert parse_ref("medical") == parse_ref("medical@production") == Ref("medical", alias="production")
