"""What the methods are: which model is trained, what PEFT puts beside it, and what is kept of it.

Sources: LoRA (Hu et al., 2021, https://arxiv.org/abs/2106.09685), rsLoRA (Kalajdzievski, 2023,
https://arxiv.org/abs/2312.03732), QLoRA (Dettmers et al., 2023, https://arxiv.org/abs/2305.14314), DoRA (Liu et al.,
2024, https://arxiv.org/abs/2402.09353), prefix tuning (Li and Liang, 2021, https://arxiv.org/abs/2101.00190) and prompt
tuning (Lester et al., 2021, https://arxiv.org/abs/2104.08691).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.adapters.base import TOKENIZER_FILES, Base
from locum.adapters.recipe import ALIGNMENT, UNSERVABLE, TrainingRecipe
from locum.errors import BadInputError
from locum.train.run import ADAPTER_FILES

_INSTEAD = {
    "dora": "vLLM holds no DoRA adapters",
    "prefix": "vLLM holds no virtual tokens",
    "prompt": "vLLM holds no virtual tokens",
}


@dataclass(frozen=True)
class Start:
    """The version that a training begins with."""

    name: str
    digest: str
    folder: Path


def refuse_unservable(recipe: TrainingRecipe) -> None:
    """Refuse, before anything is trained, what could not be registered afterwards.

    Raises:
        BadInputError: no server could hold the adapter.
    """
    if recipe.method in UNSERVABLE:
        raise BadInputError(
            f"method {recipe.method}: {_INSTEAD[recipe.method]}, so the adapter could not be registered",
            hint="--no-register trains it for other uses; --set method=lora makes one that is served",
        )


def load_model(base: Base, recipe: TrainingRecipe, start: Start | None, dtype: Any) -> Any:
    """The base model in memory, with the start's adapter as its trainable one where there is a start.

    Args:
        dtype: torch's number type; with qlora, the type that is computed in.
    """
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": dtype}
    if recipe.method == "qlora":
        options["quantization_config"] = _four_bits(dtype)
    model = AutoModelForCausalLM.from_pretrained(base.path, **options)
    if start is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, start.folder, is_trainable=True)


def _four_bits(dtype: Any) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def peft_config(recipe: TrainingRecipe) -> Any:
    """PEFT's configuration of a new adapter; nothing when all weights or a start's are trained."""
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig

    if recipe.method == "full" or recipe.start is not None:
        return None
    if recipe.method == "prefix":
        return PrefixTuningConfig(num_virtual_tokens=recipe.virtual_tokens, task_type="CAUSAL_LM")
    if recipe.method == "prompt":
        return PromptTuningConfig(num_virtual_tokens=recipe.virtual_tokens, task_type="CAUSAL_LM")
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0 if recipe.method in ALIGNMENT else recipe.dropout,
        target_modules=recipe.target_modules,
        rank_pattern=dict(recipe.ranks),
        use_rslora=recipe.rslora,
        use_dora=recipe.method == "dora",
        task_type="CAUSAL_LM",
    )


def trained_weights(model: Any) -> int:
    """Number of weights that are trained."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def train_in_full_precision(model: Any) -> None:
    """TRL holds the matrices over a quantised model in bfloat16, where small updates are lost."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def save(model: Any, base: Base, folder: Path, *, weights: dict[str, Any] | None = None) -> None:
    """Write what was trained to `folder`: an adapter, or a whole checkpoint. The same weights have the same digest.

    Args:
        weights: all of the model's, where it holds only a part of them itself.
    """
    part = folder.with_name(f".{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    if hasattr(model, "peft_config"):
        _save_adapter(model, base, part, weights)
    else:
        _save_checkpoint(model, base, part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _save_adapter(model: Any, base: Base, part: Path, weights: dict[str, Any] | None) -> None:
    """What PEFT writes, less what depends on the machine or the run."""
    # not the reference that alignment puts beside it
    model.save_pretrained(part, selected_adapters=["default"], state_dict=weights)
    for path in part.iterdir():
        if path.name not in ADAPTER_FILES:
            path.unlink()
    file = part / ADAPTER_FILES[0]
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base.name
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()  # a set in PEFT, in another order each time
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _save_checkpoint(model: Any, base: Base, part: Path) -> None:
    """The trained weights in the base model's number type, with its own configuration and tokenizer."""
    import torch

    model.to(getattr(torch, base.dtype)).save_pretrained(part)
    for name in ("config.json", "generation_config.json", *TOKENIZER_FILES):
        if (base.path / name).is_file():
            shutil.copyfile(base.path / name, part / name)
