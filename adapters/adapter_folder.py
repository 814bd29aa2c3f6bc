"""Where in a folder an adapter lies, as trainers, PEFT and the hub's cache lay it, and its copy without links."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from locum.adapters.artifact import CODE, check_weights
from locum.adapters.hub_cache import snapshot_of
from locum.adapters.lora_tensors import SHARDS, join_shards
from locum.adapters.model_card import CARD
from locum.adapters.store import FILES
from locum.errors import BadInputError, NotFoundError

_BOM = b"\xef\xbb\xbf"
_SHARDED = ("global_step*", "pytorch_model_fsdp*", "*.distcp", "*_model_states.pt", "mp_rank_*")


@dataclass(frozen=True)
class Found:
    """An adapter in a folder."""

    folder: Path
    notes: list[str]
    """What was chosen or passed over, a sentence each."""


def find_adapter(source: Path) -> Found:
    """The folder that holds the adapter: the one named, a snapshot of the hub's cache, or the only one inside.

    Raises:
        NotFoundError: there is no folder, or no adapter in it.
        BadInputError: there are several, or what is there is something else; says what to name instead.
    """
    if not source.is_dir():
        raise NotFoundError(
            f"there is no folder {source}", hint="expected the folder that PEFT's save_pretrained wrote"
        )
    folder = snapshot_of(source)
    inner = _adapters_below(folder)
    if _is_there(folder / FILES[0]):
        notes = [f"{path.relative_to(folder)} is an adapter of its own, and stays behind" for path in inner]
        return Found(folder, notes)
    if len(inner) == 1:
        return Found(inner[0], [f"the adapter is that in {inner[0].relative_to(folder)}"])
    if inner:
        names = ", ".join(str(path.relative_to(folder)) for path in inner)
        raise BadInputError(
            f"{source} holds {len(inner)} adapters: {names}", hint=f"name one: locum adapters import {inner[-1]}"
        )
    raise _none_there(source, folder)


def copy_adapter(folder: Path, target: Path) -> list[str]:
    """Copy an adapter's files and its card. Links are followed: whoever works on this machine may read what they lead
    to, and what they lead to is checked like any file.

    Returns:
        What was done beyond copying, a sentence each.

    Raises:
        BadInputError: a link leads nowhere, or the weights are a pickle.
        NotFoundError: there are no weights.
    """
    notes = []
    _copy_file(folder / FILES[0], target / FILES[0])
    if (content := (target / FILES[0]).read_bytes()).startswith(_BOM):
        (target / FILES[0]).write_bytes(content.removeprefix(_BOM))
        notes.append(f"{FILES[0]}: a byte order mark at its beginning was left out")
    if _is_there(folder / FILES[1]):
        _copy_file(folder / FILES[1], target / FILES[1])
    elif _is_there(folder / SHARDS):
        number = join_shards(folder, target / FILES[1])
        notes.append(f"{FILES[1]}: put together from {number} files, by {SHARDS}")
    else:
        raise _no_weights(folder)
    if _is_there(folder / CARD):
        _copy_file(folder / CARD, target / CARD)
    return notes


def code_in(folder: Path) -> list[str]:
    """Names of the files with code that lie in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix.lower() in CODE)


def _adapters_below(folder: Path) -> list[Path]:
    """Folders of adapters up to two levels down, in the order of their numbers: `checkpoint-90` before `-100`."""
    found = {path.parent for pattern in ("*", "*/*") for path in folder.glob(f"{pattern}/{FILES[0]}")}
    return sorted(found, key=lambda path: (path.parent, len(path.name), path.name))


def _is_there(path: Path) -> bool:
    """Whether there is such a file; a link that leads nowhere is there, too, to be complained about."""
    return path.is_symlink() or path.is_file()


def _copy_file(path: Path, target: Path) -> None:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # there is nothing, or the links lead round in a circle
        raise BadInputError(
            f"{path} is a link to {path.readlink()}, where no file is",
            hint="copy the folder again with its links followed (cp -rL)",
        ) from None
    if not real.is_file():
        raise BadInputError(f"{path}: expected a file, found a link to {real}")
    shutil.copyfile(real, target)


def _none_there(source: Path, folder: Path) -> NotFoundError | BadInputError:
    if (folder / "config.json").is_file() and (any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))):
        return BadInputError(
            f"{source} holds a whole checkpoint: expected a LoRA adapter of PEFT",
            hint=f"as a base model: locum base pull {source}",
        )
    if gguf := sorted(path.name for path in folder.glob("*.gguf")):
        return BadInputError(
            f"{source}: expected {FILES[0]}, found {gguf[0]}: llama.cpp's format",
            hint="import the adapter that it was converted from",
        )
    if parts := _parts(folder):
        return BadInputError(
            f"{source}: expected {FILES[0]}, found {parts[0]}: the state of a training on several processes",
            hint="gather and save the adapter first: DeepSpeed's zero_to_fp32.py, `accelerate merge-weights` for FSDP, "
            "`swift export --to_hf true` for Megatron",
        )
    return NotFoundError(f"{source} has no {FILES[0]}", hint="expected the folder that PEFT's save_pretrained wrote")


def _no_weights(folder: Path) -> NotFoundError | BadInputError:
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if others:
        return BadInputError(
            f"{folder}: expected {FILES[1]}, found {', '.join(others)}",
            hint=f"if that is the adapter: mv {folder / others[0]} {folder / FILES[1]}",
        )
    check_weights(folder)
    if parts := _parts(folder):
        return BadInputError(
            f"{folder}: expected {FILES[1]}, found {parts[0]}: the state of a training on several processes",
            hint="gather and save the adapter first: DeepSpeed's zero_to_fp32.py, `accelerate merge-weights` for FSDP",
        )
    return NotFoundError(f"{folder} has no {FILES[1]}")


def _parts(folder: Path) -> list[str]:
    return sorted(path.name for pattern in _SHARDED for path in folder.glob(pattern))
