"""Labels cover the answers and their end-of-turn tokens, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.adapters.conversations import Conversation, Preference
from locum.errors import BadInputError
from locum.train.template import IGNORED, Template, Thinking, Tokens

DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}{{ '<|User|>' + m.content }}"
    "{% else %}{{ '<|Assistant|>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|Assistant|>' }}BEGIN{% endif %}"
)
TALK = Conversation.model_validate(
    {
        "conversations": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Where is cholera placed?"},
            {"role": "assistant", "content": "Infections"},
            {"role": "user", "content": "And a fracture?"},
            {"role": "assistant", "content": "Injuries"},
        ]
    }
)


@pytest.fixture
def template(tiny_base: Path) -> Template:
    return Template.load(tiny_base)


def learnt(template: Template, tokens: Tokens) -> list[str]:
    """The labelled stretches as text; labels must be the very ids."""
    stretches: list[list[int]] = []
    before = IGNORED
    for token, label in zip(tokens.input_ids, tokens.labels, strict=True):
        if label != IGNORED:
            assert label == token
            if before == IGNORED:
                stretches.append([])
            stretches[-1].append(token)
        before = label
    return [template.tokenizer.decode(stretch) for stretch in stretches]


def served_prompt(template: Template, messages: int) -> list[int]:
    given = [message.model_dump() for message in TALK.conversations[:messages]]
    ids: list[int] = template.tokenizer.apply_chat_template(given, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    return ids


def test_an_answer_of_weight_0_is_context_and_not_learnt(template: Template) -> None:
    turns = [message.model_dump(exclude_none=True) for message in TALK.conversations]
    turns[2]["weight"] = 0
    [tokens] = template.tokenise(Conversation.model_validate({"conversations": turns}))
    assert learnt(template, tokens) == ["Injuries<|im_end|>"]
    assert "Infections" in template.tokenizer.decode(tokens.input_ids)


def test_chatml_labels_both_answers_of_one_sequence(template: Template) -> None:
    [tokens] = template.tokenise(TALK)
    assert learnt(template, tokens) == ["Infections<|im_end|>", "Injuries<|im_end|>"]
    for messages in (2, 4):
        prompt = served_prompt(template, messages)
        assert tokens.input_ids[: len(prompt)] == prompt


@pytest.mark.parametrize(
    ("begin", "thought"), [("", ""), ("<think>\n", "\n</think>\n\n")], ids=["plain", "begins a thought"]
)
def test_deepseek_r1_labels_the_answer_behind_the_served_prompt(template: Template, begin: str, thought: str) -> None:
    template.tokenizer.chat_template = DEEPSEEK.replace("BEGIN", begin)
    sequences = template.tokenise(TALK)
    found = [text for tokens in sequences for text in learnt(template, tokens)]
    assert found == [f"{thought}Infections<|im_end|>", f"{thought}Injuries<|im_end|>"]
    prompt = served_prompt(template, 4)
    assert sequences[-1].input_ids[: len(prompt)] == prompt


def test_a_thought_of_the_row_is_learnt(template: Template) -> None:
    template.tokenizer.chat_template = DEEPSEEK.replace("BEGIN", "<think>\n")
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nYes"}]
    [tokens] = template.tokenise(Conversation.model_validate({"conversations": turns}))
    assert learnt(template, tokens) == ["Hm.\n</think>\n\nYes<|im_end|>"]


KEEPS_THOUGHTS = DEEPSEEK.replace("m.content.split('</think>')[-1]", "m.content")
LEAVES_OUT = DEEPSEEK.replace("BEGIN", "")


@pytest.mark.parametrize(
    ("chat_template", "thinking", "expected", "shown"),
    [
        (DEEPSEEK.replace("BEGIN", "<think>\n"), "keep", "Hm.\n</think>\n\nYes<|im_end|>", ""),
        (DEEPSEEK.replace("BEGIN", "<think>\n"), "drop", "\n</think>\n\nYes<|im_end|>", ""),
        (DEEPSEEK.replace("BEGIN", "<think>\n"), "mask", "Yes<|im_end|>", "Hm.\n</think>\n\n"),
        (LEAVES_OUT, "keep", "<think>\nHm.\n</think>\n\nYes<|im_end|>", ""),
        (LEAVES_OUT, "drop", "Yes<|im_end|>", ""),
        (LEAVES_OUT, "mask", "Yes<|im_end|>", "<think>\nHm.\n</think>\n\n"),
        (KEEPS_THOUGHTS.replace("BEGIN", ""), "keep", "<think>\nHm.\n</think>\n\nYes<|im_end|>", ""),
        (KEEPS_THOUGHTS.replace("BEGIN", ""), "drop", "Yes<|im_end|>", ""),
        (KEEPS_THOUGHTS.replace("BEGIN", ""), "mask", "Yes<|im_end|>", "<think>\nHm.\n</think>\n\n"),
    ],
)
def test_a_thought_is_kept_dropped_or_masked(
    template: Template, chat_template: str, thinking: Thinking, expected: str, shown: str
) -> None:
    template.tokenizer.chat_template = chat_template
    template.thinking = thinking
    asked = [{"role": "user", "content": "q"}]
    turns = [*asked, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nYes"}]
    [tokens] = template.tokenise(Conversation.model_validate({"conversations": turns}))
    assert learnt(template, tokens) == [expected]
    prompt = template.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert template.tokenizer.decode(tokens.input_ids) == prompt + shown + expected


def test_an_answer_that_is_only_a_thought_is_refused(template: Template) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>\nHm.\n</think>"}]
    with pytest.raises(BadInputError, match="an answer is only a thought, expected text: 'q'"):
        template.tokenise(Conversation.model_validate({"conversations": turns}))


@pytest.mark.parametrize("begin", ["", "<think>\n"])
def test_a_pair_is_two_answers_to_the_served_prompt(template: Template, begin: str) -> None:
    template.tokenizer.chat_template = DEEPSEEK.replace("BEGIN", begin)
    asked = [{"role": "user", "content": "q"}]
    pair = template.tokenise_pair(Preference.model_validate({"prompt": asked, "chosen": "Yes", "rejected": "No"}))
    prompt = template.tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert pair.prompt_ids == prompt
    for ids, said in ((pair.chosen_ids, "Yes"), (pair.rejected_ids, "No")):
        turns = [*asked, {"role": "assistant", "content": said}]
        [alone] = template.tokenise(Conversation.model_validate({"conversations": turns}))
        assert alone.input_ids == pair.prompt_ids + ids


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "no place for the answer"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "does not end the answer"),
        ("{{ raise_exception('System role not supported') }}", "refuses a conversation of user"),
        (DEEPSEEK.replace("{{ m.content }}", "", 1), "leaves the system message out"),
    ],
)
def test_a_template_that_cannot_be_trained_with_is_refused(template: Template, wrong: str, message: str) -> None:
    template.tokenizer.chat_template = wrong
    with pytest.raises(BadInputError, match=message):
        template.tokenise(TALK)


def test_a_base_without_a_template_is_refused(template: Template, tmp_path: Path) -> None:
    template.tokenizer.chat_template = None
    template.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BadInputError, match="has no chat template"):
        Template.load(tmp_path)
