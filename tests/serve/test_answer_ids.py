"""An answer's id says which version spoke, and nobody can make one up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from locum.serve.answer_ids import BASE_ID, AnswerIds

IDS = AnswerIds(b"k" * 32)


@given(st.integers(BASE_ID, 2**31 - 1))
def test_any_server_with_the_same_key_reads_the_version_from_the_id(version_id: int) -> None:
    answer_id = IDS.new(version_id)
    for shown in (answer_id, f"chatcmpl-{answer_id}", f"cmpl-{answer_id}", answer_id.upper()):
        assert AnswerIds(b"k" * 32).version_id(shown) == version_id
    assert AnswerIds(b"o" * 32).version_id(answer_id) is None


@given(st.integers(0, 39), st.sampled_from("0123456789abcdef"))
def test_an_id_that_was_changed_anywhere_is_no_longer_one(place: int, digit: str) -> None:
    answer_id = IDS.new(7)
    changed = answer_id[:place] + digit + answer_id[place + 1 :]
    assert IDS.version_id(changed) == (7 if changed == answer_id else None)


@given(st.text())
def test_what_a_client_made_up_is_no_id(text: str) -> None:
    assert IDS.version_id(text) is None
    assert IDS.version_id(f"chatcmpl-{text}") is None


def test_ids_do_not_repeat() -> None:
    assert len({IDS.new(BASE_ID) for _ in range(2000)}) == 2000
