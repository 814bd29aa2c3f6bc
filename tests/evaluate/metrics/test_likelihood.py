"""Metrics over log-likelihoods: perplexity, choices, Brier score, calibration, preference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.evaluate.answers import Answer
from locum.evaluate.metrics.calibration import calibration_bins, softmax
from locum.evaluate.metrics.choice import Normalisation, normalise_logprobs

Score = Callable[..., float | None]
Make = Callable[..., Answer]

CHOICE: dict[str, Any] = {"kind": "choice", "choices": ("asthma", "哮喘", "bronchiolitis"), "correct": 1}


def test_perplexity_is_that_of_a_fair_die(score: Score, make_answer: Make) -> None:
    """Each of three tokens has probability 1/6."""
    answer = make_answer(likelihoods={"one two six": (3 * math.log(1 / 6), 3)})
    assert score("perplexity", answer, "one two six") == pytest.approx(6)


def test_perplexity_agrees_with_the_harness_on_one_token_a_word(score: Score, make_answer: Make) -> None:
    """lm-evaluation-harness' word perplexity of one document is exp(−log-likelihood / words)."""
    from lm_eval.api.metrics import weighted_perplexity

    answer = make_answer(likelihoods={"a b c": (-4.2, 3)})
    assert score("perplexity", answer, "a b c") == pytest.approx(weighted_perplexity([(-4.2, 3)]))


def test_perplexity_is_one_at_best_finite_at_worst_and_unsaid_without_a_likelihood(
    score: Score, make_answer: Make
) -> None:
    assert score("perplexity", make_answer(likelihoods={"a": (0.0, 1)}), "a") == 1
    assert math.isfinite(score("perplexity", make_answer(likelihoods={"a": (-1e9, 1)}), "a") or math.inf)
    assert score("perplexity", make_answer(likelihoods={"b": (-1.0, 1)}), "a") is None
    assert score("perplexity", make_answer(likelihoods={"a": (0.0, 0)}), "a") is None
    assert score("perplexity", "a", "a") is None


def test_the_most_likely_choice_counts_by_whole_byte_or_character(score: Score, make_answer: Make) -> None:
    """−4/6, −6/6 and −6.5/13 a byte; −4/6, −6/2 and −6.5/13 a character."""
    answer = make_answer(likelihoods={"asthma": (-4.0, 2), "哮喘": (-6.0, 2), "bronchiolitis": (-6.5, 4)})
    for correct, normalised in ((0, "none"), (2, "bytes"), (2, "characters")):
        for index in range(3):
            sample = CHOICE | {"correct": index}
            found = score("choice", answer, options={"normalised": normalised}, **sample)
            assert found == (index == correct)


_LOGPROBS = st.lists(st.floats(-50, 0), min_size=3, max_size=3)


@given(_LOGPROBS, st.integers(0, 2))
def test_choices_are_the_harness_own_acc_acc_norm_and_acc_bytes(logprobs: list[float], gold: int) -> None:
    """The formulas of `ConfigurableTask.process_results`."""
    choices = list(CHOICE["choices"])
    harness: dict[Normalisation, np.bool] = {
        "none": np.argmax(logprobs) == gold,
        "characters": np.argmax(np.array(logprobs) / np.array([float(len(c)) for c in choices])) == gold,
        "bytes": np.argmax(np.array(logprobs) / np.array([float(len(c.encode("utf-8"))) for c in choices])) == gold,
    }
    for by, expected in harness.items():
        weights = normalise_logprobs(logprobs, choices, by=by)
        assert (weights.index(max(weights)) == gold) == expected


def test_a_choice_with_an_unknown_likelihood_is_not_scored(score: Score, make_answer: Make) -> None:
    some = make_answer(likelihoods={"asthma": (-1.0, 1), "哮喘": (-2.0, 1)})
    assert score("choice", some, **CHOICE) is None
    assert score("brier", some, **CHOICE) is None
    assert score("choice", some, "a reference") is None


def test_brier_gives_the_numbers_of_its_definition(score: Score, make_answer: Make) -> None:
    """p = (0.7, 0.2, 0.1), the second is right: 0.49 + 0.64 + 0.01."""
    answer = make_answer(
        likelihoods={
            "asthma": (math.log(0.7), 1),
            "哮喘": (math.log(0.2), 1),
            "bronchiolitis": (math.log(0.1), 1),
        }
    )
    assert score("brier", answer, **CHOICE) == pytest.approx(1.14)
    equal = make_answer(likelihoods=dict.fromkeys(CHOICE["choices"], (-3.0, 1)))
    assert score("brier", equal, **CHOICE) == pytest.approx(1 - 1 / 3)


@given(_LOGPROBS, st.integers(0, 2))
def test_brier_lies_between_zero_and_two_and_is_the_sum_over_classes(
    score: Score, make_answer: Make, logprobs: list[float], correct: int
) -> None:
    likelihoods = {choice: (value, 1) for choice, value in zip(CHOICE["choices"], logprobs, strict=True)}
    found = score("brier", make_answer(likelihoods=likelihoods), **CHOICE | {"correct": correct})
    probabilities = np.exp(logprobs) / np.exp(logprobs).sum()
    assert found is not None
    assert 0 <= found <= 2
    assert found == pytest.approx(float(((probabilities - np.eye(3)[correct]) ** 2).sum()))


def test_the_calibration_error_worked_by_hand() -> None:
    """Guo et al. 2017, equation 3, over two bins: 2/5 · |1/2 − 0.35| + 3/5 · |2/3 − 0.8|."""
    found = calibration_bins([0.3, 0.4, 0.7, 0.8, 0.9], [True, False, True, True, False], bins=2)
    assert found.error == pytest.approx(2 / 5 * 0.15 + 3 / 5 * (0.8 - 2 / 3))
    assert [(each.low, each.high, each.count) for each in found.bins] == [(0.0, 0.5, 2), (0.5, 1.0, 3)]
    assert [each.accuracy for each in found.bins] == pytest.approx([0.5, 2 / 3])
    assert [each.confidence for each in found.bins] == pytest.approx([0.35, 0.8])


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_as_in_guo() -> None:
    counts = [each.count for each in calibration_bins([0.0, 0.1, 0.2, 0.7, 1.0], [True] * 5).bins]
    assert counts == [2, 1, 0, 0, 0, 0, 1, 0, 0, 1]


def test_a_calibrated_model_has_no_error_and_an_overconfident_one_what_it_lacks() -> None:
    assert calibration_bins([0.75] * 4, [True, True, True, False]).error == pytest.approx(0)
    assert calibration_bins([1.0] * 4, [True, False, False, False]).error == pytest.approx(0.75)
    empty = calibration_bins([], [])
    assert empty.error == 0
    assert {each.accuracy for each in empty.bins} == {None}


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_the_calibration_error_lies_between_zero_and_one_and_bins_hold_everybody(
    pairs: list[tuple[float, bool]],
) -> None:
    found = calibration_bins([confidence for confidence, _ in pairs], [right for _, right in pairs])
    assert 0 <= found.error <= 1 + 1e-9
    assert sum(each.count for each in found.bins) == len(pairs)


def test_probabilities_stand_huge_differences() -> None:
    assert softmax([-math.inf, -math.inf]) == [0.5, 0.5]
    assert softmax([-1e9, -1e9 - 1]) == pytest.approx([0.7310586, 0.2689414])


@pytest.mark.parametrize(
    ("chosen", "rejected", "by_token", "whole"),
    [
        ((-10.0, 10), (-6.0, 3), 1, 0),
        ((-3.0, 3), (-6.0, 3), 1, 1),
        ((-6.0, 3), (-3.0, 3), 0, 0),
        ((-3.0, 3), (-3.0, 3), 0, 0),
    ],
)
def test_preference_compares_a_token_each_so_that_length_does_not_decide(
    score: Score,
    make_answer: Make,
    chosen: tuple[float, int],
    rejected: tuple[float, int],
    by_token: int,
    whole: int,
) -> None:
    sample: dict[str, Any] = {"kind": "preference", "rejected": "worse"}
    answer = make_answer(likelihoods={"better": chosen, "worse": rejected})
    assert score("preference", answer, "better", **sample) == by_token
    assert score("preference", answer, "better", options={"normalised": "none"}, **sample) == whole


def test_preference_needs_both_likelihoods(score: Score, make_answer: Make) -> None:
    assert score("preference", make_answer(likelihoods={"better": (-1.0, 1)}), "better", rejected="worse") is None
    assert score("preference", make_answer(likelihoods={"better": (-1.0, 1)}), "better") is None
