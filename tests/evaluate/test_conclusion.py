"""The end of an evaluation in which a model has answered nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.errors import BadInputError
from locum.evaluate.answers import Contender, Role
from locum.evaluate.conclusion import Run, conclude
from locum.evaluate.report import read_result, write_report
from locum.evaluate.scoring import load_metrics
from locum.evaluate.suite import Suite
from tests.evaluate.conftest import answer_of

NAMES: dict[Role, str] = {"version": "medical@2", "base": "tiny", "production": "medical@1"}


def run_in(folder: Path, against: str) -> Run:
    contenders = [Contender(name, role, f"digest-of-{role}") for role, name in NAMES.items()]
    return Run(contenders, against, "http://127.0.0.1:8000/v1", 8, "locum eval medical", folder, "ada")


@pytest.mark.parametrize("role", ["version", "base", "production"])
def test_a_model_whose_every_question_is_refused_is_named_with_what_the_server_said(
    suite: Suite, tmp_path: Path, role: Role
) -> None:
    run = run_in(tmp_path, "medical@1")
    answers = [answer_of(each, sample, sample.reference) for sample in suite.samples for each in run.contenders]
    refused = {"answer": None, "scores": {}, "error": "400: longer than the model's context"}
    answers = [each.model_copy(update=refused if each.model == NAMES[role] else {}) for each in answers]
    problem = (
        f"^suite diagnoses: {NAMES[role]} has no answer that exact_match can score and compare; 120 of its 120 answers "
        "failed, the last: 400: longer than the model's context$"
    )
    with pytest.raises(BadInputError, match=problem):
        conclude(suite, load_metrics(suite), answers, run)


def test_a_version_in_production_that_answers_nothing_leaves_the_question_open(suite: Suite, tmp_path: Path) -> None:
    run = run_in(tmp_path, "tiny")
    answers = [answer_of(each, sample, sample.reference) for sample in suite.samples for each in run.contenders]
    refused = {"answer": None, "scores": {}, "error": "400: no"}
    answers = [each.model_copy(update=refused if each.model == "medical@1" else {}) for each in answers]
    result = conclude(suite, load_metrics(suite), answers, run)
    assert result.status == "not enough evidence"
    write_report(result, answers)
    assert read_result(tmp_path / "result.json") == result
