"""Train, validation and test: chosen by a hash of each row, so that a split never changes when rows are added."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from locum.adapters.conversations import Conversation, normalise
from locum.adapters.manifest import DataRecord, Split
from locum.errors import CheckFailedError

SplitName = Literal["train", "validation", "test"]
# From the one that is kept whole to the one that gives way: what is in an earlier split is dropped from a later one.
ORDER: tuple[SplitName, ...] = ("test", "validation", "train")
BUCKETS = 10


@dataclass(frozen=True)
class Splits:
    """The three splits of a domain's rows, and how many rows fell out on the way."""

    train: list[Conversation]
    validation: list[Conversation]
    test: list[Conversation]
    duplicates: int
    """Rows that are word for word in the same split already."""
    variants: int
    """Rows of train or validation that ask what a row of a split before them asks, trivial changes aside."""

    def named(self, name: SplitName) -> list[Conversation]:
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


def split_of(conversation: Conversation) -> SplitName:
    """The split of a row, by its group or else its content: a tenth test, a tenth validation, the rest train."""
    key = conversation.group or conversation.digest
    bucket = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % BUCKETS
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def split_rows(rows: Iterable[Conversation]) -> Splits:
    """Distribute rows over the splits, in their order, without duplicates and without leaks.

    A row stays where it is whatever is added; all that can happen to a row of train or validation is that it falls
    out, when a row is added to a split before it that asks the same.
    """
    rows_of: dict[SplitName, list[Conversation]] = {"train": [], "validation": [], "test": []}
    for row in rows:
        rows_of[split_of(row)].append(row)
    asked: set[str] = set()
    duplicates = variants = 0
    for name in ORDER:
        fresh = [row for row in rows_of[name] if normalise(row.question) not in asked]
        distinct = list({row.digest: row for row in reversed(fresh)}.values())[::-1]
        variants += len(rows_of[name]) - len(fresh)
        duplicates += len(fresh) - len(distinct)
        asked.update(normalise(row.question) for row in distinct)
        rows_of[name] = distinct
    return Splits(rows_of["train"], rows_of["validation"], rows_of["test"], duplicates, variants)


def check_leaks(
    train: Sequence[Conversation], validation: Sequence[Conversation], test: Sequence[Conversation]
) -> str:
    """Make sure that nothing held out, nor a trivial variant of it, is trained on; returns the result as a sentence.

    Raises:
        CheckFailedError: something is; says how much, and shows one.
    """
    held_out = {normalise(row.question): row for row in test}
    for name, rows in (("training", train), ("validation", validation)):
        leaked = [row for row in rows if normalise(row.question) in held_out]
        if leaked:
            raise CheckFailedError(
                f"{len(leaked)} of {len(rows):,} {name} items ask what a test item asks, expected none; "
                f"the first: {leaked[0].question!r}",
                hint="locum data build DOMAIN drops them",
            )
    trained = {normalise(row.question) for row in train}
    leaked = [row for row in validation if normalise(row.question) in trained]
    if leaked:
        raise CheckFailedError(
            f"{len(leaked)} of {len(validation):,} validation items ask what a training item asks, expected none; "
            f"the first: {leaked[0].question!r}",
            hint="locum data build DOMAIN drops them",
        )
    return (
        f"0 of {len(test):,} test items, nor a trivial variant of one, are among the {len(train):,} training items"
    )


def data_record(splits: dict[SplitName, list[Conversation]]) -> DataRecord:
    """Rows and digest of each split. The order of rows does not count."""
    records = {name: Split(rows=len(rows), digest=_digest(rows)) for name, rows in splits.items()}
    together = "".join(f"{name} {records[name].digest}\n" for name in sorted(records))
    return DataRecord(digest=hashlib.sha256(together.encode()).hexdigest(), splits=records)


def _digest(rows: Sequence[Conversation]) -> str:
    return hashlib.sha256("\n".join(sorted(row.digest for row in rows)).encode()).hexdigest()
