"""Divide a suite in two: one to look at while an adapter is tuned, the other only before a release.

No group is ever in both. Within each topic the groups with the lowest hashes go to the first part, so the same input
gives the same parts, and few groups change sides when the suite grows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from locum.adapters.domains import Domain
from locum.adapters.suites import SUITE_FILE, SUITES_FOLDER, SuiteCard, check_suite_name
from locum.adapters.yamlfile import changed
from locum.errors import BadInputError, ConflictError, NotFoundError
from locum.evaluate.samples import Sample, read_samples
from locum.evaluate.suite import asked_of, suite_files
from locum.evaluate.suite_examples import DATA_FILE
from locum.evaluate.suite_new import rows_of, write_suite


@dataclass(frozen=True)
class Part:
    """One of the two new suites."""

    name: str
    card: Path
    samples: int
    groups: int
    topics: dict[str, int]


def split_suite(
    domain: Domain, card: SuiteCard, data_path: Path, *, into: tuple[str, str], share: float
) -> tuple[Part, Part]:
    """Write two new suites that share the samples of one, which stays as it is.

    Their cards are the old one's, with other names and samples of their own.

    Args:
        data_path: the folder of the domain's splits.
        into: the names of the two.
        share: of the samples that go to the first, between 0 and 1.

    Raises:
        BadInputError: a name is none that a suite can have, both are one, the share is 0 or 1 or beyond, the suite asks
            a task of another tool, or the groups are too few or too large for both to have a sample.
        NotFoundError: a file of the suite is not there.
        ConflictError: there is a suite of one of the names already.
    """
    _check_names(domain, into)
    if card.lm_eval is not None:
        raise BadInputError(
            f"suite {card.name!r} of {domain.name} asks the task {card.lm_eval.task!r}, which has its own samples and "
            "cannot be divided"
        )
    paths = suite_files(domain, card, data_path)
    if missing := [path for path in paths if not path.is_file()]:
        raise NotFoundError(
            f"suite {card.name!r} of {domain.name}: there is no file {missing[0]}",
            hint=f"locum suite check {domain.name} {card.name} says what is missing",
        )
    samples = asked_of((sample for path in paths for sample in read_samples(path)), card.limit)
    first, second = divide(samples, share)
    if not first or not second:
        groups = len({sample.group for sample in samples})
        inside = f"{groups} group{'' if groups == 1 else 's'}"
        raise BadInputError(
            f"suite {card.name!r} of {domain.name} cannot be divided so: {len(samples)} samples in {inside} "
            f"leave nothing for {into[1] if first else into[0]} at a share of {share:g}",
            hint="a group is never parted: choose another share, or give the samples smaller groups",
        )
    text = (domain.folder / SUITES_FOLDER / card.name / SUITE_FILE).read_text(encoding="utf-8")
    one, other = (_write(domain, name, text, part) for name, part in zip(into, (first, second), strict=True))
    return one, other


def divide(samples: Sequence[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Deal whole groups to two parts, the first with about this share of each topic.

    What one topic's groups leave over or take too much, because none is parted, the next topic makes good.

    Raises:
        BadInputError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise BadInputError(f"--share {share:g}: expected a number between 0 and 1, such as 0.5")
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample)
    topics: dict[str, list[str]] = {}
    for name in sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest()):
        topics.setdefault(_topic(groups[name]), []).append(name)
    chosen: set[str] = set()
    owed, exact = Fraction(0), Fraction(str(share))
    for topic in sorted(topics):
        owed += exact * sum(len(groups[name]) for name in topics[topic])
        for name in topics[topic]:
            if Fraction(len(groups[name]), 2) <= owed:
                chosen.add(name)
                owed -= len(groups[name])
    return (
        [sample for sample in samples if sample.group in chosen],
        [sample for sample in samples if sample.group not in chosen],
    )


def _topic(samples: Sequence[Sample]) -> str:
    """The topic that most samples of a group have; of as many, the first by name."""
    counts = Counter(sample.slices.get("topic", "") for sample in samples)
    return min(counts, key=lambda topic: (-counts[topic], topic))


def _check_names(domain: Domain, into: tuple[str, str]) -> None:
    if into[0] == into[1]:
        raise BadInputError(f"--into {','.join(into)}: expected two different names, such as dev,holdout")
    for name in into:
        check_suite_name(name)
        folder = domain.folder / SUITES_FOLDER / name
        if folder.exists():
            raise ConflictError(f"{folder} is there already", hint="choose other names: --into dev,holdout")


def _write(domain: Domain, name: str, card: str, samples: Sequence[Sample]) -> Part:
    text = changed(card, {"name": name, "samples": f"[{DATA_FILE}]", "limit": None})
    path = write_suite(domain, name, text, rows=rows_of(domain, samples))
    topics = Counter(sample.slices["topic"] for sample in samples if "topic" in sample.slices)
    groups = len({sample.group for sample in samples})
    return Part(name, path, len(samples), groups, dict(sorted(topics.items())))
