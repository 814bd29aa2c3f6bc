"""What a registry is called in the stores that it shares with others: an id of its own, and another one in a copy."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from locum.adapters import schema
from locum.adapters.database import which_database
from locum.adapters.owners import OWNERS

logger = logging.getLogger("locum.registry")


@dataclass(frozen=True)
class Identity:
    """`marked_in` is the store in which all that the registry holds is marked as its own; empty at first."""

    registry: str
    marked_in: str


def read_identity(db: Connection) -> Identity | None:
    """This registry's identity; None where it has none yet, or only that of the database that it was copied from."""
    row = db.execute(select(schema.identity)).one_or_none()
    if row is None or row.database != which_database(db):
        return None
    return Identity(row.registry, row.store)


def draw_identity(db: Connection) -> Identity:
    """This registry's identity, a new one where it has none; under the registry's lock."""
    found = read_identity(db)
    if found is not None:
        return found
    earlier = db.scalar(select(schema.identity.c.registry))
    drawn = Identity(uuid.uuid4().hex, "")
    if earlier is not None:
        logger.warning(
            "this registry was copied, moved or restored: in the artifact store it is now called %s, and what %s holds "
            "there stays. If there is no registry of that name any more, remove %s/%s in the store",
            *(drawn.registry, earlier, OWNERS, earlier),
        )
    db.execute(delete(schema.identity))
    values = {"id": 1, "registry": drawn.registry, "database": which_database(db), "store": drawn.marked_in}
    db.execute(insert(schema.identity).values(**values))
    return drawn


def record_marked(db: Connection, store: str) -> None:
    """Record that all that this registry holds is marked in this store."""
    db.execute(update(schema.identity).values(store=store))
