"""What is seen on the terminal while data are built."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from locum.adapters.domains import load_domain
from locum.settings import Settings
from locum.train.data import build, progress
from locum.train.data.build import build_data
from locum.train.data.progress import BuildProgress


def screen(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_rows_a_second_the_share_and_the_time_left_are_shown_without_what_another_build_had_done(
    clock: list[float],
) -> None:
    console = screen(terminal=True)
    with BuildProgress("legal [1]", console) as bar:
        bar.stage("reading", total=1000)
        bar.reached(200, 20_000)  # taken up here
        clock[0] = 10
        bar.reached(400, 40_000)
        assert bar.figures == "40,000 rows · 2,000 rows/s · 40% · 30 s left"
        bar.stage("near duplicates")
    assert "legal [1]: reading" in shown(console)


def test_where_the_size_is_not_known_no_share_is_invented(clock: list[float]) -> None:
    with BuildProgress("legal", screen(terminal=True)) as bar:
        bar.stage("reading")
        bar.reached(0, 0)
        clock[0] = 2
        bar.reached(0, 3000)
        assert bar.figures == "3,000 rows · 1,500 rows/s"


def test_a_build_shows_all_its_stages_on_a_terminal_and_nothing_on_none(
    settings: Settings, domain_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = load_domain(settings.domains, "legal")
    for terminal in (True, False):
        console = screen(terminal=terminal)
        stages: list[str] = []

        class Watched(BuildProgress):
            def stage(self, name: str, *, total: int | None = None) -> None:
                stages.append(name if total is None else f"{name} {total} bytes")  # noqa: B023
                super().stage(name, total=total)

        monkeypatch.setattr(build, "BuildProgress", lambda label: Watched(label, console))  # noqa: B023
        build_data(domain, tmp_path / "legal")
        size = (domain_folder / "conversations.jsonl").stat().st_size
        assert stages == ["looking at the files", f"reading {size} bytes", "near duplicates", "splits", "writing"]
        assert bool(shown(console)) == terminal
