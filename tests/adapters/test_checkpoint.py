"""Which of a folder's files are the base model, in the layouts that hubs, trainers and converters leave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.base import fingerprint, load_base, pull, weight_shapes
from locum.adapters.checkpoint import misleading_files, weight_files
from locum.errors import BadInputError, UnavailableError

INDEX = "model.safetensors.index.json"


@pytest.fixture
def checkpoint(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base, to be changed."""
    return Path(shutil.copytree(tiny_base, tmp_path / "copies" / "tiny-llama"))


def change(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **fields}))


def write_index(folder: Path, files: dict[str, str]) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))


def save_twice(folder: Path) -> None:
    """As Mistral's repositories: the same weights once more under other names, and an index."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    write_index(folder, dict.fromkeys(weights, "model.safetensors"))
    save_file({f"mistral.{name}": weight for name, weight in weights.items()}, folder / "consolidated.safetensors")
    (folder / "params.json").write_text('{"dim": 64}')


def split(folder: Path) -> list[str]:
    """The weights in two shards, with an index, and no longer in one file."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    halves = [sorted(weights)[::2], sorted(weights)[1::2]]
    for name, half in zip(names, halves, strict=True):
        save_file({key: weights[key] for key in half}, folder / name, metadata={"format": "pt"})
    write_index(folder, {key: name for name, half in zip(names, halves, strict=True) for key in half})
    return names


def loaded_by_transformers(folder: Path) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM

    return dict(AutoModelForCausalLM.from_pretrained(folder).state_dict())


def loaded_by_vllm(folder: Path) -> list[str]:
    """The files that vLLM's own loader chooses, by its own rules."""
    from vllm.config.load import LoadConfig
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    loader = DefaultModelLoader(LoadConfig())
    _, files, _, _ = loader._prepare_weights(str(folder), None, None, True, None)
    return sorted(Path(file).name for file in files)


def test_weights_that_lie_there_twice_count_once_and_are_the_ones_that_every_program_loads(
    checkpoint: Path, tiny_base: Path, tmp_path: Path
) -> None:
    plain = pull(str(tiny_base), tmp_path / "plain")
    save_twice(checkpoint)
    notes: list[str] = []
    base = pull(str(checkpoint), tmp_path / "bases", note=notes.append)
    assert (base.fingerprint, base.parameters) == (plain.fingerprint, plain.parameters)
    assert weight_shapes(base.path) == weight_shapes(tiny_base)
    assert notes == [f"{checkpoint}: consolidated.safetensors: not part of the model that is loaded, passed over"]
    assert loaded_by_vllm(checkpoint) == ["consolidated.safetensors"]  # which is why the base model is another folder
    assert loaded_by_vllm(base.path) == ["model.safetensors"]
    assert not (base.path / "params.json").exists()
    assert load_base(tmp_path / "bases", base.name) == base
    assert base.source == str(checkpoint)
    with pytest.raises(UnavailableError, match=f"no longer at {checkpoint}"):
        shutil.rmtree(checkpoint)
        load_base(tmp_path / "bases", base.name)


def test_a_base_model_that_was_pulled_when_all_files_counted_keeps_the_fingerprint_that_its_versions_are_bound_to(
    checkpoint: Path, tmp_path: Path
) -> None:
    save_twice(checkpoint)
    bases = tmp_path / "bases"
    extra = checkpoint / "consolidated.safetensors"
    earlier = fingerprint(checkpoint, also=[extra.name])
    base = pull(str(checkpoint), bases)
    assert base.fingerprint != earlier
    record = bases / base.name / "base.json"
    content = json.loads(record.read_text())
    content["base"] |= {"fingerprint": earlier, "path": str(checkpoint)}
    content["files"][extra.name] = (extra.stat().st_size, extra.stat().st_mtime_ns)
    record.write_text(json.dumps(content))
    assert load_base(bases, base.name).fingerprint == earlier
    change(checkpoint / "config.json", rms_norm_eps=1e-3)
    changed = load_base(bases, base.name).fingerprint
    assert changed == fingerprint(checkpoint, also=[extra.name]) != earlier
    extra.unlink()
    assert load_base(bases, base.name).fingerprint == fingerprint(checkpoint)


def _variant(folder: Path) -> None:
    shutil.copyfile(folder / "model.safetensors", folder / "model.fp16.safetensors")


def _original(folder: Path) -> None:
    (folder / "original").mkdir()
    shutil.copyfile(folder / "model.safetensors", folder / "original" / "consolidated.safetensors")


def _adapter_inside(folder: Path) -> None:
    change(folder / "adapter_config.json", peft_type="LORA", r=4)
    (folder / "adapter_model.safetensors").write_bytes(b"")


def _pickles_too(folder: Path) -> None:
    for name in ("pytorch_model.bin", "optimizer.pt", "model.gguf"):
        (folder / name).write_bytes(b"never opened")


@pytest.mark.parametrize("add", [_variant, _original, _adapter_inside, _pickles_too, save_twice])
def test_what_lies_beside_the_weights_changes_nothing_of_what_is_loaded_measured_and_fingerprinted(
    checkpoint: Path, tiny_base: Path, tmp_path: Path, add: Callable[[Path], None]
) -> None:
    add(checkpoint)
    base = pull(str(checkpoint), tmp_path / "bases")
    assert base.fingerprint == fingerprint(tiny_base)
    assert misleading_files(base.path) == []
    assert [path.name for path in weight_files(base.path)] == loaded_by_vllm(base.path) == ["model.safetensors"]
    loaded, plain = loaded_by_transformers(base.path), loaded_by_transformers(tiny_base)
    assert loaded.keys() == plain.keys()
    assert all(weight.equal(plain[name]) for name, weight in loaded.items())


def test_shards_are_those_of_the_index(checkpoint: Path, tiny_base: Path, tmp_path: Path) -> None:
    names = split(checkpoint)
    shutil.copyfile(checkpoint / names[0], checkpoint / "model-00001-of-00009.safetensors")  # of another saving
    said: list[str] = []
    base = pull(str(checkpoint), tmp_path / "bases", say=said.append)
    assert said == ["taking the fingerprint", "taking the fingerprint: file 2 of 2"]
    assert [path.name for path in weight_files(base.path)] == names == loaded_by_vllm(base.path)
    assert base.parameters == pull(str(tiny_base), tmp_path / "plain").parameters


def test_a_repository_in_the_hubs_cache_is_found_by_its_folder_and_named_as_on_the_hub(
    checkpoint: Path, tmp_path: Path
) -> None:
    root = tmp_path / "hub" / "models--acme--Tiny-Llama"
    snapshot = root / "snapshots" / ("a" * 40)
    (root / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(checkpoint.iterdir())):
        path.rename(root / "blobs" / str(number))
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", str(number)))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("a" * 40)
    base = pull(str(root), tmp_path / "bases")
    assert (base.name, base.path, base.source) == ("tiny-llama", snapshot, str(snapshot))
    assert pull(str(snapshot), tmp_path / "bases") == base
    (root / "refs" / "main").unlink()
    (root / "snapshots" / ("b" * 40)).mkdir()
    with pytest.raises(BadInputError, match="expected refs/main or a single folder in snapshots") as caught:
        pull(str(root), tmp_path / "others")
    assert caught.value.hint == f"name one of them: {snapshot}"
    shutil.rmtree(root / "blobs")
    with pytest.raises(BadInputError, match=r"is a link to .*blobs/\d+, where nothing is"):
        pull(str(snapshot), tmp_path / "others")


def _no_shard(folder: Path) -> None:
    (folder / split(folder)[1]).unlink()


def _no_index(folder: Path) -> None:
    split(folder)
    (folder / INDEX).unlink()


def _whole_and_shards(folder: Path) -> None:
    shutil.copyfile(folder / "model.safetensors", folder / "kept")
    split(folder)
    (folder / "kept").rename(folder / "model.safetensors")


def _index_of_another_model(folder: Path) -> None:
    write_index(folder, {"model.layers.9.mlp.up_proj.weight": "model.safetensors"})


def _index_that_leads_out(folder: Path) -> None:
    write_index(folder, {"model.norm.weight": "../secret.safetensors"})


def _adapter_alone(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    change(folder / "adapter_config.json", peft_type="LORA")


def _adapter_without_config(folder: Path) -> None:
    _adapter_alone(folder)
    (folder / "config.json").unlink()


def _rename(old: str, new: str) -> Callable[[Path], None]:
    def rename(folder: Path) -> None:
        (folder / old).rename(folder / new)

    rename.__name__ = f"{old}_to_{new}"
    return rename


def _config(**fields: object) -> Callable[[Path], None]:
    def configure(folder: Path) -> None:
        change(folder / "config.json", **fields)

    configure.__name__ = "_".join(fields)
    return configure


def _pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def _without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tekken.json")


def _four_bits(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj"
    weights[f"{name}.qweight"] = torch.zeros(8, 128, dtype=torch.int32)
    del weights[f"{name}.weight"]
    save_file(weights, folder / "model.safetensors")
    change(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})


@pytest.mark.parametrize(
    ("spoil", "complaint", "hint"),
    [
        (_no_shard, "lacks 1 of the 2 files that model.safetensors.index.json names: model-00002-of-00002", "again"),
        (_no_index, "in 2 files without model.safetensors.index.json", "copy the index too"),
        (_whole_and_shards, "holds the model twice: model.safetensors, and 2 files", "move away what is not meant"),
        (_index_of_another_model, "layers.9.mlp.up_proj.weight is not in it, where model.safet", "from one place"),
        (_index_that_leads_out, "expected the name of a safetensors file beside it, found '../secret", None),
        (_adapter_alone, "found a LoRA adapter", "locum adapters import"),
        (_adapter_without_config, "has no config.json: .*, found a LoRA adapter", "locum adapters import"),
        (_rename("model.safetensors", "model.fp16.safetensors"), "found model.fp16.safetensors", "mv "),
        (_rename("model.safetensors", "consolidated.safetensors"), "Mistral's own format", "Hugging Face's format"),
        (_rename("model.safetensors", "tiny-Q4_K_M.gguf"), "found only tiny-Q4_K_M.gguf", "gguf_file='tiny-Q4"),
        (_rename("config.json", "params.json"), "has no config.json: .*found params.json", "Hugging Face's format"),
        (_config(auto_map={"AutoModelForCausalLM": "modeling_acme.Acme"}, model_type="acme"), "needs code of its own "
         r"\(modeling_acme.Acme\)", "trust_remote_code"),
        (_config(is_encoder_decoder=True), "an encoder and a decoder", "text only"),
        (_config(architectures=["LlamaForSequenceClassification"]), "does not write text", "chat or instruct"),
        (_config(architectures=["LlavaForConditionalGeneration"], model_type="llava"), "pictures or sound", "text"),
        (_pointer, "model.safetensors is a pointer of git-lfs", "git lfs pull"),
        (_without_tokenizer, "has no tokenizer: expected one of .*found only tekken.json", "tokenizer_config.json"),
        (_four_bits, r"is quantised \(gptq\): .*up_proj.qweight: expected plain weights", "method=qlora"),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_"),
)  # fmt: skip
def test_what_is_not_let_in_is_named_with_the_way_out(
    checkpoint: Path, tmp_path: Path, spoil: Callable[[Path], None], complaint: str, hint: str | None
) -> None:
    spoil(checkpoint)
    with pytest.raises(BadInputError, match=complaint) as caught:
        pull(str(checkpoint), tmp_path / "bases")
    assert (hint or "") in (caught.value.hint or "")
    assert not list((tmp_path / "bases").glob("[!.]*"))


def test_code_that_is_not_needed_is_passed_over(checkpoint: Path, tmp_path: Path) -> None:
    change(checkpoint / "config.json", auto_map={"AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM"})
    (checkpoint / "modeling_llama.py").write_text("raise SystemExit('this ran')")
    assert pull(str(checkpoint), tmp_path / "bases").name == "tiny-llama"
