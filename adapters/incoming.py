"""An adapter that somebody else made: fetched, looked at, and mended where that changes nothing of what it computes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.adapters.artifact import check_files, read_tensors, set_field
from locum.adapters.base import Base
from locum.adapters.hub import download_adapter, parse_repository
from locum.adapters.manifest import Manifest
from locum.adapters.model_card import CARD, read_header, recorded_manifest
from locum.adapters.store import FILES, artifact_digest
from locum.errors import BadInputError, NotFoundError

# Names that training loops, compilers and PEFT itself leave around those of `save_pretrained`.
_TENSOR = re.compile(
    r"(?:_orig_mod\.|module\.)*(?:base_model\.model\.)*(?P<module>.+)\.lora_(?P<part>[AB])(?:\.[^.]+)?\.weight"
)
_BASE_FIELD = "base_model_name_or_path"


@dataclass(frozen=True)
class Incoming:
    """A copy of an adapter, and what it says of itself."""

    folder: Path
    source: str
    revision: str | None
    base: str | None
    """The base model that it was made for."""
    licence: str | None
    trained_on: str | None
    manifest: Manifest | None
    """Its manifest, where it is a version that Locum exported and its files are those of the version."""


def fetch(source: str, folder: Path) -> Incoming:
    """Copy an adapter's files from a folder, or from the hub, to the new folder `folder`, and read what it says.

    Raises:
        NotFoundError: there is none at `source`.
        BadInputError: it brings code or a pickle, or its configuration is not JSON.
        UnauthorizedError, UnavailableError: as `download_adapter` raises them.
    """
    folder.mkdir(parents=True)
    if Path(source).is_dir():
        _copy(Path(source), folder)
        return _described(folder, source=str(Path(source).resolve()))
    repository = parse_repository(source)
    if repository is None:
        raise NotFoundError(
            f"there is no folder {source}", hint="expected a folder, or a hub repository: hf://ORG/NAME"
        )
    revision = download_adapter(repository, folder)
    return _described(folder, source=str(repository), revision=revision)


def made_for(incoming: Incoming, bases: Iterable[Base]) -> list[Base]:
    """Those of the base models that an adapter was made for: by fingerprint if it is known, else by name or source."""
    if incoming.manifest is not None:
        return [base for base in bases if base.fingerprint == incoming.manifest.base_fingerprint]
    return [base for base in bases if incoming.base in (base.name, base.source)]


def mend(incoming: Incoming, base: Base) -> list[str]:
    """Bring the copy into the form that the registry takes, where that changes nothing of what the adapter computes.

    Everything else is left for `inspect_artifact` to refuse.

    Returns:
        What was changed, a sentence each.
    """
    if incoming.manifest is not None:
        return []
    config = incoming.folder / FILES[0]
    said = _read(config)
    changes = []
    if said.get(_BASE_FIELD) != base.name:
        set_field(config, _BASE_FIELD, base.name)
        changes.append(f"{FILES[0]}: {_BASE_FIELD} is now {base.name!r}, as the base model is called here")
    if said.get("task_type") is None:
        set_field(config, "task_type", "CAUSAL_LM")
        changes.append(f"{FILES[0]}: task_type was not given, is now 'CAUSAL_LM'")
    return changes + _rename_tensors(incoming.folder / FILES[1])


def _copy(source: Path, folder: Path) -> None:
    if not (source / FILES[0]).is_file() and (source / "config.json").is_file():
        raise BadInputError(
            f"{source} holds a whole checkpoint: expected a LoRA adapter of PEFT",
            hint=f"as a base model: locum base pull {source}",
        )
    check_files(source)
    for name in (*FILES, CARD):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _described(folder: Path, *, source: str, revision: str | None = None) -> Incoming:
    named = _read(folder / FILES[0]).get(_BASE_FIELD)
    header = read_header(folder / CARD)
    manifest = recorded_manifest(header)
    if manifest is not None and not _restored(folder, manifest):
        manifest = None
    return Incoming(
        folder,
        source,
        revision,
        base=named if isinstance(named, str) and named else None,
        licence=_licence(header),
        trained_on=_trained_on(header, manifest),
        manifest=manifest,
    )


def _restored(folder: Path, manifest: Manifest) -> bool:
    """Whether the files are those of the manifest, once the base model is called again as it was in the registry."""
    if artifact_digest(folder) == manifest.digest:
        return True
    config = folder / FILES[0]
    as_found = config.read_bytes()
    set_field(config, _BASE_FIELD, manifest.base)
    if artifact_digest(folder) == manifest.digest:
        return True
    config.write_bytes(as_found)
    return False


def _licence(header: dict[str, Any]) -> str | None:
    licence = header.get("license_name") if header.get("license") == "other" else header.get("license")
    return licence if isinstance(licence, str) else None


def _trained_on(header: dict[str, Any], manifest: Manifest | None) -> str | None:
    if manifest is not None and manifest.origin is not None:
        return manifest.origin.trained_on
    if manifest is not None and manifest.data is not None:
        return f"the data of {manifest.domain} with digest {manifest.data.digest[:12]}"
    datasets = header.get("datasets")
    named = [datasets] if isinstance(datasets, str) else datasets if isinstance(datasets, list) else []
    return ", ".join(str(each) for each in named) or None


def _read(config: Path) -> dict[str, Any]:
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInputError(f"{config.name} is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise BadInputError(f"{config.name}: expected the settings of a LoRA adapter, found {type(said).__name__}")
    return said


def _rename_tensors(file: Path) -> list[str]:
    """Give tensors the names that PEFT's `save_pretrained` gives; what is no LoRA matrix keeps the name it has."""
    tensors = read_tensors(file)
    names = {name: _proper(name) for name in tensors}
    wrong = [name for name, proper in names.items() if name != proper]
    if not wrong:
        return []
    if len(set(names.values())) < len(names):
        twice = next(name for name in wrong if list(names.values()).count(names[name]) > 1)
        raise BadInputError(f"{FILES[1]}: {twice}: another tensor is {names[twice]} too, expected one adapter")
    from safetensors.torch import save_file

    save_file({names[name]: tensor for name, tensor in tensors.items()}, file, metadata={"format": "pt"})
    return [f"{FILES[1]}: {len(wrong)} tensors renamed, such as {wrong[0]} to {names[wrong[0]]}"]


def _proper(name: str) -> str:
    match = _TENSOR.fullmatch(name)
    return f"base_model.model.{match['module']}.lora_{match['part']}.weight" if match else name
