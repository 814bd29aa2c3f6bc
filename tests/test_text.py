"""Names that are near to one another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from locum.text import LONGEST, alternatives, closest, did_you_mean, expected_one_of

names = st.text(min_size=1, max_size=12)


@given(names, st.lists(names, max_size=5))
def test_what_is_proposed_is_one_of_the_known_names(name: str, known: list[str]) -> None:
    assert closest(name, known) in [None, *known]


@given(names)
def test_another_case_of_letters_is_near(name: str) -> None:
    assert closest(name.swapcase(), [name]) is not None or name.casefold() != name.swapcase().casefold()


def test_what_was_meant_comes_before_all_that_there_is() -> None:
    known = ["courts", "legal", "medical"]
    assert alternatives("cuorts", known) == ": did you mean courts? (there are: courts, legal, medical)"
    assert alternatives("x", known) == " (there are: courts, legal, medical)"
    assert alternatives("x", []) == " (there are: none)"
    assert expected_one_of("cuorts", known) == ": did you mean courts? (expected one of courts, legal, medical)"
    assert expected_one_of("x", known) == ": expected one of courts, legal, medical"


def test_a_name_is_known_by_its_beginning_where_no_other_begins_so() -> None:
    known = ["smollm2-135m-instruct", "tiny-llama", "tiny-gpt-and-a-long-name"]
    assert closest("smollm2", known) == "smollm2-135m-instruct"
    assert closest("tin", known) is None
    assert closest("sm", known) is None


def test_a_name_of_a_megabyte_is_not_compared() -> None:
    assert did_you_mean("courts" * LONGEST, ["courts" * LONGEST]) == ""
