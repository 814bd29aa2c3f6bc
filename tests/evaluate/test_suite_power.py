"""What a suite can show, from an assumption that is told or from what the last evaluation has found."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from locum.adapters.base import Base
from locum.adapters.manifest import EvaluationRecord
from locum.adapters.registry import Registry
from locum.errors import BadInputError
from locum.evaluate.answers import Answer, write_answers
from locum.evaluate.power import Spread, power_for_margin, samples_needed, smallest_difference, smallest_margin
from locum.evaluate.suite import Suite
from locum.evaluate.suite_power import last_evaluation, power_of
from locum.settings import Settings
from tests.evaluate.suites import Workshop, ask, workshop_in

ASSUMED = Spread.of_discordance(0.3)


@pytest.fixture
def workshop(settings: Settings) -> Workshop:
    return workshop_in(settings)


def suite_of(workshop: Workshop, count: int = 120, **card: object) -> Suite:
    rows = [ask(f"q {n}", "yes", id=f"s{n}", topic="heart" if n < 100 else "lung") for n in range(count)]
    thresholds = {"margin": 0.15, "slice_margin": 0.2, "min_gain": 0.0}
    return workshop.write(list(rows), thresholds=thresholds, slices=["topic"], **card).load()


def test_without_an_evaluation_the_assumption_is_told(workshop: Workshop) -> None:
    found = power_of(suite_of(workshop), None)
    assert found.gain_from == "assumed: version and base model differ on 30 % of the samples"
    assert found.margin_from == "assumed: two versions differ on 30 % of the samples"
    assert found.whole.gain == smallest_difference(120, ASSUMED)
    assert found.whole.margin == pytest.approx(smallest_margin(120, ASSUMED))
    assert found.whole.kept == power_for_margin(120, 0.15, ASSUMED)
    assert found.whole.margin < 0.15 < found.reaches[2].margin


def test_each_slice_has_its_own_reach_and_margin(workshop: Workshop) -> None:
    found = power_of(suite_of(workshop), None)
    assert [(each.name, each.samples, each.asked_margin, each.judged) for each in found.reaches] == [
        ("all", 120, 0.15, True),
        ("topic heart", 100, 0.2, True),
        ("topic lung", 20, 0.2, True),
    ]


def test_samples_of_one_group_show_less_and_that_is_told(workshop: Workshop) -> None:
    alone = power_of(workshop.write([ask(f"q {n}") for n in range(40)]).load(), None)
    rows = [ask(f"q {n}", group=f"g{n // 2}") for n in range(40)]
    paired = power_of(workshop.write(rows).load(), None)
    assert paired.whole.groups == 20
    assert paired.whole.margin == pytest.approx(alone.whole.margin * 1.5**0.5)
    assert paired.margin_from.endswith(", and samples of one group are alike by 0.5")


def test_a_wished_difference_says_how_many_samples_it_takes(workshop: Workshop) -> None:
    wished = power_of(suite_of(workshop), None, difference=0.05).wished
    assert wished is not None
    assert wished.gain == samples_needed(0.05, ASSUMED)
    assert wished.margin == 742
    beyond = power_of(suite_of(workshop), None, difference=0.4).wished
    assert beyond is not None
    assert beyond.gain is None


def test_the_curve_rises_with_the_samples(workshop: Workshop) -> None:
    curve = power_of(suite_of(workshop), None).curve
    assert list(curve) == [30, 60, 120, 240, 480, 960]
    assert list(curve.values()) == sorted(curve.values())


def test_a_metric_of_other_scores_has_its_range_for_a_scale(workshop: Workshop) -> None:
    suite = suite_of(workshop, metrics=["token_f1"], primary="token_f1")
    found = power_of(suite, None)
    assert found.whole.margin == pytest.approx(smallest_margin(120, Spread(0.3**0.5)))
    assert found.margin_from == "assumed: two versions differ by 0.55 (standard deviation) on the samples"
    assert found.known
    assert not power_of(suite_of(workshop, metrics=["perplexity"], primary="perplexity"), None).known


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("power", 1.0, "--power 1: expected a number between 0 and 1, such as 0.8"),
        ("difference", 1.0, "--difference 1: expected a number between 0 and 1"),
        ("difference", 0.0, "--difference 0: expected a number between 0 and 1"),
    ],
)
def test_what_is_no_share_is_refused(workshop: Workshop, option: str, value: float, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        power_of(suite_of(workshop), None, **{option: value})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "content"),
    [("result.json", '{"models": [{'), ("result.json", "{}"), ("samples.jsonl", '{"sample": "s0"}')],
)
def test_an_evaluation_whose_files_cannot_be_read_is_passed_over(
    workshop: Workshop,
    recorded: Callable[[Suite, dict[str, list[float]]], Path],
    name: str,
    content: str,
) -> None:
    suite = suite_of(workshop)
    scores = {"version": [1.0] * 30, "base": [0.0] * 30}
    sound = recorded(suite, scores)
    (recorded(suite, scores) / name).write_text(content)
    found = last_evaluation(Registry.open(workshop.settings), suite)
    assert found is not None and found.samples_file.parent == sound


@pytest.fixture
def recorded(
    workshop: Workshop, base_record: Base, tiny_adapter: Callable[..., Path]
) -> Callable[[Suite, dict[str, list[float]]], Path]:
    """Registers a version and records an evaluation in which the models have these scores, sample by sample."""
    folder = tiny_adapter(rank=4)

    def record(suite: Suite, scores: dict[str, list[float]]) -> Path:
        registry = Registry.open(workshop.settings)
        manifest = registry.register(
            "legal", folder, base=base_record, recipe={}, data=None, training={}, probes=[], created_by="tester"
        )
        result = workshop.settings.evaluations / manifest.name
        result.mkdir(parents=True)
        names = {"version": manifest.name, "base": "tiny-llama", "production": "legal@0"}
        roles = [{"name": names[role], "role": role} for role in scores]
        (result / "result.json").write_text(json.dumps({"models": roles}))
        answers = [
            Answer(
                sample=f"s{n}", model=names[role], digest="", messages=[], reference="", scores={suite.primary: value}
            )
            for role, values in scores.items()
            for n, value in enumerate(values)
        ]
        write_answers(result / "samples.jsonl", answers)
        registry.record_evaluation(
            EvaluationRecord(
                domain="legal",
                number=manifest.number,
                version_digest=manifest.digest,
                base_fingerprint=manifest.base_fingerprint,
                suite=suite.name,
                suite_digest=suite.digest,
                passed=True,
                reasons=[],
                samples=len(suite.samples),
                metric=suite.primary,
                score=1.0,
                production="legal@0" if "production" in scores else None,
                endpoint="",
                result_path=str(result),
                created_at=datetime.now(UTC),
                created_by="tester",
            )
        )
        return result

    return record


def test_what_the_last_evaluation_found_is_used_and_told(
    workshop: Workshop, recorded: Callable[[Suite, dict[str, list[float]]], Path]
) -> None:
    suite = suite_of(workshop)
    version = [1.0] * 120
    base, production = [0.0] * 60 + [1.0] * 60, [0.0] * 6 + [1.0] * 114
    result = recorded(suite, {"version": version, "base": base, "production": production})
    registry = Registry.open(workshop.settings)
    found = power_of(suite, last_evaluation(registry, suite))
    assert found.gain_from == "measured: legal@1 and tiny-llama differ on 50 % of 120 samples"
    assert found.margin_from == "measured: legal@1 and legal@0 differ on 5 % of 120 samples"
    assert found.whole.margin == pytest.approx(smallest_margin(120, Spread.of_discordance(0.05)), rel=0.02)
    (result / "samples.jsonl").unlink()
    assert last_evaluation(registry, suite) is None


def test_models_that_differ_nowhere_or_on_few_samples_show_nothing(
    workshop: Workshop, recorded: Callable[[Suite, dict[str, list[float]]], Path]
) -> None:
    suite = suite_of(workshop)
    recorded(suite, {"version": [1.0] * 120, "base": [1.0] * 120})
    registry = Registry.open(workshop.settings)
    assert power_of(suite, last_evaluation(registry, suite)).gain_from.startswith("assumed: ")
    few = suite_of(workshop, 10)
    assert power_of(few, last_evaluation(registry, few)).gain_from.startswith("assumed: ")
