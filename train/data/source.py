"""Where a domain's rows come from: a recipe in Python, or files, beside its card."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from locum.adapters.card import Format, Source
from locum.adapters.conversations import Conversation, Message, Preference, first_problem
from locum.adapters.domains import Domain
from locum.errors import BadInputError, LocumError, NotFoundError, UnavailableError
from locum.train.data.files import Watch, notes_on
from locum.train.data.formats import Row
from locum.train.data.places import expand, size
from locum.train.data.reading import RAW_LIMIT, Item, Read, Reject, read_file, recognise

_HINTS = {
    "conversations": "preference pairs belong under `preferences` in the card, all else under `source`",
    "preferences": "rows under `preferences` have `chosen` and `rejected`, or one answer and a `label` that is true or "
    "false (`format: kto`); all else belongs under `source`",
}


@dataclass(frozen=True)
class Origin:
    """One file or recipe of a source, or what people accepted. `told` says what it is, for people."""

    location: str
    told: str
    rows: Callable[[int, Watch], Iterator[Item]]
    """Its rows in order, but so many first ones; tells from time to time which share of a file has been read."""
    size: int | None = None
    """Bytes of a file, where they are known."""


def origins(domain: Domain, source: Source, kind: type[Conversation] | type[Preference]) -> list[Origin]:
    """The files or the recipe that a source names, each of whose rows are of that kind.

    Raises:
        NotFoundError: the recipe or a file is not there.
        BadInputError: a file's format cannot be told, or it holds rows of another kind.
    """
    if source.recipe is not None:
        path = domain.folder / source.recipe
        return [
            Origin(
                str(path),
                f"{source.recipe}: a recipe",
                lambda start, _: _read_recipe(domain, source, path, kind, start),
            )
        ]
    return [_file(location, source, kind) for location in expand(domain.folder, source.files)]


def _file(location: str, source: Source, kind: type[Conversation] | type[Preference]) -> Origin:
    format: Format
    if source.format is None:
        recognised = recognise(location, columns=source.columns, encoding=source.encoding)
        format, told = recognised.format, f"{recognised.format}, by {recognised.why}"
        notes = list(recognised.notes)
    else:
        format, told = source.format, f"{source.format}, as the card says"
        notes = notes_on(location, encoding=source.encoding)
    if format != "kto" and (format == "preference") != (kind is Preference):
        wanted = "preferences" if kind is Preference else "conversations"
        raise BadInputError(
            f"{location} holds rows of the format {format}, expected {wanted}",
            hint=_HINTS[wanted],
        )
    return Origin(
        location,
        "; ".join([f"{Path(location).name}: {told}", *notes]),
        lambda start, watch: read_file(
            location,
            format=format,
            columns=source.columns,
            roles=source.roles,
            encoding=source.encoding,
            kind=kind,
            blank_answers=source.blank_answers,
            start=start,
            watch=watch,
        ),
        size(location),
    )


def with_system(row: Row, prompt: str) -> Row:
    """The row with `prompt` as its system message, unless it has one of its own."""
    messages = row.prompt if isinstance(row, Preference) else row.conversations
    if messages[0].role == "system":
        return row
    field = "prompt" if isinstance(row, Preference) else "conversations"
    return row.model_copy(update={field: [Message(role="system", content=prompt), *messages]})


def _read_recipe(
    domain: Domain, source: Source, path: Path, kind: type[Conversation] | type[Preference], start: int
) -> Iterator[Item]:
    try:
        for number, row in islice(enumerate(_load_rows(path)(), start=1), start, None):
            try:
                yield Read(str(path), number, kind.model_validate(row))
            except ValidationError as error:
                yield Reject(str(path), number, *first_problem(error), raw=repr(row)[:RAW_LIMIT])
    except LocumError:
        raise
    except ModuleNotFoundError as error:
        pins = source.packages or [str(error.name)]
        raise UnavailableError(
            f"the data of {domain.name} needs the package {error.name}, which is not installed",
            hint=f"pip install {' '.join(pins)}",
        ) from error
    except Exception as error:  # a recipe is the domain team's code: whatever it raises is about their file
        raise BadInputError(
            f"{path}: rows() failed: {type(error).__name__}: {error}", hint="`locum --debug data build` shows where"
        ) from error


def _load_rows(path: Path) -> Callable[[], Iterator[Any]]:
    if not path.is_file():
        raise NotFoundError(f"there is no data recipe at {path}", hint="the card's source.recipe names it")
    spec = importlib.util.spec_from_file_location(f"locum_recipe_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise BadInputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows: Callable[[], Iterator[Any]] | None = getattr(module, "rows", None)
    if not callable(rows):
        raise BadInputError(f"{path} has no function rows(): expected one that yields conversations")
    return rows
