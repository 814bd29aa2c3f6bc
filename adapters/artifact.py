"""What is let into the registry: a LoRA adapter in safetensors that fits the base model, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from locum.adapters.base import weight_shapes
from locum.adapters.lora_config import MERGE, check_config, patterns, read_config
from locum.adapters.lora_tensors import LORA, check_matrix, way_out
from locum.adapters.store import FILES, artifact_digest
from locum.errors import BadInputError, NotFoundError

T = TypeVar("T")

_BESIDE = 1 << 20  # bytes of an artifact beside its weights: its configuration, and the names of its tensors
MAX_RANK = 512  # the highest that vLLM holds
DTYPES = ("float32", "float16", "bfloat16")
CODE = {".py", ".pyc", ".so"}
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
_ELSEWHERE = {"embed_tokens", "wte", "lm_head", "embed_out"}


@dataclass(frozen=True)
class Artifact:
    """An adapter that was found safe and fitting."""

    rank: int
    """The highest of its modules, which a server must have room for."""
    alpha: float
    target_modules: list[str]
    parameters: int
    size: int
    digest: str


def inspect_artifact(folder: Path, base: Path, *, max_rank: int = MAX_RANK) -> Artifact:
    """Check an adapter against the rules of the registry and the shapes of the base checkpoint.

    Raises:
        NotFoundError: the folder or one of the two files is missing.
        BadInputError: something is not let in; names the field or tensor, what was found and what was expected.
    """
    check_files(folder)
    config = read_config(folder / FILES[0])
    check_config(config)
    ranks = {"r": config.get("r"), **patterns(config, "rank_pattern")}
    for name, rank in ranks.items():
        if type(rank) is not int or not 1 <= rank <= max_rank:
            raise BadInputError(f"{FILES[0]}: {name}: expected a rank from 1 to {max_rank}, found {rank!r}")
    alphas = {"lora_alpha": config.get("lora_alpha"), **patterns(config, "alpha_pattern")}
    for name, alpha in alphas.items():
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < float("inf"):
            raise BadInputError(f"{FILES[0]}: {name}: expected a number above 0, found {alpha!r}")
    tensors = read_tensors(folder / FILES[1])
    modules = _check_shapes(tensors, weight_shapes(base), ranks)
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise BadInputError(
                f"{FILES[1]}: {name}: expected {', '.join(DTYPES)}, found {dtype}",
                hint="save it again in one of these: model.to(torch.bfloat16).save_pretrained(FOLDER)",
            )
        if not tensor.isfinite().all():
            raise BadInputError(f"{FILES[1]}: {name}: expected finite values, found NaN or infinity")
    return Artifact(
        rank=max(ranks.values()),
        alpha=float(alphas["lora_alpha"]),
        target_modules=sorted({module.rsplit(".", 1)[-1] for module in modules}),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        size=sum((folder / name).stat().st_size for name in FILES),
        digest=artifact_digest(folder),
    )


def largest_artifact(base: Path, *, rank: int) -> int:
    """Bytes that an artifact of up to this rank can have over a base checkpoint: all its matrices, in float32."""
    matrices = [shape for shape in weight_shapes(base).values() if len(shape) == 2]
    return sum(4 * rank * sum(shape) for shape in matrices) + _BESIDE


def check_files(folder: Path) -> None:
    """Refuse a folder that lacks one of the two files, or brings code.

    Raises:
        NotFoundError: the folder or one of the two files is missing.
        BadInputError: there is code, a pickle in place of the weights, or a link out of the folder.
    """
    if not folder.is_dir():
        raise NotFoundError(
            f"there is no folder {folder}", hint="expected the folder that PEFT's save_pretrained wrote"
        )
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in CODE:
            raise BadInputError(
                f"{path} is not let in: expected {' and '.join(FILES)}, found code",
                hint="if the adapter works without that file, remove it",
            )
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise BadInputError(
                f"{path} is a link out of the folder: expected a file",
                hint="`locum adapters import` follows links, as the hub's cache has them",
            )
    check_weights(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise NotFoundError(f"{folder} has no {name}")


def check_weights(folder: Path) -> None:
    """Refuse weights in a pickle alone.

    Raises:
        BadInputError: names the pickle, and says how it can be converted.
    """
    pickles = [path.name for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICKLES]
    own = [name for name in pickles if name.startswith("adapter_model")]
    if pickles and not (folder / FILES[1]).is_file():
        name = (own or pickles)[0]
        raise BadInputError(f"{folder}: expected {FILES[1]}, found {name}", hint=pickle_hint(name))


def pickle_hint(name: str) -> str:
    """What to do with weights in a pickle. Locum opens none: it keeps one rule for whoever gives it an adapter."""
    return (
        "a pickle can run code when it is opened; if you trust whoever made it, convert it: "
        f"python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('{name}', weights_only=True), "
        f"'{FILES[1]}')\""
    )


def value_for(module: str, patterns: Mapping[str, T], default: T) -> T:
    """A module's rank or alpha: that of the first pattern that is the end of its name, else the default."""
    matching = (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module))
    return next(matching, default)


def set_field(path: Path, field: str, value: str) -> None:
    """Change one text field of a JSON file, and no other byte, so that undoing it gives the earlier digest."""
    text = path.read_text(encoding="utf-8")
    place = re.compile(rf'("{field}":\s*)(?:null|"(?:[^"\\]|\\.)*")')
    if place.search(text):
        changed = place.sub(lambda found: found[1] + json.dumps(value), text, count=1)
    else:
        changed = json.dumps({**json.loads(text), field: value}, indent=2, sort_keys=True) + "\n"
    path.write_text(changed, encoding="utf-8")


def read_tensors(path: Path) -> dict[str, Any]:
    """All tensors of a safetensors file.

    Raises:
        BadInputError: it is truncated, damaged or empty.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Any] = load_file(path)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise BadInputError(f"{path.name} ({path.stat().st_size} bytes) is truncated or damaged: {error}") from None
    if not tensors:
        raise BadInputError(f"{path.name} holds no tensors")
    return tensors


def _check_shapes(tensors: dict[str, Any], base: dict[str, list[int]], ranks: dict[str, int]) -> list[str]:
    """Names of the adapted modules, each with an A and a B that fit its weight."""
    found: dict[str, dict[str, list[int]]] = {}
    for name, tensor in tensors.items():
        match = LORA.match(name)
        if match is None:
            raise BadInputError(
                f"{FILES[1]}: {name}: expected only lora_A and lora_B weights of linear layers",
                hint=way_out(name) or f"if the adapter is the same without it, save it without; else {MERGE}",
            )
        check_matrix(name, list(tensor.shape))
        found.setdefault(match["module"], {})[match["part"]] = list(tensor.shape)
    patterns = {key: rank for key, rank in ranks.items() if key != "r"}
    for module, parts in found.items():
        weight = base.get(f"{module}.weight")
        if weight is None or len(weight) != 2:
            raise BadInputError(
                f"{FILES[1]}: {module}: the base model has no linear layer of this name",
                hint=f"name the base model that it was made for (--base); or {MERGE}: only linear layers are adapted",
            )
        if module.rsplit(".", 1)[-1] in _ELSEWHERE:
            raise BadInputError(
                f"{FILES[1]}: {module}: adapters of embeddings and output heads are not served",
                hint=f"{MERGE} (no embed_tokens or lm_head in target_modules)",
            )
        rank = value_for(module, patterns, ranks["r"])
        expected = {"A": [rank, weight[1]], "B": [weight[0], rank]}
        for part, shape in expected.items():
            if parts.get(part) != shape:
                raise BadInputError(
                    f"{FILES[1]}: {module}.lora_{part}: expected shape {shape} "
                    f"(rank {rank} on a weight of {weight}), found {parts.get(part, 'none')}"
                )
    return sorted(found)
