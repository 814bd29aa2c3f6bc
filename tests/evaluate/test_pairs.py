"""Which pairs of answers are worth reading first."""

from __future__ import annotations

import pytest

from locum.adapters.conversations import Message
from locum.evaluate.answers import Answer, Likelihood
from locum.evaluate.pairs import improvements, paired, regressions, said


def answer(sample: str, model: str, score: float | None, *, repeat: int = 0, other: float = 0.0) -> Answer:
    return Answer(
        sample=sample,
        repeat=repeat,
        model=model,
        digest="d",
        messages=[Message(role="user", content=f"What of {sample}?")],
        reference="right",
        answer=f"{model} {repeat}",
        scores={} if score is None else {"f1": score, "other": other},
    )


def test_the_worst_loss_comes_first_and_the_greatest_gain_last() -> None:
    scores = {"a": (0.5, 0.5), "b": (0.1, 0.9), "c": (1.0, 0.0), "d": (0.4, 0.6)}
    answers = [
        answer(name, model, score)
        for name, both in scores.items()
        for model, score in zip(("new", "old"), both, strict=True)
    ]
    pairs = paired(answers, "new", "old", "f1")
    assert [pair.ours.sample for pair in pairs] == ["b", "d", "a", "c"]
    assert [pair.ours.sample for pair in regressions(pairs, 1)] == ["b"]
    assert [pair.ours.sample for pair in improvements(pairs, 9)] == ["c"]


def test_for_a_metric_of_which_less_is_better_the_order_is_turned() -> None:
    answers = [answer("a", "new", 3.0), answer("a", "old", 1.0), answer("b", "new", 1.0), answer("b", "old", 3.0)]
    pairs = paired(answers, "new", "old", "f1", higher_is_better=False)
    assert [(pair.ours.sample, pair.difference) for pair in pairs] == [("a", -2.0), ("b", 2.0)]


def test_a_sample_that_one_of_them_has_no_score_for_is_no_pair() -> None:
    answers = [answer("a", "new", 1.0), answer("a", "old", None), answer("b", "new", 1.0), answer("a", "third", 1.0)]
    assert paired(answers, "new", "old", "f1") == []


def test_repeats_are_one_pair_that_shows_the_answers_that_differ_most_the_way_the_mean_does() -> None:
    answers = [
        answer("a", model, score, repeat=repeat)
        for repeat, both in enumerate([(0.9, 0.8), (0.1, 0.8), (0.5, 0.8)])
        for model, score in zip(("new", "old"), both, strict=True)
    ]
    [pair] = paired(answers, "new", "old", "f1")
    assert pair.difference == pytest.approx(-0.3)
    assert (pair.ours.answer, pair.theirs.answer) == ("new 1", "old 1")


def test_pairs_that_the_metric_cannot_tell_apart_are_ordered_by_all_metrics() -> None:
    answers = [
        answer("a", "new", 1.0, other=0.9),
        answer("a", "old", 1.0, other=0.1),
        answer("b", "new", 1.0, other=0.1),
        answer("b", "old", 1.0, other=0.9),
    ]
    assert [pair.ours.sample for pair in paired(answers, "new", "old", "f1")] == ["b", "a"]


def test_a_choice_reads_as_the_likeliest_texts_with_their_probabilities() -> None:
    likelihoods = [Likelihood(text=text, tokens=1, logprob=value) for text, value in (("No", -2.0), ("Yes", -1.0))]
    choice = answer("a", "new", 1.0).model_copy(update={"answer": None, "likelihoods": likelihoods})
    assert said(choice) == "73 % Yes\n27 % No"


def test_an_answer_that_failed_or_is_empty_says_so() -> None:
    made = answer("a", "new", None)
    assert said(made.model_copy(update={"error": "too long"})) == "(failed: too long)"
    assert said(made.model_copy(update={"answer": ""})) == "(nothing)"
