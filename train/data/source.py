"""Where a domain's rows come from: a recipe in Python, or JSON Lines files, beside its card."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from locum.adapters.conversations import Conversation, Message, read_conversations
from locum.adapters.domains import Domain
from locum.errors import BadInputError, LocumError, NotFoundError, UnavailableError


def read_source(domain: Domain) -> Iterator[Conversation]:
    """A domain's rows as its source gives them, each checked.

    Raises:
        NotFoundError: the recipe or a file is not there.
        BadInputError: a row is wrong, or the recipe fails.
        UnavailableError: the recipe needs a package that is not installed; the hint names its pin.
    """
    source = domain.card.source
    if source.recipe is not None:
        yield from _read_recipe(domain, domain.folder / source.recipe)
        return
    for name in source.files:
        yield from read_conversations(domain.folder / name)


def with_system(conversation: Conversation, prompt: str) -> Conversation:
    """The conversation with `prompt` as its system message, unless it has one of its own."""
    if conversation.conversations[0].role == "system":
        return conversation
    messages = [Message(role="system", content=prompt), *conversation.conversations]
    return conversation.model_copy(update={"conversations": messages})


def _read_recipe(domain: Domain, path: Path) -> Iterator[Conversation]:
    try:
        for number, row in enumerate(_load_rows(path)(), start=1):
            try:
                yield Conversation.model_validate(row)
            except ValidationError as error:
                problem = error.errors()[0]
                field = ".".join(str(part) for part in problem["loc"]) or "row"
                raise BadInputError(f"{path}: row {number}: {field}: {problem['msg']}") from None
    except LocumError:
        raise
    except ModuleNotFoundError as error:
        pins = domain.card.source.packages or [str(error.name)]
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
