"""What versions become outside: held against PEFT, the library that made them."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.base import Base, pull
from locum.adapters.export import export_version
from locum.adapters.gguf_adapter import write_gguf
from locum.adapters.manifest import Manifest
from locum.adapters.probes import make_probes
from locum.adapters.registry import Registry
from locum.errors import BadInputError, CheckFailedError, ConflictError, DiskFullError, OutOfMemoryError
from locum.settings import Settings
from tests.adapters.test_probes import PROMPTS

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture
def version(settings: Settings, base_record: Base, tiny_adapter: Callable[..., Path]) -> tuple[Manifest, Path, Base]:
    """legal@1 with probes, its files, and its base model."""
    folder = tiny_adapter(rank=4, seed=3)
    registry = Registry.open(settings)
    manifest = registry.register(
        "legal",
        folder,
        base=base_record,
        recipe={},
        data=None,
        training={},
        probes=make_probes(base_record.path, folder, PROMPTS, max_tokens=4),
        created_by="tester",
    )
    return manifest, registry.artifact_path(manifest), base_record


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(torch.arange(5, 25)[None]).logits


def test_the_exported_adapter_is_loaded_by_peft_and_computes_the_same(
    version: tuple[Manifest, Path, Base], tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    manifest, artifact, base = version
    files = export_version(manifest, artifact, tmp_path / "out", form="peft", base=base, card="# Card\n")
    assert files == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert (tmp_path / "out" / "README.md").read_text() == "# Card\n"
    ours, theirs = (
        logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.path), folder))
        for folder in (artifact, tmp_path / "out")
    )
    assert ours.equal(theirs)


def test_the_base_model_is_called_by_its_hub_id_where_it_has_one(
    version: tuple[Manifest, Path, Base], tmp_path: Path
) -> None:
    manifest, artifact, base = version
    named = tmp_path / "named"
    shutil.copytree(artifact, named)
    config = json.loads((named / "adapter_config.json").read_text())
    (named / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "tiny-llama"}))
    from_hub = base.model_copy(update={"source": "acme/tiny-llama"})
    export_version(manifest, named, tmp_path / "out", form="peft", base=from_hub, card="")
    exported = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert exported == {**config, "base_model_name_or_path": "acme/tiny-llama"}
    export_version(manifest, named, tmp_path / "local", form="peft", base=base, card="")
    assert (tmp_path / "local" / "adapter_config.json").read_bytes() == (named / "adapter_config.json").read_bytes()


def test_the_merged_checkpoint_computes_what_peft_computes_and_is_a_base_model(
    version: tuple[Manifest, Path, Base], tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    manifest, artifact, base = version
    stages: list[str] = []
    files = export_version(manifest, artifact, tmp_path / "out", form="merged", base=base, card="", say=stages.append)
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)
    assert stages == ["merging legal@1 into tiny-llama", "asking the merged checkpoint for the known answers"]
    plain = AutoModelForCausalLM.from_pretrained(base.path)
    bare = logits(plain)
    with_adapter = logits(PeftModel.from_pretrained(plain, artifact))
    merged = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    torch.testing.assert_close(merged, with_adapter, atol=1e-3, rtol=1e-4)
    assert (merged - bare).abs().max() > 1
    made = pull(str(tmp_path / "out"), tmp_path / "bases", name="merged")
    assert (made.dtype, made.parameters) == (base.dtype, base.parameters)
    assert made.fingerprint != base.fingerprint


def test_a_merged_checkpoint_has_the_number_type_and_the_licence_of_the_base_model(
    version: tuple[Manifest, Path, Base], tmp_path: Path, tiny_base: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(tiny_base, tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    half = pull(str(tmp_path / "half"), tmp_path / "bases")
    (tmp_path / "half" / "LICENSE.txt").write_text("Do as you like.")
    assert half.dtype == "bfloat16"
    manifest, artifact, _ = version
    export_version(manifest, artifact, tmp_path / "out", form="merged", base=half, card="")
    assert pull(str(tmp_path / "out"), tmp_path / "bases").dtype == "bfloat16"
    assert (tmp_path / "out" / "LICENSE.txt").read_text() == "Do as you like."


def test_a_merged_checkpoint_that_answers_otherwise_is_refused_and_removed(
    version: tuple[Manifest, Path, Base], tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    manifest, _, base = version
    with pytest.raises(CheckFailedError, match="does not answer as legal@1 does, and was removed: 2 probes: at most"):
        export_version(manifest, tiny_adapter(seed=9), tmp_path / "a" / "out", form="merged", base=base, card="")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_quantised_base_model_is_not_merged_into(version: tuple[Manifest, Path, Base], tmp_path: Path) -> None:
    manifest, artifact, base = version
    shutil.copytree(base.path, tmp_path / "quantised")
    config = tmp_path / "quantised" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "quantization_config": {"bits": 4}}))
    quantised = base.model_copy(update={"path": tmp_path / "quantised"})
    with pytest.raises(BadInputError, match="tiny-llama is quantised"):
        export_version(manifest, artifact, tmp_path / "out", form="merged", base=quantised, card="")
    assert not (tmp_path / "out").exists()


def test_too_little_memory_or_disk_is_told_before_anything_is_loaded(
    version: tuple[Manifest, Path, Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, artifact, base = version
    giant = base.model_copy(update={"parameters": 10**15})
    with pytest.raises(OutOfMemoryError, match=r"merging into tiny-llama takes 4400000\.0 GB of memory, found"):
        export_version(manifest, artifact, tmp_path / "out", form="merged", base=giant, card="")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DiskFullError, match=r"the merged checkpoint takes 0\.0 GB, found 0\.0 GB free"):
        export_version(manifest, artifact, tmp_path / "out", form="merged", base=base, card="")
    assert not (tmp_path / "out").exists()


def test_what_is_at_the_target_is_never_touched(version: tuple[Manifest, Path, Base], tmp_path: Path) -> None:
    manifest, artifact, base = version
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("more work")
    for name, found in (("full", "a folder that is not empty"), ("file", "a file")):
        with pytest.raises(ConflictError, match=f"expected no folder, or an empty one, found {found}"):
            export_version(manifest, artifact, tmp_path / name, form="peft", base=base, card="")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    assert export_version(manifest, artifact, tmp_path / "empty", form="peft", base=base, card="")


def test_a_full_disk_leaves_nothing_behind(
    version: tuple[Manifest, Path, Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    manifest, artifact, base = version
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskFullError, match="there is no room in"):
        export_version(manifest, artifact, tmp_path / "a" / "out", form="peft", base=base, card="")
    assert list((tmp_path / "a").iterdir()) == []


def products_of_gguf(file: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What llama.cpp would add to each weight, by GGUF name, with the rows as transformers orders them.

    The order is undone by transformers, as it does when it loads a model in GGUF.
    """
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

    reader = GGUFReader(file)
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert (said["general.type"], said["adapter.type"]) == ("adapter", "lora")
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    found = {}
    for name in (name.removesuffix(".lora_a") for name in tensors if name.endswith(".lora_a")):
        a, b = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
        product = said["adapter.lora.alpha"] / a.shape[0] * b @ a
        if said["general.architecture"] == "llama":
            product = LlamaTensorProcessor(config).process(product, name).weights
        found[name] = product
    return found


GGUF_NAMES = dict(
    zip(ALL, ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"), strict=True)
)


def _gguf_name(module: str) -> str:
    """What llama.cpp calls the weight of `base_model.model.model.layers.0.self_attn.q_proj`."""
    *_, layer, _, name = module.split(".")
    return f"blk.{layer}.{GGUF_NAMES[name]}.weight"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"k_proj": 2, "layers.1.self_attn.q_proj": 6}},
        {"alpha_pattern": {"q_proj": 3, "down_proj": 100}, "rank_pattern": {"q_proj": 1}, "use_rslora": True},
    ],
    ids=["plain", "rslora", "ranks", "all at once"],
)
@pytest.mark.parametrize(
    "architecture", ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"]
)
def test_llama_cpp_would_add_to_each_weight_what_peft_adds(
    tiny_base: Path, tmp_path: Path, architecture: str, options: dict[str, Any]
) -> None:
    import numpy as np
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    like = json.loads((tiny_base / "config.json").read_text())
    shape = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}
    kind = getattr(transformers, architecture.replace("ForCausalLM", "Config"))
    config = kind(**{name: like[name] for name in shape}, num_key_value_heads=1)
    plain = getattr(transformers, architecture)(config)
    plain.save_pretrained(tmp_path / "base")
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=list(ALL), task_type="CAUSAL_LM", **options)
    model = get_peft_model(plain, lora)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    model.save_pretrained(tmp_path / "adapter")
    write_gguf("legal@1", tmp_path / "adapter", tmp_path / "base", tmp_path / "adapter.gguf")
    found = products_of_gguf(tmp_path / "adapter.gguf", config.to_dict())
    expected = {
        _gguf_name(name): module.get_delta_weight("default").detach().numpy()
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    assert len(expected) == len(ALL) * config.num_hidden_layers
    assert found.keys() == expected.keys()
    for name, product in expected.items():
        np.testing.assert_allclose(found[name], product, rtol=1e-4, atol=1e-4, err_msg=name)


def test_an_architecture_that_is_not_known_to_be_exact_is_refused_by_name(
    version: tuple[Manifest, Path, Base], tmp_path: Path
) -> None:
    manifest, artifact, base = version
    shutil.copytree(base.path, tmp_path / "other")
    config = tmp_path / "other" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": ["MambaForCausalLM"]}))
    other = base.model_copy(update={"path": tmp_path / "other"})
    with pytest.raises(BadInputError, match="architecture is MambaForCausalLM: as GGUF, expected one of LlamaFor"):
        export_version(manifest, artifact, tmp_path / "out", form="gguf", base=other, card="")
    assert not (tmp_path / "out").exists()
