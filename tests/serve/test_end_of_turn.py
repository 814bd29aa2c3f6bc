"""A server ends answers where the base model's chat template ends a turn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from locum.adapters.base import Base, pull
from locum.adapters.chat_template import ChatTemplate
from locum.serve import launcher
from locum.serve.end_of_turn import end_answers
from locum.serve.engine import Engine
from locum.serve.host import HostPlan
from locum.serve.parsers import content_format
from locum.settings import Settings
from tests.bases import change, chatml_base
from tests.train.families import FAMILIES, tokenizer_of

PLAN = HostPlan("cpu", "float32", "for the tests", [], 1 << 28, [], [])


def ends_of(
    engine: Engine, fields: dict[str, Any], base: Path, template: str | None = None, **options: Any
) -> set[int]:
    """The tokens at which vLLM ends a request, with these fields of a generation_config.json."""
    from vllm import SamplingParams

    end_answers(engine, base, template)
    asked = SamplingParams(**options)
    asked.update_from_generation_config(fields, 0)
    return {*(asked.stop_token_ids or []), *([] if asked.ignore_eos else [0])}


@pytest.mark.parametrize(
    ("declared", "ends"), [({}, {0, 2}), ({"eos_token_id": 0}, {0, 2}), ({"eos_token_id": [0, 7]}, {0, 2, 7})]
)
def test_vllm_ends_every_request_there(
    tiny_base: Path, tmp_path: Path, declared: dict[str, Any], ends: set[int]
) -> None:
    base = chatml_base(tiny_base, tmp_path / "base")
    fields = dict(declared)
    client: Any = SimpleNamespace(input_processor=SimpleNamespace(generation_config_fields=fields))
    models: Any = None
    assert ends_of(Engine(client, models), fields, base) == ends
    assert ends_of(Engine(client, models), fields, base, ignore_eos=True) == set()
    own = "{% for m in messages %}{{ m.content + '<|im_start|>' }}{% endfor %}"
    assert ends_of(Engine(client, models), fields, base, own) == {*ends, 1}


def test_a_base_model_without_a_template_is_served_as_vllm_serves_it(tiny_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    client: Any = SimpleNamespace(input_processor=SimpleNamespace(generation_config_fields={}))
    models: Any = None
    assert ends_of(Engine(client, models), {}, base) == {0}


def given(base: Base, **options: Any) -> dict[str, str]:
    """The arguments that `locum serve` gives vLLM, by name."""
    arguments = launcher.arguments(Settings(), base, PLAN, 16, **options)
    return {name: value for name, value in zip(arguments, [*arguments[1:], ""], strict=True) if name.startswith("--")}


def test_what_a_checkpoint_says_besides_is_as_in_training(tiny_base: Path, base_record: Base, tmp_path: Path) -> None:
    plain = given(base_record)
    assert plain["--chat-template-content-format"] == "string"
    assert not {"--override-generation-config", "--tokenizer-mode", "--config-format"} & set(plain)
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    change(folder / "generation_config.json", repetition_penalty=1.1, temperature=0.6)
    shutil.copyfile(folder / "model.safetensors", folder / "consolidated.safetensors")
    other = given(base_record.model_copy(update={"path": folder}))
    assert json.loads(other["--override-generation-config"]) == {"repetition_penalty": 1.0}
    assert (other["--tokenizer-mode"], other["--config-format"], other["--load-format"]) == ("hf", "hf", "safetensors")
    parts = FAMILIES["parts"].template
    assert given(base_record, chat_template=parts)["--chat-template-content-format"] == "openai"


def test_a_model_that_takes_pictures_keeps_vllms_own_choice(tiny_base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    change(folder / "config.json", vision_config={"hidden_size": 8})
    assert "--chat-template-content-format" not in given(pull(str(folder), tmp_path / "bases"))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_server_takes_contents_in_the_form_that_training_does(tiny_base: Path, name: str) -> None:
    tokenizer = tokenizer_of(tiny_base, FAMILIES[name])
    assert content_format(FAMILIES[name].template) == ChatTemplate(tokenizer).content_format


def test_the_input_processor_gives_its_fields_to_every_request() -> None:
    import inspect

    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.input_processor import InputProcessor

    assert "self.input_processor = InputProcessor(" in inspect.getsource(AsyncLLM.__init__)
    source = inspect.getsource(InputProcessor)
    assert "self.generation_config_fields = model_config.try_get_generation_config()" in source
    assert source.count("sampling_params.update_from_generation_config(") == 1
    assert "                self.generation_config_fields," in source
