"""New suites: a commented card, and rows to begin with: an example of a kind, or what a file holds."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from locum.adapters.domains import Domain
from locum.adapters.suites import SUITE_FILE, SUITES_FOLDER, TEST_SPLIT, Outline, check_suite_name, suite_yaml
from locum.errors import BadInputError, ConflictError
from locum.evaluate.samples import GENERATED, Sample, read_samples, row_of
from locum.evaluate.suite import TEST_FILE, without_prompt
from locum.evaluate.suite_examples import DATA_FILE, EXAMPLES, OUTLINES
from locum.evaluate.suite_outline import KINDS, demanded, outline_of
from locum.text import expected_one_of


def new_suite(
    domain: Domain, name: str, *, kind: str | None = None, source: str | None = None, data_path: Path | None = None
) -> Path:
    """Write the folder of a new suite; it is there whole or not at all.

    Args:
        kind: of the example rows that it begins with; `question` where neither this nor `source` is given.
        source: `test` for the domain's test split, or a JSON Lines file of conversations or sample rows, which are
            copied, with an id each. How they are scored is by what they are, and by what the domain's card asks.
        data_path: the folder of the domain's splits.

    Returns:
        The suite's card.

    Raises:
        BadInputError: the name is none that a suite can have, there is no such kind, both a kind and a source are
            given, or a row is wrong.
        NotFoundError: there is no such file.
        ConflictError: there is such a suite already.
    """
    check_suite_name(name)
    if kind is not None and source is not None:
        raise BadInputError("--kind says which example rows to begin with, and --from brings other ones: give one")
    if kind is not None and kind not in KINDS:
        raise BadInputError(f"--kind {kind}{expected_one_of(kind, KINDS)}")
    if source == TEST_SPLIT:
        outline = _outline_of_split(domain, data_path)
        return write_suite(domain, name, suite_yaml(domain.name, name, outline), rows=None)
    if source is None:
        wanted = next(each for each in KINDS if each == (kind or "question"))
        rows = [json.dumps(row, ensure_ascii=False) for row in EXAMPLES[wanted]]
        outline = OUTLINES[wanted]
        if wanted in GENERATED:
            outline = replace(outline, metrics=(*outline.metrics, *demanded(domain.card)))
        return write_suite(domain, name, suite_yaml(domain.name, name, outline), rows=rows)
    samples = list(read_samples(Path(source)))
    if not samples:
        raise BadInputError(f"{source} is empty: expected conversations or sample rows")
    outline = replace(outline_of(samples, domain.card), description=f"Rows of {Path(source).name}.")
    return write_suite(domain, name, suite_yaml(domain.name, name, outline), rows=rows_of(domain, samples))


def rows_of(domain: Domain, samples: Iterable[Sample]) -> list[str]:
    """The rows of a data file of the domain that read as these samples."""
    return [row_of(without_prompt(sample, domain)) for sample in samples]


def write_suite(domain: Domain, name: str, card: str, *, rows: Sequence[str] | None) -> Path:
    """Write a suite's folder with its card and, unless it asks the test split, its rows; returns the card's path.

    Raises:
        ConflictError: there is such a folder already.
    """
    folder = domain.folder / SUITES_FOLDER / name
    if folder.exists():
        raise ConflictError(f"{folder} is there already", hint=f"edit {folder / SUITE_FILE}, or choose another name")
    folder.parent.mkdir(exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".suite-", dir=domain.folder))
    try:
        (part / SUITE_FILE).write_text(card, encoding="utf-8")
        if rows is not None:
            (part / DATA_FILE).write_text("".join(row + "\n" for row in rows), encoding="utf-8")
        part.chmod(0o755)  # mkdtemp makes folders that nobody else can read
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder / SUITE_FILE


def _outline_of_split(domain: Domain, data_path: Path | None) -> Outline:
    """By the rows of the test split, where it is built; with the test split as its samples."""
    path = data_path / TEST_FILE if data_path else None
    samples = list(read_samples(path)) if path and path.is_file() else []
    if not samples:
        return Outline()
    return replace(outline_of(samples, domain.card), description=Outline.description, samples=TEST_SPLIT)
