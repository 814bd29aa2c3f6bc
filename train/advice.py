"""What a training's losses say, in one sentence each, and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from locum.adapters.recipe import TrainingRecipe
from locum.adapters.suites import SuiteCard
from locum.train.result import Losses

ROSE = 1.05  # validation loss at the end, to the lowest: more is overfitting
STILL_FALLING = 0.95  # validation loss at the end, to the mark before: less is a training that was stopped too early
LEARNT = 0.9  # validation loss of the adapter, to the base model's: more is hardly anything learnt
SPIKE = 2.0  # training loss, to the lowest before it, both smoothed
WINDOW = 5  # steps that smoothing takes together
FEW_ROWS = 200
MANY_EPOCHS = 5


def advice(
    losses: Losses,
    recipe: TrainingRecipe,
    *,
    steps: int,
    best_step: int,
    train_rows: int,
    longest_answer: int,
    suites: Sequence[SuiteCard] = (),
) -> list[str]:
    """Sentences for a person, the most important first; none when all is well.

    Args:
        longest_answer: tokens of the longest answer, with its end, in training and validation.
    """
    epochs = steps * recipe.batch_size * recipe.gradient_accumulation / max(1, train_rows)
    return [
        *_rate_too_high(losses, recipe),
        *_overfitting(losses, best_step, epochs),
        *_underfitting(losses, best_step, steps),
        *_little_data(train_rows, epochs),
        *_cut_off(longest_answer, suites),
    ]


def _rate_too_high(losses: Losses, recipe: TrainingRecipe) -> Iterator[str]:
    values = list(losses.train.values())
    smooth = [sum(values[end - WINDOW : end]) / WINDOW for end in range(WINDOW, len(values) + 1)]
    lowest = float("inf")
    for place, value in enumerate(smooth):
        if value > SPIKE * lowest and value > 0.5:  # nats; below, twice as much is still little
            step = list(losses.train)[place + WINDOW - 1]
            yield (
                f"Training loss rose from {lowest:.2f} to {value:.2f} around step {step}: "
                f"the learning rate is too high; try --set learning_rate={recipe.learning_rate / 3:.1g}."
            )
            return
        lowest = min(lowest, value)


def _overfitting(losses: Losses, best_step: int, epochs: float) -> Iterator[str]:
    last_step, last = list(losses.validation.items())[-1]
    best = losses.validation[best_step]
    if last_step > best_step and last > ROSE * best:
        remedy = "fewer epochs" if epochs > 1 else "a lower learning rate"
        yield (
            f"Validation loss rose again from {best:.3f} (step {best_step}, whose adapter is kept) to {last:.3f}: "
            f"overfitting; {remedy}, a smaller rank, more dropout or more data would help."
        )


def _underfitting(losses: Losses, best_step: int, steps: int) -> Iterator[str]:
    marks = list(losses.validation.items())
    if len(marks) < 2:
        return
    (_, before), (last_step, last) = marks[-2:]
    first, falling = losses.validation[0], all(after < earlier for (_, earlier), (_, after) in pairwise(marks))
    if best_step == last_step and len(marks) > 2 and falling and last < STILL_FALLING * before:
        yield (
            f"Validation loss was still falling at the end, from {before:.3f} to {last:.3f}: underfitting; "
            f"train longer, for example --set max_steps={2 * steps}."
        )
    elif losses.validation[best_step] > LEARNT * first:
        yield (
            f"Validation loss hardly fell, from {first:.3f} to {losses.validation[best_step]:.3f}: underfitting; "
            "a higher learning rate, a larger rank or more steps would help, or the data do not say what is asked."
        )


def _little_data(train_rows: int, epochs: float) -> Iterator[str]:
    if train_rows < FEW_ROWS:
        yield f"{train_rows} training rows are few: to learn more than a form takes some hundreds of different ones."
    elif epochs > MANY_EPOCHS:
        yield f"Each row was seen {epochs:.0f} times: more different rows would teach more than more rounds."


def _cut_off(longest_answer: int, suites: Sequence[SuiteCard]) -> Iterator[str]:
    for suite in suites:
        if longest_answer > suite.generation.max_tokens:
            yield (
                f"The longest answer has {longest_answer} tokens, and the suite {suite.name} lets the model say "
                f"{suite.generation.max_tokens}: answers will be cut off; raise its max_tokens."
            )
