"""The `model` field of a request's JSON body: read it and replace it without reading the rest.

A long prompt is most of a body. The values of the outermost object are kept as the bytes that they are; what stands
behind `model` is all that is decoded and encoded anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)


class Body:
    """A request body. `model` is the name it asks for; None where there is none that a server could look up.

    `fields` are the outermost object's: bytes (`msgspec.Raw`), or Python objects where it had to be read leniently.
    """

    def __init__(self, raw: bytes) -> None:
        self.fields: dict[str, Any] = {}
        self._encode: Callable[[dict[str, Any]], bytes] = msgspec.json.encode
        try:
            self.fields = _object.decode(raw)
            self.model: str | None = _string.decode(self.fields["model"])
        except (KeyError, RecursionError, msgspec.ValidationError):
            self.model = None
        except msgspec.DecodeError:
            self._read_leniently(raw)

    def naming(self, model: str) -> bytes:
        """The body of the fields, with `model` in the place of what it asked for."""
        return self._encode({**self.fields, "model": model})

    def _read_leniently(self, raw: bytes) -> None:
        """As vLLM reads it: Python's parser takes NaN, UTF-16 and half surrogate pairs, which JSON does not have."""
        self.model = None
        self._encode = _dump
        try:
            request = json.loads(raw)
        except (ValueError, RecursionError):
            return  # vLLM says what is wrong with it
        if isinstance(request, dict) and isinstance(request.get("model"), str):
            self.fields = request
            self.model = request["model"].encode(errors="backslashreplace").decode()  # so that an error can name it


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()
