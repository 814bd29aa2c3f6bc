"""A domain's data on disk: three splits and a record of what they are."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.adapters.conversations import Conversation
from locum.adapters.domains import Domain
from locum.adapters.manifest import DataRecord
from locum.errors import BadInputError, NotFoundError
from locum.train.data.source import read_source, with_system
from locum.train.data.split import NAMES, SplitName, Splits, check_leaks, data_record, split

RECORD_FILE = "data.json"


class DataBuild(BaseModel):
    """What data.json holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    record: DataRecord
    rows_read: int = Field(description="rows that the source gave")
    duplicates: int = Field(description="rows dropped because they were there before, word for word")
    variants: int = Field(description="rows dropped from train or validation because a held-out row asks the same")
    leak: str = Field(description="the result of the leak check, in a sentence")
    source: str = Field(description="the recipe or the files that the rows came from")
    packages: list[str] = Field(description="pinned packages that the recipe reads")
    licence: str


def build_data(domain: Domain, out: Path) -> DataBuild:
    """Read a domain's source, split it, check it for leaks and write it to the folder `out`.

    The folder is put in place whole. What was there is replaced.

    Raises:
        BadInputError: the source is wrong, or has too few rows to fill every split.
        NotFoundError: the recipe or a file is not there.
        UnavailableError: the recipe needs a package that is not installed.
        CheckFailedError: a held-out item is also in a split that is learnt from.
    """
    rows = list(read_source(domain))
    splits = split(rows)
    _check_filled(domain, splits, len(rows))
    leak = check_leaks(splits)
    # Split first: editing the card's system prompt must not deal the rows anew.
    splits = _with_system(splits, domain.card.system_prompt)

    source = domain.card.source
    build = DataBuild(
        domain=domain.name,
        record=data_record(splits),
        rows_read=len(rows),
        duplicates=splits.duplicates,
        variants=splits.variants,
        leak=leak,
        source=source.recipe or ", ".join(source.files),
        packages=source.packages,
        licence=source.licence,
    )
    _write(out, splits, build)
    return build


def load_data(path: Path) -> DataRecord:
    """The record of the data in a folder that `build_data` wrote.

    Raises:
        NotFoundError: there is no built data.
    """
    build = _read_build(path)
    if build is None:
        raise NotFoundError(f"there is no built data in {path}", hint=f"locum data build {path.name}")
    return build.record


def split_file(path: Path, name: SplitName) -> Path:
    """The JSON Lines file of one split in a folder of built data."""
    return path / f"{name}.jsonl"


def _check_filled(domain: Domain, splits: Splits, read: int) -> None:
    if read == 0:
        raise BadInputError(
            f"the data of {domain.name} is empty: its source gave no row",
            hint="the card's `source` names the recipe or the files",
        )
    empty = [name for name in NAMES if not splits.rows(name)]
    if empty:
        counts = ", ".join(f"{name} {len(splits.rows(name))}" for name in NAMES)
        raise BadInputError(
            f"the {read} rows of {domain.name} leave the {' and '.join(empty)} split empty ({counts})",
            hint="rows are dealt 80/10/10 by a hash of their group, or of the row where there is none: "
            "add rows, in about a hundred groups or more",
        )


def _with_system(splits: Splits, prompt: str) -> Splits:
    def prompted(rows: list[Conversation]) -> list[Conversation]:
        return sorted((with_system(row, prompt) for row in rows), key=lambda row: row.digest)

    return Splits(
        prompted(splits.train), prompted(splits.validation), prompted(splits.test), splits.duplicates, splits.variants
    )


def _read_build(path: Path) -> DataBuild | None:
    """What is there already; nothing when it is incomplete or of another format."""
    try:
        build = DataBuild.model_validate_json((path / RECORD_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
    return build if all(split_file(path, name).is_file() for name in NAMES) else None


def _write(out: Path, splits: Splits, build: DataBuild) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name in NAMES:
            lines = [row.model_dump_json(exclude_none=True) + "\n" for row in splits.rows(name)]
            split_file(part, name).write_text("".join(lines), encoding="utf-8")
        (part / RECORD_FILE).write_text(build.model_dump_json(indent=2) + "\n", encoding="utf-8")
        part.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
