"""What is recorded about a version and about an evaluation of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.system_prompt import Switch, SystemRole


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(_Record):
    """One split of a domain's data."""

    rows: int = Field(ge=0)
    digest: str = Field(description="SHA-256 over the split's rows")


class DataRecord(_Record):
    """Which data a version learned from."""

    digest: str = Field(description="SHA-256 over the digests of all splits")
    splits: dict[Literal["train", "validation", "test"], Split]


class Probe(_Record):
    """A known-answer prompt: what the adapter says to it, and how surely, by transformers and PEFT in float32.

    The log-probabilities are natural logarithms of the model's plain softmax at temperature 1, one for each token.
    """

    prompt: str = Field(description="the user's question, for people")
    prompt_ids: list[int] = Field(min_length=1, description="the prompt after the chat template")
    token_ids: list[int] = Field(min_length=1, description="the adapter's greedy continuation")
    logprobs: list[float] = Field(description="the adapter's log-probability of each of `token_ids`")
    base_logprobs: list[float] = Field(description="the base model's log-probability of each of `token_ids`")
    base_token_ids: list[int] = Field(min_length=1, description="the base model's own greedy continuation")
    base_own_logprobs: list[float] = Field(description="the base model's log-probability of each of `base_token_ids`")


NOT_STATED = "not stated"
"""What stands for a licence, or for what an adapter learned from, that nobody knows."""


class Origin(_Record):
    """Where an adapter came from that was not trained here."""

    source: str = Field(description="a hub repository as hf://ORG/NAME, or a folder")
    revision: str | None = Field(None, description="the commit of the hub repository")
    base: str | None = Field(None, description="the base model that it was made for, as it says itself")
    licence: str
    trained_on: str = Field(description="what it learned from, in a sentence")
    changes: list[str] = Field([], description="what was changed in its files to let it in, and what was left behind")


class Manifest(_Record):
    """Everything that is known about an adapter version. Never changes once registered."""

    domain: str
    number: int = Field(ge=1)
    digest: str = Field(description="SHA-256 over the artifact's files")
    base: str = Field(description="the base model's name")
    base_fingerprint: str
    rank: int = Field(ge=1)
    alpha: float
    target_modules: list[str]
    parameters: int = Field(ge=1, description="number of adapter weights")
    size: int = Field(ge=1, description="bytes of the artifact")
    system_prompt: str | None = Field(
        None, description="what it was trained and evaluated with; none in versions from before this was recorded"
    )
    system: Switch = Field("never", description="when a server gives a chat that system prompt")
    system_role: SystemRole = Field(
        "system", description="user: system messages reach the model before the first question of a chat"
    )
    recipe: dict[str, Any] = Field(
        {}, description="the training recipe as it ran; empty for an adapter brought from elsewhere"
    )
    data: DataRecord | None = None
    training: dict[str, Any] = Field({}, description="losses, tokens/s, time, memory, library versions: training.json")
    probes: list[Probe] = []
    enforced_notices: list[list[str]] = Field(
        [],
        description="notices that the server adds to an answer that lacks them: the wordings of each that count, the "
        "first of which is added",
    )
    origin: Origin | None = Field(None, description="of an adapter that was imported; nothing when it was trained here")
    code_version: str
    created_at: datetime
    created_by: str

    @property
    def name(self) -> str:
        return f"{self.domain}@{self.number}"


Part = Literal["samples", "card", "judge", "compliance"]
"""What a suite's digest is made of: what is asked, its own card, judge and rubric, the domain's compliance rules."""


class EvaluationRecord(_Record):
    """The result of one suite on one version against one live endpoint, as the registry keeps it.

    `version_digest`, `base_fingerprint` and `suite_digest` say for exactly what the evidence holds. Earlier records
    have neither `suite_parts` nor `missed` and `unclear`.
    """

    domain: str
    number: int
    version_digest: str
    base_fingerprint: str
    suite: str
    suite_digest: str
    suite_parts: dict[Part, str] = Field({}, description="the digests that the suite's is made of")
    suite_version: int | None = None
    passed: bool
    status: str | None = Field(None, description="passed, failed or not enough evidence")
    reasons: list[str] = Field(description="the gate's reasons in plain sentences")
    missed: list[str] = Field([], description="those of them that say what does not hold")
    unclear: list[str] = Field([], description="those of them that say what the samples cannot show")
    samples: int
    metric: str
    score: float
    score_interval: tuple[float, float] | None = Field(None, description="confidence interval of the score")
    score_range: tuple[float, float | None] | None = Field(
        None,
        description="the lowest and the highest score that there can be; none as the highest where there is no end",
    )
    higher_is_better: bool = True
    unit: str = ""
    base_score: float | None = None
    gain: float | None = None
    gain_interval: tuple[float, float] | None = Field(None, description="confidence interval of the gain over base")
    production: str | None = Field(None, description="the version in production that it was compared with, if any")
    endpoint: str
    result_path: str = Field(description="folder with result.json, samples.jsonl and report.html")
    created_at: datetime
    created_by: str
