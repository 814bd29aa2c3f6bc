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
    """A request body. `model` is the name that it asks for, or `otherwise` where it has none and may do without.

    `fields` are the outermost object's: bytes (`msgspec.Raw`), or Python objects where it had to be read leniently.

    Raises:
        BadInputError: it is not a JSON object with a `model`.
    """

    def __init__(self, raw: bytes, *, otherwise: str | None = None) -> None:
        self.fields: dict[str, Any]
        self._encode: Callable[[dict[str, Any]], bytes] = msgspec.json.encode
        try:
            self.fields = _object.decode(raw)
            self.model = _string.decode(self.fields["model"])
        except (KeyError, RecursionError, msgspec.DecodeError):
            self._read_leniently(raw, otherwise)

    def replacing(self, fields: Mapping[str, Any]) -> bytes:
        """The same body with these fields in the place of what it had."""
        return self._encode({**self.fields, **fields})

    def values(self, *names: str) -> dict[str, Any]:
        """What some fields hold, as Python reads them; without those that are not there.

        Raises:
            BadInputError: one is not JSON, or nested too deeply.
        """
        try:
            return {name: _value(self.fields[name]) for name in names if name in self.fields}
        except RecursionError:
            raise BadInputError("the body is nested too deeply") from None
        except ValueError as error:
            raise BadInputError(f"the body is not JSON: {error}") from None

    def _read_leniently(self, raw: bytes, otherwise: str | None) -> None:
        """As vLLM reads it: Python's parser takes NaN, UTF-16 and half surrogate pairs, which JSON does not have."""
        self._encode = _dump
        if not raw.strip():
            raise BadInputError("the body is empty: expected a JSON object", hint=MODELS)
        try:
            request = json.loads(raw)
        except RecursionError:
            raise BadInputError("the body is nested too deeply") from None
        except ValueError as error:
            raise BadInputError(f"the body is not JSON: {error}") from None
        if not isinstance(request, dict):
            raise BadInputError(f"the body: expected a JSON object, found {_kind(request)}")
        model = request.get("model")
        model = otherwise if model is None else model
        if not isinstance(model, str):
            wrong = "there is none" if model is None else f"found {_kind(model)}"
            raise BadInputError(f"model: expected the name of a model, {wrong}", hint=MODELS, param="model")
        self.fields = request
        self.model = model.encode(errors="backslashreplace").decode()  # so that an error can name it


def _value(value: Any) -> Any:
    return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value


def _kind(value: object) -> str:
    """What a JSON value is called."""
    if isinstance(value, bool):
        return "a boolean"
    return {list: "an array", dict: "an object", str: "a string", type(None): "null"}.get(type(value), "a number")


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()
