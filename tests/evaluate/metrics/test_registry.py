"""Metrics by name: all of them are modules of Hugging Face's `evaluate`, tell their scale, and check their options."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import evaluate
import pytest

from locum.adapters.judge import DIMENSIONS
from locum.errors import BadInputError, NotFoundError
from locum.evaluate.answers import Answer
from locum.evaluate.metrics.registry import METRICS, load_metric
from locum.evaluate.samples import Sample

ROOT = Path(__file__).parents[3]
NEEDED: dict[str, dict[str, Any]] = {
    "notice": {"notices": ["Not advice"]},
    "sources": {"pattern": ".+"},
    "forbidden": {"wordings": ["guaranteed"]},
}
# One row of each set of columns that differs from predictions and references, and what it scores.
ROWS: dict[str, tuple[dict[str, Any], float]] = {
    "json_schema": ({"predictions": "1", "schemas": '{"type": "integer"}'}, 1.0),
    "decline": ({"predictions": "I can't help with that."}, 1.0),
    "honesty": ({"predictions": "I don't know.", "unknowable": True}, 1.0),
    "notice": ({"predictions": "This is not advice."}, 1.0),
    "referral": ({"predictions": "See a doctor."}, 1.0),
    "sources": ({"predictions": "Source: WHO 2024"}, 1.0),
    "forbidden": ({"predictions": "Nothing is certain."}, 1.0),
    "perplexity": ({"logprobs": -math.log(8), "tokens": 3}, 2.0),
    "choice": ({"logprobs": [-1.0, -2.0], "choices": ["a", "b"], "correct": 0}, 1.0),
    "brier": ({"logprobs": [-1.0, -1.0], "choices": ["a", "b"], "correct": 0}, 0.5),
    "preference": ({"chosen": -1.0, "chosen_tokens": 1, "rejected": -2.0, "rejected_tokens": 1}, 1.0),
    "first_token": ({"seconds": 0.25}, 0.25),
    "per_token": ({"seconds": 1.0, "first": 0.5, "tokens": 6}, 0.1),
    "tokens": ({"tokens": 12}, 12.0),
    "numeric": ({"predictions": "5", "references": "5.0"}, 1.0),
    **{f"judge_{dimension}": ({"ratings": [4.0]}, 0.75) for dimension in DIMENSIONS},
    "judge_preference": ({"ratings": [1.0, 1.0]}, 1.0),
}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_an_evaluate_module_that_scores_through_compute(name: str) -> None:
    module = load_metric(name, NEEDED.get(name)).module
    assert isinstance(module, evaluate.Metric)
    assert module.metric == name
    assert module.info.citation
    if name == "style":
        row, expected = {"predictions": ["Yes.", "No."], "sets": ["q", "q"]}, 1.0
    else:
        one, expected = ROWS.get(name, ({"predictions": "a b c d", "references": "a b c d"}, 1.0))
        row = {column: [value, value] for column, value in one.items()}
    found = module.compute(**row)
    assert found[name] == pytest.approx(expected)
    assert found["scores"] == pytest.approx([expected, expected])


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_range_direction_and_needs_and_tells_them_in_its_docstring(name: str) -> None:
    metric = load_metric(name, NEEDED.get(name))
    text = " ".join(metric.module.info.description.split())
    assert metric.low < metric.high
    assert metric.needs <= {"text", "likelihood", "ratings"}
    assert f"{'higher' if metric.higher_is_better else 'lower'} is better" in text
    assert metric.binary == ("Binary" in text)
    for bound in (metric.low, metric.high):
        if not metric.binary:
            assert ("without bound" if bound == math.inf else f"{bound:g}") in text


def test_nothing_is_said_about_a_failed_question(
    make_sample: Callable[..., Sample], make_answer: Callable[..., Answer]
) -> None:
    samples = [make_sample(reference="a")] * 3
    answers = [make_answer(answer="a"), make_answer(error="timeout"), make_answer(answer="b")]
    assert load_metric("exact_match").score(samples, answers) == [1.0, None, 0.0]
    assert load_metric("exact_match").score(samples[:1], answers[1:2]) == [None]


def test_many_evaluations_at_once_do_not_collide_and_leave_nothing() -> None:
    def score(_: int) -> dict[str, object]:
        return dict(load_metric("exact_match").module.compute(predictions=["a"], references=["A"]))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(score, range(32))) == [{"exact_match": 1.0, "scores": [1.0]}] * 32
    assert not Path(load_metric("exact_match").module.data_dir).exists()


def test_an_unknown_metric_lists_those_there_are() -> None:
    with pytest.raises(NotFoundError, match=r"'meteor'.*exact_match, token_f1, rouge_1"):
        load_metric("meteor")


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        BadInputError,
        match=r"'numeric' has no option 'tolerance' \(it has: relative, absolute, which, units, decimal\)",
    ):
        load_metric("numeric", {"tolerance": 0.1})
    with pytest.raises(BadInputError, match=r"'exact_match' has no option 'case' \(it has: none\)"):
        load_metric("exact_match", {"case": True})


def test_an_option_of_the_wrong_kind_is_named_with_what_was_found() -> None:
    with pytest.raises(BadInputError, match=r"'numeric': option 'relative': .*less than 1 \(found 5\)"):
        load_metric("numeric", {"relative": 5})
    with pytest.raises(
        BadInputError, match=r"'forbidden': option 'wordings\[1\]': .*not a regular expression: .*'/\(/'"
    ):
        load_metric("forbidden", {"wordings": ["fine", "/(/"]})


def test_a_metric_that_needs_an_option_says_which_and_where_to_set_it() -> None:
    with pytest.raises(BadInputError, match="'notice' needs the option 'notices'") as caught:
        load_metric("notice")
    assert "suite.yaml" in str(caught.value.hint)
    assert "compliance" in str(caught.value.hint)


def test_names_are_told_without_loading_a_metric() -> None:
    code = (
        "import sys; from locum.evaluate.metrics.registry import METRICS; METRICS.keys(); "
        "print([name for name in ('evaluate', 'datasets', 'sacrebleu', 'jsonschema') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_hugging_faces_evaluate_is_imported_from_the_repository_root() -> None:
    """The folder evaluate/ there has no __init__.py, so that it cannot shadow the package."""
    code = "from importlib.util import find_spec; print(find_spec('evaluate').origin)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("site-packages/evaluate/__init__.py")
