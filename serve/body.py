"""A request's JSON body: what it asks for, read and replaced without reading the rest.

A long prompt is most of a body. The values of the outermost object are kept as the bytes that they are; what stands
behind `model` is all that is decoded, and what vLLM gets is always encoded anew, so that it reads what was read here:
one `model`, in UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from locum.errors import BadInputError

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)
MODELS = "GET /v1/models lists what there is"


class Body:
    """A request body. `model` is the name that it asks for.

    Raises:
        BadInputError: it is not a JSON object with a `model`.
    """

    def __init__(self, raw: bytes) -> None:
        self._fields: dict[str, Any]
        self._encode: Callable[[dict[str, Any]], bytes] = msgspec.json.encode
        try:
            self._fields = _object.decode(raw)
            self.model = _string.decode(self._fields["model"])
        except (KeyError, RecursionError, msgspec.DecodeError):
            self._read_leniently(raw)

    def replacing(self, fields: Mapping[str, Any]) -> bytes:
        """The same body with these fields in the place of what it had."""
        return self._encode({**self._fields, **fields})

    def _read_leniently(self, raw: bytes) -> None:
        """As vLLM reads it: Python's parser takes NaN, UTF-16 and half surrogate pairs, which JSON does not have."""
        self._encode = _dump
        try:
            request = json.loads(raw)
        except RecursionError:
            raise BadInputError("the body is nested too deeply") from None
        except ValueError as error:
            raise BadInputError(f"the body is not JSON: {error}") from None
        if not isinstance(request, dict):
            raise BadInputError(f"the body: expected a JSON object, found {_kind(request)}")
        model = request.get("model")
        if not isinstance(model, str):
            wrong = "there is none" if model is None else f"found {_kind(model)}"
            raise BadInputError(f"model: expected the name of a model, {wrong}", hint=MODELS, param="model")
        self._fields = request
        self.model = model.encode(errors="backslashreplace").decode()  # so that an error can name it


def _kind(value: object) -> str:
    """What a JSON value is called."""
    if isinstance(value, bool):
        return "a boolean"
    return {list: "an array", dict: "an object", str: "a string", type(None): "null"}.get(type(value), "a number")


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()
