"""What keeps a comparison blind: the order of questions and the side of each answer, fixed and balanced by a hash."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from locum.adapters.votes import Contestant

TOKEN_LENGTH = 24  # base64 digits of a reviewer's link: 144 bits


def order_of(numbers: Iterable[int], *, seed: str, reviewer: str) -> list[int]:
    """The questions in this reviewer's own order, so that fatigue falls on another part of the suite for each."""
    return sorted(numbers, key=lambda number: _hash(seed, "order", reviewer, str(number)))


def left_of(numbers: Iterable[int], *, seed: str, reviewer: str) -> dict[int, Contestant]:
    """Whose answer stands on the left for this reviewer, by question.

    Each contestant has the left side for half of the questions (one more or less where their number is odd), so that a
    liking for one side favours nobody. It is the same whenever it is asked, and another for each reviewer.
    """
    shuffled = sorted(numbers, key=lambda number: _hash(seed, "side", reviewer, str(number)))
    first = _hash(seed, "first", reviewer)[0] % 2
    return {number: "model" if (place + first) % 2 else "against" for place, number in enumerate(shuffled)}


def link_token(key: bytes, *, arena: str, reviewer: str) -> str:
    """The secret part of a reviewer's link: the same after a restart, and nothing to guess from another's.

    Args:
        key: the registry's, for this purpose.
        arena: the arena's digest.
    """
    mac = hashlib.blake2b(_joined(arena, reviewer), key=key, digest_size=TOKEN_LENGTH * 6 // 8).digest()
    return base64.urlsafe_b64encode(mac).decode()


def _hash(*parts: str) -> bytes:
    return hashlib.sha256(_joined(*parts)).digest()


def _joined(*parts: str) -> bytes:
    return "\0".join(parts).encode()
