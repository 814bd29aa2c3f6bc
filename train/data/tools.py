"""Definitions and calls of tools, in the spellings of OpenAI, Anthropic, Gemini and ShareGPT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from locum.train.data.fields import Remarks, RowError, account, says_nothing

_DECLARED = ("functionDeclarations", "function_declarations")
_ARGUMENTS = ("arguments", "args", "input", "parameters")
_SCHEMAS = ("parameters", "input_schema", "parametersJsonSchema")
_OF_THE_API = ("type", "cache_control")


def definitions(value: Any, path: str, remarks: Remarks) -> list[dict[str, Any]]:
    """Definitions of tools as OpenAI writes them; what else a definition says stays in it, and is rendered.

    Raises:
        RowError: they are no functions.
    """
    value = _parsed(value, path, "a list of tools")
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise RowError(path, f"expected a list of tools, found {type(value).__name__}")
    found: list[dict[str, Any]] = []
    for number, tool in enumerate(value):
        several = tool.get("functionDeclarations") or tool.get("function_declarations")
        if isinstance(several, list):
            others = [name for name in tool if name not in _DECLARED and not says_nothing(tool[name])]
            if others:
                raise RowError(f"{path}.{number}.{others[0]}", "expected functions alone as tools")
            found += definitions(several, f"{path}.{number}.functionDeclarations", remarks)
        else:
            found.append(_definition(tool, f"{path}.{number}", remarks))
    return found


def _definition(tool: dict[str, Any], path: str, remarks: Remarks) -> dict[str, Any]:
    function = tool.get("function", tool)
    if tool.get("type", "function") not in ("function", "custom") or not isinstance(function, dict):
        raise RowError(path, f"expected the definition of a function, found a tool of the type {tool.get('type')!r}")
    if not isinstance(name := function.get("name"), str) or not name:
        raise RowError(f"{path}.name", "expected the name of a function, found none")
    if function is not tool:
        return {**tool, "type": "function"}
    schemas = [key for key in _SCHEMAS if not says_nothing(tool.get(key))]
    if len(schemas) > 1:
        raise RowError(path, f"expected one schema of a function's parameters, found {' and '.join(schemas)}")
    if not says_nothing(tool.get("cache_control")):
        remarks.add("passed over", f"{path}.cache_control", "for the API")
    rest = {key: tool[key] for key in tool if key not in (*_SCHEMAS, *_OF_THE_API) and tool[key] is not None}
    parameters = {"parameters": tool[schemas[0]]} if schemas else {}
    return {"type": "function", "function": {**rest, **parameters}}


def calls(value: Any, path: str, remarks: Remarks) -> list[dict[str, Any]]:
    """Calls of tools as our messages have them.

    Raises:
        RowError: one of them is no call of a function with arguments.
    """
    value = _parsed(value, path, "a list of calls")
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise RowError(path, f"expected a list of calls, found {type(value).__name__}")
    return [call(each, f"{path}.{number}", remarks) for number, each in enumerate(value)]


def call(given: Mapping[str, Any], path: str, remarks: Remarks) -> dict[str, Any]:
    """One call of a tool as our messages have it.

    Raises:
        RowError: it has no name, or its arguments are no object.
    """
    account(given, "call", path, remarks)
    kind = given.get("type", "function")
    if kind not in ("function", "tool_use", "function_call"):
        raise RowError(f"{path}.type", f"expected the call of a function, found {kind!r}")
    function = given.get("function", given)
    if isinstance(function, str):
        function = {**given, "name": function}
    if not isinstance(function, dict):
        raise RowError(f"{path}.function", f"expected an object, found {type(function).__name__}")
    if function is not given and "name" not in given:
        account(function, "call", f"{path}.function", remarks)
    if isinstance(given.get("function"), dict):
        _check_said_once(given, function, path)
    arguments_in = [key for key in _ARGUMENTS if not says_nothing(function.get(key))]
    if len(arguments_in) > 1:
        raise RowError(path, f"expected the arguments of a call once, found {' and '.join(arguments_in)}")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise RowError(f"{path}.name", "expected the name of the function that is called, found none")
    arguments: Any = next((function[key] for key in arguments_in), {})
    arguments = {} if says_nothing(arguments) else _parsed(arguments, f"{path}.arguments", "an object of arguments")
    if not isinstance(arguments, dict):
        raise RowError(f"{path}.arguments", f"expected an object of arguments, found {type(arguments).__name__}")
    identity = given.get("id")
    return {"name": name, "arguments": arguments, **({"id": str(identity)} if not says_nothing(identity) else {})}


def _check_said_once(given: Mapping[str, Any], function: Mapping[str, Any], path: str) -> None:
    """Refuse a call that says beside `function` what stands in it."""
    for name in ("name", *_ARGUMENTS):
        if not says_nothing(given.get(name)) and given[name] != function.get(name):
            raise RowError(f"{path}.{name}", f"expected it in {path}.function alone")
    for name in ("id", "type", "function"):
        if not says_nothing(function.get(name)) and function[name] not in (given.get(name), "function"):
            raise RowError(f"{path}.function.{name}", f"expected it in {path} alone")


def result_text(value: Any) -> str:
    """What a tool gave, as text: JSON where it is no text already."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parsed(value: Any, path: str, wanted: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise RowError(path, f"expected {wanted}, in JSON; found {value[:60]!r}") from None
