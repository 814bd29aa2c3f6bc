"""What the processes of a training are told, and what one of them tells when it fails."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import locum.errors
from locum.adapters.base import Base
from locum.adapters.recipe import TrainingRecipe
from locum.adapters.suites import SuiteCard
from locum.errors import LocumError, UnavailableError
from locum.train.methods import Start

JOB_FILE, PROGRESS_FILE = "job.json", "progress"

# What Gloo and NCCL say when a process that they talk to has ended.
_LOST = ("closed by peer", "reset by peer", "remote process exited", "Broken pipe")


class _Note(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(_Note):
    """Everything that a process needs to take part in a training, but for the data, which host 0 builds."""

    domain: str
    base: Base
    data_path: Path
    recipe: TrainingRecipe
    runs: Path
    start: Start | None
    suites: list[SuiteCard]
    tracking: list[str]
    processes: int


class Failure(_Note):
    """Why a process ended."""

    error: str
    """Name of a class in locum.errors, else of an exception that nobody foresaw."""
    message: str
    hint: str | None
    at: float

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        return cls(error=type(error).__name__, message=str(error), hint=getattr(error, "hint", None), at=time.time())

    @property
    def foreseen(self) -> bool:
        return hasattr(locum.errors, self.error)

    @property
    def tells_of_another(self) -> bool:
        """Whether it only says that another process does not answer any more."""
        return not self.foreseen and any(sign in self.message for sign in _LOST)

    def as_error(self, log: Path) -> LocumError:
        """The error as it would have been in a process of one's own."""
        if self.foreseen:
            found: LocumError = getattr(locum.errors, self.error)(self.message, hint=self.hint)
            return found
        return UnavailableError(
            f"a process ended with {self.error}: {self.message}", hint=f"the whole of it is in {log}"
        )
