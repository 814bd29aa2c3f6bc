"""The tensors of an adapter: the names that trainers give them, and the copies of the base model's own among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from locum.adapters.checkpoint import read_head, read_index, read_object, weight_files
from locum.adapters.lora_config import MERGE
from locum.adapters.store import FILES
from locum.errors import BadInputError

LORA = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")
SHARDS = "adapter_model.safetensors.index.json"
# What training loops, compilers and sharding put into names, and PEFT where it is put around a model twice.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PREFIX = re.compile(r"^(?:module\.)*(?:base_model\.model\.)*")
_MATRIX = re.compile(r"(?P<module>.+)\.lora_(?P<part>[AB])(?:\.[^.]+)?\.weight")
_COPY = re.compile(
    r"(?P<module>.+?)\.(?:base_layer\.|original_module\.|modules_to_save\.(?:[^.]+\.)?)?(?P<part>weight|bias)"
)
_EMBEDDING = "embed_tokens.weight"
# Kinds of tensors that are no LoRA matrix of a linear layer, and what to do about them.
_KINDS: tuple[tuple[str, str], ...] = (
    ("lora_magnitude_vector", f"it is DoRA's; {MERGE}"),
    ("lora_embedding_", f"it adapts the embedding; {MERGE} (target_modules without embed_tokens)"),
    ("trainable_tokens", f"it carries rows of the embedding; {MERGE}"),
    ("token_adapter", f"it carries rows of the embedding; {MERGE}"),
    ("lora_E", f"it is AdaLoRA's; {MERGE}"),
    ("ranknum", f"it is AdaLoRA's; {MERGE}"),
    ("lora_a", "MLX wrote it, transposed: merge it with `mlx_lm.fuse --de-quantize`, and `locum base pull FOLDER`"),
    ("linear_in", "Megatron wrote it: export it to Hugging Face's format first (`swift export --to_hf true`)"),
    ("v_head", "it is the value head of a reward training: save the adapter without it"),
    (".bias", f"it is a bias; {MERGE}"),
    ("lora_down", "it is in the format of image models"),
)

Rename = Callable[[str], str]
# The same language model under other names: inside one that also sees, without its head, or wrapped once more.
_MODULES: tuple[Rename, ...] = (
    lambda module: module,
    lambda module: re.sub(r"^(?:model\.)?language_model\.(?:model\.)?", "model.", module),
    lambda module: module.removeprefix("model."),
    lambda module: f"model.{module}",
    lambda module: re.sub(r"^(?:model\.)+", "model.", module),
)


def proper_names(names: Iterable[str]) -> dict[str, str]:
    """The name that PEFT's `save_pretrained` gives, for each name of a tensor; what is unknown keeps the name it has.

    Raises:
        BadInputError: two tensors would have one name.
    """
    proper: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name in names:
        proper[name] = _proper(name)
        if (other := owners.setdefault(proper[name], name)) != name:
            raise BadInputError(
                f"{FILES[1]}: {name}: another tensor ({other}) is {proper[name]} too, expected one adapter",
                hint="save each adapter into a folder of its own: save_pretrained(…, selected_adapters=[NAME])",
            )
    return proper


def fit_names(names: Iterable[str], base: Mapping[str, list[int]]) -> dict[str, str]:
    """Names under which the base model has the modules, for tensors that have LoRA's names; all as they are if none
    of the known ways to call a language model fits every one of them."""
    matches = {name: match for name in names if (match := LORA.match(name))}
    for rename in _MODULES:
        if all(f"{rename(match['module'])}.weight" in base for match in matches.values()):
            return {
                name: f"base_model.model.{rename(match['module'])}.lora_{match['part']}.weight"
                for name, match in matches.items()
            }
    return {name: name for name in matches}


def modules_of(names: Iterable[str]) -> list[str]:
    """The adapted modules, sorted."""
    return sorted({match["module"] for name in names if (match := LORA.match(name))})


def own_copies(tensors: Mapping[str, Any], base: Path) -> list[str]:
    """Names of tensors that are the base model's own weights once more, as PEFT's `save_embedding_layers` keeps them.

    Raises:
        BadInputError: one is a layer of the base model and has other values, so that the server would compute without
            them; says how it differs, and the way out.
    """
    others = {name: match for name in tensors if not LORA.match(name) and (match := _COPY.fullmatch(_bare(name)))}
    others = {name: match for name, match in others.items() if not way_out(name) or match["part"] == "bias"}
    copies = []
    for name, match in others.items():
        own = _read_weight(base, f"{match['module']}.{match['part']}")
        if own is None:
            continue
        if not _is_copy(tensors[name], own):
            raise _other_values(name, tensors[name], own)
        copies.append(name)
    return copies


def way_out(name: str) -> str | None:
    """What to do about a tensor that is no LoRA matrix of a linear layer."""
    return next((hint for part, hint in _KINDS if part in name), None)


def check_matrix(name: str, shape: list[int]) -> None:
    """Refuse what a training on several machines leaves where its parts were not gathered.

    Raises:
        BadInputError: the tensor is a part of a matrix.
    """
    if len(shape) < 2 or 0 in shape:
        raise BadInputError(
            f"{FILES[1]}: {name}: expected a matrix, found shape {shape}: the part of one process",
            hint="gather the parts before saving: DeepSpeed's zero_to_fp32.py or stage3_gather_16bit_weights_on_model_"
            "save, FSDP's full state dict",
        )


def join_shards(folder: Path, target: Path) -> int:
    """Put an adapter that was saved in several files into one; returns their number.

    Raises:
        BadInputError: one of the files that the index names is not there.
    """
    from safetensors.torch import load_file, save_file

    names = sorted(set((read_index(folder / SHARDS) or {}).values()))
    for name in names:
        if not (folder / name).is_file():
            raise BadInputError(f"{folder}: {SHARDS} names {name}, which is not there", hint="copy the folder again")
    tensors = {key: tensor for name in names for key, tensor in load_file(folder / name).items()}
    save_file(tensors, target, metadata={"format": "pt"})
    return len(names)


def _bare(name: str) -> str:
    return _PREFIX.sub("", _WRAPPERS.sub("", name))


def _proper(name: str) -> str:
    bare = _bare(name)
    match = _MATRIX.fullmatch(bare)
    return f"base_model.model.{match['module']}.lora_{match['part']}.weight" if match else name


def _read_weight(base: Path, name: str) -> Any:
    """A weight of the base model, by the names that its output layer has where it is tied to the embedding; or none."""
    from safetensors import safe_open

    heads = {key: path for path in weight_files(base) for key in read_head(path)}
    candidates = [name, f"model.{name}", name.removeprefix("model.")]
    tied = read_object(base / "config.json").get("tie_word_embeddings", True)
    if name.endswith("lm_head.weight") and tied:
        candidates += [key for key in heads if key.endswith(_EMBEDDING)]
    found = next((key for key in candidates if key in heads), None)
    if found is None:
        return None
    with safe_open(heads[found], framework="pt") as file:
        return file.get_tensor(found)


def _is_copy(tensor: Any, own: Any) -> bool:
    return bool(tensor.shape == own.shape and (own.to(tensor.dtype).equal(tensor) or own.float().equal(tensor.float())))


def _other_values(name: str, tensor: Any, own: Any) -> BadInputError:
    found, expected = list(tensor.shape), list(own.shape)
    if found[1:] == expected[1:] and found != expected:
        return BadInputError(
            f"{FILES[1]}: {name}: expected {expected[0]} rows, found {found[0]}: its vocabulary was resized, and the "
            "server has the base model's",
            hint=f"{MERGE} (no added tokens; model.resize_token_embeddings({expected[0]}) before the training)",
        )
    if found != expected:
        return BadInputError(f"{FILES[1]}: {name}: expected shape {expected}, found {found}: it is for another model")
    differ = int((own.float() != tensor.float()).flatten(1).any(1).sum()) if own.dim() > 1 else expected[0]
    return BadInputError(
        f"{FILES[1]}: {name}: {differ} of its {expected[0]} rows are not the base model's: it was trained as a whole, "
        "and a server holds LoRA matrices alone",
        hint=f"{MERGE} (no modules_to_save, no embed_tokens or lm_head in target_modules)",
    )
