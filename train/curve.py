"""Losses as pictures: the curve of a training, and the trials of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from locum.train.result import Losses


def draw_losses(losses: Losses, best_step: int, title: str, unit: str, file: Path) -> None:
    """Write a PNG with training and validation loss over the steps, the kept step marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(list(losses.train), list(losses.train.values()), color="#9ab8d6", linewidth=1, label="training")
    steps, values = list(losses.validation), list(losses.validation.values())
    axes.plot(steps, values, color="#c2410c", marker="o", linewidth=2, label="validation")
    axes.axvline(best_step, color="#555555", linestyle=":", linewidth=1, label=f"kept: step {best_step}")
    axes.set(title=title, xlabel="step", ylabel=unit)
    axes.set_ylim(bottom=min(0, *values, *losses.train.values()))  # the loss of orpo may be below 0
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file)


def draw_trials(trials: Sequence[tuple[Mapping[str, float], float, bool]], title: str, file: Path) -> None:
    """Write a PNG with the trials of a sweep: each searched value against validation loss.

    Args:
        trials: of each, its values, its validation loss, and whether it is the best.
    """
    from matplotlib.figure import Figure

    names = list(trials[0][0])
    figure = Figure(figsize=(3.2 * len(names), 3.4), dpi=120, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True):
        for values, loss, best in trials:
            axes.scatter(values[name], loss, color="#c2410c" if best else "#9ab8d6", s=60 if best else 30)
        axes.set(xlabel=name.replace("_", " "), xscale="log" if name == "learning_rate" else "linear")
        told = sorted({edge(values[name] for values, _, _ in trials) for edge in (min, max)})
        axes.set_xticks(told, [f"{value:g}" for value in told])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("validation loss")
    figure.suptitle(title)
    figure.savefig(file)
