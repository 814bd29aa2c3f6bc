"""Splits: 80/10/10 by a hash of each row, without a leak between them.

Which split a row falls into depends on that row alone, so adding rows never moves one. What can happen is that a row of
train or validation is dropped because a row that asks the same thing has come into test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from locum.adapters.conversations import Conversation, normalise
from locum.adapters.manifest import DataRecord, Split
from locum.errors import CheckFailedError

SplitName = Literal["train", "validation", "test"]
NAMES: tuple[SplitName, ...] = ("train", "validation", "test")
BUCKETS = 10  # one for test, one for validation, the rest for train


@dataclass(frozen=True)
class Splits:
    """The rows of each split in the order of their digests, and what was left out on the way."""

    train: list[Conversation]
    validation: list[Conversation]
    test: list[Conversation]
    duplicates: int
    """Rows that were there before, word for word."""
    variants: int
    """Rows of train or validation that ask what a row of a split held out before them asks."""

    def rows(self, name: SplitName) -> list[Conversation]:
        """The rows of the split called `name`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


def split_name(conversation: Conversation) -> SplitName:
    """The split that a row belongs to, by its group, or else by its content."""
    key = conversation.group or conversation.digest
    bucket = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % BUCKETS
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def question_key(conversation: Conversation) -> str:
    """What a row asks, without case, punctuation and spacing; a question of nothing else stands as it is."""
    return normalise(conversation.question) or conversation.question


def split(conversations: Iterable[Conversation]) -> Splits:
    """Deal rows to their splits; drop duplicates, and from train and validation what a held-out row asks too."""
    dealt: dict[SplitName, dict[str, Conversation]] = {name: {} for name in NAMES}
    read = 0
    for conversation in conversations:
        read += 1
        dealt[split_name(conversation)].setdefault(conversation.digest, conversation)
    unique = {name: [dealt[name][digest] for digest in sorted(dealt[name])] for name in NAMES}

    test = unique["test"]
    validation = _without(unique["validation"], _questions(test))
    train = _without(unique["train"], _questions(test) | _questions(validation))
    distinct = sum(len(rows) for rows in unique.values())
    kept = len(train) + len(validation) + len(test)
    return Splits(train, validation, test, duplicates=read - distinct, variants=distinct - kept)


def check_leaks(splits: Splits) -> str:
    """Make sure that no held-out item, nor a trivial variant of one, is learnt from; returns the result as a sentence.

    Raises:
        CheckFailedError: one is; says how many of which split, and shows one.
    """
    pairs: tuple[tuple[SplitName, SplitName], ...] = (
        ("test", "train"),
        ("test", "validation"),
        ("validation", "train"),
    )
    for held_out, learnt in pairs:
        asked = _questions(splits.rows(learnt))
        leaked = [row for row in splits.rows(held_out) if question_key(row) in asked]
        if leaked:
            raise CheckFailedError(
                f"{len(leaked):,} of {len(splits.rows(held_out)):,} {held_out} items are among the {learnt} items too, "
                f"expected none; the first: {leaked[0].question!r}",
                hint="locum data build DOMAIN drops them",
            )
    return (
        f"0 of {len(splits.test):,} test items, nor a trivial variant of one, "
        f"are among the {len(splits.train):,} training items"
    )


def data_record(splits: Splits) -> DataRecord:
    """Row count and digest of every split; the order of rows does not matter to a digest."""
    found = {name: Split(rows=len(splits.rows(name)), digest=split_digest(splits.rows(name))) for name in NAMES}
    listing = "".join(f"{found[name].digest}  {name}\n" for name in NAMES)
    return DataRecord(digest=hashlib.sha256(listing.encode()).hexdigest(), splits=found)


def split_digest(rows: Sequence[Conversation]) -> str:
    """SHA-256 over the sorted digests of the rows."""
    return hashlib.sha256("\n".join(sorted(row.digest for row in rows)).encode()).hexdigest()


def _questions(rows: Iterable[Conversation]) -> set[str]:
    return {question_key(row) for row in rows}


def _without(rows: Iterable[Conversation], questions: set[str]) -> list[Conversation]:
    return [row for row in rows if question_key(row) not in questions]
