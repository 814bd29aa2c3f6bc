"""Suites: the versioned samples, metrics and thresholds that an evaluation is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from locum.adapters.card import CARD_FILE
from locum.adapters.conversations import Message
from locum.adapters.domains import Domain, load_domain
from locum.adapters.manifest import Part
from locum.adapters.suites import (
    SUITE_FILE,
    SUITES_FOLDER,
    Generation,
    SuiteCard,
    Thresholds,
    files_of,
    load_suite_card,
)
from locum.errors import BadInputError, NotFoundError
from locum.evaluate.samples import Sample, read_samples
from locum.evaluate.suite_digest import digest, parts_of
from locum.text import alternatives

TEST_FILE = "test.jsonl"
GENERAL = "general"  # the suite of general ability that Locum brings


@dataclass(frozen=True)
class Suite:
    """A suite as it is asked. Two suites with the same digest give verdicts that can be compared; `parts` are the
    digests that it is made of.

    `guard` marks a suite of somewhere else, which a version is asked to show that it does no harm there: it need not
    gain anything, and is held against the base model while there is no version in production.
    """

    domain: str
    card: SuiteCard
    digest: str
    samples: tuple[Sample, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    guard: bool = False
    parts: Mapping[Part, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def title(self) -> str:
        """For people, who may look at suites of several domains."""
        return f"{self.domain} · {self.name}"

    @property
    def metrics(self) -> list[str]:
        return self.card.metrics

    @property
    def primary(self) -> str:
        return self.card.primary

    @property
    def generation(self) -> Generation:
        return self.card.generation

    @property
    def thresholds(self) -> Thresholds:
        return self.card.thresholds

    def limited(self, count: int) -> Suite:
        """The first `count` samples, for a quick look. The digest differs, so this is never evidence for a release."""
        return replace(self, samples=self.samples[:count], digest=digest([self.digest, count]))


def load_suites(domain: Domain, data_path: Path, name: str | None = None) -> list[Suite]:
    """The suites of a domain, by name, with their samples; or the one called `name`, whatever is wrong with others.

    Samples are ordered by the hash of their content, so that the order of rows in the file does not matter, and
    `limit` takes the first of that order, so that a growing file changes the choice little. Of identical rows one
    counts. A sample without a system message gets the card's, as in training.

    Args:
        data_path: the folder of the domain's splits, `Settings.data_path(domain.name)`.

    Raises:
        NotFoundError: the domain has no suite, none of that name, or a suite's samples are not there.
        BadInputError: a card is wrong, a row is malformed, two samples have one id, or a suite holds no sample.
    """
    if not domain.suite_names:
        raise NotFoundError(
            f"{domain.name} has no suite: there is no {domain.folder / SUITES_FOLDER}/NAME/{SUITE_FILE}",
            hint=f"locum suite new {domain.name} NAME writes one",
        )
    names = domain.suite_names if name is None else [name]
    return [load_suite(domain, domain.suite(each), data_path) for each in names]


def load_guards(domain: Domain, domains: Path, data: Path) -> list[Suite]:
    """The guard suites that the card names, with thresholds that ask only for no harm.

    Args:
        domains: the folder of all domains.
        data: the folder of all domains' splits.

    Raises:
        NotFoundError: there is no such suite or no data of it.
        BadInputError: a name is not `general` or DOMAIN/SUITE, or is one of the domain itself.
    """
    return [load_guard(domain, name, domains, data) for name in domain.card.elsewhere.suites]


def guard_name(name: str) -> str:
    """What a guard suite is called where a version is asked it: `elsewhere-legal-licences`."""
    return f"elsewhere-{name.replace('/', '-')}"[:63]


def choose_suites(suites: list[Suite], name: str | None) -> list[Suite]:
    """The suite called `name`, or all of them.

    Raises:
        NotFoundError: there is none of that name; the message lists those there are.
    """
    chosen = [suite for suite in suites if name in (None, suite.name)]
    if not chosen:
        known = [suite.name for suite in suites]
        raise NotFoundError(f"there is no suite {name!r} of {suites[0].domain}{alternatives(str(name), known)}")
    return chosen


def require_system_role(domain: Domain, card: SuiteCard) -> None:
    """lm-evaluation-harness sends the system prompt as a system message, to the base model too."""
    if card.lm_eval is not None and card.lm_eval.chat and domain.card.recipe.system_role == "user":
        raise BadInputError(
            f"suite {card.name!r} of {domain.name}: lm-evaluation-harness cannot put the system prompt before the "
            "first question (recipe.system_role: user)",
            hint="lm_eval: {chat: false} asks without the chat template; or ask with samples of the suite's own",
        )


def read_suite_samples(domain: Domain, card: SuiteCard, data_path: Path) -> list[Sample]:
    """All samples of a suite in the order of its files, repeated ones too, each with its system message.

    Raises:
        NotFoundError: a file is not there.
        BadInputError: a row is malformed.
    """
    system = Message(role="system", content=domain.card.system_prompt)
    return [
        _with_system(sample, system)
        for path in suite_files(domain, card, data_path)
        for sample in _read(path, domain, card)
    ]


def suite_files(domain: Domain, card: SuiteCard, data_path: Path) -> list[Path]:
    """The files that a suite's samples lie in, there or not: its own, or the domain's test split."""
    own = [domain.folder / SUITES_FOLDER / card.name / name for name in files_of(card.samples)]
    return own or [data_path / TEST_FILE]


def asked_of(samples: Iterable[Sample], limit: int | None) -> list[Sample]:
    """Those samples that a suite with this limit asks, in the order in which it asks them. Of equal ids one counts."""
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.id, sample)
    return _ordered(first.values())[:limit]


def load_suite(domain: Domain, card: SuiteCard, data_path: Path) -> Suite:
    """One suite with its samples; raises what `load_suites` raises."""
    if card.lm_eval is not None:
        from locum.evaluate.harness import load_harness_suite

        require_system_role(domain, card)
        folder = domain.folder / SUITES_FOLDER / card.name
        return load_harness_suite(domain.name, card, folder=folder, system=domain.card.system_prompt)
    samples: dict[str, Sample] = {}
    for sample in read_suite_samples(domain, card, data_path):
        other = samples.setdefault(sample.id, sample)
        if not other.expects_the_same(sample):
            raise BadInputError(
                f"suite {card.name!r} of {domain.name}: two samples have the id {sample.id!r}",
                hint=f"ids must differ, or be left out; `locum suite check {domain.name}` lists what is wrong",
            )
    if not samples:
        files = suite_files(domain, card, data_path)
        empty = f"{', '.join(str(file) for file in files)} {'is' if len(files) == 1 else 'are'} empty"
        raise BadInputError(
            f"suite {card.name!r} of {domain.name} holds no sample: {empty}", hint="add rows: docs/suites.md"
        )
    options = domain.card.metric_options()
    return assemble(domain.name, card, _ordered(samples.values())[: card.limit], options=options)


def assemble(
    domain: str,
    card: SuiteCard,
    samples: Sequence[Sample],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    guard: bool = False,
) -> Suite:
    """A suite of the given samples, with the digest over all that its verdict depends on.

    Args:
        options: what the domain's card sets for metrics; the suite's own options go over them.
    """
    in_force = {
        name: {**(options or {}).get(name, {}), **card.options.get(name, {})}
        for name in card.metrics
        if name in {*(options or {}), *card.options}
    }
    parts = parts_of(card, samples, in_force, guard=guard)
    return Suite(domain, card, digest(parts), tuple(samples), in_force, guard, parts)


def _ordered(samples: Iterable[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda sample: hashlib.sha256(sample.id.encode()).digest())


def load_guard(domain: Domain, name: str, domains: Path, data: Path) -> Suite:
    """One guard suite, by its name in the card; raises what `load_guards` raises."""
    elsewhere = domain.card.elsewhere
    other_name, _, suite_name = name.rpartition("/")
    if name == GENERAL:
        folder = Path(__file__).parent / SUITES_FOLDER / GENERAL
        card = load_suite_card(folder)
        samples = [sample for file in files_of(card.samples) for sample in read_samples(folder / file)]
        loaded = assemble(domain.name, card, _ordered(samples))
    elif not other_name or other_name == domain.name:
        raise BadInputError(
            f"{domain.folder / CARD_FILE}: elsewhere.suites: expected `general` or a suite of another domain, "
            f"such as legal/licences (found {name!r})"
        )
    else:
        other = load_domain(domains, other_name)
        try:
            [loaded] = load_suites(other, data / other_name, suite_name)
        except BadInputError as error:
            raise type(error)(f"{domain.name}'s card asks {name!r}: {error}", hint=error.hint) from None
    chosen = list(loaded.samples)[: elsewhere.limit]
    thresholds = Thresholds(
        min_samples=min(len(chosen), loaded.thresholds.min_samples),
        min_gain=None,
        margin=elsewhere.margin,
        confidence=loaded.thresholds.confidence,
        slice_margin=1.0,
    )
    card = loaded.card.model_copy(update={"name": guard_name(name), "thresholds": thresholds, "slices": []})
    return assemble(domain.name, card, chosen, options=loaded.options, guard=True)


def _with_system(sample: Sample, system: Message) -> Sample:
    if sample.messages[0].role == "system":
        return sample
    return replace(sample, messages=(system, *sample.messages))


def without_prompt(sample: Sample, domain: Domain) -> Sample:
    """The sample without the card's own system message, which it gets back when it is read: so it follows the card."""
    first = sample.messages[0]
    if first.role != "system" or first.content != domain.card.system_prompt:
        return sample
    return replace(sample, messages=sample.messages[1:])


def _read(path: Path, domain: Domain, card: SuiteCard) -> list[Sample]:
    if not path.is_file():
        where = f"`samples` in {domain.folder / SUITES_FOLDER / card.name / SUITE_FILE} names the file"
        hint = f"locum data build {domain.name}" if not files_of(card.samples) else where
        raise NotFoundError(f"suite {card.name!r} of {domain.name}: there is no file {path}", hint=hint)
    return list(read_samples(path))
