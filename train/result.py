"""What a training leaves behind: an adapter, and a record of how it came about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.manifest import DataRecord
from locum.adapters.recipe import TrainingRecipe

RESULT_FILE = "training.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Losses(_Record):
    """Mean cross-entropy of the answers' tokens, in nats, by the step after which it was measured.

    For dpo, orpo and kto, the loss is that of the method.
    """

    train: dict[int, float] = {}
    validation: dict[int, float] = Field({}, description="0 is the base model, or the start, before the first step")


class Agreement(_Record):
    """How far a model prefers the answers of the validation pairs that people chose."""

    margin: float = Field(description="mean reward of the chosen answers less that of the rejected ones")
    accuracy: float | None = Field(description="share of pairs whose chosen answer has the higher reward; not of kto")


class Sample(_Record):
    """A validation question, answered before and after the training."""

    question: str
    expected: str
    before: str = Field(description="by the base model, or the start")
    after: str


class TrainingResult(_Record):
    """training.json: everything about one training run."""

    domain: str
    run: str = Field(description="SHA-256 over recipe, data and base model: what the run was given")
    base: str
    base_fingerprint: str
    data: DataRecord
    recipe: TrainingRecipe
    steps: int = Field(description="steps that were trained: fewer than planned where `patience` ended it")
    best_step: int = Field(description="the step whose adapter is kept: the one with the lowest validation loss")
    losses: Losses
    train_rows: int
    validation_rows: int = Field(description="rows that each measurement of validation loss used")
    longest: int = Field(description="tokens of the longest row")
    parameters: int = Field(description="number of trained weights")
    processes: int = Field(1, description="that shared each step")
    device: str = Field(description="of each process")
    dtype: str
    tokens: int = Field(description="tokens that were trained on, prompts included, since the last interruption")
    share_of_cores: float | None = Field(
        None, description="the part of its full speed that other programs left it when it began; none on a GPU"
    )
    tokens_per_second: float = Field(description="of training steps, without measurements and loading")
    seconds: float = Field(
        description="from loading the base model to the finished adapter, since the last interruption"
    )
    resumed_at: int = Field(description="the step that an interrupted run was taken up at; 0 when it was not")
    peak_memory: int = Field(description="bytes: of the (first) process on a CPU, of its device on a GPU")
    agreement: Agreement | None = Field(None, description="of dpo, orpo and kto: with the validation pairs")
    samples: list[Sample] = Field([], description="a few validation questions, answered before and after")
    versions: dict[str, str] = Field(description="of Python and the libraries")
    advice: list[str] = Field([], description="what the losses say, and what to change")
    folder: Path = Field(Path(), exclude=True)
    reused: bool = Field(False, exclude=True)

    @property
    def adapter(self) -> Path:
        """Folder of the PEFT adapter, or with the method `full` of the checkpoint."""
        return self.folder / ("checkpoint" if self.recipe.method == "full" else "adapter")

    @property
    def first_loss(self) -> float:
        """Validation loss of the base model, or of the start."""
        return self.losses.validation[0]

    @property
    def best_loss(self) -> float:
        """Validation loss of the adapter."""
        return self.losses.validation[self.best_step]

    def summary(self) -> dict[str, Any]:
        """What a manifest records of it: not every step."""
        chosen = {
            "run", "steps", "best_step", "train_rows", "processes", "device", "dtype", "tokens", "tokens_per_second",
            "seconds", "resumed_at", "peak_memory", "versions", "advice", "agreement",
        }  # fmt: skip
        return {
            **self.model_dump(mode="json", include=chosen),
            "validation_loss_before": self.first_loss,
            "validation_loss": self.best_loss,
        }
