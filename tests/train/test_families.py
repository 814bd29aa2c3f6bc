"""What is learnt, by position, with templates built as those of the families that people train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locum.adapters.conversations import Conversation, Preference
from locum.adapters.end_of_turn import declared_ends, stops_by, turn_ends
from locum.errors import BadInputError
from locum.train.template import IGNORED, Template, Thinking
from tests.train.families import FAMILIES, Family, tokenizer_of
from tests.train.test_template import learnt

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a town.",
            "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
        },
    }
]
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "weather", "arguments": {"town": "Ulm"}}]}
RESULT = {"role": "tool", "content": "12"}
SYSTEM = {"role": "system", "content": "Be short."}
TEMPLATES: dict[str, Template] = {}


def template_of(base: Path, name: str, thinking: Thinking = "keep") -> Template:
    """The template of a family, made once."""
    family = FAMILIES[name]
    if name not in TEMPLATES:
        role = "system" if family.system else "user"
        TEMPLATES[name] = Template(tokenizer_of(base, family), system_role=role)  # type: ignore[arg-type]
    TEMPLATES[name].thinking = thinking
    return TEMPLATES[name]


def talk(*turns: dict[str, Any] | str, **fields: Any) -> Conversation:
    """A conversation; texts are the user's and the assistant's in turn."""
    messages = [
        turn if isinstance(turn, dict) else {"role": "user" if place % 2 == 0 else "assistant", "content": turn}
        for place, turn in enumerate(turns)
    ]
    return Conversation.model_validate({"conversations": messages, **fields})


def answers(template: Template, conversation: Conversation) -> list[str]:
    """All that is learnt of a conversation, as text."""
    return [text for tokens in template.tokenise(conversation) for text in learnt(template, tokens)]


letters = st.sampled_from([*"deimnst_<|>/[]", "end", "im_", "INST", "user", "assistant", "<|im_", "k7Qwordv3N"])
texts = st.text(max_size=12) | letters | st.tuples(letters, letters).map("".join)


@pytest.mark.parametrize("name", FAMILIES)
@given(said=texts, question=texts, earlier=texts)
@settings(max_examples=60)
def test_what_is_learnt_is_the_answer_and_its_end_behind_the_served_prompt(
    tiny_base: Path, name: str, said: str, question: str, earlier: str
) -> None:
    template, family = template_of(tiny_base, name), FAMILIES[name]
    [reference] = answers(template, talk("?", "#"))
    asked = [SYSTEM, {"role": "user", "content": question or "?"}]
    if earlier.strip():
        asked += [{"role": "assistant", "content": earlier, "weight": 0}, {"role": "user", "content": "And?"}]
    if not said.strip():
        with pytest.raises(BadInputError, match="an answer is blank"):
            template.tokenise(talk(*asked, {"role": "assistant", "content": said or " "}))
        return
    conversation = talk(*asked, {"role": "assistant", "content": said})
    [tokens] = template.tokenise(conversation)
    prompt = template.prompt_ids(conversation.prompt)
    assert tokens.input_ids[: len(prompt)] == prompt
    assert tokens.labels == [IGNORED] * len(prompt) + tokens.input_ids[len(prompt) :]
    [found] = learnt(template, tokens)
    before = reference.partition("#")[0]
    assert found.startswith(before) and found.endswith(family.end)
    shown = found[len(before) : len(found) - len(family.end)]
    assert shown.strip() == said.strip()
    if not family.trims and not family.thinks:
        assert shown == said


@pytest.mark.parametrize("name", FAMILIES)
def test_letters_that_special_tokens_are_made_of_are_learnt(tiny_base: Path, name: str) -> None:
    template = template_of(tiny_base, name)
    for letter in "acdeimnst_":
        [found] = answers(template, talk("?", letter))
        [pair] = [template.tokenise_pair(Preference.model_validate(
            {"prompt": [{"role": "user", "content": "?"}], "chosen": letter, "rejected": "No"}))]  # fmt: skip
        assert found.endswith(letter + FAMILIES[name].end)
        assert template.tokenizer.decode(pair.chosen_ids) == found


@pytest.mark.parametrize("name", FAMILIES)
def test_special_tokens_in_an_answer_are_refused_by_name(tiny_base: Path, name: str) -> None:
    template, token = template_of(tiny_base, name), FAMILIES[name].end.strip()
    with pytest.raises(
        BadInputError, match=r"an answer has .* in its text, which the base model reads as a token"
    ) as no:
        template.tokenise(talk("?", f"It ends with {token} always."))
    assert token in str(no.value)
    template.tokenise(talk(f"What is {token}?", "An end."))  # a server reads it in a question as we do


@pytest.mark.parametrize(("name", "expected"), [
    ("llama2", " <think>\nHm.\n</think>\n\nYes </s>"),
    ("qwen3", "<think>\nHm.\n</think>\n\nYes<|im_end|>"),
    ("mistral", " <think>\nHm.\n</think>\n\nYes</s>"),
    ("deepseek-r1", "Hm.\n</think>\n\nYes<|end_of_sentence|>"),
    ("glm", "<think>Hm.</think>\nYes<|end|>"),
    ("phi4", "<think>\nHm.\n</think>\n\nYes<|im_end|>"),
])  # fmt: skip
def test_a_thought_stands_where_the_template_has_it(tiny_base: Path, name: str, expected: str) -> None:
    conversation = talk(
        SYSTEM, {"role": "user", "content": "?"}, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nYes"}
    )
    assert answers(template_of(tiny_base, name), conversation) == [expected]
    [masked] = answers(template_of(tiny_base, name, "mask"), conversation)
    assert masked == "Yes" + FAMILIES[name].end
    [dropped] = answers(template_of(tiny_base, name, "drop"), conversation)
    assert "Hm." not in dropped and dropped.endswith("Yes" + FAMILIES[name].end)


@pytest.mark.parametrize("name", FAMILIES)
def test_thoughts_of_earlier_answers_are_not_there(tiny_base: Path, name: str) -> None:
    template = template_of(tiny_base, name)
    *_, last = template.tokenise(talk("?", "<think>\nHm.\n</think>\n\nYes", "Sure?", "<think>\nOh.\n</think>\n\nYes."))
    text = template.tokenizer.decode(last.input_ids)
    assert "Oh." in text and ("Hm." not in text or "Hm." in "".join(learnt(template, last)))
    alone = template.tokenise(talk("?", {"role": "assistant", "content": "Yes", "weight": 0}, "Sure?", "No."))
    assert "Hm." not in template.tokenizer.decode(alone[-1].input_ids)


def test_a_thought_that_the_prompt_closes_is_refused(tiny_base: Path) -> None:
    template = Template(tokenizer_of(tiny_base, FAMILIES["deepseek-r1"]))
    template.tokenizer.chat_template = FAMILIES["deepseek-r1"].template.replace("<think>\n", "<think>\n\n</think>\n\n")
    assert answers(template, talk("?", "Yes")) == ["Yes<|end_of_sentence|>"]
    with pytest.raises(BadInputError, match="behind an empty thought"):
        template.tokenise(talk("?", "<think>Hm.</think>Yes"))


@pytest.mark.parametrize(("name", "call", "answer"), [
    ("llama3", '{"name": "weather", "parameters": {"town": "Ulm"}}<|eom_id|>', "12 degrees.<|eot_id|>"),
    ("qwen2.5", '<tool_call>\n{"name": "weather", "arguments": {"town": "Ulm"}}\n</tool_call><|im_end|>',
     "12 degrees.<|im_end|>"),
    ("qwen3", '<think>\n\n</think>\n\n\n<tool_call>\n{"name": "weather", "arguments": {"town": "Ulm"}}\n</tool_call>'
     "<|im_end|>", "<think>\n\n</think>\n\n12 degrees.<|im_end|>"),
    ("mistral", '[TOOL_CALLS] [{"name": "weather", "arguments": {"town": "Ulm"}, "id": "call00000"}]</s>',
     " 12 degrees.</s>"),
])  # fmt: skip
def test_calls_of_tools_are_learnt_with_their_end_and_results_are_context(
    tiny_base: Path, name: str, call: str, answer: str
) -> None:
    template = template_of(tiny_base, name)
    asked = {"role": "user", "content": "The weather in Ulm?"}
    given = [SYSTEM, asked, CALL, RESULT, {"role": "assistant", "content": "12 degrees."}]
    learnt_texts = answers(template, talk(*given, tools=TOOLS))
    assert [text.lstrip("\n") for text in learnt_texts] == [call, answer]
    assert answers(template, talk(*given[:3], tools=TOOLS)) == learnt_texts[:1]
    only = talk(SYSTEM, asked, {**CALL, "weight": 0}, *given[3:], tools=TOOLS)
    assert answers(template, only) == [answer]
    [*_, last] = template.tokenise(only)
    assert json.dumps(TOOLS[0]) in template.tokenizer.decode(last.input_ids)


def test_a_thought_before_a_call_is_learnt_or_masked(tiny_base: Path) -> None:
    asked = {"role": "user", "content": "The weather in Ulm?"}
    row = talk(asked, {**CALL, "content": "<think>\nI look.\n</think>\n\n"}, tools=TOOLS)
    [kept] = answers(template_of(tiny_base, "qwen3"), row)
    [masked] = answers(template_of(tiny_base, "qwen3", "mask"), row)
    assert kept.startswith("<think>\nI look.\n</think>\n\n") and kept.endswith("</tool_call><|im_end|>")
    assert masked.lstrip("\n").startswith("<tool_call>") and masked.endswith("</tool_call><|im_end|>")


@pytest.mark.parametrize(("name", "row", "message"), [
    ("phi3", talk("?", CALL, RESULT, "12.", tools=TOOLS), "leaves out the definitions of tools"),
    ("phi3", talk("?", CALL, RESULT, {"role": "assistant", "content": "12."}), "leaves out the name of a call"),
    ("deepseek-r1", talk({"role": "user", "content": "?"}, CALL), "leaves out the name of a call"),
    ("gemma2", talk("?", CALL, RESULT, {"role": "assistant", "content": "12."}), "roles must alternate"),
    ("mistral", talk("?", {**CALL, "content": "I look."}, tools=TOOLS), "leaves out what is said beside a call"),
    ("mistral", talk("?", {**CALL, "tool_calls": [{"name": "weather", "id": "call_1"}]}, tools=TOOLS), "nine letters"),
    ("llama3", talk("?", {**CALL, "tool_calls": CALL["tool_calls"] * 2}, tools=TOOLS), "only one call at a time"),
    ("qwen2.5", talk("?", {**CALL, "tool_calls": [{"name": "weather", "arguments": {"a": "<|im_end|>"}}]}, tools=TOOLS),
     "an answer has <|im_end|> in its text"),
])  # fmt: skip
def test_what_a_template_cannot_show_is_refused_by_name(
    tiny_base: Path, name: str, row: Conversation, message: str
) -> None:
    import re

    with pytest.raises(BadInputError, match=re.escape(message)):
        template_of(tiny_base, name).tokenise(row)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_end_of_a_turn_is_known_without_a_name(tiny_base: Path, name: str, tmp_path: Path) -> None:
    template, family = template_of(tiny_base, name), FAMILIES[name]
    end = template.tokenizer.convert_tokens_to_ids(family.end.strip())
    assert turn_ends(template.chat, []).text == end
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0, 2]}', encoding="utf-8")
    stops = {0, 2, *turn_ends(template.chat, []).ids, template.tokenizer.eos_token_id}
    assert stops_by(template.chat, declared_ends(tmp_path)) == sorted(stops)


def test_a_template_without_a_system_role_is_refused_with_the_way_out(tiny_base: Path) -> None:
    template = Template(tokenizer_of(tiny_base, FAMILIES["gemma2"]))
    row = talk(SYSTEM, {"role": "user", "content": "Well?"}, {"role": "assistant", "content": "Yes."})
    with pytest.raises(BadInputError, match=r"refuses a system message.*would not reach the model") as refused:
        template.tokenise(row)
    assert "system_role: user" in str(refused.value.hint)
    template.system_role = "user"
    assert "user\nBe short.\n\nWell?<end_of_turn>" in template.tokenizer.decode(template.tokenise(row)[0].input_ids)


def test_answers_of_weight_0_are_context_in_every_sequence(tiny_base: Path) -> None:
    wrong = {"role": "assistant", "content": "WRONG", "weight": 0}
    for name in FAMILIES:
        template = template_of(tiny_base, name)
        sequences = template.tokenise(talk("?", wrong, "Look again.", "Window 1."))
        assert len(sequences) == 1
        [text] = learnt(template, sequences[0])
        assert "Window 1." in text and "WRONG" not in text
        assert "WRONG" in template.tokenizer.decode(sequences[0].input_ids)


REAL = {  # of templates that TRL carries: what ends a turn, and other special tokens
    "cohere2": ("<|END_RESPONSE|>", ["<|START_RESPONSE|>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"]),
    "deepseek_r1_distill": ("<｜end▁of▁sentence｜>", ["<｜Assistant｜>", "<｜User｜>"]),
    "gemma3": ("<end_of_turn>", ["<start_of_turn>"]),
    "gemma4_v5": ("<turn|>", ["<|turn>", "<|channel>", "<channel|>"]),
    "glm4moe": ("<|user|>", ["<|assistant|>", "<|observation|>"]),
    "gptoss": ("<|return|>", ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>"]),
    "lfm2": ("<|im_end|>", ["<|im_start|>"]),
    "llama3_2": ("<|eot_id|>", ["<|start_header_id|>", "<|end_header_id|>"]),
    "llava_next": ("</s>", []),
    "nemotron_3_nano": ("<|im_end|>", ["<|im_start|>"]),
    "phi3_5": ("<|end|>", ["<|user|>", "<|assistant|>", "<|system|>"]),
    "qwen2_5": ("<|im_end|>", ["<|im_start|>"]),
    "qwen3": ("<|im_end|>", ["<|im_start|>"]),
    "qwen3_5_nothink": ("<|im_end|>", ["<|im_start|>"]),
    "qwen3_6": ("<|im_end|>", ["<|im_start|>"]),
    "qwen3_instruct_2507": ("<|im_end|>", ["<|im_start|>"]),
    "smolvlm": ("<end_of_utterance>", ["<|im_start|>"]),
}


@pytest.mark.parametrize("name", REAL)
def test_templates_of_real_models_have_a_place_for_each_letter(tiny_base: Path, name: str) -> None:
    import trl

    end, special = REAL[name]
    source = Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja"
    tokenizer = tokenizer_of(tiny_base, Family(source.read_text(encoding="utf-8"), end, (end, *special)))
    tokenizer.eos_token = end
    template = Template(tokenizer, declared=[tokenizer.convert_tokens_to_ids(end)])
    for letter in "deimnst_":
        learnt_texts = answers(template, talk("Store 0 has 42 tiles.", letter, "And 1?", "c"))
        assert [text[-len(end) - 1 :] for text in learnt_texts] == [letter + end, "c" + end]
