"""What is seen while an adapter trains: one line with step, loss, tokens a second and time left.

Importing this module imports transformers: do it inside the function that trains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from accelerate import PartialState
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from locum.errors import CheckFailedError
from locum.train.measured import Measured
from locum.train.result import Agreement, Losses


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Shows progress (a bar on a terminal, elsewhere a line each tenth), keeps the losses, says when to measure and
    save, and stops a training that diverged."""

    def __init__(
        self,
        label: str,
        losses: Losses,
        marks: set[int],
        total: int,
        measured: Callable[[float], None] | None = None,
    ) -> None:
        self.losses = losses
        self.marks = marks
        """Steps after which validation loss is measured and a checkpoint written."""
        self.measured = measured
        """Told each validation loss after the first step."""
        self.trainer: Measured | None = None
        self.measure_first: Callable[[], None] = lambda: None
        """Called when training begins anew. Not before it: a model that was measured is never made ready to share."""
        self.agreement: dict[int, Agreement] = {}
        """With validation pairs, by the step after which it was measured."""
        console = Console(stderr=True)
        columns = ("{task.description}", "step {task.completed:.0f}/{task.total:.0f}", "{task.fields[figures]}")
        self.progress = Progress(
            TextColumn(columns[0]),
            BarColumn(bar_width=20),
            *(TextColumn(column) for column in columns[1:]),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self.total = total
        self.task = self.progress.add_task(label, total=total, figures="")

    def __enter__(self) -> Watcher:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for entry in state.log_history:  # of the steps before an interruption
            self._keep(entry, entry["step"])
        self.progress.update(self.task, completed=state.global_step)
        if state.global_step == 0:
            self.measure_first()
        elif state.is_world_process_zero:
            text = f"Going on after step {state.global_step} of {self.total}, where the last checkpoint was written."
            self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_log = True
        control.should_evaluate = control.should_save = state.global_step in self.marks
        self.progress.update(self.task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        self._keep(logs or {}, state.global_step)
        self._show(state.global_step, stepped="loss" in (logs or {}))

    def _keep(self, logs: dict[str, float], step: int) -> None:
        for key, losses in (("loss", self.losses.train), ("eval_loss", self.losses.validation)):
            if key not in logs:
                continue
            if not math.isfinite(logs[key]):
                raise CheckFailedError(
                    f"the {'validation ' if key == 'eval_loss' else ''}loss is {logs[key]} after step {step}, "
                    "expected a finite number",
                    hint="lower the learning rate, for example --set learning_rate=1e-4",
                )
            losses[step] = logs[key]
            if key == "eval_loss" and step and self.measured is not None:
                self.measured(logs[key])
        if "eval_rewards/margins" in logs:
            self.agreement[step] = Agreement(
                margin=logs["eval_rewards/margins"], accuracy=logs.get("eval_rewards/accuracies")
            )

    def _show(self, step: int, *, stepped: bool) -> None:
        parts = []
        if self.losses.train:
            recent = list(self.losses.train.values())[-10:]
            parts.append(f"loss {sum(recent) / len(recent):.3f}")
        if self.losses.validation:
            parts.append(f"validation {list(self.losses.validation.values())[-1]:.3f}")
        if self.trainer is not None and self.trainer.step_seconds:
            # The others have about as many tokens in each step.
            tokens = self.trainer.tokens * PartialState().num_processes
            parts.append(f"{tokens / self.trainer.step_seconds:,.0f} tokens/s")
        figures = " · ".join(parts)
        self.progress.update(self.task, figures=figures)
        if self.progress.disable and stepped and (step % math.ceil(self.total / 10) == 0 or step == self.total):
            line = f"{self.progress.tasks[0].description} step {step}/{self.total} {figures}"
            self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
