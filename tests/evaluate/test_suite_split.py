"""Dividing a suite: nothing lost, nothing in both, no group parted, the same each time."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.conversations import Message
from locum.adapters.suites import load_suite_card
from locum.errors import BadInputError, ConflictError, NotFoundError
from locum.evaluate.samples import Sample, read_samples
from locum.evaluate.suite_split import divide, split_suite
from locum.settings import Settings
from tests.evaluate.suites import Workshop, ask, talk, workshop_in, write_lines

SHARES = st.floats(0.01, 0.99)
DEALT = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["heart", "lung", "skin", None])), max_size=60)


def samples_of(dealt: list[tuple[int, str | None]]) -> list[Sample]:
    """A sample for each group and topic."""
    return [
        Sample(
            id=str(place),
            messages=(Message(role="user", content=f"question {place}"),),
            reference="yes",
            group=f"group {group}",
            slices={} if topic is None else {"topic": topic},
        )
        for place, (group, topic) in enumerate(dealt)
    ]


@given(dealt=DEALT, share=SHARES)
def test_each_sample_is_in_exactly_one_part_and_no_group_in_both(
    dealt: list[tuple[int, str | None]], share: float
) -> None:
    samples = samples_of(dealt)
    first, second = divide(samples, share)
    assert sorted([*first, *second], key=lambda sample: int(sample.id)) == samples
    assert {sample.group for sample in first}.isdisjoint(sample.group for sample in second)


@given(dealt=DEALT, share=SHARES, order=st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(
    dealt: list[tuple[int, str | None]], share: float, order: random.Random
) -> None:
    samples = samples_of(dealt)
    mixed = order.sample(samples, len(samples))
    assert {sample.id for sample in divide(mixed, share)[0]} == {sample.id for sample in divide(samples, share)[0]}


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=40), share=SHARES)
def test_the_first_part_has_its_share_but_for_half_a_group(sizes: list[int], share: float) -> None:
    dealt = [(group, None) for group, size in enumerate(sizes) for _ in range(size)]
    first, _ = divide(samples_of(dealt), share)
    assert abs(len(first) - share * len(dealt)) <= max(sizes) / 2 + 1e-9


def test_each_topic_has_its_share_in_both_parts() -> None:
    samples = samples_of([(number, ("heart", "lung", "skin")[number % 3]) for number in range(90)])
    first, second = divide(samples, 0.5)
    assert Counter(sample.slices["topic"] for sample in first) == {"heart": 15, "lung": 15, "skin": 15}
    assert Counter(sample.slices["topic"] for sample in second) == {"heart": 15, "lung": 15, "skin": 15}


def test_topics_of_one_sample_each_do_not_all_fall_to_one_part() -> None:
    samples = samples_of([(number, f"topic {number}") for number in range(20)])
    assert len(divide(samples, 0.5)[0]) == 10


def test_few_samples_change_sides_when_a_suite_grows() -> None:
    samples = samples_of([(number, "heart") for number in range(220)])
    before = {sample.id for sample in divide(samples[:200], 0.5)[0]}
    after = {sample.id for sample in divide(samples, 0.5)[0]}
    moved = [sample.id for sample in samples[:200] if (sample.id in before) != (sample.id in after)]
    assert len(moved) < 20


@pytest.fixture
def workshop(settings: Settings) -> Workshop:
    return workshop_in(settings)


def test_two_suites_are_written_that_read_as_the_old_one_did(workshop: Workshop) -> None:
    rows = [ask(f"question {number}", str(number), group=f"g{number // 2}", topic="numbers") for number in range(20)]
    workshop.write(rows, limit=16, description="Numbers.")
    old = workshop.load()
    card = (workshop.folder / "suite.yaml").read_text()
    split = split_suite(workshop.domain, old.card, workshop.data, into=("dev", "holdout"), share=0.5)
    assert [(part.name, part.samples, part.topics) for part in split] == [
        ("dev", 8, {"numbers": 8}),
        ("holdout", 8, {"numbers": 8}),
    ]
    written = [sample for part in split for sample in read_samples(part.card.parent / "samples.jsonl")]
    asked = [
        sample for sample in read_samples(workshop.folder / "samples.jsonl") if sample.id in {s.id for s in old.samples}
    ]
    assert sorted(written, key=lambda sample: sample.id) == sorted(asked, key=lambda sample: sample.id)
    for part in split:
        made = load_suite_card(part.card.parent)
        assert made == old.card.model_copy(update={"name": part.name, "samples": ["samples.jsonl"], "limit": None})
    assert (workshop.folder / "suite.yaml").read_text() == card


def test_comments_of_the_card_stay(workshop: Workshop) -> None:
    workshop.write([ask(f"question {number}") for number in range(4)])
    path = workshop.folder / "suite.yaml"
    path.write_text(f"# Why it is there.\n{path.read_text()}# The end.\n")
    split = split_suite(workshop.domain, workshop.load().card, workshop.data, into=("dev", "holdout"), share=0.5)
    for part in split:
        text = part.card.read_text()
        assert text.startswith("# Why it is there.\nname: ")
        assert text.endswith("# The end.\n")


def test_the_test_split_can_be_divided_too(workshop: Workshop) -> None:
    workshop.write([], samples="test")
    write_lines(workshop.data / "test.jsonl", [talk(f"question {number}", group=f"g{number}") for number in range(6)])
    split = split_suite(workshop.domain, workshop.domain.suites[0], workshop.data, into=("dev", "holdout"), share=0.5)
    assert [part.samples for part in split] == [3, 3]


def test_what_cannot_be_divided_says_why(workshop: Workshop) -> None:
    workshop.write([ask("one", group="g"), ask("two", group="g")])
    card = workshop.domain.suites[0]

    def split(*into: str, share: float = 0.5) -> None:
        split_suite(workshop.domain, card, workshop.data, into=(into[0], into[1]), share=share)

    with pytest.raises(BadInputError, match=r"2 samples in 1 group leave nothing for holdout at a share of 0\.5"):
        split("dev", "holdout")
    with pytest.raises(BadInputError, match=r"--into dev,dev: expected two different names"):
        split("dev", "dev")
    with pytest.raises(BadInputError, match=r"'Dev' is not a suite's name"):
        split("Dev", "holdout")
    with pytest.raises(BadInputError, match=r"--share 1: expected a number between 0 and 1"):
        split("dev", "holdout", share=1)
    with pytest.raises(ConflictError, match="held-out is there already"):
        split("dev", "held-out")
    assert sorted(path.name for path in workshop.folder.parent.iterdir()) == ["held-out"]


def test_a_suite_whose_file_is_gone_is_not_divided(workshop: Workshop) -> None:
    workshop.write([])
    Path(workshop.folder / "samples.jsonl").unlink()
    with pytest.raises(NotFoundError, match="there is no file") as caught:
        split_suite(workshop.domain, workshop.domain.suites[0], workshop.data, into=("a", "b"), share=0.5)
    assert caught.value.hint == "locum suite check legal held-out says what is missing"
