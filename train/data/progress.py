"""What is seen while data are built: a bar with the stage, rows, rows a second, the share and the time left."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class BuildProgress:
    """One bar on the terminal, which goes when the build ends; on no terminal, nothing."""

    def __init__(self, label: str, console: Console | None = None) -> None:
        self._label = label
        console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self.figures = ""

    def __enter__(self) -> BuildProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage(self, name: str, *, total: int | None = None) -> None:
        """A new stage begins, of `total` bytes or rows where that is known."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(f"{self._label}: {name}", total=total, figures="")
        self._total = total
        self._began: tuple[float, float, int] | None = None

    def reached(self, done: float, rows: int) -> None:
        """The stage has done so much of its total, and so many rows."""
        if self._task is None:
            return
        now = time.monotonic()
        if self._began is None:  # what an interrupted build had done took no time of this one
            self._began = now, done, rows
        began, done_then, rows_then = self._began
        self.figures = _figures(now - began, rows, rows - rows_then, done - done_then, done, self._total)
        self._progress.update(self._task, completed=done, figures=self.figures)


def _figures(seconds: float, rows: int, new_rows: int, new: float, done: float, total: int | None) -> str:
    parts = [f"{rows:,} rows"] if rows else []
    if seconds > 0 and new_rows > 0:
        parts.append(f"{new_rows / seconds:,.0f} rows/s")
    if total:
        parts.append(f"{done / total:.0%}")
        if seconds > 0 and new > 0:
            parts.append(f"{_told(seconds * (total - done) / new)} left")
    return " · ".join(parts)


def _told(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
