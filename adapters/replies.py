"""JSON in what a model says, in whatever it is wrapped: the replies of judges and of teachers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


def objects_in(reply: str, fields: Collection[str]) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects that have any of the fields, at whatever depth, with their names in small letters.

    The model's thoughts are left out, and so is what is cut off.
    """
    decoder, text, at = json.JSONDecoder(), _THOUGHT.sub("", reply), 0
    while (start := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
        else:
            yield from _with(value, fields)


def _with(value: Any, fields: Collection[str]) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        lowered = {str(name).lower(): each for name, each in value.items()}
        if any(name in lowered for name in fields):
            yield lowered
        else:
            for each in value.values():
                yield from _with(each, fields)
    elif isinstance(value, list):
        for each in value:
            yield from _with(each, fields)
