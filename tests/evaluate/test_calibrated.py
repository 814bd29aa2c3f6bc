"""Calibration, read from an evaluation's answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.conversations import Message
from locum.adapters.suites import SuiteCard
from locum.evaluate.answers import Answer, Contender, Likelihood
from locum.evaluate.calibrated import Calibrated, calibrations
from locum.evaluate.conclusion import Run, conclude
from locum.evaluate.samples import Sample
from locum.evaluate.scoring import load_metrics, score_all
from locum.evaluate.suite import assemble

SHORT, LONG = "no", "no, not before the course of antibiotics has ended"
CONTENDERS = (Contender("medical@1", "version", "1"), Contender("tiny", "base", "b"))

Calibrate = Callable[..., tuple[Calibrated, list[float]]]


@pytest.fixture
def calibrate(tmp_path: Path) -> Calibrate:
    """The calibration of a version, and its scores by `choice` or `brier`, where it is asked four choices of two."""

    def call(
        logprobs: Mapping[str, float], *, right: tuple[str, ...], metric: str = "choice", **options: Any
    ) -> tuple[Calibrated, list[float]]:
        card = SuiteCard(name="bedside", metrics=[metric], primary=metric, options={metric: options} if options else {})
        choices = tuple(logprobs)
        samples = [
            Sample(
                id=f"choice-{number}",
                messages=(Message(role="user", content="May it be stopped?"),),
                reference=text,
                group=f"choice-{number}",
                kind="choice",
                choices=choices,
                correct=choices.index(text),
            )
            for number, text in enumerate(right)
        ]
        suite = assemble("medical", card, samples)
        likelihoods = [Likelihood(text=text, tokens=1, logprob=value) for text, value in logprobs.items()]
        asked = [
            Answer(
                sample=sample.id,
                group=sample.group,
                model=contender.name,
                digest=contender.digest,
                messages=list(sample.messages),
                reference=sample.reference,
                likelihoods=likelihoods,
            )
            for sample in suite.samples
            for contender in CONTENDERS
        ]
        metrics = load_metrics(suite)
        answers = score_all(suite, metrics, asked)
        run = Run(CONTENDERS, "tiny", "http://127.0.0.1:8000/v1", 1, "locum eval medical", tmp_path, "ada")
        found, _ = calibrations(conclude(suite, metrics, answers, run), answers)
        return found, [answer.scores[metric] for answer in answers if answer.model == found.model]

    return call


def test_confidence_is_the_probability_of_the_most_likely_choice(calibrate: Calibrate) -> None:
    """Four answers that are 60 % sure, three of them right."""
    found, scores = calibrate({"a": math.log(0.6), "b": math.log(0.4)}, right=("a", "a", "b", "a"))
    assert found.points == [(pytest.approx(0.6), 0.75, 4)]
    assert found.calibration.error == pytest.approx(0.15)
    assert sum(scores) == 3


@pytest.mark.parametrize("metric", ["choice", "brier"])
@pytest.mark.parametrize("normalised", ["bytes", "characters"])
def test_the_choice_that_a_metric_takes_by_length_is_the_one_whose_confidence_is_told(
    calibrate: Calibrate, metric: str, normalised: str
) -> None:
    logprobs = {SHORT: -4.0, LONG: -10.0}  # of the two, the longer is the likelier a letter
    right = (LONG, LONG, LONG, SHORT)
    found, scores = calibrate(logprobs, right=right, metric=metric, normalised=normalised)
    weights = [value / len(text) for text, value in logprobs.items()]
    sure = 1 / (1 + math.exp(weights[0] - weights[1]))
    assert found.points == [(pytest.approx(sure), 0.75, 4)]
    if metric == "choice":
        assert sum(scores) == 3
    whole, _ = calibrate(logprobs, right=right, metric=metric)
    assert whole.points == [(pytest.approx(1 / (1 + math.exp(-6))), 0.25, 4)]
