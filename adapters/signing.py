"""Signatures by the registry's secret: what one server or command gave out, every other one of the registry knows."""

from __future__ import annotations

import hashlib

from sqlalchemy import select

from locum.adapters import schema
from locum.adapters.registry import Registry


def signing_key(registry: Registry, purpose: str) -> bytes:
    """32 bytes for one purpose: what is signed for one is worth nothing for another.

    A registry has one secret, made with its tables. Whoever can read the database can sign.
    """
    with registry.reading() as db:
        secret = str(db.scalar(select(schema.secret.c.key)))
    return hashlib.blake2b(purpose.encode(), key=bytes.fromhex(secret), digest_size=32).digest()
