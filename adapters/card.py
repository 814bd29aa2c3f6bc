"""Domain cards: the one YAML file that describes a domain.

A card is refused with file, line, field and expectation when it is wrong:
an operator should never have to guess which of forty lines is meant.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from locum.adapters.cleaning import CleaningCard
from locum.adapters.dealing import BalanceCard, DuplicatesCard
from locum.adapters.documents import DocumentsCard
from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError, NotFoundError

CARD_FILE = "card.yaml"
NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,62}$"

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Column = Literal[
    "question", "answer", "system", "group", "topic", "chosen", "rejected",
    "expert", "case", "conversation", "role", "text", "time",
]  # fmt: skip
Format = Literal["conversations", "messages", "sharegpt", "alpaca", "completion", "preference", "interview", "log"]
Speaker = Literal["user", "assistant", "system", "skip"]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Where a domain's rows come from: exactly one of `recipe` and `files`."""

    recipe: str | None = Field(None, description="a Python file beside the card with a function rows()")
    files: list[str] = Field([], description="files, relative to the card, patterns such as logs/*.jsonl, or URLs")
    format: Format | None = Field(None, description="the format of the files' rows; recognised and told when not given")
    columns: dict[Column, str] = Field(
        {}, description="names of our fields to those in the files, such as question: Frage or group: patient"
    )
    roles: dict[str, Speaker] = Field(
        {}, description="who the speakers of a log are, such as Supervisor: assistant; `skip` passes over what one says"
    )
    max_rejects: Fraction = Field(0.01, description="a larger share of rows that do not fit fails the build")
    packages: list[str] = Field(
        [], description="pinned packages that the recipe reads, such as simple-icd-10-cm==1.5.0"
    )
    licence: str = Field("", description="the licence or public-domain statement of the data")

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if bool(self.recipe) == bool(self.files):
            raise ValueError("give either `recipe` or `files`, not both and not neither")
        return self


class SuiteCard(_Strict):
    """One suite: which samples are asked, how they are scored, and by which metric the gate decides."""

    name: Name
    samples: str = Field(
        "test", description="`test` for the domain's own test split, or a JSON Lines file beside the card"
    )
    limit: int | None = Field(
        None, ge=1, description="at most so many samples, chosen by hash, so that growth moves few"
    )
    metrics: list[Literal["exact_match", "token_f1", "rouge_l"]] = Field(
        ["exact_match", "token_f1", "rouge_l"], min_length=1
    )
    primary: Literal["exact_match", "token_f1", "rouge_l"] = "exact_match"
    choices: list[str] | None = Field(
        None, min_length=2, description="hold every model to one of these answers, by the server's structured output"
    )
    max_tokens: int = Field(32, ge=1)
    temperature: float = Field(0.0, ge=0, le=2)

    @model_validator(mode="after")
    def _primary_is_measured(self) -> SuiteCard:
        if self.primary not in self.metrics:
            raise ValueError(f"primary metric {self.primary!r} is not among metrics {self.metrics}")
        return self


class GateCard(_Strict):
    """The thresholds that a version must meet to be released. All concern each suite's primary metric."""

    min_samples: int = Field(100, ge=2, description="fewer samples are not enough evidence")
    min_score: Fraction = Field(0.0, description="lowest mean score of the version")
    min_gain: float = Field(
        0.0, ge=-1, le=1, description="the lower end of the gain over the base model must exceed this"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1)
    allow_loss_to_production: bool = Field(
        False, description="true lets a version through that is significantly worse than production"
    )


class DomainCard(_Strict):
    """A domain: what it answers, from which data it learns, and what it must show before release."""

    name: Name
    description: str = Field(min_length=1)
    system_prompt: str = Field(min_length=1)
    source: Source | None = Field(None, description="conversations; may be left out where there are `documents`")
    documents: DocumentsCard | None = Field(None, description="what a teacher writes questions and answers from")
    cleaning: CleaningCard = CleaningCard()
    duplicates: DuplicatesCard = DuplicatesCard()
    balance: BalanceCard = BalanceCard()
    preferences: Source | None = Field(None, description="preference pairs, for the methods dpo, orpo and kto")
    recipe: TrainingRecipe = TrainingRecipe()
    tracking: list[Tracker] = Field(
        ["tensorboard"],
        description="where a training's figures go too: tensorboard (files in its folder), wandb, mlflow, trackio",
    )
    suites: list[SuiteCard] = Field(min_length=1)
    gate: GateCard = GateCard()
    notices: list[str] = Field(min_length=1, description="what must be said to whoever reads an answer")
    example: str = Field(min_length=1, description="one question a user of this domain would ask")

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name == "base":
            raise ValueError("`base` always means the base model")
        return name

    @field_validator("suites")
    @classmethod
    def _suite_names_differ(cls, suites: list[SuiteCard]) -> list[SuiteCard]:
        names = [suite.name for suite in suites]
        if len(set(names)) != len(names):
            raise ValueError(f"suite names must differ, found {names}")
        return suites

    @model_validator(mode="after")
    def _has_rows(self) -> DomainCard:
        if self.source is None and self.documents is None:
            raise ValueError("give `source`, `documents` or both: what the domain learns from")
        return self


def load_card(path: Path) -> DomainCard:
    """Read and check one card.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: the file is not YAML or not a card; the message has one line for each wrong field,
            `file:line: field: expectation (found …)`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no domain card at {path}", hint="locum domain new NAME writes one") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadInputError(f"{path}:{line}: not UTF-8: {error.reason}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise BadInputError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}") from None
    except ValueError as error:  # a date or a number that YAML allows and Python does not
        raise BadInputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise BadInputError(f"{path}: a domain card is a mapping of fields, found {type(data).__name__}")
    try:
        return DomainCard.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{path}:{_line_of(node, problem['loc'])}: {_field(problem['loc'])}: {problem['msg']}{_found(problem)}"
            for problem in error.errors()
        ]
        raise BadInputError(
            "\n".join(lines), hint="locum domain new NAME writes a commented card to compare with"
        ) from None


class _Loader(yaml.SafeLoader):
    """Refuses a field that is given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[object] = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.append(key.value)
        return super().construct_mapping(node, deep)


def _field(loc: tuple[int | str, ...]) -> str:
    return re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in loc)) or "card"


def _found(problem: Any) -> str:
    if problem["type"] in {"missing", "extra_forbidden"} or isinstance(problem["input"], (dict, list, BaseModel)):
        return ""
    return f" (found {problem['input']!r})"


def _line_of(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    """The line of the deepest part of `loc` that the file has; a missing field points at its parent."""
    line = node.start_mark.line if node else 0
    for part in loc:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, found = key.start_mark.line, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line
        if found is None:
            break
        node = found
    return line + 1
