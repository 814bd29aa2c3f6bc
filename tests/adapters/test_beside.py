"""What an adapter's folder says beyond its two files, and which base model it is known to be for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.base import Base, pull
from locum.adapters.beside import look_beside
from locum.adapters.incoming import Incoming, fetch, fitting, last_name, made_for
from locum.adapters.lora_config import CHECKED, IDLE, OFF, USED
from locum.adapters.lora_tensors import fit_names, proper_names
from locum.errors import BadInputError

PROMPT = "You answer questions of legal."


@pytest.fixture
def beside(tiny_base: Path, tmp_path: Path) -> Path:
    """A folder with the base model's own tokenizer and configuration, as trainers save them beside an adapter."""
    folder = tmp_path / "beside"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        shutil.copyfile(tiny_base / name, folder / name)
    return folder


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Base:
    return pull(str(tiny_base), tmp_path / "bases")


def change(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **fields}))


def notes(folder: Path, base: Base, *, named: str | None = None) -> list[str]:
    return look_beside(folder, base, named_base=named, system_prompt=PROMPT)


def test_the_base_models_own_files_beside_an_adapter_say_nothing(beside: Path, base: Base) -> None:
    template = beside / "chat_template.jinja"
    template.write_text("{# saved by another tool #}" + template.read_text())  # other text, the same chats
    (beside / "args.json").write_text(json.dumps({"system": PROMPT}))
    assert notes(beside, base) == []


def _template_file(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% for m in messages %}[INST]{{ m['content'] }}[/INST]{% endfor %}")


def _template_in_the_tokenizers_configuration(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    change(folder / "tokenizer_config.json", chat_template=[{"name": "default", "template": "{{ messages }}"}])


def _template_without_a_system_role(folder: Path) -> None:
    template = folder / "chat_template.jinja"
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    template.write_text(refusal + template.read_text())


def _set(file: str, **fields: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        change(folder / file, **fields)

    write.__name__ = f"{file}_{'_'.join(fields)}"
    return write


def _write(file: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / file).write_text(text)

    write.__name__ = file
    return write


@pytest.mark.parametrize(
    ("write", "note"),
    [
        (_template_file, "chat_template.jinja: it learned with another chat template than tiny-llama's: '[INST]"),
        (_template_in_the_tokenizers_configuration, "tokenizer_config.json: it learned with another chat template"),
        (_template_without_a_system_role, "(refused: no system role)"),
        (_set("added_tokens.json", **{"<|call|>": 400}), "1 of its tokens are not tiny-llama's: <|call|> as 400"),
        (_set("tokenizer_config.json", eos_token="<|endoftext|>"), "to end with '<|endoftext|>', tiny-llama ends with"),
        (_set("tokenizer_config.json", eos_token={"content": "</s>"}), "it learned to end with '</s>'"),
        (_set("generation_config.json", eos_token_id=[0, 7]), "its answers end with token [0, 7]"),
        (_set("generation_config.json", temperature=0.6, top_p=0.9), "temperature 0.6, top_p 0.9: stays behind"),
        (_set("config.json", vocab_size=999), "its base model had vocab_size 999, tiny-llama has"),
        (_set("config.json", sliding_window=16), "its base model had sliding_window 16, tiny-llama has None"),
        (_set("config.json", rope_scaling={"type": "linear", "factor": 4}), "by linear, factor 4, tiny-llama has def"),
        (_set("args.json", system="You are a clerk."), "another system prompt than that of the card here: 'You are a"),
        (_set("args.json", template="qwen2_5"), "its trainer's template 'qwen2_5'"),
        (_set("args.json", quant_bits=4), "over a quantised base model in 4 bits"),
        (_write("training_args.yaml", "template: llama3\ndefault_system: Be a clerk.\n"), "'Be a clerk.'"),
        (_write("llamaboard_config.yaml", "top.template: llama3\ntop.quantization_bit: 4\n"), "template 'llama3'"),
        (_write("Modelfile", 'FROM .\nSYSTEM """You are\na clerk."""\n'), r"'You are\na clerk.'"),
        (_write("optimizer.pt", ""), "left behind, the state of its training (no pickle is opened): optimizer.pt"),
        (_write("value_head.safetensors", ""), "the value head of a reward training"),
        (_write("dictionary.csv", ""), "left behind: dictionary.csv"),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_"),
)
def test_what_it_learned_with_and_is_asked_without_is_told(
    beside: Path, base: Base, write: Callable[[Path], None], note: str
) -> None:
    write(beside)
    assert any(note in each for each in notes(beside, base)), notes(beside, base)


def test_a_quantised_base_model_is_told_by_its_name(beside: Path, base: Base) -> None:
    [note] = notes(beside, base, named="unsloth/llama-3-8b-bnb-4bit")
    assert note.startswith("it was trained over a quantised base model (unsloth/llama-3-8b-bnb-4bit)")
    assert notes(beside, base, named="acme/llama-3-8b") == []


def test_the_way_out_of_another_template_is_a_base_model_with_it(
    beside: Path, base: Base, tiny_base: Path, tmp_path: Path
) -> None:
    _template_file(beside)
    [note] = notes(beside, base)
    assert f"cp -rL {base.path} NEW" in note and "`locum base pull NEW`" in note
    new = shutil.copytree(base.path, tmp_path / "new")
    shutil.copyfile(beside / "chat_template.jinja", new / "chat_template.jinja")
    assert notes(beside, pull(str(new), tmp_path / "bases")) == []


@pytest.fixture
def incoming(tiny_adapter: Callable[..., Path], tmp_path: Path) -> Incoming:
    return fetch(str(tiny_adapter(rank=4, seed=3)), tmp_path / "incoming")


def test_a_base_model_is_known_by_its_name_its_folder_a_copy_and_the_last_part_of_what_is_named(
    incoming: Incoming, base: Base, tiny_base: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_base, tmp_path / "elsewhere")
    link = tmp_path / "linked"
    link.symlink_to(tiny_base)
    for named in (
        *(base.name, base.source, f"{base.source}/", str(link), str(copy)),
        *(
            "/home/alice/models/Tiny-Llama",
            "C:\\models\\tiny-llama\\",
            "acme/Tiny-Llama",
            "~/hub/models--a--tiny-llama",
        ),
    ):
        assert made_for(replace(incoming, base=named), [base]) == [base], named
    change(copy / "config.json", rms_norm_eps=1e-3)
    for named in (str(copy), "acme/other", None):
        assert made_for(replace(incoming, base=named), [base]) == []
    assert fitting(incoming, [base]) == [base]


def test_a_base_model_of_other_shapes_does_not_fit(incoming: Incoming, base: Base, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(base.path, tmp_path / "narrow")
    weights = load_file(other / "model.safetensors")
    name = "model.layers.1.self_attn.q_proj.weight"
    save_file({**weights, name: weights[name][:, :32].contiguous()}, other / "model.safetensors")
    assert fitting(incoming, [base, pull(str(other), tmp_path / "bases")]) == [base]


@given(
    modules=st.sets(
        st.tuples(st.integers(0, 3), st.sampled_from(["self_attn.q_proj", "mlp.down_proj"])), min_size=1, max_size=6
    ),
    wrap=st.sampled_from(["", "module.", "_orig_mod.", "base_model.model.", "module.base_model.model._orig_mod."]),
    owner=st.sampled_from(["model.", "", "language_model.model.", "model.language_model.", "model.model."]),
    adapter=st.sampled_from(["", ".default", ".clerk"]),
)
def test_names_come_out_as_peft_writes_them_over_the_base_model_whatever_is_put_around_them(
    modules: set[tuple[int, str]], wrap: str, owner: str, adapter: str
) -> None:
    base = {f"model.layers.{layer}.{module}.weight": [4, 4] for layer, module in modules}
    names = [
        f"{wrap}{owner}layers.{layer}.{module}.lora_{part}{adapter}.weight"
        for layer, module in modules
        for part in "AB"
    ]
    fitted = set(fit_names(proper_names(names).values(), base).values())
    assert fitted == {
        f"base_model.model.model.layers.{layer}.{module}.lora_{part}.weight"
        for layer, module in modules
        for part in "AB"
    }
    assert set(fit_names(fitted, base)) == set(fit_names(fitted, base).values()) == fitted


def test_every_field_that_peft_writes_is_one_that_locum_knows() -> None:
    """A new PEFT with a new field has to be looked at: does it change what an adapter computes?"""
    from dataclasses import fields

    from peft import LoraConfig

    assert {field.name for field in fields(LoraConfig)} - USED - IDLE - CHECKED - OFF.keys() == set()


def test_the_last_part_of_a_name_is_what_locum_would_call_it() -> None:
    assert last_name("HuggingFaceTB/SmolLM2-135M-Instruct") == "smollm2-135m-instruct"
    assert last_name("/data/hub/models--acme--Tiny_X/") == "tiny_x"
    assert last_name("") == ""


def test_links_lead_to_a_file_or_are_refused(tiny_adapter: Callable[..., Path], tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_adapter(rank=4, seed=3), tmp_path / "source"))
    (source / "adapter_config.json").unlink()
    (source / "adapter_config.json").symlink_to(tmp_path)
    with pytest.raises(BadInputError, match="expected a file, found a link to"):
        fetch(str(source), tmp_path / "incoming")
