"""The bar that is seen while suites are checked."""

from __future__ import annotations

import io

from rich.console import Console

from locum.evaluate.findings import watching


def drawn(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with watching(console) as watch:
        watch("overlap [with] training", 30, 120)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_the_stage_and_how_much_of_it_is_done() -> None:
    shown = drawn(terminal=True)
    assert "overlap [with] training" in shown
    assert "25%" in shown


def test_elsewhere_nothing_is_drawn() -> None:
    assert drawn(terminal=False) == ""
    with watching(None) as watch:
        watch("rows", 1, 2)
