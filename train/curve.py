"""The loss curve of a training as a picture."""

from __future__ import annotations

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
