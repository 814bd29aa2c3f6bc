"""Ids of answers that say which version spoke, and cannot be made up.

Any server of the registry, also one that has been started since, can tell from an answer's id alone whom feedback is
about: nothing is kept for each answer. Making one costs less than a random UUID.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from locum.adapters.feedback import bare_id

BASE_ID = 0  # stands for the base model; rows of versions begin at 1
GONE_ID = -1  # a version that was deleted in this very moment
_RANDOM, _VERSION, _MAC = 8, 4, 8  # bytes
_LENGTH = 2 * (_RANDOM + _VERSION + _MAC)


class AnswerIds:
    """Makes and reads ids, in hex: 8 random bytes, the version's row id in the registry, a keyed BLAKE2s of both."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new(self, version_id: int) -> str:
        """A fresh id, 40 hexadecimal digits, of an answer by this version."""
        content = os.urandom(_RANDOM) + version_id.to_bytes(_VERSION, "big", signed=True)
        return (content + self._mac(content)).hex()

    def version_id(self, answer_id: str) -> int | None:
        """The row id of the version that gave an answer with this id, or `BASE_ID`; None if the id is not ours."""
        answer_id = bare_id(answer_id)
        if len(answer_id) != _LENGTH:
            return None
        try:
            raw = bytes.fromhex(answer_id)
        except ValueError:
            return None
        content, mac = raw[:-_MAC], raw[-_MAC:]
        ours = hmac.compare_digest(self._mac(content), mac)
        return int.from_bytes(content[_RANDOM:], "big", signed=True) if ours else None

    def _mac(self, content: bytes) -> bytes:
        return hashlib.blake2s(content, key=self._key, digest_size=_MAC).digest()


def unsigned(answer_id: str) -> str:
    """The same id, which nobody takes for an answer's any more."""
    return answer_id[: -2 * _MAC] + "0" * 2 * _MAC
