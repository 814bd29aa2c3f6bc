"""What is let into the registry, and what is said of what is not. Every adapter here was written by PEFT."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.artifact import inspect_artifact, set_field
from locum.adapters.store import artifact_digest
from locum.errors import BadInputError, NotFoundError

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"


@pytest.fixture(scope="module")
def written(tiny_adapter: Callable[..., Path]) -> Path:
    return tiny_adapter(rank=4, seed=1)


@pytest.fixture
def adapter(written: Path, tmp_path: Path) -> Path:
    """A good adapter of its own for each test, to be spoiled."""
    folder = tmp_path / "adapter"
    shutil.copytree(written, folder)
    return folder


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensors(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def refusal(folder: Path, base: Path, **options: int) -> str:
    with pytest.raises(BadInputError) as caught:
        inspect_artifact(folder, base, **options)
    return str(caught.value)


def test_a_good_adapter_is_described(adapter: Path, tiny_base: Path) -> None:
    found = inspect_artifact(adapter, tiny_base)
    assert (found.rank, found.alpha) == (4, 8.0)
    assert found.target_modules == ["down_proj", "q_proj", "v_proj"]
    # On each of two layers: q 64→64, v 64→32 and down 128→64.
    assert found.parameters == 2 * 4 * ((64 + 64) + (64 + 32) + (128 + 64))
    assert found.size == sum(file.stat().st_size for file in adapter.iterdir())
    assert found.digest == artifact_digest(adapter)


def test_an_adapter_in_bfloat16_is_let_in(adapter: Path, tiny_base: Path) -> None:
    before = inspect_artifact(adapter, tiny_base)
    change_tensors(adapter, lambda tensors: tensors.update({name: t.bfloat16() for name, t in tensors.items()}))
    after = inspect_artifact(adapter, tiny_base)
    assert after.parameters == before.parameters
    assert after.size < before.size


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"peft_type": "LOHA"}, "peft_type: expected 'LORA', found 'LOHA'"),
        ({"task_type": "SEQ_CLS"}, "task_type: expected 'CAUSAL_LM', found 'SEQ_CLS'"),
        ({"bias": "all"}, "bias: expected 'none', found 'all'"),
        ({"use_dora": True}, "use_dora: the server cannot hold this; expected none, found True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save: .*expected none, found .'lm_head'."),
        ({"rank_pattern": {"q_proj": 0}}, "q_proj: expected a rank from 1 to 512, found 0"),
        ({"rank_pattern": [2]}, r"rank_pattern: expected values by module names, found \[2\]"),
        ({"rank_pattern": {"(.*a)*b": 2}}, r"rank_pattern: '.*': expected the end of a module's name"),
        ({"rank_pattern": {"q_proj(": 2}}, "rank_pattern: .* is not a regular expression"),
        ({"alpha_pattern": {"q_proj": "much"}}, "q_proj: expected a number above 0, found 'much'"),
        ({"layer_replication": [[0, 1]]}, "layer_replication: .*expected none"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices: .*expected none"),
        ({"target_parameters": ["x"]}, "target_parameters: .*expected none"),
        ({"lora_bias": True}, "lora_bias: .*expected none"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights: 'pissa' changes the base model's weights"),
        (
            {"auto_mapping": {"base_model_class": "BertModel"}},
            "auto_mapping: expected a base model that writes answers",
        ),
        ({"new_in_peft": {"k": 1}}, "new_in_peft: Locum does not know this field, found {.k.: 1}"),
        ({"target_modules": None}, "target_modules: expected the modules that it is for, found None"),
        ({"r": 0}, "r: expected a rank from 1 to 512, found 0"),
        ({"r": 513}, "r: expected a rank from 1 to 512, found 513"),
        ({"r": "4"}, "r: expected a rank from 1 to 512, found '4'"),
        ({"r": True}, "r: expected a rank from 1 to 512, found True"),
        ({"lora_alpha": "high"}, "lora_alpha: expected a number above 0, found 'high'"),
        ({"lora_alpha": True}, "lora_alpha: expected a number above 0, found True"),
        ({"lora_alpha": 0}, "lora_alpha: expected a number above 0, found 0"),
        ({"lora_alpha": None}, "lora_alpha: expected a number above 0, found None"),
        ({"lora_alpha": float("nan")}, "lora_alpha: expected a number above 0, found nan"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_be_served_is_refused_by_name(
    adapter: Path, tiny_base: Path, changes: dict[str, object], complaint: str
) -> None:
    change_config(adapter, **changes)
    assert re.search(f"^adapter_config.json: {complaint}", refusal(adapter, tiny_base))


def test_a_rank_that_the_server_was_not_started_for_is_refused(adapter: Path, tiny_base: Path) -> None:
    assert "r: expected a rank from 1 to 2, found 4" in refusal(adapter, tiny_base, max_rank=2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"{not json", "adapter_config.json is not JSON"),
        (b"\xff\xfe", "adapter_config.json is not JSON"),
        (b"[]", "adapter_config.json: r: expected the rank of a LoRA adapter, found none"),
        (b"{}", "adapter_config.json: r: expected the rank of a LoRA adapter, found none"),
    ],
)
def test_a_config_that_is_none_is_refused(adapter: Path, tiny_base: Path, text: bytes, complaint: str) -> None:
    (adapter / "adapter_config.json").write_bytes(text)
    assert refusal(adapter, tiny_base).startswith(complaint)


def _double(tensors: dict[str, Any]) -> None:
    import torch

    tensors[A] = torch.cat([tensors[A], tensors[A]], dim=1)


def _not_a_number(tensors: dict[str, Any]) -> None:
    tensors[B][0, 0] = float("nan")


def _infinite(tensors: dict[str, Any]) -> None:
    tensors[B][0, 0] = float("inf")


def _whole_numbers(tensors: dict[str, Any]) -> None:
    tensors[A] = tensors[A].int()


def _move(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def move(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if old in name]:
            tensors[name.replace(old, new)] = tensors.pop(name)

    return move


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            _double,
            "model.layers.0.self_attn.q_proj.lora_A: expected shape [4, 64] (rank 4 on a weight of [64, 64]), "
            "found [4, 128]",
        ),
        (lambda tensors: tensors.pop(B), "q_proj.lora_B: expected shape [64, 4] (rank 4 on a weight of [64, 64]), "
         "found none"),
        (lambda tensors: tensors.pop(A), "q_proj.lora_A: expected shape [4, 64] (rank 4 on a weight of [64, 64]), "
         "found none"),
        (_move("layers.1", "layers.7"), "model.layers.7.mlp.down_proj: the base model has no linear layer"),
        (_move("layers.1.self_attn.q_proj", "layers.1.input_layernorm"), "input_layernorm: the base model has no"),
        (_move("model.layers.0.self_attn.q_proj", "lm_head"), "lm_head: "),
        (
            _move("layers.0.self_attn.q_proj", "embed_tokens"),
            "model.embed_tokens: adapters of embeddings and output heads are not served",
        ),
        (_move("lora_A.weight", "lora_embedding_A"), "expected only lora_A and lora_B weights of linear layers"),
        (_move("base_model.model.", ""), "model.layers.0.mlp.down_proj.lora_A.weight: expected only lora_A and lora_B"),
        (_not_a_number, f"{B}: expected finite values, found NaN or infinity"),
        (_infinite, f"{B}: expected finite values, found NaN or infinity"),
        (_whole_numbers, f"{A}: expected float32, float16, bfloat16, found int32"),
        (lambda tensors: tensors.clear(), "adapter_model.safetensors holds no tensors"),
    ],
)  # fmt: skip
def test_a_tensor_that_does_not_fit_the_base_model_is_refused_by_name(
    adapter: Path, tiny_base: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    change_tensors(adapter, change)
    message = refusal(adapter, tiny_base)
    assert message.startswith("adapter_model.safetensors") and complaint in message, message


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5], ids=["empty", "7 bytes", "100 bytes", "half"])
def test_a_truncated_file_is_refused_with_its_size(adapter: Path, tiny_base: Path, kept: float) -> None:
    path = adapter / "adapter_model.safetensors"
    whole = path.read_bytes()
    size = int(kept * len(whole)) if isinstance(kept, float) else kept
    path.write_bytes(whole[:size])
    assert f"adapter_model.safetensors ({size} bytes) is truncated or damaged" in refusal(adapter, tiny_base)


@pytest.mark.parametrize("name", ["code.py", "CODE.PY", "deeper/lib.so"])
def test_code_beside_the_adapter_is_refused(adapter: Path, tiny_base: Path, name: str) -> None:
    (adapter / name).parent.mkdir(exist_ok=True)
    (adapter / name).write_bytes(b"")
    message = refusal(adapter, tiny_base)
    assert f"{name} is not let in: expected adapter_config.json and adapter_model.safetensors, found code" in message


@pytest.mark.parametrize("name", ["adapter_model.bin", "model.PT", "weights.pkl"])
def test_a_pickle_in_place_of_the_weights_is_refused_and_the_hint_says_how_to_save_them(
    adapter: Path, tiny_base: Path, name: str
) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / name)
    with pytest.raises(BadInputError, match=f"expected adapter_model.safetensors, found {name}") as caught:
        inspect_artifact(adapter, tiny_base)
    assert f"torch.load('{name}', weights_only=True)" in (caught.value.hint or "")


def test_what_the_hint_says_of_a_pickle_makes_it_an_adapter_that_is_let_in(adapter: Path, tiny_base: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(BadInputError) as caught:
        inspect_artifact(adapter, tiny_base)
    command = shlex.split((caught.value.hint or "").partition("convert it: ")[2])
    subprocess.run([sys.executable, *command[1:]], cwd=adapter, check=True)
    assert inspect_artifact(adapter, tiny_base).rank == 4


def test_what_a_trainer_leaves_beside_the_weights_does_not_count(adapter: Path, tiny_base: Path) -> None:
    before = inspect_artifact(adapter, tiny_base)
    (adapter / "training_args.bin").write_bytes(b"a pickle that nobody opens")
    (adapter / "README.md").write_text("A model card.")
    assert inspect_artifact(adapter, tiny_base) == before


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_link_out_of_the_folder_is_refused(adapter: Path, tiny_base: Path, tmp_path: Path, name: str) -> None:
    (adapter / name).rename(tmp_path / name)
    (adapter / name).symlink_to(tmp_path / name)
    assert f"{name} is a link out of the folder: expected a file" in refusal(adapter, tiny_base)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(adapter: Path, tiny_base: Path, name: str) -> None:
    (adapter / name).unlink()
    with pytest.raises(NotFoundError, match=f"has no {name}"):
        inspect_artifact(adapter, tiny_base)


def test_a_folder_that_is_not_there_says_what_was_expected(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no folder") as caught:
        inspect_artifact(tmp_path / "none", tiny_base)
    assert caught.value.hint == "expected the folder that PEFT's save_pretrained wrote"


@given(before=st.text(), after=st.text(), indent=st.sampled_from([None, 1, 2]))
def test_a_field_that_is_changed_and_changed_back_leaves_the_file_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, before: str, after: str, indent: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "adapter_config.json"
    config = {"r": 4, "base_model_name_or_path": before, "nested": {"like": '"base_model_name_or_path": "no"'}}
    path.write_bytes(json.dumps(config, indent=indent).encode())
    whole = path.read_bytes()
    set_field(path, "base_model_name_or_path", after)
    assert json.loads(path.read_bytes()) == {**config, "base_model_name_or_path": after}
    set_field(path, "base_model_name_or_path", before)
    assert path.read_bytes() == whole


def test_a_field_that_is_null_or_missing_is_set(tmp_path: Path) -> None:
    path = tmp_path / "adapter_config.json"
    for config in ({"r": 4, "task_type": None}, {"r": 4}):
        path.write_text(json.dumps(config))
        set_field(path, "task_type", "CAUSAL_LM")
        assert json.loads(path.read_text()) == {"r": 4, "task_type": "CAUSAL_LM"}
