"""The training recipe of a domain card: by which method an adapter is made, and how."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, field_validator, model_validator

from locum.adapters.system_prompt import SystemRole

Method = Literal["lora", "qlora", "dora", "full", "prefix", "prompt", "dpo", "orpo", "kto"]

ALIGNMENT = frozenset({"dpo", "orpo", "kto"})
"""Methods that learn from preference pairs."""
VIRTUAL = frozenset({"prefix", "prompt"})
"""Methods that learn tokens of no text, put before each prompt."""
MATRICES = frozenset({"lora", "qlora", "dora"}) | ALIGNMENT
"""Methods that learn low-rank matrices beside the base model's."""
UNSERVABLE = frozenset({"dora"}) | VIRTUAL
"""Methods whose adapters vLLM cannot hold."""

# Fields of a new adapter's matrices. With `start` they are those of the version that is trained on.
_SHAPE = ("rank", "alpha", "dropout", "target_modules", "ranks", "rslora")
# Fields that mean something for these methods only; all others do for every method.
_ONLY_FOR: dict[str, frozenset[str]] = {
    **dict.fromkeys(_SHAPE, MATRICES),
    "dropout": frozenset({"lora", "qlora", "dora"}),
    "start": frozenset({"lora"}) | ALIGNMENT,
    "beta": ALIGNMENT,
    "virtual_tokens": VIRTUAL,
    "length_grouped": frozenset({"lora", "qlora", "dora", "full"}) | VIRTUAL,
    "neftune": frozenset({"lora", "qlora", "dora", "full"}),
    "gradient_checkpointing": MATRICES | {"full"},
}
_LEARNING_RATES: dict[str, float] = {
    "lora": 1e-3, "qlora": 1e-3, "dora": 1e-3, "full": 5e-5, "prefix": 1e-2, "prompt": 1e-2,
    "dpo": 1e-4, "orpo": 1e-4, "kto": 1e-4,
}  # fmt: skip


class TrainingRecipe(BaseModel):
    """How `locum train` makes an adapter for this domain. `--set key=value` overrides a field for one run.

    A field that means nothing for the method is refused, not passed over.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = Field(
        "lora",
        description="lora; qlora: over the base model in 4 bits; dora; full: all weights, a base model of its own; "
        "prefix, prompt: virtual tokens; dpo, orpo, kto: from the card's `preferences`",
    )
    start: str | None = Field(
        None, description="a version, such as medical@3, to train on instead of a new adapter; its shape is kept"
    )
    rank: int = Field(16, ge=1, le=512)
    alpha: float = Field(32, gt=0, description="an adapter's product counts alpha / rank times")
    rslora: bool = Field(False, description="alpha / √rank instead (rsLoRA), for high ranks")
    ranks: dict[str, Annotated[int, Field(ge=1, le=512)]] = Field(
        {}, description="other ranks for some modules, by the ends of their names, such as {down_proj: 32}"
    )
    dropout: float = Field(0.05, ge=0, lt=1)
    target_modules: list[str] | Literal["all-linear"] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], min_length=1
    )
    virtual_tokens: int = Field(20, ge=1, le=1024, description="for the methods prefix and prompt")
    beta: float = Field(0.1, gt=0, description="dpo, kto: how near to keep to the start; orpo: weight of the odds")
    learning_rate: float = Field(
        1e-3, gt=0, le=1, description="by default 1e-3; full 5e-5, prefix and prompt 1e-2, dpo, orpo and kto 1e-4"
    )
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(0.05, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    neftune: float | None = Field(None, gt=0, description="NEFTune: noise on the embeddings, 5 for example")
    batch_size: int = Field(8, ge=1, description="conversations a step")
    gradient_accumulation: int = Field(1, ge=1)
    gradient_checkpointing: bool = Field(False, description="less memory for a third more work")
    length_grouped: bool | None = Field(
        None,
        description="conversations of like length in a batch: less padding. By default where they do not share one "
        "row without padding: mixed batches teach more",
    )
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps; else `epochs` decides")
    epochs: float = Field(1.0, gt=0)
    evaluations: int = Field(4, ge=1, description="how often validation loss is measured during training")
    validation_limit: int = Field(64, ge=1, description="validation conversations that each measurement uses")
    patience: int | None = Field(
        None, ge=1, description="stop when so many measurements in a row were no better than the best"
    )
    max_length: int = Field(1024, ge=8, description="tokens a conversation may have; longer ones are refused")
    thinking: Literal["keep", "drop", "mask"] = Field(
        "keep", description="what is between <think> and </think> in answers: learn it, leave it out, or show it only"
    )
    system_role: SystemRole = Field(
        "system",
        description="user: put the system prompt before the first question, in training, probes, evaluation and on the "
        "server, for base models whose chat template has no system role",
    )
    seed: int = 0

    @property
    def idle(self) -> frozenset[str]:
        """Fields that mean nothing for this method, or are the start's."""
        return idle_fields(self.method, self.start)

    def in_force(self) -> dict[str, Any]:
        """All fields that mean something, as JSON holds them."""
        usual = (
            {"system_role"} if self.system_role == "system" else set()
        )  # runs of before it was there keep their name
        return self.model_dump(mode="json", exclude=set(self.idle) | usual)

    @model_validator(mode="wrap")
    @classmethod
    def _learning_rate_of_the_method(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict) or data.get("learning_rate") is not None:
            return validate(data)
        recipe = validate({**data, "learning_rate": _LEARNING_RATES.get(str(data.get("method")), 1e-3)})
        recipe.model_fields_set.discard("learning_rate")  # nobody set it
        return recipe

    @model_validator(mode="after")
    def _no_idle_field(self) -> TrainingRecipe:
        fields = type(self).model_fields
        for name in sorted(self.idle):
            if getattr(self, name) != fields[name].default:
                method = name in idle_fields(self.method, None)
                reason = f"method {self.method}" if method else f"start {self.start}, whose shape is kept"
                raise ValueError(f"{name} would mean nothing with {reason}; leave it out")
        if self.thinking == "mask" and self.method in ALIGNMENT:
            raise ValueError(f"thinking: mask would mean nothing with method {self.method}; expected keep or drop")
        if self.method == "kto" and self.batch_size < 2:
            raise ValueError("method kto compares answers within a batch; expected a batch_size of at least 2")
        return self

    @field_validator("ranks")
    @classmethod
    def _patterns_are_simple(cls, ranks: dict[str, int]) -> dict[str, int]:
        for pattern in ranks:
            check_pattern(pattern)
        return ranks


def check_pattern(pattern: str) -> None:
    """Check a pattern of module names: a regular expression, as PEFT and vLLM read it, that cannot take long.

    Raises:
        ValueError: it is none, or has more than plain names and at most two repetitions.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    if len(pattern) > 200 or "{" in pattern or re.search(r"\)[*+?]", pattern) or len(re.findall(r"[*+]", pattern)) > 2:
        raise ValueError(
            f"{pattern!r}: expected the end of a module's name with at most two of * and +, none of a group"
        )


def idle_fields(method: str, start: str | None) -> frozenset[str]:
    """Fields of a recipe that mean nothing for a method, or are decided by the version it starts from."""
    idle = {name for name, methods in _ONLY_FOR.items() if method not in methods}
    return frozenset(idle | (set(_SHAPE) if start is not None else set()))
