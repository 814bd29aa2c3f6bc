"""Suite cards: the `suite.yaml` in a suite's folder, which says what is asked, how it is scored and what must hold.

A suite is a folder `suites/NAME` beside its domain's card, with this file and the data files that it names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from locum.adapters.judge import JudgeCard
from locum.adapters.yamlfile import NAME_PATTERN, flow, read_yaml
from locum.errors import BadInputError

SUITE_FILE = "suite.yaml"
SUITES_FOLDER = "suites"
TEST_SPLIT = "test"

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Slice = Literal["topic", "difficulty", "language", "length"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Generation(_Strict):
    """How answers are asked for. Greedy unless a temperature is given."""

    max_tokens: int = Field(32, ge=1, description="longest answer")
    temperature: float = Field(0.0, ge=0, le=2, description="0 is greedy: the most likely token each time")
    repeats: int = Field(1, ge=1, le=100, description="answers to each sample, each with a seed of its own")
    seed: int = Field(0, ge=0, description="of the first answer; each further one has the next")
    choices: list[str] | None = Field(
        None, min_length=2, description="hold every model to one of these answers, by the server's structured output"
    )

    @model_validator(mode="after")
    def _repeats_differ(self) -> Generation:
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError("`repeats` need a temperature above 0: greedy answers are all the same")
        return self


class Thresholds(_Strict):
    """What a version must meet to be released. All but `hard` concern the suite's primary metric.

    A question that the data cannot answer either way is answered "not enough evidence", and that is no pass.
    """

    min_samples: int = Field(100, ge=2, description="fewer samples are not enough evidence")
    min_score: float = Field(0.0, description="lowest mean score of the version")
    min_gain: float | None = Field(
        0.0, description="the lower end of the gain over the base model must exceed this; null does not ask"
    )
    margin: float = Field(
        0.1, ge=0, description="so much worse than the version in production, at most, must be shown (non-inferiority)"
    )
    slice_margin: float = Field(0.15, ge=0, description="the same for each slice that is large enough to be judged")
    slice_min_samples: int = Field(20, ge=2, description="smaller slices are shown and not judged")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of every interval and bound")
    hard: dict[str, float] = Field(
        {}, description="metrics with the lowest mean that is let through, such as notice: 1.0 (every single answer)"
    )


class HarnessCard(_Strict):
    """A task of lm-evaluation-harness in the place of samples: it asks and scores, Locum compares and decides."""

    task: str = Field(min_length=1, description="name of the task, or of a group of tasks")
    include: str | None = Field(
        None,
        description="folder that has the task's YAML, from the suite's own; none for a task that the harness brings",
    )
    metric: str | None = Field(None, description="the metric by which the gate decides; the task's first if not given")
    filter: str | None = Field(None, description="whose answers count, where the task has several; else its first")
    chat: bool = Field(True, description="ask with the chat template and the domain's system prompt, as users do")
    num_fewshot: int | None = Field(None, ge=0, description="examples before each question, instead of the task's own")


class SuiteCard(_Strict):
    """One suite: which samples are asked, how they are scored, and by which metric the gate decides."""

    name: str = Field(pattern=NAME_PATTERN, description="as the folder is called")
    version: int = Field(1, ge=1, description="counted up by whoever changes the suite, for people to talk about")
    description: str = Field("", description="one sentence on what it measures")
    samples: str | list[str] = Field(
        TEST_SPLIT, description="`test` for the domain's own test split, or JSON Lines files in the suite's folder"
    )
    limit: int | None = Field(
        None, ge=1, description="at most so many samples, chosen by hash, so that growth moves few"
    )
    metrics: list[str] = Field(
        ["exact_match", "token_f1", "rouge_l"], min_length=1, description="how answers are scored: docs/metrics.md"
    )
    primary: str = Field("exact_match", description="the metric by which the gate decides")
    options: dict[str, dict[str, Any]] = Field({}, description="settings of metrics, such as numeric: {relative: 0.01}")
    lm_eval: HarnessCard | None = Field(
        None, description="a task of lm-evaluation-harness, which then says what is asked and how it is scored"
    )
    judge: JudgeCard | None = Field(None, description="the model that rates answers, for the metrics judge_…")
    slices: list[Slice] = Field([], description="what to tell apart in the report and in the gate")
    generation: Generation = Field(Generation(), description="how answers are asked for")
    thresholds: Thresholds = Field(Thresholds(), description="what a version must meet")

    @field_validator("samples")
    @classmethod
    def _files_are_inside(cls, samples: str | list[str]) -> str | list[str]:
        for name in files_of(samples):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"data files lie in the suite's folder, found {name!r}")
        return samples

    @model_validator(mode="after")
    def _a_task_says_the_rest(self) -> SuiteCard:
        decided = {"samples", "metrics", "primary", "options", "generation"} & self.model_fields_set
        if self.lm_eval is not None and decided:
            raise ValueError(f"a suite with `lm_eval` has no {', '.join(sorted(decided))}: the task says that")
        return self

    @model_validator(mode="after")
    def _judge_is_named(self) -> SuiteCard:
        rated = [name.removeprefix("judge_") for name in self.metrics if name.startswith("judge_")]
        if rated and self.judge is None:
            raise ValueError(f"metric judge_{rated[0]} needs a `judge`: the model that rates the answers")
        known = [*self.judge.dimensions, *(["preference"] if self.judge.pairwise else [])] if self.judge else []
        for name in rated:
            if name not in known:
                raise ValueError(
                    f"metric judge_{name} is not what the judge is asked: `judge` rates {', '.join(known) or 'nothing'}"
                )
        return self

    @model_validator(mode="after")
    def _metrics_are_measured(self) -> SuiteCard:
        if self.lm_eval is not None:
            return self
        for what, names in (
            ("primary metric", [self.primary]),
            ("hard threshold", list(self.thresholds.hard)),
            ("options for", list(self.options)),
        ):
            for name in names:
                if name not in self.metrics:
                    raise ValueError(f"{what} {name!r} is not among metrics {self.metrics}")
        return self


@dataclass(frozen=True)
class Outline:
    """What differs between the suites that Locum writes: the rest of the card is in its template, with comments."""

    description: str = "The test split of the domain's own data."
    samples: str = TEST_SPLIT
    metrics: tuple[str, ...] = ("exact_match", "token_f1", "rouge_l")
    primary: str = "exact_match"
    slices: tuple[Slice, ...] = ()
    max_tokens: int = 64
    choices: tuple[str, ...] = ()


def suite_yaml(domain: str, name: str, outline: Outline) -> str:
    """A commented suite card."""
    template = Template((Path(__file__).parent / "templates" / SUITE_FILE).read_text(encoding="utf-8"))
    return template.substitute(
        DOMAIN=domain,
        NAME=name,
        DESCRIPTION=flow(outline.description),
        SAMPLES=outline.samples if outline.samples == TEST_SPLIT else f"[{outline.samples}]",
        METRICS=", ".join(outline.metrics),
        PRIMARY=outline.primary,
        SLICES=", ".join(outline.slices),
        MAX_TOKENS=outline.max_tokens,
        CHOICES=_choices(outline.choices),
    )


def _choices(choices: tuple[str, ...]) -> str:
    if not choices:
        return ""
    listed = "".join(f"    - {flow(choice)}\n" for choice in choices)
    return f"  # Every model is held to one of these. Without them it may say anything.\n  choices:\n{listed}"


def check_suite_name(name: str) -> None:
    """Refuse what no suite can be called.

    Raises:
        BadInputError: the name is not one a suite can have.
    """
    if not re.fullmatch(NAME_PATTERN.removesuffix("$"), name):
        raise BadInputError(
            f"{name!r} is not a suite's name: expected at most 63 lower-case letters, digits, - and _, "
            "beginning with a letter"
        )


def files_of(samples: str | list[str]) -> list[str]:
    """The data files that a suite names; none where it asks the test split."""
    if samples == TEST_SPLIT:
        return []
    return [samples] if isinstance(samples, str) else samples


def load_suite_card(folder: Path) -> SuiteCard:
    """Read and check the card of the suite in `folder`.

    Raises:
        BadInputError: it is wrong, or names another suite than its folder.
    """
    path = folder / SUITE_FILE
    card = read_yaml(
        path, SuiteCard, what="a suite card", hint="locum suite new DOMAIN NAME writes a commented one to compare with"
    )
    if card.name != folder.name:
        raise BadInputError(f"{path}: name: expected {folder.name!r}, as the folder is called (found {card.name!r})")
    return card


def load_suite_cards(domain_folder: Path) -> tuple[list[SuiteCard], dict[str, BadInputError]]:
    """The cards of all suites of a domain, by name, and what is wrong with those that cannot be read, by folder."""
    cards, wrong = [], {}
    for path in sorted((domain_folder / SUITES_FOLDER).glob(f"*/{SUITE_FILE}")):
        try:
            cards.append(load_suite_card(path.parent))
        except BadInputError as error:
            wrong[path.parent.name] = error
    return cards, wrong
