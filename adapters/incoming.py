"""An adapter that somebody else made: fetched, looked at, and mended where that changes nothing of what it computes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.adapters.adapter_folder import code_in, copy_adapter, find_adapter
from locum.adapters.artifact import read_tensors, set_field
from locum.adapters.base import Base, fingerprint, weight_shapes
from locum.adapters.hub import download_adapter, parse_repository
from locum.adapters.hub_cache import cached_commit, cached_repository
from locum.adapters.lora_config import change_config, read_config, task_type
from locum.adapters.lora_tensors import LORA, fit_names, modules_of, own_copies, proper_names
from locum.adapters.manifest import Manifest
from locum.adapters.model_card import CARD, read_header, recorded_manifest
from locum.adapters.store import FILES, artifact_digest
from locum.errors import NotFoundError

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
    beside: Path
    """Where the small files that lay beside it can be read."""
    names: list[str]
    """All that lay beside it."""
    notes: list[str]
    """What was chosen and passed over when it was copied, a sentence each."""


def fetch(source: str, folder: Path) -> Incoming:
    """Copy an adapter's files from a folder, or from the hub, to the new folder `folder`, and read what it says.

    Raises:
        NotFoundError: there is none at `source`.
        BadInputError: its weights are a pickle, a link leads nowhere, or its configuration is not JSON.
        UnauthorizedError, UnavailableError: as `download_adapter` raises them.
    """
    folder.mkdir(parents=True)
    if Path(source).is_dir():
        found = find_adapter(Path(source))
        names = sorted(path.name for path in found.folder.iterdir())
        return _taken(found.folder, folder, str(Path(source).resolve()), names, found.notes)
    repository = parse_repository(source)
    if repository is None:
        raise NotFoundError(
            f"there is no folder {source}", hint="expected a folder, or a hub repository: hf://ORG/NAME"
        )
    downloaded = folder.with_name("downloaded")
    revision, names = download_adapter(repository, downloaded)
    return _taken(downloaded, folder, str(repository), names, [], revision=revision)


def _taken(
    found: Path, folder: Path, source: str, names: list[str], notes: list[str], *, revision: str | None = None
) -> Incoming:
    notes = [*notes, *copy_adapter(found, folder)]
    code = sorted({*code_in(found), *(name for name in names if name.endswith(".py"))})
    if code := [name for name in code if not name.endswith("zero_to_fp32.py")]:  # DeepSpeed's, beside every checkpoint
        shown = ", ".join(code)
        notes.append(f"{shown}: code stays behind and is never run: if the adapter needs it, it is not itself here")
    named = read_config(folder / FILES[0]).get(_BASE_FIELD)
    header = read_header(folder / CARD)
    manifest = recorded_manifest(header)
    if manifest is not None and not _restored(folder, manifest):
        manifest = None
    return Incoming(
        folder,
        source,
        revision or cached_commit(found.resolve()),
        base=named if isinstance(named, str) and named else None,
        licence=_licence(header),
        trained_on=_trained_on(header, manifest),
        manifest=manifest,
        beside=found,
        names=names,
        notes=notes,
    )


def made_for(incoming: Incoming, bases: Iterable[Base]) -> list[Base]:
    """Those of the base models that an adapter was made for: by fingerprint if it is known, else by what it names,
    which PEFT writes as the model was loaded: a hub repository, or a folder of the machine that it was trained on."""
    bases = list(bases)
    if incoming.manifest is not None:
        return [base for base in bases if base.fingerprint == incoming.manifest.base_fingerprint]
    if incoming.base is None:
        return []
    named = incoming.base
    return (
        [base for base in bases if named in (base.name, base.source)]
        or [base for base in bases if _is_folder_of(named, base)]
        or [base for base in bases if cached_repository(Path(base.source)) == named]
        or _copies_of(named, bases)
        or [base for base in bases if last_name(named) == base.name]
    )


def fitting(incoming: Incoming, bases: Iterable[Base]) -> list[Base]:
    """Those of the base models that have all the modules that an adapter is for, in the shapes that it has."""
    tensors = read_tensors(incoming.folder / FILES[1])
    proper = {new: tensors[old] for old, new in proper_names(tensors).items()}
    return [base for base in bases if _fits(proper, weight_shapes(base.path))]


def last_name(named: str) -> str:
    """The last part of a path or repository, as Locum would call it; of Windows' paths, too."""
    path = Path(named.replace("\\", "/").rstrip("/"))
    last = (cached_repository(path) or path.name).rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-.")


def _is_folder_of(named: str, base: Base) -> bool:
    if not Path(named).is_dir():
        return False
    return Path(named).resolve() in (base.path.resolve(), Path(base.source).resolve())


def _copies_of(named: str, bases: list[Base]) -> list[Base]:
    """Base models of which the named folder is a copy. Only where the shapes agree are its weights read."""
    folder = Path(named)
    if not (folder / "config.json").is_file():
        return []
    shapes = weight_shapes(folder)
    alike = [base for base in bases if weight_shapes(base.path) == shapes]
    if not alike:
        return []
    digest = fingerprint(folder)
    return [base for base in alike if base.fingerprint == digest]


def _fits(tensors: dict[str, Any], shapes: dict[str, list[int]]) -> bool:
    renamed = fit_names(tensors, shapes)
    for old, new in renamed.items():
        match = LORA.match(new)
        weight = shapes.get(f"{match['module']}.weight") if match else None
        if match is None or weight is None or len(weight) != 2 or tensors[old].dim() != 2:
            return False
        if tensors[old].shape[match["part"] == "A"] != weight[match["part"] == "A"]:
            return False
    return bool(renamed)


def mend(incoming: Incoming, base: Base) -> list[str]:
    """Bring the copy into the form that the registry takes, where that changes nothing of what the adapter computes.

    Everything else is left for `inspect_artifact` to refuse.

    Returns:
        What was changed, a sentence each.

    Raises:
        BadInputError: it carries weights of its own where the server has the base model's.
    """
    if incoming.manifest is not None:
        return []
    config = incoming.folder / FILES[0]
    said = read_config(config)
    changes = []
    if said.get(_BASE_FIELD) != base.name:
        set_field(config, _BASE_FIELD, base.name)
        changes.append(f"{FILES[0]}: {_BASE_FIELD} is now {base.name!r}, as the base model is called here")
    if said.get("task_type") is None and task_type(said) in (None, "CAUSAL_LM"):
        set_field(config, "task_type", "CAUSAL_LM")
        changes.append(f"{FILES[0]}: task_type was not given, is now 'CAUSAL_LM'")
    if "bias" in said and said["bias"] is None:
        set_field(config, "bias", "none")
    changes += _mend_tensors(incoming.folder, base)
    if said.get("revision") not in (None, "main"):
        changes.append(f"{FILES[0]}: it was made for revision {said['revision']} of its base model")
    return changes


def _mend_tensors(folder: Path, base: Base) -> list[str]:
    """Give tensors the names that PEFT's `save_pretrained` gives over this base model, and leave out copies of the base
    model's own weights; what is no LoRA matrix keeps the name it has, and is refused later."""
    config, file = folder / FILES[0], folder / FILES[1]
    tensors = read_tensors(file)
    proper = proper_names(tensors)
    fitted = fit_names(proper.values(), weight_shapes(base.path))
    names = {name: fitted.get(proper[name], proper[name]) for name in tensors}
    copies = own_copies(tensors, base.path)
    renamed = [name for name in tensors if names[name] != name and name not in copies]
    changes = []
    if renamed:
        changes.append(f"{FILES[1]}: {len(renamed)} tensors renamed, such as {renamed[0]} to {names[renamed[0]]}")
    if copies:
        changes.append(f"{FILES[1]}: {', '.join(copies)}: the base model's own once more, left out")
        _forget_saved(config, copies)
    if renamed or copies:
        from safetensors.torch import save_file

        kept = {names[name]: tensor for name, tensor in tensors.items() if name not in copies}
        save_file(kept, file, metadata={"format": "pt"})
    if any(fitted[name] != name for name in fitted) or not read_config(config).get("target_modules"):
        changes += _name_modules(config, modules_of(names.values()))
    return changes


def _name_modules(config: Path, modules: list[str]) -> list[str]:
    """Patterns of another way to call the modules would find none of them."""
    if not modules:
        return []
    nothing: dict[str, Any] = dict.fromkeys(("exclude_modules", "layers_to_transform", "layers_pattern"))
    change_config(config, target_modules=modules, **nothing)
    return [f"{FILES[0]}: target_modules are now the {len(modules)} modules of the tensors"]


def _forget_saved(config: Path, copies: list[str]) -> None:
    """A layer that was saved whole and is the base model's own was not trained."""
    saved = read_config(config).get("modules_to_save")
    if isinstance(saved, list):
        left = [name for name in saved if not any(f".{name}." in f".{copy}" for copy in copies)]
        change_config(config, modules_to_save=left or None)


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
