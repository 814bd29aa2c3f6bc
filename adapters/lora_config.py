"""adapter_config.json: what each of its fields means for a server that holds plain LoRA matrices, and nothing else.

Neither PEFT nor vLLM complains of a field that it does not know, and both compute as if it were not there. So a field
that is not in these tables and says something is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from locum.adapters.recipe import check_pattern
from locum.adapters.store import FILES
from locum.errors import BadInputError

MERGE = (
    "merge it with PEFT's merge_and_unload and save_pretrained, tokenizer included, and `locum base pull FOLDER` makes "
    "the result a base model; or train it again without"
)
# What the server computes with: the rank, the scale and the place of each matrix.
USED = frozenset({"r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules"})
# How an adapter was made, where PEFT looked for modules (the tensors say which it found), and notes of trainers.
IDLE = frozenset(
    {
        *("base_model_name_or_path", "revision", "peft_version", "inference_mode", "runtime_config", "auto_mapping"),
        *("lora_dropout", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out"),
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "ensure_weight_tying"),
        *("megatron_config", "megatron_core", "unsloth_fixed", "enable_lora", "_custom_modules"),
    }
)
CHECKED = frozenset({"peft_type", "task_type", "bias", "init_lora_weights"})
# Settings that change what an adapter computes in ways that vLLM's LoRA layers do not hold, and the way out.
OFF: dict[str, str] = {
    "use_dora": f"its magnitudes cannot be written as plain LoRA; {MERGE}",
    "modules_to_save": f"it carries whole layers beside the LoRA; {MERGE}",
    "layer_replication": f"its base model has layers twice that are stored once; {MERGE}",
    "lora_bias": f"it adds a bias to its matrices; {MERGE}",
    "trainable_token_indices": f"it carries rows of the embedding; {MERGE}",
    "target_parameters": f"it adapts parameters that are no linear layers, such as fused experts; {MERGE}",
    "use_qalora": "it fits the groups of a GPTQ model only; train it again with use_qalora off",
    "use_bdlora": f"its matrices are blocks of larger ones; {MERGE}",
    "velora_config": f"it computes with projections of its own; {MERGE}",
    "alora_invocation_tokens": "it is on from certain words on, a server has it on or off; train it again without",
    "arrow_config": "it chooses among several adapters for each token; import one of them by itself",
    "kasa_config": f"it changes the base model's weights; {MERGE}",
    "monteclora_config": f"it draws its matrices at random; {MERGE}",
}
# Ways to begin that leave the base model's weights as they are. Others (PiSSA, OLoRA, CorDA, LoftQ) change them when
# PEFT loads the adapter, so that it is right only over weights that no server holds.
PLAIN_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica", "lora_ga")
_CONVERSION = "save it with PEFT's path_initial_model_for_weight_conversion, which makes a plain LoRA of it"
_LOFTQ = (
    "make the weights that it was trained over a base model: load and save them as LoftQ left them, `locum base pull "
    "FOLDER`, and set init_lora_weights to true"
)
_WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def read_config(path: Path) -> dict[str, Any]:
    """The settings of an adapter, whatever they are.

    Raises:
        BadInputError: the file is not a JSON object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise BadInputError(
            f"{path.name}: r: expected the rank of a LoRA adapter, found none in a {type(config).__name__}"
        )
    return config


def change_config(path: Path, **fields: Any) -> None:
    """Set fields of the file."""
    text = json.dumps({**read_config(path), **fields}, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def check_config(config: dict[str, Any]) -> None:
    """Refuse what a server would not compute as PEFT does.

    Raises:
        BadInputError: names the field, what was found and the way out.
    """
    _check_type(config)
    if config.get("bias", "none") != "none":
        raise _wrong("bias", f"expected 'none', found {config['bias']!r}", hint=f"it trained biases too; {MERGE}")
    init = config.get("init_lora_weights")
    if init not in PLAIN_INITS:
        raise _wrong(
            "init_lora_weights",
            f"{init!r} changes the base model's weights; expected an adapter over the weights as they are",
            hint=_LOFTQ if init == "loftq" else _CONVERSION,
        )
    for field, way_out in OFF.items():
        if config.get(field):
            found = f"the server cannot hold this; expected none, found {config[field]!r:.200}"
            raise _wrong(field, found, hint=way_out)
    for field in config.keys() - USED - IDLE - CHECKED - OFF.keys():
        if config[field]:
            raise _wrong(field, f"Locum does not know this field, found {config[field]!r:.200}", hint=_unknown(config))
    if not config.get("target_modules"):
        raise _wrong(
            "target_modules",
            f"expected the modules that it is for, found {config.get('target_modules')!r}",
            hint="`locum adapters import` fills them in from the tensors",
        )


def patterns(config: dict[str, Any], field: str) -> dict[str, Any]:
    """Values by patterns of module names, as PEFT and vLLM read them.

    Raises:
        BadInputError: they are none.
    """
    found = config.get(field) or {}
    if not isinstance(found, dict):
        raise _wrong(field, f"expected values by module names, found {found!r}")
    for pattern in found:
        try:
            check_pattern(pattern)
        except ValueError as error:
            raise _wrong(field, str(error)) from None
    return found


def task_type(config: dict[str, Any]) -> str | None:
    """The task that an adapter states, or that the class of its base model implies; none where neither is stated."""
    stated = config.get("task_type")
    mapping = config.get("auto_mapping")
    model = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    if stated is None and isinstance(model, str) and model.endswith(_WRITERS):
        return "CAUSAL_LM"
    return stated if isinstance(stated, str) else None


def _check_type(config: dict[str, Any]) -> None:
    if not {"r", "peft_type"} & config.keys():
        foreign = {"lora_parameters", "fine_tune_type"} & config.keys()
        raise _wrong(
            "r",
            "expected the rank of a LoRA adapter, found none",
            hint="MLX wrote it, whose matrices have other names and shapes: merge it with `mlx_lm.fuse --de-quantize`, "
            "and `locum base pull FOLDER` makes the result a base model"
            if foreign
            else None,
        )
    if config.get("peft_type") != "LORA":
        raise _wrong("peft_type", f"expected 'LORA', found {config.get('peft_type')!r}", hint=MERGE)
    if config.get("task_type") != "CAUSAL_LM":
        stated = config.get("task_type")
        raise _wrong(
            "task_type",
            f"expected 'CAUSAL_LM', found {stated!r}",
            hint="`locum adapters import` fills it in"
            if stated is None
            else "it was trained to give vectors, classes or the like: train one that writes answers",
        )
    mapping = config.get("auto_mapping")
    model = mapping.get("base_model_class") if isinstance(mapping, dict) else mapping
    if model and not (isinstance(model, str) and model.endswith(_WRITERS)):
        raise _wrong(
            "auto_mapping",
            f"expected a base model that writes answers, such as LlamaForCausalLM, found {model!r}",
            hint="it was trained over another part of the model: train one with task_type CAUSAL_LM",
        )


def _unknown(config: dict[str, Any]) -> str:
    version = config.get("peft_version")
    written = f" (PEFT {version} wrote it)" if isinstance(version, str) else ""
    return (
        f"if it changes nothing of what the adapter computes{written}, remove it from {FILES[0]}; if it does, merge "
        "the adapter and `locum base pull FOLDER`"
    )


def _wrong(field: str, found: str, *, hint: str | None = None) -> BadInputError:
    return BadInputError(f"{FILES[0]}: {field}: {found}", hint=hint)
