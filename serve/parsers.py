"""Which of vLLM's parsers take tool calls and thoughts out of what a base model writes.

A chat template decides: it shows the model the tools of a request and the form in which to call them, and it opens or
closes a thought. The rules follow vLLM's documentation (features/tool_calling.md, features/reasoning_outputs.md) and
the sources of its parsers (vllm/tool_parsers, vllm/reasoning, vllm/parser).

A tool parser works on requests that bring tools, on nothing else. Most reasoning parsers take all that a model writes
for a thought until `</think>` comes: chosen for a model that does not think, one would swallow its answers. When in
doubt, none is chosen.
"""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.errors import BadInputError
from locum.serve.switches import option

GIVEN = "as its argument says"
THOUGHT, END_OF_THOUGHT = "<think>", "</think>"
THINK = (THOUGHT, END_OF_THOUGHT)
# what transformers' templates may mark for training
GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
DEEPSEEK_CALL = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")


@dataclass(frozen=True)
class Rule:
    """A parser, and what a checkpoint must have: all of `marks` in its template, all of `tokens` in its tokenizer.

    `models` are beginnings of the `model_type` in config.json, one of which must fit. `opens`: every prompt ends inside
    a thought. `harmless`: the parser leaves an answer without a thought as it is.
    """

    parser: str
    marks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    opens: bool = False
    harmless: bool = False


PROBE = "locum_probe"
QUESTION = "What is it?"
TOOL = {
    "type": "function",
    "function": {
        "name": PROBE,
        "description": "A probe.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}

# The first that fits is taken. The names are vLLM's.
TOOL_RULES = (
    Rule("openai", models=("gpt_oss",)),
    Rule("gemma4", ("<|tool_call>",), tokens=("<|tool_call>", "<tool_call|>")),
    Rule("functiongemma", ("<start_function_call>",)),
    Rule("deepseek_v3", ("<｜tool▁calls▁begin｜>", "```json"), tokens=DEEPSEEK_CALL),
    Rule("deepseek_v31", ("<｜tool▁calls▁begin｜>",), tokens=DEEPSEEK_CALL),
    Rule("seed_oss", ("<seed:tool_call>",)),
    Rule("glm45", ("<tool_call>", "<arg_key>")),
    Rule("qwen3_xml", ("<tool_call>", "<function=")),
    Rule("lfm2", models=("lfm2",), tokens=("<|tool_call_start|>", "<|tool_call_end|>")),
    Rule("mistral", ("[TOOL_CALLS]",), tokens=("[TOOL_CALLS]",)),
    Rule("phi4_mini_json", ("functools[",)),
    Rule("granite", ("<|tool_call|>",), models=("granite",)),
    Rule("granite4", ("<tool_call>", "</tool_call>"), models=("granite",)),
    Rule("olmo3", ("<function_calls>",), models=("olmo",)),
    Rule("hermes", ("<tool_call>", "</tool_call>")),
    Rule("llama4_pythonic", ("[func_name1(",), models=("llama4",)),
    Rule("pythonic", ("[func_name1(",)),
    Rule("llama4_json", ('"parameters": ',), models=("llama4",), tokens=("<|python_tag|>",)),
    Rule("llama3_json", ('"parameters": ',), models=("llama", "mllama"), tokens=("<|python_tag|>",)),
)
REASONING_RULES = (
    Rule("openai_gptoss", models=("gpt_oss",), harmless=True),
    Rule("gemma4", ("<|channel>", "enable_thinking"), tokens=("<|channel>", "<channel|>"), harmless=True),
    Rule("granite", ("Here is my thought process:",), models=("granite",), harmless=True),
    Rule("granite_thinking_parser", ("<function=", END_OF_THOUGHT), models=("granite",), tokens=THINK),
    Rule("nemotron_v3", ("<function=", END_OF_THOUGHT, "enable_thinking"), models=("nemotron",), tokens=THINK),
    Rule("glm45", ("<arg_key>", END_OF_THOUGHT), tokens=THINK),
    Rule("deepseek_v3", ("thinking is defined", END_OF_THOUGHT), models=("deepseek",), tokens=THINK, harmless=True),
    Rule("deepseek_r1", ("<｜Assistant｜>", END_OF_THOUGHT), tokens=THINK),
    Rule("qwen3", (END_OF_THOUGHT,), models=("qwen3",), tokens=THINK),
    Rule("deepseek_r1", (END_OF_THOUGHT,), models=("phi3",), tokens=THINK),  # Phi-4-reasoning: its system prompt asks
    Rule("deepseek_r1", (THOUGHT,), tokens=THINK, opens=True),  # QwQ, and whatever else always thinks
)


@dataclass(frozen=True)
class Checkpoint:
    """What decides: a base model's `model_type`, its chat template, the tokens added to its vocabulary."""

    model_type: str
    template: str
    tokens: frozenset[str]


@dataclass(frozen=True)
class Choice:
    """A parser of vLLM's, or None, and why."""

    parser: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.parser or 'none'} ({self.reason})"


@dataclass(frozen=True)
class Parsers:
    """What takes tool calls and thoughts out of answers."""

    tools: Choice
    thinking: Choice

    @property
    def arguments(self) -> list[str]:
        """vLLM's arguments for it."""
        tools = ["--enable-auto-tool-choice", "--tool-call-parser", self.tools.parser] if self.tools.parser else []
        return [*tools, *(["--reasoning-parser", self.thinking.parser] if self.thinking.parser else [])]

    def lines(self) -> list[str]:
        """The two lines that `locum serve` prints."""
        return [f"tools    {self.tools}", f"thinking {self.thinking}"]


def choose(checkpoint: Checkpoint) -> Parsers:
    """The parsers for a checkpoint."""
    return Parsers(_tools(checkpoint), _thinking(checkpoint))


def for_arguments(base: Path, arguments: Sequence[str]) -> Parsers:
    """The parsers for the checkpoint in `base`, where vLLM gets these arguments: what they name stays."""
    chosen = choose(read_checkpoint(base, option(arguments, "--chat-template")))
    tools, thinking = option(arguments, "--tool-call-parser"), option(arguments, "--reasoning-parser")
    return Parsers(
        chosen.tools if tools is None else Choice(tools or None, GIVEN),
        chosen.thinking if thinking is None else Choice(thinking or None, GIVEN),
    )


def read_checkpoint(folder: Path, chat_template: str | None = None) -> Checkpoint:
    """What decides, from the checkpoint in `folder`; `chat_template` is vLLM's argument, a file or a template."""
    config = _json(folder / "config.json")
    tokenizer = _json(folder / "tokenizer_config.json")
    added = tokenizer.get("added_tokens_decoder") or _json(folder / "tokenizer.json").get("added_tokens") or {}
    entries = added.values() if isinstance(added, dict) else added
    tokens = {str(entry.get("content")) for entry in entries} | {
        str(token) for token in _json(folder / "added_tokens.json")
    }
    template = _template(folder, tokenizer) if chat_template is None else _given(chat_template)
    return Checkpoint(str(config.get("model_type", "")), template, frozenset(tokens))


def tools_in_force(arguments: Namespace, base: Path) -> Choice:
    """What takes tool calls out of answers on a server that vLLM was told these arguments for, whoever started it."""
    if arguments.enable_auto_tool_choice and arguments.tool_call_parser:
        return Choice(arguments.tool_call_parser, GIVEN)
    fits = choose(read_checkpoint(base, arguments.chat_template)).tools
    return Choice(None, f"it was started without the parser {fits.parser}, which fits" if fits.parser else fits.reason)


def refuse_tools(body: Mapping[str, Any], tools: Choice) -> None:
    """Refuse a request that brings tools to a server that has no parser for their calls.

    `body` is that of a chat completion, a response or a message.

    Raises:
        BadInputError: says why there is no parser, and what to pass.
    """
    choice = body.get("tool_choice")
    unused = choice == "none" or (isinstance(choice, dict) and choice.get("type") == "none")
    if tools.parser is None and body.get("tools") and not unused:
        raise BadInputError(
            f"this server cannot tell tool calls from text: {tools.reason}",
            hint="start it with `locum serve -- --enable-auto-tool-choice --tool-call-parser NAME --chat-template "
            "FILE`: a template that shows the tools, and vLLM's parser for the form of calls that it asks for "
            "(https://docs.vllm.ai/en/latest/features/tool_calling/)",
        )


def _tools(checkpoint: Checkpoint) -> Choice:
    shown = _render(checkpoint.template, tools=True)
    if shown is None:
        return Choice(None, "the chat template cannot be rendered with tools")
    if PROBE not in shown:
        return Choice(None, "the chat template shows the model no tools")
    rule = _first(TOOL_RULES, checkpoint)
    if rule is None:
        return Choice(None, "no parser is known for the form of calls in the chat template")
    return Choice(rule.parser, _because(rule, checkpoint))


def _thinking(checkpoint: Checkpoint) -> Choice:
    prompt = (_render(checkpoint.template, tools=False) or "").rpartition(QUESTION)[2]
    opened = prompt.rstrip().endswith(THOUGHT)
    rule = _first(REASONING_RULES, checkpoint, opened=opened)
    if rule is None:
        return Choice(None, "the chat template is not that of a model that vLLM knows to think")
    if END_OF_THOUGHT in prompt and not rule.harmless:
        return Choice(None, "the chat template lets the model think only where a request asks for it")
    return Choice(rule.parser, _because(rule, checkpoint))


def content_format(template: str) -> str | None:
    """vLLM's `--chat-template-content-format` with which a chat template shows text; None where it shows none at all.

    Text where the template takes it: then several parts are one text, with line breaks between them, as in data.
    """
    contents = {"string": QUESTION, "openai": [{"type": "text", "text": QUESTION}]}
    shown = {form: _render(template, tools=False, content=content) for form, content in contents.items()}
    return next((form for form, text in shown.items() if text is not None and QUESTION in text), None)


def _first(rules: tuple[Rule, ...], checkpoint: Checkpoint, *, opened: bool = False) -> Rule | None:
    def fits(rule: Rule) -> bool:
        return (
            all(mark in checkpoint.template for mark in rule.marks)
            and (not rule.models or checkpoint.model_type.startswith(rule.models))
            and checkpoint.tokens.issuperset(rule.tokens)
            and (opened or not rule.opens)
        )

    return next(filter(fits, rules), None)


def _because(rule: Rule, checkpoint: Checkpoint) -> str:
    if not rule.marks:
        return f"a model of type {checkpoint.model_type}"
    return f"the chat template has {' and '.join(mark.strip() for mark in rule.marks)}"


def _render(template: str, *, tools: bool, content: Any = QUESTION) -> str | None:
    """The prompt that a chat template makes of a question, or None where it refuses to."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    # as transformers renders it
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, indent=options.get("indent")
    )
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: "2026-01-01"}
    given = {"tools": [TOOL]} if tools else {}
    try:
        return environment.from_string(GENERATION.sub("", template)).render(
            messages=[{"role": "user", "content": content}],
            add_generation_prompt=True,
            bos_token="",
            eos_token="",
            **given,
        )
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError):
        return None


def _template(folder: Path, tokenizer: Mapping[str, Any]) -> str:
    """The checkpoint's template; of several, the one for tools, which vLLM takes for requests that bring some."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = tokenizer.get("chat_template") or _json(folder / "chat_template.json").get("chat_template") or ""
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template", "") for entry in template}
        template = named.get("tool_use") or named.get("default") or ""
    return str(template)


def _given(chat_template: str) -> str:
    file = Path(chat_template)
    try:
        return file.read_text(encoding="utf-8") if file.is_file() else chat_template
    except OSError:  # a template as text is too long for a file's name
        return chat_template


def _json(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content if isinstance(content, dict) else {}
