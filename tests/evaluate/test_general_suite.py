"""The suite of general ability that comes with Locum is well made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import locum.evaluate.suite
from locum.adapters.card import DomainCard, ElsewhereCard, Source
from locum.adapters.domains import Domain
from locum.adapters.suites import load_suite_card
from locum.evaluate.samples import Sample, read_samples
from locum.evaluate.scoring import load_metrics
from locum.evaluate.suite import load_guards

FOLDER = Path(locum.evaluate.suite.__file__).parent / "suites" / "general"


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(read_samples(FOLDER / "samples.jsonl"))


def test_the_card_asks_for_choices_and_for_no_harm(samples: list[Sample]) -> None:
    card = load_suite_card(FOLDER)
    assert (card.metrics, card.primary) == (["choice"], "choice")
    assert card.thresholds.min_gain is None
    assert len(samples) >= card.thresholds.min_samples


def test_a_domain_that_names_it_is_held_to_it(samples: list[Sample], tmp_path: Path) -> None:
    card = DomainCard(
        name="medical",
        description="Places diagnoses.",
        system_prompt="Answer with the chapter's name.",
        source=Source(files=["rows.jsonl"]),
        elsewhere=ElsewhereCard(suites=["general"]),
        notices=["Not a medical device."],
        example="Where does asthma belong?",
    )
    [guard] = load_guards(Domain(card, tmp_path), tmp_path, tmp_path)
    assert guard.guard
    assert len(guard.samples) == len(samples)
    assert [metric.needs for metric in load_metrics(guard)] == [{"likelihood"}]


def test_every_sample_is_a_choice_of_four_different_answers(samples: list[Sample]) -> None:
    assert len(samples) == len({sample.id for sample in samples}) == len({sample.digest for sample in samples})
    for sample in samples:
        assert sample.kind == "choice"
        assert sample.choices and len(set(sample.choices)) == 4
        assert {"topic", "difficulty", "language"} <= set(sample.slices)


def test_the_right_answer_stands_in_every_place_about_as_often(samples: list[Sample]) -> None:
    places = Counter(sample.correct for sample in samples)
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) <= len(samples) / 2


def test_questions_about_one_text_are_one_group(samples: list[Sample]) -> None:
    texts: dict[str, set[str]] = {}
    for sample in samples:
        text, found, _ = sample.question.rpartition("\n\n")
        if found:
            texts.setdefault(text, set()).add(sample.group)
    assert len(texts) >= 5
    assert all(len(groups) == 1 for groups in texts.values())


def test_topics_and_languages_are_spread(samples: list[Sample]) -> None:
    topics = Counter(sample.slices["topic"] for sample in samples)
    assert set(topics) == {"knowledge", "arithmetic", "reading", "translation", "instructions", "format"}
    assert min(topics.values()) >= 8
    assert Counter(sample.slices["language"] for sample in samples)["zh"] >= 10
