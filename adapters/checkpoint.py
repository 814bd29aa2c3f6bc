"""Which files of a folder are the checkpoint: one set, that is loaded, measured and fingerprinted.

Every program chooses among a folder's files by rules of its own. transformers takes `model.safetensors`, else what the
index names, and puts an adapter on top if `adapter_config.json` lies there. vLLM takes all `*.safetensors` that the
index names, all there are without one, and Mistral's own format as soon as a `consolidated*.safetensors` lies anywhere.
Where those would differ, the base model is a folder of links to the right files (`link_files`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from locum.errors import BadInputError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
CONSOLIDATED = "consolidated*.safetensors"
_POINTER = b"version https://git-lfs"
_MISTRAL = ("params.json", "tekken.json", "tokenizer.model.v*", "consolidated.safetensors.index.json")
_UNLINKED = {".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl", ".ckpt", ".gguf", ".onnx", ".msgpack", ".h5"}


def weight_files(folder: Path) -> list[Path]:
    """The files that the weights are loaded from: those of the index, else `model.safetensors`, else all safetensors.

    Raises:
        BadInputError: the index is not one.
    """
    index = read_index(folder / INDEX)
    if index is not None:
        return sorted(path for path in {folder / name for name in index.values()} if path.is_file())
    whole = folder / WEIGHTS
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))


def read_index(path: Path) -> dict[str, str] | None:
    """File names by the tensors that are in them; nothing where there is no index.

    Raises:
        BadInputError: it is not one, or names files out of its folder.
    """
    if not path.is_file():
        return None
    content = read_object(path)
    files = content.get("weight_map")
    if not isinstance(files, dict) or not files:
        raise BadInputError(f"{path}: weight_map: expected the file of each tensor, found {files!r:.80}")
    for name in files.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise BadInputError(
                f"{path}: weight_map: expected the name of a safetensors file beside it, found {name!r}"
            )
    return files


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        BadInputError: it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise BadInputError(f"{path} is not JSON: expected an object, found {type(content).__name__}")
    return content


def read_head(path: Path) -> dict[str, Any]:
    """The JSON head of a safetensors file, without its metadata (https://huggingface.co/docs/safetensors)."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise BadInputError(f"{path} is a pointer of git-lfs, not the file itself", hint="git lfs pull")
        file.seek(0)
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size < 100_000_000:
            raise BadInputError(f"{path} is not a safetensors file: its head claims {size} bytes")
        try:
            head: dict[str, Any] = json.loads(file.read(size))
        except ValueError:
            raise BadInputError(f"{path} is not a safetensors file: its head is not JSON") from None
    head.pop("__metadata__", None)
    end = 8 + size + max((entry["data_offsets"][1] for entry in head.values()), default=0)
    if (found := path.stat().st_size) < end:
        raise BadInputError(f"{path} is truncated: expected {end} bytes, found {found}", hint="copy it again")
    return head


def check_links(folder: Path) -> None:
    """Refuse links that lead nowhere, as a copy of the hub's cache without its `blobs` has them.

    Raises:
        BadInputError: names the link and where it leads.
    """
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.exists():
            raise BadInputError(
                f"{path} is a link to {path.readlink()}, where nothing is",
                hint="copy the folder again with its links followed (cp -rL)",
            )


def misleading_files(folder: Path) -> list[Path]:
    """Files that a program would load in place of the checkpoint's own, or on top of them. Empty for most folders."""
    own = {path.name for path in weight_files(folder)}
    indexed = (folder / INDEX).is_file()
    consolidated = [path for path in folder.rglob(CONSOLIDATED) if path.parent != folder or path.name not in own]
    others = [] if indexed else [path for path in folder.glob("*.safetensors") if path.name not in own]
    adapters = [path for path in (folder / ADAPTER,) if path.is_file()]
    return sorted({*consolidated, *others, *adapters})


def link_files(folder: Path, target: Path) -> None:
    """Fill the folder `target` with links to the checkpoint's files, without what would be taken for them."""
    for path in _linked(folder):
        (target / path.name).unlink(missing_ok=True)  # of an attempt that was killed
        (target / path.name).symlink_to(path.absolute())


def _linked(folder: Path) -> Iterator[Path]:
    own = {path.name for path in weight_files(folder)}
    consolidated = any(folder.rglob(CONSOLIDATED))
    has_tokenizer = (folder / "tokenizer.json").is_file() or (folder / "tokenizer.model").is_file()
    for path in sorted(folder.iterdir()):
        name, suffix = path.name, path.suffix.lower()
        if not path.is_file() or name.startswith((".", "adapter_")) or suffix in _UNLINKED:
            continue
        if suffix == ".safetensors" and name not in own:
            continue
        if consolidated and has_tokenizer and any(fnmatch(name, pattern) for pattern in _MISTRAL):
            continue
        yield path
