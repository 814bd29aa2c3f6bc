"""Domain cards: the one YAML file that describes a domain.

A card is refused with file, line, field and expectation when it is wrong:
an operator should never have to guess which of forty lines is meant.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from locum.adapters.cleaning import CleaningCard
from locum.adapters.compliance import ComplianceCard, NoticesCard
from locum.adapters.dealing import BalanceCard, DuplicatesCard
from locum.adapters.documents import DocumentsCard
from locum.adapters.recipe import TrainingRecipe
from locum.adapters.system_prompt import Switch
from locum.adapters.wordings import in_header
from locum.adapters.yamlfile import NAME_PATTERN, read_yaml
from locum.errors import NotFoundError

CARD_FILE = "card.yaml"
NOTICE_HEADER_BYTES = 2000  # proxies refuse answers whose headers have more than 4 to 8 KiB in all

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Column = Literal[
    "question", "answer", "system", "group", "topic", "wanted", "thought", "chosen", "rejected",
    "expert", "case", "conversation", "role", "text", "time",
]  # fmt: skip
Format = Literal[
    "conversations", "messages", "sharegpt", "alpaca", "completion", "preference", "kto", "interview", "log"
]  # fmt: skip
Speaker = Literal["user", "assistant", "system", "skip"]
BlankAnswers = Literal["refuse", "skip"]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]


def known_encoding(name: str) -> str:
    """The name of an encoding as it was given.

    Raises:
        ValueError: Python knows none of that name that makes text of bytes.
    """
    try:
        known = codecs.lookup(name)._is_text_encoding
    except LookupError:
        known = False
    if not known:
        raise ValueError(f"{name!r} is no encoding that is known; such as utf-8, windows-1252, gb18030, shift_jis")
    return name


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
    encoding: str | None = Field(
        None, description="the encoding of the files that are text, such as windows-1252; found out when not given"
    )
    blank_answers: BlankAnswers = Field(
        "refuse", description="rows whose answer is blank do not fit (refuse), or are passed over and counted (skip)"
    )
    max_rejects: Fraction = Field(0.01, description="a larger share of rows that do not fit fails the build")
    packages: list[str] = Field(
        [], description="pinned packages that the recipe reads, such as simple-icd-10-cm==1.5.0"
    )
    licence: str = Field("", description="the licence or public-domain statement of the data")

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str | None) -> str | None:
        return name and known_encoding(name)

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if bool(self.recipe) == bool(self.files):
            raise ValueError("give either `recipe` or `files`, not both and not neither")
        return self


class ElsewhereCard(_Strict):
    """Where a version must do no harm: suites of other domains and of general ability, which it is asked too."""

    suites: list[str] = Field(
        [], description="suites of other domains, such as legal/licence-families, and `general`, which Locum brings"
    )
    margin: Fraction = Field(
        0.15, description="the score there may fall by so much at most, against production or else the base model"
    )
    limit: int | None = Field(None, ge=2, description="at most so many samples of each")


class DomainCard(_Strict):
    """A domain: what it answers, from which data it learns, and what it must show before release."""

    name: Name
    description: str = Field(min_length=1)
    system_prompt: str = Field(min_length=1)
    system: Switch = Field(
        "default",
        description="when the server gives a chat the system prompt: where the client brings none (default), always, "
        "never; recorded with a version when it is registered",
    )
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
    compliance: ComplianceCard = ComplianceCard()
    elsewhere: ElsewhereCard = ElsewhereCard()
    notices: NoticesCard = Field(description="what must be said to whoever reads an answer: a list, or with `enforce`")
    example: str = Field(min_length=1, description="one question a user of this domain would ask")

    @model_validator(mode="before")
    @classmethod
    def _suites_have_moved(cls, data: object) -> object:
        for field in ("suites", "gate"):
            if isinstance(data, dict) and field in data:
                raise ValueError(
                    f"`{field}` is no field of a card: a suite is a folder suites/NAME with a suite.yaml, "
                    "and its thresholds stand there"
                )
        return data

    @field_validator("notices", mode="before")
    @classmethod
    def _list_alone(cls, value: object) -> object:
        return {"texts": value} if isinstance(value, list) else value

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name == "base":
            raise ValueError("`base` always means the base model")
        return name

    @model_validator(mode="after")
    def _has_rows(self) -> DomainCard:
        if self.source is None and self.documents is None:
            raise ValueError("give `source`, `documents` or both: what the domain learns from")
        return self

    @model_validator(mode="after")
    def _can_append(self) -> DomainCard:
        size = len(in_header(wordings[0] for wordings in self.enforced_notices))
        if size > NOTICE_HEADER_BYTES:
            raise ValueError(
                f"`notices.enforce: append` sends the notices in a header too: expected at most {NOTICE_HEADER_BYTES} "
                f"bytes, percent-encoded, found {size}"
            )
        return self

    @property
    def enforced_notices(self) -> list[list[str]]:
        """What the server adds to an answer that lacks it: of each notice the wordings that count, of which the first
        is what it adds. Empty where nothing is enforced."""
        return [] if self.notices.enforce == "never" else self.notices.texts

    def metric_options(self) -> dict[str, dict[str, Any]]:
        """The options of each metric that the card is about."""
        return {"notice": {"notices": self.notices.texts}, **self.compliance.metric_options()}


def load_card(path: Path) -> DomainCard:
    """Read and check one card.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: the file is not YAML or not a card; the message has one line for each wrong field,
            `file:line: field: expectation (found …)`.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no domain card at {path}", hint="locum domain new NAME writes one")
    return read_yaml(
        path, DomainCard, what="a domain card", hint="locum domain new NAME writes a commented card to compare with"
    )
