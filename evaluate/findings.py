"""What a check of a suite finds: where, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from locum.evaluate.samples import Sample

if TYPE_CHECKING:
    from rich.console import Console

Check = Literal[
    "card", "row", "id", "duplicate", "near duplicate", "answer", "choices", "schema", "metric", "slice", "threshold",
    "training", "overlap",
]  # fmt: skip


class Finding(BaseModel):
    """One thing that is `wrong`, or that people should know before they trust the suite (a `note`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: Check
    severity: Literal["wrong", "note"] = "wrong"
    place: str
    """`file:line`, or the file alone."""
    sentence: str
    advice: str
    """What to do about it."""


@dataclass(frozen=True)
class Row:
    """A sample, and the file and line that it was read from; of a task in another's format, that which names the task.

    `label` begins what is said of it, where the line does not say which sample is meant.
    """

    path: Path
    line: int
    sample: Sample
    label: str = ""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from every other row."""
        return self.place, self.sample.id

    @property
    def said(self) -> str:
        """What the user says, all turns joined; as `Conversation.question` has it."""
        return "\n".join(message.content for message in self.sample.messages if message.role == "user")

    @property
    def group(self) -> str | None:
        """The group that the row names; none where it stands alone."""
        return None if self.sample.group == self.sample.id else self.sample.group


class Watch(Protocol):
    """Is told how much of a stage is done."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


@contextmanager
def watching(console: Console | None) -> Iterator[Watch]:
    """A bar for the stage at work, which goes with the last one; on no terminal, nothing."""
    if console is None or not console.is_terminal:
        yield lambda stage, done, total: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def watch(stage: str, done: int, total: int) -> None:
            progress.update(task, description=stage, completed=done, total=total)

        yield watch
