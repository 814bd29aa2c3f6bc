"""Whether what a suite asks is in the training split: asked there too, nearly asked, or of a group that is there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from locum.adapters.conversations import Conversation, Preference, normalise, read_conversations, read_preferences
from locum.adapters.likeness import LikenessIndex
from locum.adapters.manifest import Manifest
from locum.evaluate.findings import Finding, Row, Watch

TRAIN_FILE = "train.jsonl"
PREFERENCES = "preferences"  # the folder of a domain's preference pairs among its splits, which alignment learns from
EVERY = 500  # rows from one look at the bar to the next


@dataclass(frozen=True)
class Seen:
    """What training has of one row of a suite: how closely, and where first. `rank` is 2 for the very question."""

    rank: int
    sentence: str


@dataclass(frozen=True)
class Overlap:
    """What was found in a training split, by the row's key; and the split's digest, as data have it."""

    train: Path
    seen: dict[tuple[str, str], Seen]
    digest: str
    rows: int


def training_files(data_path: Path) -> list[Path]:
    """The training splits of a domain that are there: of its conversations, and of its preference pairs."""
    return [path for path in (data_path / TRAIN_FILE, data_path / PREFERENCES / TRAIN_FILE) if path.is_file()]


def look_for_overlap(rows: Sequence[Row], train: Path, *, threshold: float, watch: Watch) -> Overlap:
    """Look for the rows of suites in a training split. The split is read once, and is not held in memory.

    Args:
        threshold: from which similarity on, by Jaccard, two questions are near duplicates.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: it is no file of conversations; of preference pairs, in the folder of these.
    """
    index = LikenessIndex([row.said for row in rows], threshold=threshold)
    asked: dict[str, list[Row]] = {}
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        asked.setdefault(_plain(row.said), []).append(row)
        if row.group is not None:
            grouped.setdefault(row.group, []).append(row)
    seen: dict[tuple[str, str], Seen] = {}
    digest, separator, number = hashlib.sha256(), "", 0
    total, done = train.stat().st_size if train.is_file() else 0, 0
    name = f"{PREFERENCES}/{train.name}" if _of_pairs(train) else train.name
    for number, learnt in enumerate(_read(train), start=1):
        digest.update((separator + learnt.digest).encode())
        separator = "\n"
        where = f"row {number} of {name}"
        for row, found in _found(learnt, where, rows, index, asked, grouped):
            if row.key not in seen or seen[row.key].rank < found.rank:
                seen[row.key] = found
        done += len(learnt.model_dump_json())
        if number % EVERY == 0:
            watch("overlap with training", min(done, total), total)
    return Overlap(train, seen, digest.hexdigest(), number)


def overlap_findings(rows: Sequence[Row], overlap: Overlap, *, learner: str) -> list[Finding]:
    """What was found of these rows, as a sentence about each.

    Args:
        learner: who has learned from the split, or will: `medical@3 has learned`.
    """
    return [
        Finding(
            check="overlap",
            place=row.place,
            sentence=f"{row.label}{overlap.seen[row.key].sentence}, and {learner} from that",
            advice="take it out of the suite, or train without it: what was learned by heart shows nothing",
        )
        for row in rows
        if row.key in overlap.seen
    ]


def learned_from(manifest: Manifest, overlap: Overlap) -> bool:
    """Whether the split that was read is the very one that the version learned from."""
    return manifest.data is not None and manifest.data.splits["train"].digest == overlap.digest


def _of_pairs(train: Path) -> bool:
    return train.parent.name == PREFERENCES


def _read(train: Path) -> Iterator[Conversation | Preference]:
    if _of_pairs(train):
        yield from read_preferences(train)
    else:
        yield from read_conversations(train)


def _found(
    learnt: Conversation | Preference,
    where: str,
    rows: Sequence[Row],
    index: LikenessIndex,
    asked: dict[str, list[Row]],
    grouped: dict[str, list[Row]],
) -> Iterator[tuple[Row, Seen]]:
    for row in asked.get(_plain(learnt.question), []):
        yield row, Seen(2, f"asks what {where} asks")
    for like in index.like(learnt.question):
        sentence = f"asks nearly what {where} asks (similarity {like.similarity:.2f})"
        yield rows[like.place], Seen(1, sentence)
    for row in grouped.get(learnt.group or "", []):
        yield row, Seen(0, f"is of the group {learnt.group!r}, as {where} is")


def _plain(question: str) -> str:
    """A question without case, punctuation and spacing; one of nothing else stands as it is."""
    return normalise(question) or question
