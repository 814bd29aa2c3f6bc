"""Run folders: one for each recipe, data and base model; finished runs are reused, interrupted ones taken up."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from locum.adapters.base import Base
from locum.adapters.manifest import DataRecord
from locum.adapters.recipe import TrainingRecipe
from locum.errors import ConflictError
from locum.train.result import RESULT_FILE, TrainingResult

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def run_digest(recipe: TrainingRecipe, data: DataRecord, base: Base, start: str | None = None) -> str:
    """SHA-256 over what a training depends on; `start` is the digest of the version that it begins with."""
    given = {"recipe": recipe.in_force(), "data": data.digest, "base": base.fingerprint}
    if start is not None:
        given["start"] = start
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


def run_name(domain: str, digest: str) -> str:
    """Name of a run's folder."""
    return f"{domain}-{digest[:12]}"


@contextmanager
def run_folder(runs: Path, name: str, *, fresh: bool) -> Iterator[Path]:
    """The folder of a run, for one process at a time.

    Raises:
        ConflictError: another process is training this very run.
    """
    runs.mkdir(parents=True, exist_ok=True)
    lock = FileLock(runs / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConflictError(
            f"another process is training {runs / name}", hint="wait for it, or change the recipe"
        ) from None
    try:
        folder = runs / name
        if fresh and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        yield folder
    finally:
        lock.release()


def finished(folder: Path, digest: str) -> TrainingResult | None:
    """The result of a run that has ended, if all of it is there."""
    try:
        found = TrainingResult.model_validate_json((folder / RESULT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
    found = found.model_copy(update={"folder": folder, "reused": True})
    # Each kind is put in place whole.
    return found if found.run == digest and found.adapter.is_dir() else None


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; those that an interruption left in part are removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        try:
            # The trainer writes its state last.
            step = int(json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))["global_step"])
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path)
            continue
        whole.append((step, path))
    return max(whole)[1] if whole else None


def write(file: Path, text: str) -> None:
    """Put a file of a run in place whole."""
    part = file.with_name(f".{file.name}")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(file)
