"""What a suite looks like, for people: its sizes, its slices, and how long what it asks and expects is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.suites import Slice, Thresholds
from locum.evaluate.samples import Sample
from locum.evaluate.suite import Suite

FIELDS: tuple[Slice, ...] = get_args(Slice)


class SlicePicture(BaseModel):
    """How many samples share a value of a field, and whether the gate looks at them by themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str
    value: str
    samples: int
    judged: bool


class SuitePicture(BaseModel):
    """One suite in figures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    name: str
    version: int
    description: str
    samples: int
    groups: int
    kinds: dict[str, int]
    metrics: list[str]
    primary: str
    thresholds: Thresholds
    digest: str
    slices: list[SlicePicture] = Field(description="of every field that samples have, asked for by the card or not")
    questions: dict[str, int] = Field(description="samples by the characters that are asked, up to each power of two")
    answers: dict[str, int] = Field(description="samples by the characters that are expected")


def picture(suite: Suite) -> SuitePicture:
    """Describe a suite."""
    kinds = Counter(sample.kind for sample in suite.samples)
    return SuitePicture(
        domain=suite.domain,
        name=suite.name,
        version=suite.card.version,
        description=suite.card.description,
        samples=len(suite.samples),
        groups=len({sample.group for sample in suite.samples}),
        kinds=dict(sorted(kinds.items())),
        metrics=suite.metrics,
        primary=suite.primary,
        thresholds=suite.thresholds,
        digest=suite.digest,
        slices=[each for field in FIELDS for each in _slices(suite, field)],
        questions=_lengths([asked_characters(sample) for sample in suite.samples]),
        answers=_lengths([len(sample.reference) for sample in suite.samples if sample.reference]),
    )


def asked_characters(sample: Sample) -> int:
    """Characters of all that is said before the answer, but for the system's prompt."""
    return sum(len(message.content) for message in sample.messages if message.role != "system")


def bars(counts: dict[str, int], *, width: int = 40) -> list[tuple[str, str, int]]:
    """A histogram in text: each name, its bar, its count. The longest bar has `width` blocks."""
    most = max(counts.values(), default=1)
    return [(name, bar(count / most, width=width), count) for name, count in counts.items()]


def bar(share: float, *, width: int) -> str:
    """A bar of eighths of blocks; whatever is more than nothing can be seen."""
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _slices(suite: Suite, field: Slice) -> list[SlicePicture]:
    sizes = Counter(sample.slices[field] for sample in suite.samples if field in sample.slices)
    least = suite.thresholds.slice_min_samples
    return [
        SlicePicture(field=field, value=value, samples=count, judged=field in suite.card.slices and count >= least)
        for value, count in sorted(sizes.items())
    ]


def _lengths(lengths: Sequence[int]) -> dict[str, int]:
    """Counts by length, up to each power of two, from the shortest to the longest."""
    counts = Counter(max(0, length - 1).bit_length() for length in lengths)
    if not counts:
        return {}
    return {f"≤ {1 << power:,}": counts[power] for power in range(min(counts), max(counts) + 1)}
