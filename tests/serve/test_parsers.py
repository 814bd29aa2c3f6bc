"""The parsers for tool calls and thoughts that fit a base model, for the templates that real models have."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
import trl

from locum.adapters.base import Base
from locum.errors import BadInputError
from locum.serve.parsers import (
    DEEPSEEK_CALL,
    REASONING_RULES,
    THINK,
    TOOL_RULES,
    Checkpoint,
    Choice,
    Rule,
    choose,
    for_arguments,
    read_checkpoint,
    refuse_tools,
    tools_in_force,
)
from tests.conftest import CHATML

TEMPLATES = Path(trl.__file__).parent / "chat_templates"  # of real models, as TRL carries them
LLAMA = frozenset({"<|begin_of_text|>", "<|eot_id|>", "<|python_tag|>"})
QWEN3 = frozenset({"<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", *THINK})
QWEN2 = QWEN3 - set(THINK)
R1_DISTILL = QWEN3 | {"<｜User｜>", "<｜Assistant｜>"}
GEMMA4 = frozenset({"<|tool_call>", "<tool_call|>", "<|channel>", "<channel|>"})
LFM2 = frozenset({"<|tool_call_start|>", "<|tool_call_end|>"})


# The decisive pieces of templates that TRL does not carry.
def tools_as(form: str) -> str:
    return "{% if tools %}{{ tools | tojson }}" + form + "{% endif %}"


CHAT = "{% for message in messages %}<|im_start|>{{ message.content }}{% endfor %}"
CLOSED = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% endif %}"
HERMES = tools_as('<tool_call>\n{"name": …, "arguments": …}\n</tool_call>') + CHAT
QWEN3_CODER = tools_as("<tool_call>\n<function=example_function_name>\n</function>\n</tool_call>") + CHAT
SMOLLM3 = tools_as('<tool_call>{"name": …}</tool_call>') + CHAT + CLOSED
MISTRAL = "[AVAILABLE_TOOLS]" + tools_as("") + "[INST]" + CHAT + "{{ '[TOOL_CALLS]' }}"
GRANITE_3_2 = tools_as("<|tool_call|>") + "{% if thinking %}Write 'Here is my thought process:'{% endif %}" + CHAT
LLAMA_4 = tools_as('Respond in the format {"name": …, "parameters": …}') + CHAT + "<|python_start|>"
LLAMA_4_VLLM = tools_as("Put it in the format of [func_name1(params_name1=params_value1)]") + CHAT
PHI_4_MINI = "{% for message in messages %}{{ message['tools'] }}<|tool|>{{ message.content }}{% endfor %}"
PHI_4_MINI_VLLM = tools_as("functools[{…}]") + CHAT
PHI_4_REASONING = "<think> {Thought section} </think> {Solution section}" + CHAT
V3 = tools_as("") + CHAT + "<｜Assistant｜>{{ '<｜tool▁calls▁begin｜>' }}{{ '```json' }}"
V3_1 = (
    "{% if not thinking is defined %}{% set thinking = false %}{% endif %}"
    + tools_as("<｜tool▁calls▁begin｜>")
    + CHAT
    + "<｜Assistant｜>{% if thinking %}<think>{% else %}</think>{% endif %}"
)
QWQ = HERMES + "{{ ''.split('</think>')[-1] }}" + "<|im_start|>assistant\n<think>\n"


def of_trl(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("model_type", "template", "tokens", "tools", "thinking"),
    [
        pytest.param("llama", of_trl("llama3"), LLAMA - {"<|python_tag|>"}, None, None, id="Llama 3"),
        pytest.param("llama", of_trl("llama3_1"), LLAMA, "llama3_json", None, id="Llama 3.1"),
        pytest.param("llama", of_trl("llama3_2"), LLAMA, "llama3_json", None, id="Llama 3.2"),
        pytest.param("llama4", LLAMA_4, frozenset(), None, None, id="Llama 4"),
        pytest.param("llama4", LLAMA_4_VLLM, frozenset(), "llama4_pythonic", None, id="Llama 4, vLLM's template"),
        pytest.param("qwen2", of_trl("qwen2_5"), QWEN2, "hermes", None, id="Qwen2.5"),
        pytest.param("qwen2", QWQ, QWEN3, "hermes", "deepseek_r1", id="QwQ"),
        pytest.param("qwen3", of_trl("qwen3"), QWEN3, "hermes", "qwen3", id="Qwen3"),
        pytest.param("qwen3", of_trl("qwen3_instruct_2507"), QWEN3, "hermes", None, id="Qwen3-Instruct-2507"),
        pytest.param("qwen3_vl", of_trl("qwen3_vl"), QWEN3, "hermes", None, id="Qwen3-VL-Instruct"),
        pytest.param("qwen3_moe", QWEN3_CODER, QWEN3, "qwen3_xml", None, id="Qwen3-Coder"),
        pytest.param("qwen3_5", of_trl("qwen3_5_think"), QWEN3, "qwen3_xml", "qwen3", id="Qwen3.5"),
        pytest.param("qwen3_5", of_trl("qwen3_5_nothink"), QWEN3, "qwen3_xml", None, id="Qwen3.5, small"),
        pytest.param("llama", CHAT, frozenset(), None, None, id="ChatML, without tools"),
        pytest.param("smollm3", SMOLLM3, QWEN3, "hermes", None, id="SmolLM3"),
        pytest.param("llama", HERMES, LLAMA, "hermes", None, id="Hermes 3"),
        pytest.param("mistral", MISTRAL, frozenset({"[TOOL_CALLS]"}), "mistral", None, id="Mistral"),
        pytest.param("mistral", MISTRAL, frozenset(), None, None, id="Mistral, without its token"),
        pytest.param(
            "qwen2", of_trl("deepseek_r1_distill"), R1_DISTILL, None, "deepseek_r1", id="DeepSeek-R1-Distill-Qwen"
        ),
        pytest.param(
            "llama", of_trl("deepseek_r1_distill"), LLAMA | set(THINK), None, "deepseek_r1", id="R1-Distill-Llama"
        ),
        pytest.param("deepseek_v3", V3, frozenset(DEEPSEEK_CALL), "deepseek_v3", None, id="DeepSeek-V3"),
        pytest.param(
            "deepseek_v3", V3_1, frozenset({*DEEPSEEK_CALL, *THINK}), "deepseek_v31", "deepseek_v3", id="DeepSeek-V3.1"
        ),
        pytest.param("gemma3", of_trl("gemma3"), frozenset(), None, None, id="Gemma 3"),
        pytest.param("gemma4", of_trl("gemma4_v5"), GEMMA4, "gemma4", "gemma4", id="Gemma 4"),
        pytest.param("phi3", PHI_4_MINI, frozenset(), None, None, id="Phi-4-mini"),
        pytest.param("phi3", PHI_4_MINI_VLLM, frozenset(), "phi4_mini_json", None, id="Phi-4-mini, vLLM's template"),
        pytest.param("phi3", PHI_4_REASONING, frozenset(THINK), None, "deepseek_r1", id="Phi-4-reasoning"),
        pytest.param("granite", GRANITE_3_2, frozenset({"<|tool_call|>"}), "granite", "granite", id="Granite 3.2"),
        pytest.param("granitemoehybrid", HERMES, frozenset(), "granite4", None, id="Granite 4"),
        pytest.param("glm4_moe", of_trl("glm4moe"), QWEN3, "glm45", "glm45", id="GLM-4.5"),
        pytest.param("nemotron_h", of_trl("nemotron_3_nano"), QWEN3, "qwen3_xml", "nemotron_v3", id="Nemotron 3"),
        pytest.param("gpt_oss", of_trl("gptoss"), frozenset(), "openai", "openai_gptoss", id="gpt-oss"),
        pytest.param("lfm2", of_trl("lfm2_v2"), LFM2, "lfm2", None, id="LFM2"),
        pytest.param("lfm2", of_trl("lfm2_2_5"), LFM2, "lfm2", None, id="LFM2.5, marked for training"),
        pytest.param("cohere2", of_trl("cohere2"), frozenset(), None, None, id="Command R7B"),
        pytest.param("llama", "{{ no_such_function() }}", frozenset(THINK), None, None, id="a broken template"),
        pytest.param("llama", "", frozenset(), None, None, id="no template"),
    ],
)
def test_the_template_of_a_model_decides(
    model_type: str, template: str, tokens: frozenset[str], tools: str | None, thinking: str | None
) -> None:
    chosen = choose(Checkpoint(model_type, template, tokens))
    assert (chosen.tools.parser, chosen.thinking.parser) == (tools, thinking)
    assert chosen.tools.reason and chosen.thinking.reason


@pytest.mark.parametrize("template", ["qwen3", "qwen3_5_think", "deepseek_r1_distill", "glm4moe", "nemotron_3_nano"])
def test_nobody_is_taken_to_think_whose_tokenizer_has_no_token_for_it(template: str) -> None:
    assert choose(Checkpoint("qwen3", of_trl(template), QWEN2)).thinking.parser is None


def test_every_parser_is_one_of_the_installed_vllms() -> None:
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    assert {rule.parser for rule in TOOL_RULES} <= set(ToolParserManager.list_registered())
    assert {rule.parser for rule in REASONING_RULES} <= set(ReasoningParserManager.list_registered())


@pytest.mark.parametrize("rule", [*TOOL_RULES, *REASONING_RULES], ids=lambda rule: rule.parser)
def test_the_tokens_of_a_rule_are_all_that_its_parser_asks_of_a_tokenizer(rule: Rule, tiny_base: Path) -> None:
    from transformers import AutoTokenizer
    from vllm.parser.parser_manager import ParserManager

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.add_tokens(list(rule.tokens), special_tokens=True)
    name = {"tool_parser_name" if rule in TOOL_RULES else "reasoning_parser_name": rule.parser}
    assert ParserManager.get_parser(**name, enable_auto_tools=True, tokenizer=tokenizer) is not None  # else no start


def test_a_checkpoint_is_read_from_its_files(base_record: Base) -> None:
    checkpoint = read_checkpoint(base_record.path)
    assert (checkpoint.model_type, checkpoint.template) == ("llama", CHATML)
    assert checkpoint.tokens == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}


def test_of_several_templates_the_one_for_tools_decides(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    templates = [{"name": "default", "template": CHAT}, {"name": "tool_use", "template": HERMES}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    assert choose(read_checkpoint(tmp_path)).tools.parser == "hermes"


def test_what_the_operator_passes_stays(base_record: Base, tmp_path: Path) -> None:
    template = tmp_path / "pythonic.jinja"
    template.write_text(LLAMA_4_VLLM)
    as_it_is = for_arguments(base_record.path, [])
    assert as_it_is.arguments == ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    assert for_arguments(base_record.path, ["--chat-template", str(template)]).tools.parser == "pythonic"
    assert for_arguments(base_record.path, [f"--chat-template={LLAMA_4_VLLM * 9}"]).tools.parser == "pythonic"
    assert for_arguments(base_record.path, ["--tool_call_parser=xlam"]).tools == Choice("xlam", "as its argument says")
    named = for_arguments(base_record.path, ["--reasoning-parser", "qwen3"])
    assert named.arguments == [*as_it_is.arguments, "--reasoning-parser", "qwen3"]


def test_what_is_chosen_is_said_in_two_lines() -> None:
    assert choose(Checkpoint("qwen2", of_trl("qwen2_5"), QWEN2)).lines() == [
        "tools    hermes (the chat template has <tool_call> and </tool_call>)",
        "thinking none (the chat template is not that of a model that vLLM knows to think)",
    ]


def test_a_server_that_somebody_else_started_knows_its_parser(base_record: Base) -> None:
    def started(**given: object) -> Choice:
        usual = {"enable_auto_tool_choice": False, "tool_call_parser": None, "chat_template": None}
        return tools_in_force(Namespace(**{**usual, **given}), base_record.path)

    assert started(enable_auto_tool_choice=True, tool_call_parser="xlam").parser == "xlam"
    assert started() == Choice(None, "it was started without the parser hermes, which fits")
    assert started(tool_call_parser="xlam").parser is None  # vLLM does not use it so
    assert started(chat_template=CHAT) == Choice(None, "the chat template shows the model no tools")


TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {}}}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look_up"}}},
    ],
)
def test_tools_are_refused_with_what_to_pass_where_no_parser_fits(body: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="shows the model no tools") as caught:
        refuse_tools(body, choose(Checkpoint("llama", CHAT, frozenset())).tools)
    assert "locum serve -- --enable-auto-tool-choice --tool-call-parser NAME" in str(caught.value.hint)


@pytest.mark.parametrize(
    "body",
    [{}, {"tools": []}, {"tools": [TOOL], "tool_choice": "none"}, {"tools": [TOOL], "tool_choice": {"type": "none"}}],
)
def test_a_request_that_wants_no_call_is_not_refused(body: dict[str, object]) -> None:
    refuse_tools(body, Choice(None, "the chat template shows the model no tools"))


def test_tools_are_not_refused_where_a_parser_is() -> None:
    refuse_tools({"tools": [TOOL]}, Choice("hermes", "…"))
