"""The files of an evaluation, and that its JSON keeps to the published schema."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from locum.errors import BadInputError, DiskFullError, NotFoundError
from locum.evaluate.answers import Answer, read_answers
from locum.evaluate.report import read_result, write_for_others, write_report
from locum.evaluate.result import EvaluationResult, result_schema
from locum.evaluate.statistics import Estimate

Made = Callable[..., tuple[EvaluationResult, list[Answer]]]
PUBLISHED = Path(__file__).parent.parent.parent / "docs" / "result.schema.json"


def test_an_evaluation_leaves_five_files_and_nothing_half_written(made: Made) -> None:
    result, answers = made()
    result.folder.mkdir()
    assert write_report(result, answers) == result.folder / "report.html"
    names = {path.name for path in result.folder.iterdir()}
    assert names == {"result.json", "samples.jsonl", "report.html", "report.md", "junit.xml"}
    assert list(read_answers(result.folder / "samples.jsonl")) == answers


def test_the_result_survives_the_file_and_refuses_fields_it_does_not_know(made: Made) -> None:
    result, answers = made()
    result.folder.mkdir()
    write_report(result, answers)
    assert read_result(result.folder / "result.json") == result
    for path in ([], ["models", 0, "scores", "rouge_l"]):
        data = result.model_dump(mode="json")
        inner = data
        for key in path:
            inner = inner[key]  # type: ignore[index]
        inner["more"] = 1
        with pytest.raises(ValidationError, match="more"):
            EvaluationResult.model_validate(data)


def test_a_result_that_is_gone_or_of_another_format_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no "):
        read_result(tmp_path / "result.json")
    (tmp_path / "result.json").write_text('{"format": 1}')
    with pytest.raises(BadInputError, match="format: Input should be 2") as caught:
        read_result(tmp_path / "result.json")
    assert "locum eval" in (caught.value.hint or "")


def test_the_published_schema_is_the_one_in_force() -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert published == result_schema(), "run: locum eval schema > docs/result.schema.json"
    Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("shares", [{"version": 0.7, "base": 0.1}, {"version": 0.4, "base": 0.5, "production": 0.6}])
def test_every_result_keeps_to_the_published_schema(made: Made, shares: dict[str, float]) -> None:
    result, answers = made(shares)
    result.folder.mkdir()
    write_report(result, answers)
    written = json.loads((result.folder / "result.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(written)] == []
    assert list(validator.iter_errors({**written, "more": 1}))


def test_an_interval_without_an_end_survives_the_file_and_keeps_to_the_schema(made: Made) -> None:
    result, answers = made()
    score = Estimate(12.0, 1.0, inf)
    models = [model.model_copy(update={"scores": {**model.scores, "rouge_l": score}}) for model in result.models]
    scale = result.metrics["rouge_l"].model_copy(update={"low": 1.0, "high": None})
    unbounded = result.model_copy(update={"models": models, "metrics": {**result.metrics, "rouge_l": scale}})
    unbounded.folder.mkdir()
    write_report(unbounded, answers)
    written = (unbounded.folder / "result.json").read_text(encoding="utf-8")
    assert read_result(unbounded.folder / "result.json") == unbounded
    validator = Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(json.loads(written, parse_constant=pytest.fail))] == []


def test_the_record_says_for_exactly_what_the_evidence_holds(made: Made) -> None:
    result, _ = made({"version": 0.7, "base": 0.1, "production": 0.6})
    record = result.record()
    assert (record.domain, record.number, record.production) == ("medical", 2, "medical@1")
    assert (record.version_digest, record.base_fingerprint) == ("digest-of-version", "digest-of-base")
    assert (record.suite_digest, record.suite_version) == (result.suite_digest, 1)
    assert record.gain == pytest.approx(record.score - (record.base_score or 0))
    assert record.gain_interval == (result.gain.low, result.gain.high)
    assert record.score_interval == (result.score.low, result.score.high)
    assert record.score_range == (0.0, 1.0)
    assert record.reasons == result.reasons
    assert record.suite_parts == result.suite_parts
    assert record.suite_parts.keys() == {"samples", "card"}
    assert (record.passed, record.status, record.missed, record.unclear) == (True, "passed", [], [])


def test_the_record_tells_what_the_gate_missed_and_what_is_unclear_apart(made: Made) -> None:
    worse = made({"version": 0.1, "base": 0.5, "production": 0.15})[0]
    record = worse.record()
    assert not record.passed
    told = {"missed": record.missed, "unclear": record.unclear}
    assert told == {
        status: [check.reason for check in worse.checks if check.status == status] for status in ("missed", "unclear")
    }
    assert record.missed
    assert any(check.met and check.reason not in record.missed + record.unclear for check in worse.checks)


def test_what_continuous_integration_wants_is_written_where_it_wants_it(made: Made, tmp_path: Path) -> None:
    result, answers = made()
    result.folder.mkdir()
    write_report(result, answers)
    write_for_others([result], junit=tmp_path / "ci" / "junit.xml", markdown=tmp_path / "ci" / "comment.md")
    assert (tmp_path / "ci" / "junit.xml").read_text() == (result.folder / "junit.xml").read_text()
    assert (tmp_path / "ci" / "comment.md").read_text() == (result.folder / "report.md").read_text()


def test_a_place_that_cannot_be_written_to_is_told_in_a_sentence(made: Made, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot be written"):
        write_for_others([made()[0]], junit=tmp_path / "file" / "junit.xml")


def test_a_full_disk_is_the_environments_fault_and_leaves_the_result_unwritten(made: Made, tmp_path: Path) -> None:
    result, answers = made()
    result.folder.mkdir(exist_ok=True)
    (result.folder / f".report.md.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"report\.md cannot be written: No space left on device"):
        write_report(result, answers)
    assert not (result.folder / "result.json").exists()
