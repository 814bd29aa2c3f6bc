"""What all commands share: the console, JSON output, and tables."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from locum.commands.tables import Listing, columns_of

if TYPE_CHECKING:
    from locum.adapters.registry import Registry
    from locum.errors import LocumError
    from locum.settings import Settings

# No line is broken here, where what is copied would be, too: terminals do that by themselves. Tables fit the width.
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
EndpointOption = Annotated[
    str | None, typer.Option(help="URL of the server, such as http://127.0.0.1:8000/v1; else the setting `endpoint`.")
]


def settings(**overrides: Any) -> Settings:
    """The settings in force, with command-line options on top."""
    from locum.settings import load_settings

    return load_settings(**overrides)


@contextmanager
def waiting(first: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Says what is waited for: beside a spinner on a terminal, in a line for each new thing elsewhere, where a count
    that goes on is no new thing.

    Args:
        quiet: say nothing where there is no terminal: a program is told the outcome alone.
    """
    if quiet and not err.is_terminal:
        yield lambda _: None
        return
    if err.is_terminal:
        with err.status(first) as status:
            yield status.update
        return
    last = ""

    def tell(text: str) -> None:
        nonlocal last
        uncounted = re.sub(r"\d[\d.,]*", "", text)
        if uncounted != last:
            err.print(text, markup=False, highlight=False)
        last = uncounted

    tell(first)
    yield tell


def no_bars_in_logs() -> None:
    """Let other libraries draw their bars on terminals alone: a file would have a line of them for each step."""
    if not err.is_terminal:
        os.environ.setdefault("TQDM_DISABLE", "1")


def spin_less() -> None:
    """Before torch is loaded: its threads spin while they wait for one another, and beside a busy process, such as a
    server, a training would mostly spin (docs/performance.md)."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def require_known(in_force: Settings, registry: Registry, domain: str) -> None:
    """Refuse the name of a domain that has neither a card here nor a version.

    Raises:
        NotFoundError: nobody knows it; says which domains there are.
    """
    from locum.adapters.domains import domain_names, load_domain

    if domain not in domain_names(in_force.domains) and not registry.versions(domain):
        load_domain(in_force.domains, domain)


def counted(count: int, noun: str) -> str:
    """A number with its noun: `1 sample`, `1,204 samples`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def say(text: str, *, style: str | None = None) -> None:
    """Text as it is: brackets in it are no markup, and lines are as long as they are."""
    out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def heading(text: str) -> None:
    """A line with a text at its beginning; the text alone where that is all that there is room for."""
    from rich.cells import cell_len
    from rich.text import Text

    if cell_len(text) + 4 > (columns_of(out) or out.width):
        say(text, style="bold")
    else:
        out.rule(Text(text, style="bold"), align="left")


def print_json(data: Any) -> None:
    """One JSON document on standard output, and nothing else there; in ASCII where that cannot hold all of Unicode.

    An infinite number, of which JSON has none, is the string "Infinity", as in result.json.
    """
    unicode = sys.stdout.encoding.lower().startswith("utf")
    finite = json.loads(json.dumps(data, default=str), parse_constant=str)
    sys.stdout.write(json.dumps(finite, indent=2, ensure_ascii=not unicode) + "\n")


def tell_wrong(errors: Iterable[LocumError]) -> None:
    """Tell what is wrong beside what could be shown, and exit as for wrong use; nothing happens where nothing is."""
    found = list(errors)
    for error in found:
        err.print(f"Error: {error}", markup=False, highlight=False, soft_wrap=True)
    if found:
        raise typer.Exit(2)


def table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    first_to_go: Sequence[str] = (),
) -> Listing:
    """A table with text on the left and numbers on the right. Text is shown as it is: brackets in it are no markup, and
    what would be a command to the terminal is a sign that can be seen.

    Args:
        first_to_go: columns that a narrow terminal can do without, the least important one first.
    """
    from locum.evaluate.visible import visible

    given = [tuple(row) for row in rows]
    right = [
        place for place in range(len(columns)) if given and all(isinstance(row[place], int | float) for row in given)
    ]
    cells = tuple(tuple("" if cell is None else visible(str(cell)) for cell in row) for row in given)
    return Listing(title, tuple(columns), cells, tuple(first_to_go), frozenset(right))
