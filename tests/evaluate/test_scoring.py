"""From answers to scores: what is let through to the gate."""

from __future__ import annotations

import math

import pytest

from locum.adapters.conversations import Message
from locum.adapters.suites import SuiteCard
from locum.errors import BadInputError
from locum.evaluate.answers import Answer
from locum.evaluate.metrics.registry import given_metric
from locum.evaluate.samples import Sample
from locum.evaluate.scoring import score_all
from locum.evaluate.suite import assemble

SUITE = assemble(
    "medical", SuiteCard(name="codes"), [Sample("s1", (Message(role="user", content="?"),), "!", group="s1")]
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused_since_no_comparison_would_stop_it(value: float) -> None:
    answer = Answer(sample="s1", model="m@1", digest="d", messages=[], reference="!", answer="!", scores={"acc": value})
    with pytest.raises(BadInputError, match=f"acc of m@1 on sample s1 is {value}, expected a finite number"):
        score_all(SUITE, [given_metric("acc", higher_is_better=True)], [answer])
