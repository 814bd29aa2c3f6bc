"""What is let into the registry: a LoRA adapter in safetensors that fits the base model, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from locum.adapters.base import weight_shapes
from locum.adapters.recipe import check_pattern
from locum.adapters.store import FILES, artifact_digest
from locum.errors import BadInputError, NotFoundError

T = TypeVar("T")

_BESIDE = 1 << 20  # bytes of an artifact beside its weights: its configuration, and the names of its tensors
MAX_RANK = 512  # the highest that vLLM holds
DTYPES = ("float32", "float16", "bfloat16")
CODE = {".py", ".pyc", ".so"}
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
_TENSOR = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")
# Ways to begin that leave the base model's weights as they are. Others (PiSSA, OLoRA, CorDA, LoftQ) change them when
# PEFT loads the adapter, so that it is right only over weights that no server holds.
_PLAIN_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica", "lora_ga")
# Settings that change what an adapter computes in ways that vLLM's LoRA layers do not hold.
_MUST_BE_OFF = (
    "use_dora", "modules_to_save", "layer_replication", "auto_mapping", "lora_bias",
    "trainable_token_indices", "target_parameters", "use_qalora", "use_bdlora", "alora_invocation_tokens",
    "arrow_config", "kasa_config", "monteclora_config",
)  # fmt: skip
_INSTEAD = {
    "use_dora": "its magnitudes cannot be written as plain LoRA; merge it with PEFT's merge_and_unload, and "
    "`locum base pull FOLDER` makes the result a base model",
    "modules_to_save": "it carries whole layers beside the LoRA; merge it with PEFT's merge_and_unload, and "
    "`locum base pull FOLDER` makes the result a base model",
}


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
    config = _read_config(folder / FILES[0])
    ranks = {"r": config.get("r"), **_pattern(config, "rank_pattern")}
    for name, rank in ranks.items():
        if type(rank) is not int or not 1 <= rank <= max_rank:
            raise BadInputError(f"{FILES[0]}: {name}: expected a rank from 1 to {max_rank}, found {rank!r}")
    alphas = {"lora_alpha": config.get("lora_alpha"), **_pattern(config, "alpha_pattern")}
    for name, alpha in alphas.items():
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < float("inf"):
            raise BadInputError(f"{FILES[0]}: {name}: expected a number above 0, found {alpha!r}")
    tensors = read_tensors(folder / FILES[1])
    modules = _check_shapes(tensors, weight_shapes(base), ranks)
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise BadInputError(f"{FILES[1]}: {name}: expected {', '.join(DTYPES)}, found {dtype}")
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
    inside = sorted(folder.rglob("*"))
    for path in inside:
        if path.suffix.lower() in CODE:
            raise BadInputError(
                f"{path} is not let in: expected {' and '.join(FILES)}, found code",
                hint="if the adapter works without that file, remove it",
            )
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise BadInputError(f"{path} is a link out of the folder: expected a file")
    pickles = [path.name for path in inside if path.suffix.lower() in PICKLES]
    if pickles and not (folder / FILES[1]).is_file():
        raise BadInputError(
            f"{folder}: expected {FILES[1]}, found {pickles[0]}",
            hint=pickle_hint(pickles[0]),
        )
    for name in FILES:
        if not (folder / name).is_file():
            raise NotFoundError(f"{folder} has no {name}")


def pickle_hint(name: str) -> str:
    """What to do with weights in a pickle. Locum opens none: it keeps one rule for whoever gives it an adapter."""
    return (
        "a pickle can run code when it is opened; if you trust whoever made it, convert it: "
        f"python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('{name}', weights_only=True), "
        f"'{FILES[1]}')\""
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(config, dict) or not {"r", "peft_type"} & set(config):
        raise BadInputError(f"{path.name}: r: expected the rank of a LoRA adapter, found none")
    for field, expected in (("peft_type", "LORA"), ("task_type", "CAUSAL_LM")):
        if config.get(field) != expected:
            raise BadInputError(f"{path.name}: {field}: expected {expected!r}, found {config.get(field)!r}")
    if config.get("bias", "none") != "none":
        raise BadInputError(f"{path.name}: bias: expected 'none', found {config['bias']!r}")
    if config.get("init_lora_weights") not in _PLAIN_INITS:
        raise BadInputError(
            f"{path.name}: init_lora_weights: {config['init_lora_weights']!r} changes the base model's weights; "
            "expected an adapter over the weights as they are",
            hint="save it with PEFT's path_initial_model_for_weight_conversion",
        )
    for field in _MUST_BE_OFF:
        if config.get(field):
            raise BadInputError(
                f"{path.name}: {field}: the server cannot hold this; expected none, found {config[field]!r}",
                hint=_INSTEAD.get(field),
            )
    return config


def _pattern(config: dict[str, Any], field: str) -> dict[str, Any]:
    """Values by patterns of module names, as PEFT and vLLM read them."""
    found = config.get(field) or {}
    if not isinstance(found, dict):
        raise BadInputError(f"{FILES[0]}: {field}: expected values by module names, found {found!r}")
    for pattern in found:
        try:
            check_pattern(pattern)
        except ValueError as error:
            raise BadInputError(f"{FILES[0]}: {field}: {error}") from None
    return found


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
        match = _TENSOR.match(name)
        if match is None:
            raise BadInputError(f"{FILES[1]}: {name}: expected only lora_A and lora_B weights of linear layers")
        found.setdefault(match["module"], {})[match["part"]] = list(tensor.shape)
    patterns = {key: rank for key, rank in ranks.items() if key != "r"}
    for module, parts in found.items():
        weight = base.get(f"{module}.weight")
        if weight is None or len(weight) != 2:
            raise BadInputError(f"{FILES[1]}: {module}: the base model has no linear layer of this name")
        if module.rsplit(".", 1)[-1] in {"embed_tokens", "lm_head"}:
            raise BadInputError(f"{FILES[1]}: {module}: adapters of embeddings and output heads are not served")
        rank = value_for(module, patterns, ranks["r"])
        expected = {"A": [rank, weight[1]], "B": [weight[0], rank]}
        for part, shape in expected.items():
            if parts.get(part) != shape:
                raise BadInputError(
                    f"{FILES[1]}: {module}.lora_{part}: expected shape {shape} "
                    f"(rank {rank} on a weight of {weight}), found {parts.get(part, 'none')}"
                )
    return sorted(found)
