"""`locum eval show · compare · trend`: what was evaluated is read again, without a server."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from locum.adapters.manifest import Manifest
from locum.adapters.registry import Registry
from locum.commands import common, reading, verdict
from locum.evaluate.answers import Answer, Contender
from locum.evaluate.report import write_report
from locum.evaluate.result import EvaluationResult
from locum.evaluate.trend import trends
from locum.evaluate.versus import compare_versions
from tests.commands.conftest import Ran
from tests.evaluate.examples import example_result, example_suite

Evaluate = Callable[..., EvaluationResult]


@pytest.fixture
def evaluate(registry: Registry, tmp_path: Path) -> Evaluate:
    """Records an evaluation of a version of `legal` as `locum eval` does, with answers that nobody was asked for."""

    def call(
        manifest: Manifest,
        *,
        skill: float = 0.8,
        production: Manifest | None = None,
        change: Callable[[Answer], Answer] = lambda answer: answer,
        questions: int = 24,
    ) -> EvaluationResult:
        others = [Contender(production.name, "production", production.digest)] if production else []
        contenders = [
            Contender(manifest.name, "version", manifest.digest),
            Contender("tiny-llama", "base", manifest.base_fingerprint),
            *others,
        ]
        folder = tmp_path / "home" / "evaluations" / f"{manifest.name}-{questions}"
        suite = example_suite("legal", questions, 8)
        result, answers = example_result(
            folder,
            suite=suite,
            contenders=contenders,
            skills=(skill, 0.2, 0.6)[: len(contenders)],
            seed=manifest.number,
        )
        result = result.model_copy(update={"created_at": result.created_at + timedelta(days=manifest.number)})
        folder.mkdir(parents=True)
        write_report(result, [change(answer) for answer in answers])
        registry.record_evaluation(result.record())
        return result

    return call


@pytest.fixture
def versions(register: Callable[[], Manifest]) -> list[Manifest]:
    return [register() for _ in range(3)]


def test_show_tells_the_verdict_again(locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]) -> None:
    result = evaluate(versions[1], production=versions[0])
    ran = locum("eval", "show", "legal@2")
    assert ran.code == 0, ran.err
    assert "legal@2 on bedside: 32 samples, 95 % intervals" in ran.out
    for reason in result.reasons:
        assert reason in " ".join(ran.out.split())
    assert f"Gate {result.status} for legal@2 on bedside." in ran.out
    assert locum("eval", "show", "legal@2", "--json").json == [json.loads(result.model_dump_json())]


def test_the_version_itself_tells_all_three_verdicts(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    result = evaluate(versions[1], production=versions[0])
    assert f"bedside (2026-01-04 03:04): {result.status}, token_f1" in locum("adapters", "show", "legal@2").out


def test_show_has_one_sample_with_every_models_answer(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    evaluate(versions[1], production=versions[0])
    ran = locum("eval", "show", "legal@2", "--sample", "case-004")
    assert ran.code == 0, ran.err
    for needed in (
        "case-004",
        "user: 第4号：应该怎么办？",
        "expected: 收缩压",
        "legal@2",
        "tiny-llama",
        "legal@1",
        "chrf 0.",
    ):
        assert needed in ran.out
    answers = locum("eval", "show", "legal@2", "--sample", "case-004", "--json").json
    assert [answer["model"] for answer in answers] == ["legal@2", "tiny-llama", "legal@1"]


def test_the_beginning_of_an_id_is_enough_where_it_is_the_only_one(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    evaluate(versions[0])
    assert "choice-007" in locum("eval", "show", "legal@1", "--sample", "choice-007").out
    ran = locum("eval", "show", "legal@1", "--sample", "choice-00")
    assert ran.code == 2
    assert "8 samples begin with 'choice-00'" in ran.err
    ran = locum("eval", "show", "legal@1", "--sample", "nope")
    assert ran.code == 2
    assert "there is no sample 'nope' in bedside" in ran.err
    assert "samples.jsonl" in ran.err


def test_show_has_the_worst_samples_and_those_that_failed(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    def change(answer: Answer) -> Answer:
        if answer.sample == "case-003" and answer.model == "legal@2":
            return answer.model_copy(update={"error": "the prompt is too long", "answer": None, "scores": {}})
        return answer

    evaluate(versions[1], skill=0.1, production=versions[0], change=change)
    worst = locum("eval", "show", "legal@2", "--worst", "2", "--json").json
    assert len(worst) == 2
    assert worst[0]["difference"] <= worst[1]["difference"] < 0
    assert locum("eval", "show", "legal@2", "--worst", "2").out.count("expected: ") == 2
    failed = locum("eval", "show", "legal@2", "--failed")
    assert "(failed: the prompt is too long)" in failed.out
    broken = locum("eval", "show", "legal@2", "--failed", "--json").json
    assert all(answer["error"] or answer["scores"]["exact_match"] == 0 for answer in broken)
    assert len(broken) > 1


def test_what_was_never_evaluated_says_what_to_type(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    ran = locum("eval", "show", "legal@1")
    assert (ran.code, ran.err.splitlines()) == (
        2,
        ["Error: there is no evaluation of legal@1", "locum eval legal --model legal@1 makes one"],
    )
    evaluate(versions[0])
    assert "(there are: bedside)" in locum("eval", "show", "legal@1", "--suite", "nope").err
    assert "exclude each other" in locum("eval", "show", "legal@1", "--failed", "--worst", "1").err
    ran = locum("eval", "trend", "lgeal")
    assert ran.code == 2
    assert "there is no domain 'lgeal'" in ran.err


def test_the_trend_of_versions_that_nobody_evaluated_says_what_to_type(
    locum: Callable[..., Ran], versions: list[Manifest]
) -> None:
    ran = locum("eval", "trend", "legal")
    assert ran.code == 2
    assert "no version of legal was evaluated" in ran.err


def test_an_evaluation_whose_folder_is_gone_says_so(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    result = evaluate(versions[0])
    (result.folder / "samples.jsonl").unlink()
    ran = locum("eval", "show", "legal@1", "--worst", "1")
    assert ran.code == 2
    assert f"there is no {result.folder / 'samples.jsonl'}" in ran.err
    assert f"type again: {result.command}" in ran.err


def test_compare_takes_two_versions_from_two_runs_by_their_recorded_answers(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    first, second = evaluate(versions[0], skill=0.3), evaluate(versions[1], skill=0.9)
    ran = locum("eval", "compare", "legal@2", "legal@1")
    assert ran.code == 0, ran.err
    assert "legal@2 against legal@1 on bedside" in ran.out
    assert "Greatest gains" in ran.out
    assert "Their answers are of two runs" in ran.out
    [found] = locum("eval", "compare", "legal@2", "legal@1", "--json").json
    rows = {row["metric"]: row for row in found["metrics"]}
    assert found["metrics"][0]["metric"] == "token_f1"
    assert rows["token_f1"]["ours"]["mean"] == pytest.approx(second.score.mean)
    assert rows["token_f1"]["theirs"]["mean"] == pytest.approx(first.score.mean)
    assert rows["token_f1"]["difference"]["mean"] == pytest.approx(second.score.mean - first.score.mean)
    assert rows["token_f1"]["samples"] == 24
    assert rows["choice"]["samples"] == 8


def test_compare_gives_the_interval_that_the_evaluation_gave_for_the_same_answers(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    result = evaluate(versions[1], production=versions[0])
    [found] = locum("eval", "compare", "legal@2", "legal@1", "--json").json
    told = {row["metric"]: row["difference"] for row in found["metrics"]}
    for metric, difference in result.headline.differences.items():
        assert told[metric] == pytest.approx({"mean": difference.mean, "low": difference.low, "high": difference.high})
    for row in found["metrics"]:
        assert row["test"] == result.headline.tests[row["metric"]].model_dump()
    assert found["notes"] == []


def test_compare_without_a_common_suite_says_which_each_has_and_what_to_type(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest]
) -> None:
    ran = locum("eval", "compare", "legal@2", "legal@1")
    assert ran.code == 2
    assert "no suite that both have answered (legal@2: none; legal@1: none)" in ran.err
    evaluate(versions[0])
    evaluate(versions[1], questions=26)
    ran = locum("eval", "compare", "legal@2", "legal@1")
    assert ran.code == 2
    digests = [example_suite("legal", count, 8).digest[:8] for count in (26, 24)]
    assert f"(legal@2: bedside ({digests[0]}); legal@1: bedside ({digests[1]}))" in ran.err
    assert "locum eval legal --model legal@1 --against legal@2" in ran.err


@pytest.mark.parametrize(
    ("other", "said"), [("legal@1", "both legal@1; expected two versions"), ("legal@7", "legal@1, legal@2")]
)
def test_compare_of_one_or_of_none_is_wrong_use(
    locum: Callable[..., Ran], versions: list[Manifest], other: str, said: str
) -> None:
    ran = locum("eval", "compare", "legal@1", other)
    assert ran.code == 2
    assert said in ran.err


def test_trend_plots_every_version_with_its_interval_and_marks_other_states_of_the_suite(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest], workplace: Path
) -> None:
    evaluate(versions[0], skill=0.3, questions=26)
    evaluate(versions[1], skill=0.5)
    last = evaluate(versions[2], skill=0.9)
    ran = locum("eval", "trend", "legal", "--to", "trend.html")
    assert ran.code == 0, ran.err
    assert "legal on bedside: token_f1, 0 to 1" in ran.out
    [line] = [line for line in ran.out.splitlines() if "legal@3" in line]
    assert str(last.score) in line
    assert "●" in line
    assert "legal@1 *" in ran.out
    page = (workplace / "trend.html").read_text(encoding="utf-8")
    assert "legal@3" in page
    assert "earlier suite" in page
    [told] = locum("eval", "trend", "legal", "--json").json
    assert [point["version"] for point in told["points"]] == ["legal@1", "legal@2", "legal@3"]
    assert [point["comparable"] for point in told["points"]] == [False, True, True]


def test_trend_is_written_as_a_picture_by_the_name_of_the_file(
    locum: Callable[..., Ran], evaluate: Evaluate, versions: list[Manifest], workplace: Path
) -> None:
    evaluate(versions[0])
    assert locum("eval", "trend", "legal", "--to", "trend.png").code == 0
    assert (workplace / "trend.png").read_bytes().startswith(b"\x89PNG")
    ran = locum("eval", "trend", "legal", "--to", "trend.doc")
    assert ran.code == 2
    assert "expected a name that ends in .html, .png" in ran.err


@pytest.mark.parametrize("width", [60, 80, 200])
def test_all_of_it_fits_the_terminal_and_has_no_colours_where_it_is_piped(
    registry: Registry, evaluate: Evaluate, versions: list[Manifest], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    result = evaluate(versions[1], production=versions[0])
    console = Console(file=io.StringIO(), width=width)
    for module in (common, verdict, reading):
        monkeypatch.setattr(module, "out", console)
    verdict.show_result(result)
    for found in compare_versions(registry, "legal@2", "legal@1"):
        verdict.show_versus(found, changed=3)
    for found in trends(registry, "legal"):
        reading._show_trend(found)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in text
    lines = [line for line in text.splitlines() if not line.startswith("Report: ")]
    assert max(map(len, lines)) <= width
    for model in result.models:
        assert model.name in text
    for whole in (f"[{result.score.low:.3f}, {result.score.high:.3f}]", f"{result.gain.mean:+.3f}"):
        assert whole in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_is_shown_needs_no_unicode_where_it_is_shown(
    evaluate: Evaluate, versions: list[Manifest], workplace: Path, encoding: str
) -> None:
    result = evaluate(versions[0])

    def show(*options: str) -> str:
        command = [sys.executable, "-m", "locum", "eval", "show", "legal@1", *options]
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        ran = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.decode(encoding)

    assert f"Gate {result.status} for legal@1 on bedside." in show()
    [answer, _] = json.loads(show("--sample", "case-004", "--json"))
    assert answer["messages"][-1]["content"] == "第4号：应该怎么办？"


def test_json_has_no_infinite_number(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_json({"interval": [-math.inf, math.inf], "mean": 0.5})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "interval": ["-Infinity", "Infinity"],
        "mean": 0.5,
    }
