"""YAML files that people write, read into a model: what is wrong is told with file, line, field and expectation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from locum.errors import BadInputError
from locum.text import alternatives, did_you_mean

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,62}$"

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model], *, what: str, hint: str) -> Model:
    """The file as a `model`.

    Args:
        what: what the file is, for messages: `a domain card`.
        hint: what helps whoever wrote it wrong.

    Raises:
        BadInputError: the file is not YAML or not such a model; the message has one line for each wrong field,
            `file:line: field: expectation (found …)`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadInputError(f"{path}:{line}: not UTF-8: {error.reason}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise BadInputError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}") from None
    except ValueError as error:  # a date or a number that YAML allows and Python does not
        raise BadInputError(f"{path}: not valid YAML: {error}") from None
    if data is None:
        raise BadInputError(f"{path} is empty: expected {what}", hint=hint)
    if not isinstance(data, dict):
        raise BadInputError(f"{path}: {what} is a mapping of fields, found {type(data).__name__}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [f"{path}:{_line_of(node, each['loc'])}: {_complaint(each, model)}" for each in error.errors()]
        raise BadInputError("\n".join(lines), hint=hint) from None


def line_of(path: Path, *field: int | str) -> int:
    """The line of a field of a YAML file that can be read, counted from 1; of a missing one that of its parent."""
    return _line_of(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), field)


def flow(text: str) -> str:
    """A text as it stands in one line of YAML, in quotes where it needs them."""
    return yaml.safe_dump([text], allow_unicode=True, default_flow_style=True, width=1 << 20)[1:-2]


def changed(text: str, values: dict[str, str | None]) -> str:
    """A YAML mapping with other values at its top, all else as it was, comments too; None takes a field away.

    Args:
        text: the file; a mapping.
        values: YAML by field. A field that the file lacks is added at its end.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    missing = dict(values)
    for key, value in reversed(node.value):
        if key.value not in values:
            continue
        new = missing.pop(key.value)
        start, end = key.start_mark.index, _end(value)
        if new is None:
            line_end = text.find("\n", end)
            text = text[:start] + ("" if line_end < 0 else text[line_end + 1 :])
        else:
            text = f"{text[:start]}{key.value}: {new}{text[end:]}"
    added = "".join(f"{name}: {new}\n" for name, new in missing.items() if new is not None)
    return text if not added else f"{text.rstrip()}\n{added}"


def _end(node: yaml.Node) -> int:
    """Where a value ends; for one in block style YAML says where the next begins, after the comments between them."""
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    return int(node.end_mark.index)


class _Loader(yaml.SafeLoader):
    """Refuses a field that is given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[object] = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.append(key.value)
        return super().construct_mapping(node, deep)


def _complaint(problem: Any, model: type[BaseModel]) -> str:
    return f"{_field(problem['loc'])}: {said(problem, model)}{_found(problem)}"


def _field(loc: tuple[int | str, ...]) -> str:
    return re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in loc)) or "file"


def said(problem: Any, model: type[BaseModel] | None = None) -> str:
    """What pydantic says of a field of a `model`, in a user's words, and what was probably meant."""
    if problem["type"] == "extra_forbidden":
        *path, name = problem["loc"]
        known = _fields(model, path) if model else []
        if not known:
            return "there is no such field"
        return f"there is no such field{alternatives(str(name), known)}"
    if problem["type"] == "literal_error":
        return f"{problem['msg']}{did_you_mean(str(problem['input']), literals(problem))}"
    return str(problem["ctx"]["error"]) if problem["type"] == "value_error" else str(problem["msg"])


def literals(problem: Any) -> list[str]:
    """The values that pydantic expected where one of several was."""
    return re.findall(r"'([^']*)'", problem["ctx"]["expected"])


def _fields(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The names of the fields where `path` leads in a model, as a file has them: those of all models that can be there.

    A part of the path that is no field is the place in a list, the key of a mapping, or what pydantic calls the choice.
    """
    there = [model]
    for part in path:
        fields = [each.model_fields[str(part)] for each in there if str(part) in each.model_fields]
        if fields:
            there = [found for each in fields for found in _models(each.annotation)]
    return list(dict.fromkeys(field.alias or name for each in there for name, field in each.model_fields.items()))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names: in `list[A] | None`, A."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _found(problem: Any) -> str:
    if problem["type"] in {"missing", "extra_forbidden"} or isinstance(problem["input"], (dict, list, BaseModel)):
        return ""
    return f" (found {problem['input']!r})"


def _line_of(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    """The line of the deepest part of `loc` that the file has; a missing field points at its parent."""
    line = node.start_mark.line if node else 0
    for part in loc:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, found = key.start_mark.line, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line
        if found is None:
            break
        node = found
    return line + 1
