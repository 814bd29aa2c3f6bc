"""A LoRA adapter as llama.cpp reads it: one GGUF file, to be given to `llama-server --lora`.

llama.cpp adds `alpha / rank · B·A` to a weight, as PEFT does, with one alpha for the whole file. Where PEFT scales a
module otherwise (rsLoRA, another alpha for some modules), the difference goes into B. For the Llama architecture
llama.cpp keeps the rows of the query and key weights in another order than transformers: a head's two halves, which
rotary position embeddings pair up, are interleaved. The rows of B are put into that order too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from locum.adapters.artifact import read_tensors, value_for
from locum.adapters.store import FILES
from locum.errors import BadInputError, UnavailableError

# By transformers' architecture, the name of llama.cpp's: those whose weights are known to be the same but for the order
# of rows.
_ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}


def write_gguf(name: str, artifact: Path, base: Path, file: Path) -> None:
    """Write an adapter in float32, so that nothing is rounded.

    Args:
        name: what the file says it is called.
        base: the base model's checkpoint, of which the configuration alone is read.

    Raises:
        BadInputError: the base model's architecture, or a module, cannot be written exactly.
        UnavailableError: the package gguf is not installed.
    """
    try:
        import gguf
    except ModuleNotFoundError:
        raise UnavailableError("GGUF needs the package gguf", hint="pip install 'locum[train]'") from None
    shape = json.loads((base / "config.json").read_text(encoding="utf-8"))
    [found, *_] = shape.get("architectures") or ["none"]
    if found not in _ARCHITECTURES:
        raise BadInputError(
            f"the base model's architecture is {found}: as GGUF, expected one of {', '.join(_ARCHITECTURES)}",
            hint="--as merged gives a checkpoint, which llama.cpp's convert_hf_to_gguf.py converts",
        )
    architecture = _ARCHITECTURES[found]
    config = json.loads((artifact / FILES[0]).read_text(encoding="utf-8"))
    kind = {text: key for key, text in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, shape["num_hidden_layers"])
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(name)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    for module, (a, b) in _matrices(artifact / FILES[1]).items():
        called = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        if called is None:
            raise BadInputError(f"{module}: llama.cpp's {architecture} has no such layer", hint="--as merged has it")
        b = b * _correction(module, config, rank=a.shape[0])
        if architecture == "llama":
            b = _interleaved(module, b, shape)
        writer.add_tensor(f"{called}.lora_a", a)
        writer.add_tensor(f"{called}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _matrices(file: Path) -> dict[str, tuple[Any, Any]]:
    """A and B of each module in float32, by the module's name in the base model."""
    tensors = read_tensors(file)
    prefix, a, b = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
    modules = sorted(name.removeprefix(prefix).removesuffix(a) for name in tensors if name.endswith(a))
    return {
        module: (tensors[prefix + module + a].float().numpy(), tensors[prefix + module + b].float().numpy())
        for module in modules
    }


def _correction(module: str, config: dict[str, Any], *, rank: int) -> Any:
    """PEFT's scale of a module by llama.cpp's."""
    import numpy as np

    alpha = value_for(module, config.get("alpha_pattern") or {}, config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return np.float32(scale / (config["lora_alpha"] / rank))


def _interleaved(module: str, b: Any, shape: dict[str, Any]) -> Any:
    """B with its rows in llama.cpp's order, where the module makes queries or keys."""
    layer = module.rsplit(".", 1)[-1]
    if layer not in {"q_proj", "k_proj"}:
        return b
    heads = shape["num_attention_heads"]
    if layer == "k_proj":
        heads = shape.get("num_key_value_heads") or heads
    rows, rank = b.shape
    return b.reshape(heads, 2, rows // heads // 2, rank).swapaxes(1, 2).reshape(rows, rank)
