"""Documentation that is written from the code is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from locum.evaluate.samples import Kind, SampleRow

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", ["cli.md", "data.md", "serving.md", "suites.md"])
def test_what_is_written_from_the_code_is_what_it_says(page: str) -> None:
    """`--help` in the command line's reference; the table of routes; fields and examples of suites."""
    command = [sys.executable, "-m", "cogapp", "--check", "--diff", f"docs/{page}"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr + "\nrun: make docs"


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_the_rows_of_samples_that_the_documentation_shows_can_be_read() -> None:
    text = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    rows = [line for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert {SampleRow.model_validate_json(row).kind for row in rows} == set(get_args(Kind))
