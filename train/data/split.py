"""Splits: 80/10/10 by a hash of each row's group, by topic where rows have one.

Which split a row without a topic falls into depends on that row alone, so adding rows never moves one. Within a topic
the groups with the lowest hashes are the test split, the next the validation split, so that each topic has its share of
both; adding rows to it moves few groups.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from locum.adapters.conversations import Conversation, Preference, normalise

SplitName = Literal["train", "validation", "test"]
NAMES: tuple[SplitName, ...] = ("train", "validation", "test")
BUCKETS = 10  # one for test, one for validation, the rest for train
CHANGED = 0.25


@dataclass(frozen=True)
class Group:
    """Rows that must not be parted: the hash of what they have in common, and how many they are."""

    key: bytes
    rows: int


def key_of(row: Conversation | Preference) -> bytes:
    """The hash of a row's group, or else of its content."""
    return hashlib.sha256((row.group or row.digest).encode()).digest()


def question_key(row: Conversation | Preference) -> str:
    """What a row asks, without case, punctuation and spacing; a question of nothing else stands as it is."""
    return normalise(row.question) or row.question


def bucket(key: bytes) -> int:
    """0 is the test split's, 1 the validation split's."""
    return int.from_bytes(key[:4], "big") % BUCKETS


def split_of(key: bytes) -> SplitName:
    """The split of rows without a topic."""
    return "test" if bucket(key) == 0 else "validation" if bucket(key) == 1 else "train"


def split_topic(groups: Iterable[Group], rows: int) -> Iterator[tuple[Group, SplitName]]:
    """Deal the groups of one topic, which come in the order of `place`; `rows` is how many rows it has.

    A group that would fill a split by more than half of itself too far goes to the next.
    """
    share = rows / BUCKETS
    filled: dict[SplitName, int] = {"test": 0, "validation": 0}
    for group in groups:
        for name in filled:
            if filled[name] + group.rows / 2 <= share:
                filled[name] += group.rows
                yield group, name
                break
        else:
            yield group, "train"


def place(key: bytes) -> bytes:
    """Where a group comes in its topic: so that most groups are dealt as they would be without one."""
    return bytes([bucket(key)]) + key


def smallest_difference(samples: int) -> float:
    """The smallest difference of two models' accuracies that so many samples can show; 1 when they show none.

    With McNemar's test at 5 %, four times in five, when the two models differ on a quarter of the samples
    (Connor 1987, "Sample size for testing differences in proportions for the paired-sample design").
    """
    low, high = 0.0, CHANGED
    for _ in range(40):
        middle = (low + high) / 2
        needed = ((1.96 * math.sqrt(CHANGED) + 0.8416 * math.sqrt(CHANGED - middle**2)) / max(middle, 1e-9)) ** 2
        low, high = (low, middle) if needed <= samples else (middle, high)
    return high if high < CHANGED - 1e-6 else 1.0
