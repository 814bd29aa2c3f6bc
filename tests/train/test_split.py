"""Splits by hash: stable when rows are added, and never a leak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.conversations import Conversation, normalise
from locum.errors import CheckFailedError
from locum.train.data.split import NAMES, Splits, check_leaks, data_record, split


def row(question: str, answer: str = "yes", group: str | None = None) -> Conversation:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Conversation.model_validate({"conversations": turns, "group": group})


# Few letters and signs, so that duplicates and trivial variants are frequent.
questions = st.text(alphabet="abAB ?!.1", min_size=1, max_size=4)
rows = st.lists(st.builds(row, questions, st.sampled_from(["yes", "no"]), st.sampled_from([None, "g", "h", "i"])))


@given(rows, rows)
def test_rows_never_move_when_others_are_added(some: list[Conversation], more: list[Conversation]) -> None:
    before, after = split(some), split([*more, *some])
    for name in NAMES:
        digests = {found.digest for found in before.rows(name)}
        for other in NAMES:
            if other != name:
                # A row can be in two splits' sources only under two groups: it is then kept where it is held out.
                moved = digests & {found.digest for found in after.rows(other)}
                assert all(
                    any(found.digest == digest and found.group != kept.group for found in [*some, *more])
                    for digest in moved
                    for kept in after.rows(other)
                    if kept.digest == digest
                )
    assert {found.digest for found in before.test} <= {found.digest for found in after.test}


@given(rows)
def test_nothing_leaks_and_every_row_is_accounted_for(some: list[Conversation]) -> None:
    splits = split(some)
    assert "0 of" in check_leaks(splits)
    test = {normalise(found.question) for found in splits.test} - {""}
    for learnt in (splits.train, splits.validation):
        assert not test & {normalise(found.question) for found in learnt}
    kept = sum(len(splits.rows(name)) for name in NAMES)
    assert kept + splits.duplicates + splits.variants == len(some)


@given(rows, st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_rows(some: list[Conversation], random: object) -> None:
    assert data_record(split(some)) == data_record(split(some[::-1]))


def test_splits_are_eighty_ten_ten_and_keep_groups_together() -> None:
    some = [row(f"question {n}", group=f"group {n // 4}") for n in range(4000)]
    splits = split(some)
    assert 0.75 < len(splits.train) / 4000 < 0.85
    assert 0.07 < len(splits.test) / 4000 < 0.13
    groups = [{found.group for found in splits.rows(name)} for name in NAMES]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_a_leak_is_found() -> None:
    splits = Splits([row("What is  Law?!")], [row("other")], [row("what is law")], duplicates=0, variants=0)
    with pytest.raises(CheckFailedError, match="1 of 1 test items are among the train items"):
        check_leaks(splits)
