"""What a text lacks of a card's notices, and how these go into a header."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.wordings import in_header, joined, lacking, tokens

phrases = st.text(min_size=1, max_size=30).filter(tokens)


def test_a_notice_is_lacking_when_none_of_its_wordings_is_there() -> None:
    notices = [["Not medical advice.", "不构成医疗建议"], ["See a doctor.", "/ask your (GP|pharmacist)/"]]
    assert lacking("Rest.", notices) == ["Not medical advice.", "See a doctor."]
    assert lacking("Rest. NOT *medical* advice!", notices) == ["See a doctor."]
    assert lacking("本回答不构成医疗建议。 Please ask your gp.", notices) == []


@given(st.text(), st.lists(phrases, min_size=1, max_size=3))
def test_what_lacks_notices_has_them_once_they_stand_below_it(text: str, notices: list[str]) -> None:
    required = [[notice] for notice in notices if notice[0] != "/"]
    assert lacking(f"{text}\n\n{joined(lacking(text, required))}", required) == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_a_header_carries_any_notice_in_visible_ascii(notices: list[str]) -> None:
    value = in_header(notices)
    assert all(" " <= character <= "~" for character in value)
    assert unquote(value) == joined(notices).strip()
