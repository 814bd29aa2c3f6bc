"""Suites: the versioned samples, metrics and thresholds that an evaluation is made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from locum.adapters.card import GateCard, SuiteCard
from locum.adapters.conversations import Message, read_conversations
from locum.adapters.domains import Domain
from locum.errors import BadInputError, NotFoundError

TEST_SPLIT = "test"


@dataclass(frozen=True)
class Sample:
    """One question and the answer that is expected.

    `group` names what the sample belongs to (a code, a document): samples of one group are not independent evidence.
    """

    id: str
    messages: tuple[Message, ...]
    reference: str
    group: str

    @property
    def question(self) -> str:
        """The last thing the user says."""
        return self.messages[-1].content


@dataclass(frozen=True)
class Suite:
    """A suite as it is asked. Two suites with the same digest give verdicts that can be compared."""

    domain: str
    name: str
    digest: str
    samples: tuple[Sample, ...]
    metrics: tuple[str, ...]
    primary: str
    max_tokens: int
    temperature: float
    choices: tuple[str, ...] | None = None
    """The admissible answers, to which the server holds every model; none leaves them free."""

    def limited(self, count: int) -> Suite:
        """The first `count` samples, for a quick look. The digest differs, so this is never evidence for a release."""
        digest = hashlib.sha256(f"{self.digest}:{count}".encode()).hexdigest()
        return replace(self, samples=self.samples[:count], digest=digest)


def load_suites(domain: Domain, data_path: Path) -> list[Suite]:
    """The suites of a domain's card, in the card's order, with their samples.

    Samples are ordered by the hash of their content, so that the order of rows in the file does not matter, and
    `limit` takes the first of that order, so that a growing file changes the choice little. Of identical rows one
    counts. A sample without a system message gets the card's, as in training.

    Args:
        data_path: the folder of the domain's splits, `Settings.data_path(domain.name)`.

    Raises:
        NotFoundError: a suite's samples are not there.
        BadInputError: a row is malformed, or a suite holds no sample.
    """
    return [_load_suite(domain, card, data_path) for card in domain.card.suites]


def choose_suites(suites: list[Suite], name: str | None) -> list[Suite]:
    """The suite called `name`, or all of them.

    Raises:
        NotFoundError: there is none of that name; the message lists those there are.
    """
    chosen = [suite for suite in suites if name in (None, suite.name)]
    if not chosen:
        known = ", ".join(suite.name for suite in suites)
        raise NotFoundError(f"there is no suite {name!r} in the card of {suites[0].domain} (there are: {known})")
    return chosen


def _load_suite(domain: Domain, card: SuiteCard, data_path: Path) -> Suite:
    path = _samples_path(domain, card, data_path)
    samples = {}
    for conversation in read_conversations(path):
        messages = tuple(conversation.prompt)
        if messages[0].role != "system":
            messages = (Message(role="system", content=domain.card.system_prompt), *messages)
        identity = conversation.digest[:16]
        samples[identity] = Sample(identity, messages, conversation.answer, conversation.group or identity)
    if not samples:
        raise BadInputError(f"suite {card.name!r} of {domain.name}: {path} holds no sample")
    chosen = tuple(samples[identity] for identity in sorted(samples)[: card.limit])
    return Suite(
        domain=domain.name,
        name=card.name,
        digest=_digest(chosen, card, domain.card.gate),
        samples=chosen,
        metrics=tuple(card.metrics),
        primary=card.primary,
        max_tokens=card.max_tokens,
        temperature=card.temperature,
        choices=tuple(card.choices) if card.choices else None,
    )


def _samples_path(domain: Domain, card: SuiteCard, data_path: Path) -> Path:
    if card.samples == TEST_SPLIT:
        path, hint = data_path / "test.jsonl", f"locum data build {domain.name}"
    else:
        path, hint = domain.folder / card.samples, f"`samples` in {domain.folder / 'card.yaml'} names the file"
    if not path.is_file():
        raise NotFoundError(f"suite {card.name!r} of {domain.name}: there is no file {path}", hint=hint)
    return path


def _digest(samples: tuple[Sample, ...], card: SuiteCard, gate: GateCard) -> str:
    """SHA-256 over everything that a verdict depends on: samples, metrics, generation settings and thresholds."""
    content = {
        "samples": [
            {**asdict(sample), "messages": [message.model_dump() for message in sample.messages]} for sample in samples
        ],
        "metrics": card.metrics,
        "primary": card.primary,
        "max_tokens": card.max_tokens,
        "temperature": card.temperature,
        "choices": card.choices,
        "gate": gate.model_dump(),
    }
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
