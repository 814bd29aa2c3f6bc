"""At whatever width: what is copied is in one piece, columns go first, and no line of a table is too long."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from locum.adapters.manifest import Manifest
from locum.adapters.registry import Registry
from locum.adapters.suites import Outline, suite_yaml
from locum.commands.common import table
from locum.commands.tables import broken, shared
from locum.settings import Settings
from tests.commands.conftest import Ran

WIDTHS = (80, 60)
TOPICS = ["a topic of several words", "another one", "主题"]


@pytest.fixture
def full(
    settings: Settings, domain_folder: Path, registry: Registry, register: Callable[[], Manifest]
) -> list[Manifest]:
    """A domain with two versions, one of them in production, and a second suite with a long name."""
    manifests = [register(), register()]
    registry.release("legal@1", by="somebody-with-a-long-login-name", reason="first", force=True)
    other = domain_folder / "suites" / "questions-of-the-highest-courts-and-of-others"
    other.mkdir()
    outline = Outline(samples="samples.jsonl", metrics=("exact_match", "token_f1", "rouge_l", "chrf"))
    text = suite_yaml("legal", other.name, outline).replace("min_samples: 100", "min_samples: 4")
    (other / "suite.yaml").write_text(text)
    (other / "samples.jsonl").write_bytes((domain_folder / "suites" / "held-out" / "samples.jsonl").read_bytes())
    return manifests


LISTINGS = [
    "adapters list",
    "adapters show legal@1",
    "base show",
    "config",
    "domain list",
    "suite show legal",
    "suite show legal held-out",
    "suite power legal",
    "suite split legal held-out --into dev,holdout",
    "data build legal",
    "history legal",
]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", LISTINGS)
def test_no_line_of_a_table_is_longer_than_the_terminal_and_nothing_that_is_copied_is_broken(
    locum: Callable[..., Ran],
    full: list[Manifest],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    width: int,
) -> None:
    parts = command.split()
    wide = locum(*parts)
    if "split" in parts:
        parts[-1] = "tune,keep"
    monkeypatch.setenv("COLUMNS", str(width))
    ran = locum(*parts)
    assert ran.code == wide.code == 0, ran.err
    for line in in_tables(ran.out):
        assert cell_len(line) <= width or " " not in line.strip(), line
    left_out = ran.out.partition("Not shown at this width")[2]
    words = {word for word in copied(wide.out) if word not in {"dev", "holdout"}}
    missing = {word for word in words if word not in ran.out}
    assert not missing or left_out, missing


def in_tables(text: str) -> list[str]:
    """The lines of tables: from the rule below the heads to the first blank line or sentence."""
    found, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("─") or (inside and bool(line) and not re.search(r"[.:]$|Next: ", line))
        found += [line] if inside else []
    return found


def copied(text: str) -> set[str]:
    """Names of versions and suites, digests, metrics and paths."""
    return set(re.findall(r"legal@\d|[0-9a-f]{12,64}|[a-z]+(?:[_-][a-z]+)+|/[\w./-]+", text))


@pytest.mark.parametrize("command", LISTINGS)
def test_a_pipe_gets_each_row_in_one_line_with_all_columns(
    locum: Callable[..., Ran], full: list[Manifest], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("COLUMNS")
    ran = locum(*command.split())
    assert ran.code == 0, ran.err
    assert "Not shown at this width" not in ran.out
    if command == "adapters list":
        [_, _, *rows] = ran.out.splitlines()
        assert all(row.startswith("legal@") and len(row) > 80 for row in rows)


def test_what_is_left_out_is_said_and_json_has_it(
    locum: Callable[..., Ran], full: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    ran = locum("adapters", "list")
    assert all(manifest.digest[:12] in ran.out for manifest in full)
    said = " ".join(ran.out.split())
    assert "Not shown at this width: " in said
    assert "A wider terminal or --json has them." in said


def test_what_does_not_fit_in_columns_stands_below_one_another_whole() -> None:
    digest = "0" * 64
    listing = table(None, ["field", "value"], [("digest", digest), ("question", "one two three four " * 4)])
    lines = [line for line, _ in listing.lines(40)]
    assert lines[:2] == ["digest", f"  {digest}"]
    assert lines[2] == "question"
    assert all(len(line) <= 40 for line in lines[2:])


cells = st.text(st.sampled_from("ab7 @[]-，中文"), max_size=30)


@given(
    st.lists(st.tuples(cells, cells, cells), max_size=4),
    st.integers(10, 120),
    st.lists(st.sampled_from(["two", "three"]), unique=True),
)
def test_every_word_is_whole_at_every_width(rows: list[tuple[str, str, str]], width: int, going: list[str]) -> None:
    listing = table(None, ["one", "two", "three"], rows, first_to_go=going)
    lines = [line for line, _ in listing.lines(width)]
    shown = "\n".join(lines)
    for row in rows:
        assert all(word in shown for word in re.findall(r"[^\s\[\]，中文]+", row[0]))
    for line in lines:
        assert cell_len(line) <= width or len(re.findall(r"\[[^\]]*\]\S*|[^\s，中文]+", line)) <= 1, line


@given(st.text(st.sampled_from("ab @中文\n"), max_size=80), st.integers(1, 30))
def test_breaking_loses_nothing_but_blanks(text: str, width: int) -> None:
    assert "".join("".join(broken(text, width)).split()) == "".join(text.split())


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=6), st.integers(1, 200))
def test_columns_share_the_width_and_none_is_narrower_than_it_may_be(sizes: list[tuple[int, int]], width: int) -> None:
    natural, least = [max(size) for size in sizes], [min(size) for size in sizes]
    widths = shared(natural, least, width)
    if widths is not None:
        assert sum(widths) + 3 * (len(widths) - 1) <= width or widths == natural
        assert all(low <= size <= high for low, size, high in zip(least, widths, natural, strict=True))
