"""Which checkpoints are let in as base models, and what to do about the others. Looks at names and heads alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from locum.adapters.checkpoint import (
    ADAPTER,
    CONSOLIDATED,
    INDEX,
    WEIGHTS,
    check_links,
    read_head,
    read_index,
    read_object,
    weight_files,
)
from locum.errors import BadInputError

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
# Tensors of GPTQ and AWQ, compressed-tensors, bitsandbytes and MLX. What fp8 keeps has the shape of plain weights.
_PACKED = {"qweight", "qzeros", "weight_packed", "scales", "absmax", "quant_map", "SCB"}
_WRITERS = ("ForCausalLM", "LMHeadModel")
_CONVERT = 'python -c "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; '
_WHOLE = "pull the model that it was made from, as its makers published it"


def check_checkpoint(folder: Path) -> None:
    """Refuse what is no checkpoint that can be trained on, served and checked.

    Raises:
        BadInputError: says what was found, what was expected and the way out.
    """
    check_links(folder)
    _check_kind(folder)
    _check_weights(folder)
    config = read_object(folder / "config.json")
    _check_code(folder, config)
    _check_architecture(folder, config)
    _check_plain(folder, config)
    _check_tokenizer(folder)


def _check_plain(folder: Path, config: dict[str, Any]) -> None:
    """Refuse weights that are packed into another form, with which no adapter's shapes could be compared."""
    index = read_index(folder / INDEX) or {}
    for path in weight_files(folder):
        head = read_head(path)
        absent = [name for name, file in index.items() if file == path.name and name not in head]
        if absent:
            raise BadInputError(
                f"{path}: {absent[0]} is not in it, where {INDEX} says it is: they are of two different models",
                hint="copy the folder again, weights and index from one place",
            )
        for name, entry in head.items():
            packed = name.rsplit(".", 1)[-1] in _PACKED or (
                name.endswith(".weight") and entry["dtype"] in ("U8", "I32")
            )
            if packed:
                method = _quantisation(folder, config)
                raise BadInputError(
                    f"{folder} is quantised{f' ({method})' if method else ''}: {path.name}: {name}: expected plain "
                    "weights, over which adapters are trained and checked",
                    hint=f"{_WHOLE}; to train in less memory: `locum train DOMAIN --set method=qlora`",
                )


def _check_kind(folder: Path) -> None:
    if (folder / "config.json").is_file():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    expected = f"{folder} has no config.json: expected the folder of a Hugging Face checkpoint"
    if ADAPTER in names:
        raise BadInputError(f"{expected}, found a LoRA adapter", hint=f"locum adapters import {folder} --domain DOMAIN")
    if "params.json" in names:
        raise BadInputError(
            f"{expected}, found params.json: the weights are in the format of their makers",
            hint="pull the same model in Hugging Face's format: transformers' convert_*_weights_to_hf.py writes it",
        )
    if "model_index.json" in names:
        raise BadInputError(f"{expected}, found model_index.json, a pipeline for images", hint="pull a language model")
    inner = sorted(path.name for path in folder.iterdir() if (path / "config.json").is_file()) if names else []
    gguf = sorted(name for name in names if name.endswith(".gguf"))
    if gguf:
        raise BadInputError(f"{expected}, found only {gguf[0]}", hint=_gguf_hint(folder, gguf[0]))
    raise BadInputError(
        expected, hint=f"it is in a folder below: locum base pull {folder / inner[0]}" if inner else None
    )


def _check_weights(folder: Path) -> None:
    index = read_index(folder / INDEX)
    whole = (folder / WEIGHTS).is_file()
    if index is not None:
        shards = set(index.values())
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if missing:
            raise BadInputError(
                f"{folder} lacks {len(missing)} of the {len(shards)} files that {INDEX} names: {', '.join(missing)}",
                hint="copy or download them again; git-lfs and cut-off downloads leave such gaps",
            )
        if whole and WEIGHTS not in shards:
            raise BadInputError(
                f"{folder} holds the model twice: {WEIGHTS}, and {len(shards)} files that {INDEX} names; transformers "
                "loads the one and vLLM the others",
                hint=f"move away what is not meant: {WEIGHTS}, or {INDEX} and its files",
            )
        return
    if whole:
        return
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise _no_weights(folder)
    names = ", ".join(path.name for path in files)
    if all(path.match(CONSOLIDATED) for path in files):
        raise BadInputError(
            f"{folder}: expected {WEIGHTS}, found only {names}: Mistral's own format",
            hint="pull the same model in Hugging Face's format",
        )
    if (folder / ADAPTER).is_file():
        raise BadInputError(
            f"{folder}: expected {WEIGHTS}, found a LoRA adapter",
            hint=f"locum adapters import {folder} --domain DOMAIN",
        )
    if len(files) > 1:
        raise BadInputError(
            f"{folder} holds its weights in {len(files)} files without {INDEX}, which says what is in which: {names}",
            hint="copy the index too; it lies beside the weights where they come from",
        )
    raise BadInputError(
        f"{folder}: expected {WEIGHTS}, found {names}, which transformers does not load by itself",
        hint=f"if that is the whole model: mv {files[0]} {folder / WEIGHTS}",
    )


def _no_weights(folder: Path) -> BadInputError:
    pickles = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")))
    gguf = sorted(path.name for path in folder.glob("*.gguf"))
    if gguf:
        return BadInputError(
            f"{folder}: expected *.safetensors, found only {gguf[0]}", hint=_gguf_hint(folder, gguf[0])
        )
    if pickles:
        return BadInputError(
            f"{folder}: expected *.safetensors, found only {', '.join(pickles)}",
            hint="pickled weights can run code: if you trust whoever made them, convert them: "
            f"{_CONVERT}M.from_pretrained('{folder}', dtype='auto').save_pretrained('NEW'); "
            f"T.from_pretrained('{folder}').save_pretrained('NEW')\" and `locum base pull NEW`",
        )
    if (folder / ADAPTER).is_file():
        return BadInputError(
            f"{folder}: expected *.safetensors of a whole model, found a LoRA adapter",
            hint=f"locum adapters import {folder} --domain DOMAIN",
        )
    return BadInputError(f"{folder}: expected *.safetensors, found no weights")


def _gguf_hint(folder: Path, name: str) -> str:
    return (
        f"{_WHOLE}, or convert it: {_CONVERT}M.from_pretrained('{folder}', gguf_file='{name}').save_pretrained('NEW'); "
        f"T.from_pretrained('{folder}', gguf_file='{name}').save_pretrained('NEW')\""
    )


def _check_code(folder: Path, config: dict[str, Any]) -> None:
    """Code of a checkpoint's own is never run; where the libraries know the architecture, it is not needed either."""
    codes = config.get("auto_map")
    if not codes or _known(str(config.get("model_type"))):
        return
    name = next(iter(codes.values())) if isinstance(codes, dict) else codes
    raise BadInputError(
        f"{folder / 'config.json'}: model_type {config.get('model_type')!r} needs code of its own ({name}), "
        "which Locum does not run: expected an architecture that transformers and vLLM know",
        hint="look for a conversion of the model that needs no trust_remote_code, or take another model",
    )


def _check_architecture(folder: Path, config: dict[str, Any]) -> None:
    names = [str(name) for name in config.get("architectures") or []]
    kind = str(config.get("model_type"))
    shown = ", ".join(names) or kind
    if config.get("is_encoder_decoder"):
        raise _unfit(folder, f"{shown} reads with one part and writes with another (an encoder and a decoder)")
    if not names or any(name.endswith(_WRITERS) for name in names):
        return
    if any(name.endswith("ForConditionalGeneration") for name in names) and _writes(kind):
        return
    if any(name.endswith("ForConditionalGeneration") for name in names):
        raise _unfit(folder, f"{shown} is a model for pictures or sound, which transformers loads in another way")
    raise _unfit(folder, f"{shown} does not write text (it gives vectors, classes or scores)")


def _unfit(folder: Path, why: str) -> BadInputError:
    return BadInputError(
        f"{folder / 'config.json'}: architectures: {why}: expected a language model such as LlamaForCausalLM",
        hint="pull a chat or instruct model that is text only",
    )


def _check_tokenizer(folder: Path) -> None:
    if any((folder / name).is_file() for name in _TOKENIZERS):
        return
    own = [name for name in ("tekken.json", "tiktoken.model") if (folder / name).is_file()]
    raise BadInputError(
        f"{folder} has no tokenizer: expected one of {', '.join(_TOKENIZERS)}{f', found only {own[0]}' if own else ''}",
        hint="copy the tokenizer's files from the model that it was made from: "
        "tokenizer.json, tokenizer_config.json, chat_template.jinja",
    )


def _quantisation(folder: Path, config: dict[str, Any]) -> str | None:
    """The method that the checkpoint names; MLX calls its settings `quantization`."""
    text = config.get("text_config")
    for owner in (config, text if isinstance(text, dict) else {}):
        settings = owner.get("quantization_config") or owner.get("compression_config")
        if isinstance(settings, dict):
            return str(settings.get("quant_method") or settings.get("quant_algo") or "of an unknown kind")
        if isinstance(owner.get("quantization"), dict):
            return "MLX"
    for name in ("quantize_config.json", "quant_config.json", "hf_quant_config.json"):
        if (folder / name).is_file():
            return name.removesuffix(".json")
    return None


def _known(kind: str) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return kind in CONFIG_MAPPING_NAMES


def _writes(kind: str) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
