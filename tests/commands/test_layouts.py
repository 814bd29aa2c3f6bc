"""Adapter folders as PEFT, TRL and other trainers leave them: imported as typed, served, and compared with PEFT."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.probes import _logprobs, ask_endpoint
from locum.errors import NotFoundError
from tests.commands.conftest import Ran

if TYPE_CHECKING:
    from tests.conftest import LiveServer

SAID = ["--licence", "mit", "--trained-on", "Questions of the tests."]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MODULES = ("q_proj", "v_proj", "down_proj")


def make_model(base: Path, *, seed: int, **options: Any) -> Any:
    """A PEFT model with random weights, strong enough to change what is said."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    given = {"r": 4, "lora_alpha": 8, "target_modules": list(MODULES), "task_type": "CAUSAL_LM", **options}
    torch.manual_seed(seed)
    return randomise(get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**given)))


def randomise(model: Any) -> Any:
    import torch

    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def change(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **fields}))


def rename_tensors(folder: Path, rename: Callable[[str], str]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    save_file({rename(name): tensor for name, tensor in tensors.items()}, folder / WEIGHTS)


def save_tokenizer(base: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def peft_without_task(base: Path, folder: Path) -> Any:
    """b01: what PEFT writes where nobody named a task."""
    model = make_model(base, seed=101, task_type=None)
    model.save_pretrained(folder)
    assert json.loads((folder / CONFIG).read_text())["auto_mapping"]["base_model_class"] == "LlamaForCausalLM"
    return model


def peft_stabilised_with_patterns(base: Path, folder: Path) -> Any:
    patterns = {"rank_pattern": {r"^model\.layers\.0\.self_attn\.q_proj": 8}, "alpha_pattern": {"(q|v)_proj": 4}}
    model = make_model(base, seed=102, use_rslora=True, layers_to_transform=[0], **patterns)
    model.save_pretrained(folder)
    return model


def peft_all_linear(base: Path, folder: Path) -> Any:
    model = make_model(base, seed=103, target_modules="all-linear", exclude_modules=["k_proj"], r=16)
    model.save_pretrained(folder)
    return model


def peft_with_embeddings(base: Path, folder: Path) -> Any:
    model = make_model(base, seed=104)
    model.save_pretrained(folder, save_embedding_layers=True)
    return model


def peft_with_untrained_head(base: Path, folder: Path) -> Any:
    model = make_model(base, seed=105, modules_to_save=["lm_head"])
    model.save_pretrained(folder)
    return model


def peft_with_two_adapters(base: Path, folder: Path) -> Any:
    from peft import LoraConfig

    model = make_model(base, seed=106)
    model.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    model.save_pretrained(folder)
    assert (folder / "other" / CONFIG).is_file()
    return model


def peft_of_another_name(base: Path, folder: Path) -> Any:
    """PEFT saves what is not called `default` into a folder of its own."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=4, target_modules=["v_proj"], task_type="CAUSAL_LM")
    model = randomise(get_peft_model(AutoModelForCausalLM.from_pretrained(base), config, adapter_name="courts"))
    model.save_pretrained(folder)
    return model


def trl_checkpoint(base: Path, folder: Path) -> Any:
    """What SFTTrainer leaves in its output folder: a checkpoint with the state of the training."""
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    turns = [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": "It is well."}]
    arguments = SFTConfig(
        output_dir=str(folder), max_steps=1, save_steps=1, learning_rate=0.3, report_to=[], use_cpu=True,
        per_device_train_batch_size=1, disable_tqdm=True, max_length=64, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = SFTTrainer(
        str(base),
        args=arguments,
        train_dataset=Dataset.from_list([{"messages": turns}]),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=4, target_modules=list(MODULES), task_type="CAUSAL_LM"),
    )
    trainer.train()
    assert (folder / "checkpoint-1" / "optimizer.pt").is_file()
    # loaded again: the trainer's own model goes on computing in bfloat16
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder / "checkpoint-1").eval()


def like_unsloth(base: Path, folder: Path) -> Any:
    """Half precision, patterns over layers of models that may also see, its mark, and the tokenizer beside it."""
    import torch

    pattern = r"(?:.*?(?:language|text|model).*?(?:self_attn|mlp).*?(?:q_proj|v_proj|down_proj).*?)|(?:\bnone\b)"
    model = make_model(base, seed=108, target_modules=pattern)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.to(torch.bfloat16).float()
    model.save_pretrained(folder)
    mapping = {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama.modeling_llama"}
    change(folder / CONFIG, auto_mapping={**mapping, "unsloth_fixed": True}, loftq_config={}, revision=None)
    save_tokenizer(base, folder)
    return model


def like_llama_factory(base: Path, folder: Path) -> Any:
    model = make_model(base, seed=109)
    model.save_pretrained(folder)
    save_tokenizer(base, folder)
    for name in ("all_results.json", "train_results.json", "trainer_state.json"):
        (folder / name).write_text("{}")
    for name in ("training_args.bin", "training_loss.png", "trainer_log.jsonl"):
        (folder / name).write_bytes(b"never opened")
    (folder / "Modelfile").write_text('FROM .\nTEMPLATE """{{ .Prompt }}"""\nSYSTEM """You are a clerk."""\n')
    (folder / "llamaboard_config.yaml").write_text("top.template: default\ntop.model_name: Tiny\n")
    return model


def like_axolotl(base: Path, folder: Path) -> Any:
    """The base model's configuration beside the adapter, checkpoints of DeepSpeed below it."""
    model = make_model(base, seed=110)
    model.save_pretrained(folder)
    save_tokenizer(base, folder)
    shutil.copyfile(base / "config.json", folder / "config.json")
    checkpoint = folder / "checkpoint-4"
    (checkpoint / "global_step4").mkdir(parents=True)
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(folder / name, checkpoint / name)
    for name in ("zero_to_fp32.py", "latest", "global_step4/mp_rank_00_model_states.pt"):
        (checkpoint / name).write_bytes(b"never run or opened")
    return model


def like_ms_swift(base: Path, folder: Path) -> Any:
    checkpoint = folder / "v0-20260101" / "checkpoint-8"
    model = make_model(base, seed=111, target_modules=r"^(model)(?!.*(lm_head|emb)).*\.(q_proj|v_proj)$")
    model.save_pretrained(checkpoint)
    change(checkpoint / "args.json", system="You are a clerk.", template="chatml", model=str(base))
    change(checkpoint / "additional_config.json", lora_dtype=None, lorap_lr_ratio=None, lorap_emb_lr=1e-6)
    (checkpoint / "training_args.bin").write_bytes(b"never opened")
    return model


def sharded_and_compiled(base: Path, folder: Path) -> Any:
    """Names that FSDP, activation checkpointing and torch.compile put around modules."""
    model = make_model(base, seed=112)
    model.save_pretrained(folder)

    def wrap(name: str) -> str:
        name = name.replace("model.layers.", "_orig_mod.model._fsdp_wrapped_module.layers.")
        return name.replace(".self_attn", "._checkpoint_wrapped_module.self_attn").replace(".weight", ".default.weight")

    rename_tensors(folder, wrap)
    return model


def inside_a_model_that_sees(base: Path, folder: Path) -> Any:
    model = make_model(base, seed=113)
    model.save_pretrained(folder)
    rename_tensors(folder, lambda name: name.replace(".model.layers", ".model.language_model.layers", 1))
    change(folder / CONFIG, target_modules=r"^model\.language_model.*\.(q_proj|v_proj|down_proj)$")
    return model


def in_the_hubs_cache(base: Path, folder: Path) -> Any:
    """b05: the files of a snapshot are links into `blobs`; the folder of the repository is named."""
    model = make_model(base, seed=114)
    model.save_pretrained(folder / "plain")
    blobs, snapshot = folder / "blobs", folder / "snapshots" / ("c" * 40)
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name in (CONFIG, WEIGHTS):
        (folder / "plain" / name).rename(blobs / f"of-{name}")
        (snapshot / name).symlink_to(Path("..", "..", "blobs", f"of-{name}"))
    shutil.rmtree(folder / "plain")
    return model


def in_two_files(base: Path, folder: Path) -> Any:
    from safetensors.torch import load_file, save_file

    model = make_model(base, seed=115)
    model.save_pretrained(folder)
    tensors = load_file(folder / WEIGHTS)
    names = {name: f"adapter_model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(tensors)}
    for file in set(names.values()):
        save_file({name: tensors[name] for name in tensors if names[name] == file}, folder / file)
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (folder / WEIGHTS).unlink()
    return model


def of_mixed_precision(base: Path, folder: Path) -> Any:
    import torch
    from safetensors.torch import load_file, save_file

    model = make_model(base, seed=116)
    for number, (_, weight) in enumerate((n, w) for n, w in model.named_parameters() if "lora_" in n):
        weight.data = weight.data.to((torch.float32, torch.bfloat16, torch.float16)[number % 3]).float()
    model.save_pretrained(folder)
    lora = [weight for name, weight in model.named_parameters() if "lora_" in name]
    tensors = load_file(folder / WEIGHTS)
    for name, tensor in tensors.items():
        for kind in (torch.bfloat16, torch.float16):
            if tensor.to(kind).float().equal(tensor):
                tensors[name] = tensor.to(kind)
    assert len(lora) == len(tensors)
    save_file(tensors, folder / WEIGHTS)
    change(folder / CONFIG, bias=None)
    return model


@dataclass(frozen=True)
class Layout:
    """How a folder is written, and what its import says."""

    write: Callable[[Path, Path], Any]
    said: tuple[str, ...] = ()
    source: str = "foreign"


LAYOUTS = [
    Layout(peft_without_task, ("task_type was not given, is now 'CAUSAL_LM'",)),
    Layout(peft_stabilised_with_patterns),
    Layout(peft_all_linear),
    Layout(peft_with_embeddings, ("embed_tokens.weight", "the base model's own once more, left out")),
    Layout(peft_with_untrained_head, ("lm_head.weight", "the base model's own once more, left out")),
    Layout(peft_with_two_adapters, ("other is an adapter of its own, and stays behind",)),
    Layout(peft_of_another_name, ("the adapter is that in courts",)),
    Layout(trl_checkpoint, ("the adapter is that in checkpoint-1", "optimizer.pt", "no pickle is opened")),
    Layout(like_unsloth),
    Layout(like_llama_factory, ("another system prompt than that of the card here: 'You are a clerk.'", "template")),
    Layout(like_axolotl, ("checkpoint-4 is an adapter of its own, and stays behind",)),
    Layout(like_ms_swift, ("the adapter is that in v0-20260101/checkpoint-8", "'You are a clerk.'", "'chatml'")),
    Layout(sharded_and_compiled, ("tensors renamed, such as",)),
    Layout(inside_a_model_that_sees, ("tensors renamed, such as", "target_modules are now the 6 modules")),
    Layout(in_the_hubs_cache, source="models--acme--clerk"),
    Layout(in_two_files, ("put together from 2 files",)),
    Layout(of_mixed_precision),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.write.__name__)
def test_a_folder_as_it_is_in_the_field_is_imported_and_served_as_peft_computes_it(
    locum: Callable[..., Ran],
    server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
    tiny_base: Path,
    workplace: Path,
    layout: Layout,
) -> None:
    folder = workplace / layout.source
    model = layout.write(tiny_base, folder)
    for name in ("home", "domains"):
        monkeypatch.setenv(f"LOCUM_{name.upper()}", str(getattr(server.settings, name)))
    ran = locum("adapters", "import", layout.source, "--domain", "finance", *SAID)
    assert ran.code == 0, ran.err
    for part in layout.said:
        assert part in ran.out + ran.err
    made = server.registry.resolve("finance@candidate")
    assert made.origin is not None and made.origin.source == str(folder)
    assert_served(server, made, model)


def assert_served(server: LiveServer, made: Manifest, model: Any) -> None:
    """The server's log-probabilities are those of the model that was saved, and not the base model's."""

    def known() -> bool:
        try:
            ask_endpoint(server.endpoint, made.name, made.probes[0])
        except NotFoundError:
            return False
        return True

    server.until(known)
    for probe in made.probes:
        served = ask_endpoint(server.endpoint, made.name, probe).logprobs
        assert served == pytest.approx(_logprobs(model, probe.prompt_ids, probe.token_ids), abs=0.02)
        assert served != pytest.approx(probe.base_logprobs, abs=0.1)


def _trained_head(base: Path, folder: Path) -> None:
    import torch

    model = make_model(base, seed=1, modules_to_save=["lm_head"])
    with torch.no_grad():
        model.base_model.model.lm_head.modules_to_save["default"].weight[7] += 1
    model.save_pretrained(folder)


def _resized_vocabulary(base: Path, folder: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(model.config.vocab_size + 2)
    get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained(folder)


def _options(**options: Any) -> Callable[[Path, Path], None]:
    def write(base: Path, folder: Path) -> None:
        make_model(base, seed=1, **options).save_pretrained(folder)

    write.__name__ = "_".join(options)
    return write


def _configured(**fields: object) -> Callable[[Path, Path], None]:
    def write(base: Path, folder: Path) -> None:
        make_model(base, seed=1).save_pretrained(folder)
        change(folder / CONFIG, **fields)

    write.__name__ = "_".join(fields)
    return write


def _sequences(base: Path, folder: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    model = get_peft_model(AutoModel.from_pretrained(base), LoraConfig(r=4, target_modules=["q_proj"]))
    model.save_pretrained(folder)


def _several_checkpoints(base: Path, folder: Path) -> None:
    model = make_model(base, seed=1)
    for number in (90, 100):
        model.save_pretrained(folder / f"checkpoint-{number}")


def _not_gathered(base: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    make_model(base, seed=1).save_pretrained(folder)
    tensors = {name: torch.zeros(0) for name in load_file(folder / WEIGHTS)}
    save_file(tensors, folder / WEIGHTS)


def _dangling(base: Path, folder: Path) -> None:
    make_model(base, seed=1).save_pretrained(folder)
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("../../blobs/none")


def _in_a_circle(base: Path, folder: Path) -> None:
    make_model(base, seed=1).save_pretrained(folder)
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(WEIGHTS)


def _new_embeddings(base: Path, folder: Path) -> None:
    make_model(base, seed=1).save_pretrained(folder)
    (folder / "new_embeddings.safetensors").write_bytes(b"")


def _of_mlx(base: Path, folder: Path) -> None:
    make_model(base, seed=1).save_pretrained(folder)
    (folder / CONFIG).write_text(json.dumps({"fine_tune_type": "lora", "lora_parameters": {"rank": 8}}))


def _targets_that_leave_modules_out(base: Path, folder: Path) -> None:
    make_model(base, seed=1).save_pretrained(folder)
    change(folder / CONFIG, target_modules=["q_proj"])


def _state_of_several_processes(base: Path, folder: Path) -> None:
    (folder / "global_step4").mkdir(parents=True)


@pytest.mark.parametrize(
    ("write", "complaint", "hint"),
    [
        (_trained_head, "lm_head.weight: 1 of its ", "merge_and_unload"),
        (_resized_vocabulary, "its vocabulary was resized", "resize_token_embeddings"),
        (_options(use_dora=True), "use_dora: the server cannot hold this", "merge_and_unload"),
        (_options(trainable_token_indices=[1, 2]), "trainable_token_indices: the server cannot", "merge_and_unload"),
        (_options(target_modules=["q_proj", "embed_tokens"]), "lora_embedding_A: expected only", "embed_tokens"),
        (_options(target_modules=["q_proj", "lm_head"]), "lm_head: adapters of embeddings", "merge_and_unload"),
        (_options(bias="all"), "bias: expected 'none', found 'all'", "merge_and_unload"),
        (_options(lora_bias=True), "lora_bias: the server cannot hold this", "merge_and_unload"),
        (_options(layer_replication=[(0, 2), (1, 2)]), "layer_replication: the server", "merge_and_unload"),
        (_options(init_lora_weights="pissa"), "'pissa' changes the base model's", "path_initial_model_for"),
        (_configured(init_lora_weights="loftq"), "'loftq' changes the base model's", "init_lora_weights to true"),
        (_configured(gates={"k": 2}, peft_version="0.99"), "gates: Locum does not know this field", "PEFT 0.99"),
        (_configured(peft_type="ADALORA"), "peft_type: expected 'LORA', found 'ADALORA'", "merge_and_unload"),
        (_configured(task_type="SEQ_CLS"), "task_type: expected 'CAUSAL_LM', found 'SEQ_CLS'", "writes answers"),
        (_sequences, "auto_mapping: expected a base model that writes answers, such as LlamaForCausalLM, found 'Ll",
         "CAUSAL_LM"),
        (_several_checkpoints, "holds 2 adapters: checkpoint-90, checkpoint-100", "foreign/checkpoint-100"),
        (_not_gathered, "found shape [0]: the part of one process", "zero_to_fp32"),
        (_state_of_several_processes, "found global_step4: the state of a training on several", "zero_to_fp32"),
        (_dangling, "is a link to ../../blobs/none, where no file is", "cp -rL"),
        (_in_a_circle, "is a link to adapter_model.safetensors, where no file is", "cp -rL"),
        (_new_embeddings, "new_embeddings.safetensors: it learned new tokens", "merge_and_unload"),
        (_of_mlx, "r: expected the rank of a LoRA adapter, found none", "mlx_lm.fuse"),
        (_targets_that_leave_modules_out, "target_modules and its companions", "names of its modules"),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_"),
)  # fmt: skip
def test_what_no_server_computes_as_peft_does_is_refused_with_the_way_out(
    locum: Callable[..., Ran],
    domain_folder: Path,
    base_record: Base,
    tiny_base: Path,
    workplace: Path,
    write: Callable[[Path, Path], None],
    complaint: str,
    hint: str,
) -> None:
    write(tiny_base, workplace / "foreign")
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert ran.code == 2, ran.err
    assert complaint in ran.err and hint in ran.err, ran.err
    assert locum("adapters", "list", "--json").json == []
