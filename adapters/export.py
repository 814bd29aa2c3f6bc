"""A version given to others: as the adapter that PEFT loads, merged into its base model, or for llama.cpp."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from locum.adapters.artifact import set_field
from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.model_card import CARD, GGUF_FILE, Form, hub_id
from locum.adapters.store import DISK_FULL, FILES, part_name
from locum.errors import BadInputError, ConflictError, DiskFullError


def export_version(
    manifest: Manifest,
    artifact: Path,
    target: Path,
    *,
    form: Form,
    base: Base | None,
    card: str,
    say: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Write a version to the new folder `target`, whole or not at all; returns the names of its files.

    Args:
        artifact: the version's files, checked against its digest.
        base: the base model that it was made for; only `peft` does without.
        card: what goes into README.md.
        say: told what is being done.

    Raises:
        ConflictError: there is something at `target` already.
        BadInputError: the version or its base model cannot be written in this form; says why.
        CheckFailedError: the merged checkpoint does not answer as the version does.
        DiskFullError, OutOfMemoryError: there is too little room.
    """
    with _whole(target) as part:
        if form == "peft":
            say("copying the adapter")
            _write_peft(manifest, artifact, part, base)
        elif base is None:
            raise BadInputError(f"{manifest.name} as {form} needs its base model {manifest.base}")
        elif form == "merged":
            from locum.adapters.merge import merge

            merge(manifest, artifact, base, part, say=say)
        else:
            from locum.adapters.gguf_adapter import write_gguf

            say("writing the adapter for llama.cpp")
            write_gguf(manifest.name, artifact, base.path, part / GGUF_FILE)
        (part / CARD).write_text(card, encoding="utf-8")
    return sorted(path.name for path in target.iterdir())


def _write_peft(manifest: Manifest, artifact: Path, part: Path, base: Base | None) -> None:
    """The two files as they are; where Locum's own name of the base model would lead nobody anywhere, its hub id."""
    for name in FILES:
        shutil.copyfile(artifact / name, part / name)
    named = json.loads((part / FILES[0]).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if named == manifest.base and (hub := hub_id(base)) is not None:
        set_field(part / FILES[0], "base_model_name_or_path", hub)


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder beside `target` that gets its name when the block ends well, and is gone when it does not."""
    target = target.absolute()
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    if target.exists():
        found = "a folder that is not empty" if target.is_dir() else "a file"
        raise ConflictError(f"{target}: expected no folder, or an empty one, found {found}", hint="choose another name")
    part = target.parent / part_name()
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(target)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFullError(f"there is no room in {target.parent}: {error}") from None
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
