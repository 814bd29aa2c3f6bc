"""New suites: a commented card, and rows to begin with: an example of a kind, or what a file holds."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from locum.adapters.domains import Domain
from locum.adapters.suites import SUITE_FILE, SUITES_FOLDER, TEST_SPLIT, Outline, check_suite_name, suite_yaml
from locum.errors import BadInputError, ConflictError
from locum.evaluate.samples import Kind, Sample, read_samples, row_of
from locum.evaluate.suite import without_prompt
from locum.evaluate.suite_examples import DATA_FILE, EXAMPLES, OUTLINES
from locum.text import expected_one_of

KINDS: tuple[Kind, ...] = get_args(Kind)


def new_suite(domain: Domain, name: str, *, kind: str | None = None, source: str | None = None) -> Path:
    """Write the folder of a new suite; it is there whole or not at all.

    Args:
        kind: of the example rows that it begins with; `question` where neither this nor `source` is given.
        source: `test` for the domain's test split, or a JSON Lines file of conversations or sample rows, which are
            copied, with an id each.

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
        return write_suite(domain, name, suite_yaml(domain.name, name, Outline()), rows=None)
    if source is None:
        wanted = next(each for each in KINDS if each == (kind or "question"))
        rows = [json.dumps(row, ensure_ascii=False) for row in EXAMPLES[wanted]]
        return write_suite(domain, name, suite_yaml(domain.name, name, OUTLINES[wanted]), rows=rows)
    samples = list(read_samples(Path(source)))
    if not samples:
        raise BadInputError(f"{source} holds no row, expected conversations or sample rows")
    outline = replace(_outline(samples), description=f"Rows of {Path(source).name}.")
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


def _outline(samples: Sequence[Sample]) -> Outline:
    """By the kind that most samples are of, with the metrics of all kinds that there are."""
    kinds = [sample.kind for sample in samples]
    most = max(KINDS, key=kinds.count)
    metrics = [metric for kind in (most, *KINDS) if kind in kinds for metric in OUTLINES[kind].metrics]
    if not any(sample.unknowable for sample in samples):
        metrics = [metric for metric in metrics if metric != "honesty"]
    slices = [field for field in OUTLINES[most].slices if all(field in sample.slices for sample in samples)]
    return replace(OUTLINES[most], metrics=tuple(dict.fromkeys(metrics)), slices=tuple(slices))
