"""What people accepted, as rows of a build."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.card import DomainCard
from locum.adapters.conversations import Conversation, Message
from locum.train.data.documents import where
from locum.train.data.files import Watch
from locum.train.data.reading import Read
from locum.train.data.reviews import Item, Reviews
from locum.train.data.source import Origin

Kin = Callable[[str], list[tuple[str, str | None]]]
"""The groups and topics of a row of the source, by its digest."""


class ReviewRecord(BaseModel):
    """What a build's record says of items that a model wrote."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted: int
    pending: int
    rejected: int
    edited: int = Field(description="accepted items that whoever accepted them changed")
    at_once: int = Field(description="accepted items that were accepted all at once, with a reason, and not one by one")
    written_by: dict[str, int] = Field(description="accepted items of each teacher")
    accepted_by: dict[str, int]
    kinds: dict[str, int] = Field(description="accepted items of each kind")

    def __str__(self) -> str:
        told = f"{self.accepted:,} accepted items"
        if self.accepted:
            told += f" ({self.edited:,} edited, {self.at_once:,} accepted all at once), written by "
            told += f"{_listed(self.written_by)}, accepted by {_listed(self.accepted_by)}"
        return f"{told}; {self.pending:,} pending and {self.rejected:,} rejected are left out"


@dataclass(frozen=True)
class Accepted:
    """The accepted items of a domain as they were at one moment, and those that they are variants of."""

    path: Path
    items: list[Item]
    parents: dict[int, Item]
    record: ReviewRecord

    @property
    def rows(self) -> frozenset[str]:
        """Digests of the source's rows that there are variants of."""
        return frozenset(item.draft.row for item in self.items if item.draft.row)

    @property
    def state(self) -> str:
        """What is different when other items, or other texts, are accepted."""
        known = [[item.id, item.question, item.answer] for item in self.items]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def origin(self, card: DomainCard, kin: Kin) -> Origin:
        """They as one more origin of a build's rows; `kin` must know all rows of the source."""

        def rows(start: int, _: Watch) -> Iterator[Read]:
            found = (row for item in self.items for row in self._rows(item, card, kin))
            return (Read(str(self.path), number, row) for number, row in islice(enumerate(found, 1), start, None))

        return Origin(str(self.path), f"reviewed: {len(self.items):,} accepted items", rows)

    def _rows(self, item: Item, card: DomainCard, kin: Kin) -> Iterator[Conversation]:
        draft = item.draft
        if draft.row:
            # A row that is there in several groups is kept where it is held out: so are its variants then.
            groups = kin(draft.row) or [(draft.row, draft.topic)]
        else:
            of = self.parents[draft.parent] if draft.parent is not None else item
            groups = [(_group(of, card), of.draft.topic if of.draft.kind == "synthetic" else None)]
        for group, topic in groups:
            yield _conversation(item, group, topic)


def read_accepted(path: Path | None) -> Accepted | None:
    """The accepted items in a review queue; nothing where no model has written anything."""
    if path is None or not path.is_file():
        return None
    with closing(Reviews(path)) as queue:
        everything = queue.items()
    if not everything:
        return None
    items = [item for item in everything if item.state == "accepted"]
    decisions = [item.decision for item in items if item.decision]
    states = Counter(item.state for item in everything)
    record = ReviewRecord(
        accepted=states["accepted"],
        pending=states["pending"],
        rejected=states["rejected"],
        edited=sum(item.edited for item in items),
        at_once=sum(decision.how == "all at once" for decision in decisions),
        written_by=dict(sorted(Counter(item.teacher for item in items).items())),
        accepted_by=dict(sorted(Counter(decision.by for decision in decisions).items())),
        kinds=dict(sorted(Counter(item.draft.kind for item in items).items())),
    )
    return Accepted(path, items, {item.id: item for item in everything}, record)


def _group(item: Item, card: DomainCard) -> str:
    """What an item's rows are dealt by: its section or document; without any, the item itself, edited or not.

    A section and not the document, unless the card says so: many domains have two or three long documents, which no
    split can part, and a question is written from one section alone.
    """
    if not item.draft.file:
        return f"item {item.id}"
    by_document = card.documents is not None and card.documents.group == "document"
    return item.draft.file if by_document else where(item.draft.file, item.draft.heading)


def _conversation(item: Item, group: str, topic: str | None) -> Conversation:
    system = [Message(role="system", content=item.draft.system)] if item.draft.system else []
    turns = [Message(role="user", content=item.question), Message(role="assistant", content=item.answer)]
    return Conversation(conversations=[*system, *turns], group=group, topic=topic)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())
