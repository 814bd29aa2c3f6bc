"""The suite of general ability that comes with Locum is well made."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, time
from fractions import Fraction
from pathlib import Path

import pytest

import locum.evaluate.suite
from locum.adapters.card import DomainCard, ElsewhereCard, Source
from locum.adapters.domains import Domain
from locum.adapters.suites import load_suite_card
from locum.evaluate.power import Spread, design_effect, power_for_margin
from locum.evaluate.samples import Sample, read_samples
from locum.evaluate.scoring import load_metrics
from locum.evaluate.suite import assemble, load_guards
from locum.evaluate.suite_fit import check_fit
from locum.evaluate.suite_power import CORRELATION
from locum.evaluate.suite_rows import Ruler, check_rows, read_rows

FOLDER = Path(locum.evaluate.suite.__file__).parent / "suites" / "general"
TOPICS = {"knowledge", "arithmetic", "reading", "translation", "instructions", "format"}
CHINESE_DIGITS = "零一二三四五六七八九"

# What each sum comes to, worked out by Python from the figures of the question.
SUMS = [
    *(2 + 3, 10 - 4, 5 * 5, 12 + 15, Fraction(18, 2), 4 * 3, 7 * 8, 11 * 60 - (9 * 60 + 30), 3 + 4, 3 * 10),
    *(6 + 7, 20 - 5, 3 * 4, Fraction(8, 2), 29 + 1, 4 + 2, 45 - 18, 36 + 47, 6 * 9, Fraction(72, 8)),
    *(5 * 6, Fraction(40, 4), 50 - 32, 13 * 12, 200 * Fraction(15, 100), 2 + 3 * 4),
    *(max(map(Fraction, ("0.7", "0.65", "0.507", "0.09"))), 40 * (1 - Fraction(25, 100))),
    *(Fraction(1, 2) + Fraction(1, 4), 47 % 6, Fraction(4 + 8 + 15, 3), 8 - 3, 5 + 4, 2 * 6, 63 + 28),
    *(Fraction(24, 4), 2 * 60 + 15, 200 * Fraction(8, 10), 8 * 5, Fraction(51, 3)),
]

# The same of what a few lines of Python can write.
WRITTEN = {
    "instructions-02": " ".join(["lamp"] * 3),
    "instructions-06": ", ".join(sorted("725")),
    "instructions-09": "star"[::-1],
    "instructions-15": "moon",
    "instructions-20": chr(ord("D") + 1),
    "instructions-22": ", ".join(sorted(["pear", "apple", "fig"])),
    "instructions-25": "train"[1:],
    "instructions-26": "banana".replace("a", "o"),
    "instructions-27": ["My", "old", "friend", "lives", "abroad"][2],
    "instructions-28": ", ".join(reversed(["cup", "fork", "plate"])),
    "instructions-31": "blue" if 7 > 5 else "green",
    "instructions-34": "加油" * 2,
    "instructions-38": "、".join(sorted("491", reverse=True)),
    "instructions-39": "上海自来水"[::-1],
    "format-02": "paris".upper(),
    "format-03": f"{date(2021, 3, 5):%Y-%m-%d}",
    "format-04": json.dumps(["red", "green", "blue"]),
    "format-06": json.dumps({"name": "Ada"}),
    "format-10": "LONDON".lower(),
    "format-12": ", ".join(["cat", "dog", "bird"]),
    "format-13": "Where is my hat" + "?",
    "format-15": "anna".capitalize(),
    "format-18": "-".join("123"),
    "format-19": f"{time(12 + 3, 30):%H:%M}",
    "format-21": f"{5000:,}",
    "format-23": "the old house".title(),
    "format-25": json.dumps({"open": True}),
    "format-26": f"{time(8, 9):%H:%M}",
    "format-27": f"{date(2030, 12, 24):%m/%d/%Y}",
    "format-28": f"{0.25:.0%}",
    "format-34": "我喜欢音乐" + "。",
    "format-35": f"{date(2030, 6, 1):%Y-%m-%d}",
    "format-36": "，".join("红黄蓝"),
    "format-38": str(3 * 10_000 + 5 * 1_000),
    "format-39": json.dumps({"city": "北京"}, ensure_ascii=False),
    "format-40": f"{time(12 + 3, 15):%H:%M}",
}


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
    for sample in samples:
        assert sample.kind == "choice"
        assert sample.choices and len({choice.strip() for choice in sample.choices}) == 4
        assert {"topic", "difficulty", "language"} <= set(sample.slices)


def test_the_rows_and_the_card_pass_the_check_of_suites(samples: list[Sample]) -> None:
    card = load_suite_card(FOLDER)
    rows, problems = read_rows([FOLDER / "samples.jsonl"])
    measure = Ruler(len, exact=False)
    repeated = check_rows(rows, card.generation, measure, threshold=0.8, watch=lambda *_: None)
    assert [*problems, *repeated, *check_fit(assemble("any", card, samples), rows, FOLDER)] == []


def test_a_sample_is_called_by_its_topic_and_a_number_that_goes_on(samples: list[Sample]) -> None:
    found: dict[str, list[str]] = {}
    for sample in samples:
        found.setdefault(sample.slices["topic"], []).append(sample.id)
    for topic, names in found.items():
        assert names == [f"{topic}-{number:02d}" for number in range(1, len(names) + 1)]


def test_the_right_answer_stands_in_every_place_about_as_often(samples: list[Sample]) -> None:
    places = Counter(sample.correct for sample in samples)
    for place in range(4):
        assert 0.2 <= places[place] / len(samples) <= 0.3


@pytest.mark.parametrize("end", [min, max])
def test_whoever_picks_the_shortest_or_longest_answer_is_right_by_chance(
    samples: list[Sample], end: Callable[[list[int]], int]
) -> None:
    right = 0.0
    for sample in samples:
        lengths = [len(choice) for choice in sample.choices or ()]
        picked = [place for place, length in enumerate(lengths) if length == end(lengths)]
        right += (sample.correct in picked) / len(picked)
    assert right / len(samples) == pytest.approx(0.25, abs=0.05)


def test_every_sum_is_right_and_no_other_answer_is(samples: list[Sample]) -> None:
    sums = [sample for sample in samples if sample.slices["topic"] == "arithmetic"]
    assert len(sums) == len(SUMS)
    for sample, result in zip(sums, SUMS, strict=True):
        assert [_number(choice) == result for choice in sample.choices or ()] == _marks(sample), sample.id


@pytest.mark.parametrize("name", WRITTEN)
def test_what_python_can_write_is_written_as_python_writes_it(samples: list[Sample], name: str) -> None:
    sample = next(sample for sample in samples if sample.id == name)
    assert [choice == WRITTEN[name] for choice in sample.choices or ()] == _marks(sample)


def test_questions_about_one_text_are_one_group_and_no_others_are(samples: list[Sample]) -> None:
    texts: dict[str, set[str]] = {}
    groups: dict[str, set[str]] = {}
    for sample in samples:
        text, found, _ = sample.question.rpartition("\n\n")
        assert bool(found) == (sample.slices["topic"] == "reading")
        texts.setdefault(text or sample.id, set()).add(sample.group)
        groups.setdefault(sample.group, set()).add(text or sample.id)
    assert all(len(each) == 1 for each in [*texts.values(), *groups.values()])


def test_questions_are_short(samples: list[Sample]) -> None:
    assert max(len(sample.question) for sample in samples) <= 250


def test_topics_languages_and_difficulties_are_spread(samples: list[Sample]) -> None:
    by = {field: Counter(sample.slices[field] for sample in samples) for field in ("topic", "language", "difficulty")}
    assert by["topic"] == dict.fromkeys(TOPICS, 40)
    assert set(by["language"]) == {"en", "zh"}
    assert by["language"]["zh"] >= 60
    assert set(by["difficulty"]) == {"easy", "medium", "hard"}
    assert min(by["difficulty"].values()) >= 75
    for topic in TOPICS:
        own = [sample.slices for sample in samples if sample.slices["topic"] == topic]
        assert min(Counter(each["difficulty"] for each in own).values()) >= 12
        assert Counter(each["language"] for each in own)["zh"] >= 10


def test_a_harmless_version_is_shown_to_keep_a_margin_of_a_tenth(samples: list[Sample]) -> None:
    effect = design_effect(list(Counter(sample.group for sample in samples).values()), CORRELATION)
    for discordance, often in ((0.15, 0.98), (0.2, 0.95)):
        spread = Spread.of_discordance(discordance, design_effect=effect)
        assert power_for_margin(len(samples), 0.1, spread) >= often


def _marks(sample: Sample) -> list[bool]:
    """Which choices are right: one."""
    return [place == sample.correct for place in range(len(sample.choices or ()))]


def _number(text: str) -> Fraction:
    """A number with or without a unit, in Chinese characters up to 99: 3/4, 0.7, 135分钟, 三十元."""
    if written := re.match(r"[\d./]+", text):
        return Fraction(written[0])
    tens, ten, ones = text.rstrip("元").rpartition("十")
    value = (CHINESE_DIGITS.index(tens or "一") * 10 if ten else 0) + (CHINESE_DIGITS.index(ones) if ones else 0)
    return Fraction(value)
