"""A version's system prompt in requests that bring none: the bodies that vLLM gets, and what a real server answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.manifest import Manifest
from locum.adapters.system_prompt import SEPARATOR, Switch
from locum.errors import BadInputError
from locum.serve.body import Body
from locum.serve.system_prompt import give_system_prompt

PROMPT = "You name the chapter.\nAnswer briefly.\n"
CHAT, BATCH, RESPONSES = "/v1/chat/completions", "/v1/chat/completions/batch", "/v1/responses"
MESSAGES, COUNT, TOKENIZE = "/v1/messages", "/v1/messages/count_tokens", "/tokenize"
ROUTES = [CHAT, BATCH, RESPONSES, MESSAGES, COUNT, TOKENIZE]
SWITCHES: list[Switch] = ["default", "always", "never"]
USER = {"role": "user", "content": "Cholera?"}
OWN = {"role": "system", "content": "Answer in verse."}


def version(system: Switch = "default", prompt: str | None = PROMPT) -> Manifest:
    """A version with this prompt and switch."""
    return Manifest(
        domain="medical", number=1, digest="d", base="b", base_fingerprint="f", rank=8, alpha=16, target_modules=[],
        parameters=1, size=1, system_prompt=prompt, system=system, code_version="0", created_by="tester",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def passed_on(path: str, request: Any, system: Switch = "default", **options: Any) -> Any:
    """The request as vLLM gets it."""
    body = Body(json.dumps({"model": "medical", **request}).encode())
    header = options.pop("header", None)
    fields = give_system_prompt(path, body.fields, version(system, **options), header=header)
    return {name: value for name, value in json.loads(body.replacing(fields)).items() if name != "model"}


texts = st.text(max_size=8) | st.just(PROMPT) | st.just(PROMPT + "Be kind.")
parts = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=2)
contents = texts | parts | st.none() | st.integers()
messages = st.fixed_dictionaries(
    {"content": contents},
    optional={"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]) | st.none(), "name": texts},
)
anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=3) | messages,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
conversations = st.lists(messages, max_size=4)
requests = st.fixed_dictionaries(
    {},
    optional={
        "messages": conversations | st.lists(conversations, max_size=3) | anything,
        "input": conversations | texts | anything,
        "instructions": contents,
        "system": contents,
        "prompt": texts,
        "temperature": st.floats(),
    },
)


@given(path=st.sampled_from([*ROUTES, "/v1/completions"]), request=requests, switch=st.sampled_from(SWITCHES))
def test_giving_the_prompt_twice_is_giving_it_once(path: str, request: dict[str, Any], switch: Switch) -> None:
    once = passed_on(path, request, switch)
    assert json.dumps(passed_on(path, once, switch)) == json.dumps(once)  # as text: NaN is not equal to itself


@given(path=st.sampled_from(ROUTES), request=requests, switch=st.sampled_from(SWITCHES))
def test_one_field_changes_at_most_and_in_it_all_that_the_client_sent_stays(
    path: str, request: dict[str, Any], switch: Switch
) -> None:
    given = passed_on(path, request, switch)
    changed = [name for name in {**request, **given} if not _same(request.get(name), given.get(name))]
    assert len(changed) <= 1
    for name in changed:
        sent, got = request.get(name), given[name]
        if path == BATCH:
            assert all(_same(one, other) or _led(one, other) for one, other in zip(sent, got, strict=True))
        else:
            assert _led(sent, got)


def _same(sent: object, got: object) -> bool:
    return json.dumps(sent) == json.dumps(got)  # as text: NaN is not equal to itself


def _led(sent: Any, got: Any) -> bool:
    """Whether it is what was sent behind the prompt, in one text or one message, or as one of its own."""
    if not isinstance(sent, list):
        return bool(got == (PROMPT + SEPARATOR + sent if sent else PROMPT))
    first, *others = got
    alone = [
        {"role": "system", "content": PROMPT},
        *({"type": kind, "text": PROMPT} for kind in ("text", "input_text")),
    ]
    if first in alone and _same(sent, others):
        return True
    if "text" in first:
        return _led(sent[0]["text"], first["text"]) and _same(sent[1:], others)
    merged = first["role"] == "system" and _led(sent[0]["content"], first["content"])
    return merged and _same({**sent[0], "content": None}, {**first, "content": None}) and _same(sent[1:], others)


@pytest.mark.parametrize(
    ("path", "sent", "got"),
    [
        (CHAT, {"messages": [USER]}, {"messages": [{"role": "system", "content": PROMPT}, USER]}),
        (TOKENIZE, {"messages": [USER]}, {"messages": [{"role": "system", "content": PROMPT}, USER]}),
        (BATCH, {"messages": [[USER]]}, {"messages": [[{"role": "system", "content": PROMPT}, USER]]}),
        (RESPONSES, {"input": "Cholera?"}, {"input": "Cholera?", "instructions": PROMPT}),
        (RESPONSES, {"input": [USER], "instructions": None}, {"input": [USER], "instructions": PROMPT}),
        (
            RESPONSES,
            {"input": "And?", "previous_response_id": "resp_1"},
            {"input": "And?", "previous_response_id": "resp_1", "instructions": PROMPT},
        ),
        (MESSAGES, {"messages": [USER]}, {"messages": [USER], "system": PROMPT}),
        (COUNT, {"messages": [USER], "system": None}, {"messages": [USER], "system": PROMPT}),
    ],
)
def test_who_brings_none_is_given_the_versions(path: str, sent: dict[str, Any], got: dict[str, Any]) -> None:
    assert passed_on(path, sent) == passed_on(path, sent, "always") == got


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (CHAT, {"messages": [OWN, USER]}),
        (CHAT, {"messages": [{"role": "developer", "content": "Rhyme."}, USER]}),
        (CHAT, {"messages": [USER, OWN]}),
        (CHAT, {"messages": [{"role": "system", "content": ""}, USER]}),
        (TOKENIZE, {"messages": [OWN, USER]}),
        (BATCH, {"messages": [[OWN, USER]]}),
        (RESPONSES, {"input": "Cholera?", "instructions": "Rhyme."}),
        (RESPONSES, {"input": "Cholera?", "instructions": ""}),
        (RESPONSES, {"input": [{"type": "message", **OWN}, USER]}),
        (RESPONSES, {"input": [{"role": "developer", "content": "Rhyme."}, USER]}),
        (MESSAGES, {"messages": [USER], "system": "Rhyme."}),
        (MESSAGES, {"messages": [USER], "system": [{"type": "text", "text": "Rhyme."}]}),
        (MESSAGES, {"messages": [OWN, USER]}),
        (MESSAGES, {"messages": [USER], "system": []}),
        (COUNT, {"messages": [USER], "system": "Rhyme."}),
    ],
)
def test_what_a_client_brings_stays(path: str, sent: dict[str, Any]) -> None:
    assert passed_on(path, sent) == sent


@pytest.mark.parametrize(
    ("path", "sent", "got"),
    [
        (CHAT, {"messages": [OWN]}, {"messages": [{**OWN, "content": PROMPT + SEPARATOR + "Answer in verse."}]}),
        (CHAT, {"messages": [{**OWN, "content": ""}]}, {"messages": [{"role": "system", "content": PROMPT}]}),
        (
            CHAT,
            {"messages": [{"role": "system", "content": [{"type": "text", "text": "Rhyme."}]}]},
            {
                "messages": [
                    {
                        "role": "system",
                        "content": [{"type": "text", "text": PROMPT + SEPARATOR + "Rhyme."}],
                    }
                ]
            },
        ),
        (
            CHAT,
            {"messages": [{"role": "developer", "content": "Rhyme."}]},
            {"messages": [{"role": "system", "content": PROMPT}, {"role": "developer", "content": "Rhyme."}]},
        ),
        (CHAT, {"messages": [USER, OWN]}, {"messages": [{"role": "system", "content": PROMPT}, USER, OWN]}),
        (
            RESPONSES,
            {"input": "Cholera?", "instructions": "Rhyme."},
            {"input": "Cholera?", "instructions": PROMPT + SEPARATOR + "Rhyme."},
        ),
        (
            RESPONSES,
            {"input": [{**OWN, "content": [{"type": "input_text", "text": "Rhyme."}]}]},
            {
                "input": [
                    {
                        "role": "system",
                        "content": [
                            {"type": "input_text", "text": PROMPT + SEPARATOR + "Rhyme."},
                        ],
                    }
                ]
            },
        ),
        (
            MESSAGES,
            {"messages": [USER], "system": "Rhyme."},
            {"messages": [USER], "system": PROMPT + SEPARATOR + "Rhyme."},
        ),
        (MESSAGES, {"messages": [OWN]}, {"messages": [{**OWN, "content": PROMPT + SEPARATOR + "Answer in verse."}]}),
    ],
)
def test_where_the_versions_always_stands_first_the_clients_follows(
    path: str, sent: dict[str, Any], got: dict[str, Any]
) -> None:
    assert passed_on(path, sent, "always") == got


def test_each_conversation_of_a_batch_is_looked_at_alone() -> None:
    led = [{"role": "system", "content": PROMPT}, USER]
    assert passed_on(BATCH, {"messages": [[USER], [OWN, USER]]}) == {"messages": [led, [OWN, USER]]}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_clients_own_copy_is_not_doubled(path: str, switch: Switch) -> None:
    own = [{"role": "system", "content": PROMPT + "Be kind."}, USER]
    sent = {"messages": [own] if path == BATCH else own, "input": own}
    assert passed_on(path, sent, switch) == sent


def test_nothing_is_given_where_nothing_is_to_be_given() -> None:
    fields = Body(json.dumps({"model": "medical", "messages": [USER], "input": "Cholera?"}).encode()).fields
    for path in (*ROUTES, "/v1/completions"):
        assert give_system_prompt(path, fields, None, header=None) is fields
        assert give_system_prompt(path, fields, version("never"), header=None) is fields
        assert give_system_prompt(path, fields, version("always", prompt=None), header=None) is fields
        assert give_system_prompt(path, fields, version("always"), header="never") is fields
    for path in ("/v1/completions", "/v1/chat/completions/", "/v1/embeddings", "/detokenize"):
        assert give_system_prompt(path, fields, version("always"), header=None) is fields


LED = {"role": "user", "content": PROMPT + SEPARATOR + "Cholera?"}
VERSES = {"role": "user", "content": "Answer in verse." + SEPARATOR + "Cholera?"}


def in_question(path: str, sent: dict[str, Any], system: Switch = "default", header: str | None = None) -> Any:
    """The request as vLLM gets it, for a version that learned to find the prompt before the first question."""
    manifest = version(system).model_copy(update={"system_role": "user"})
    body = Body(json.dumps({"model": "medical", **sent}).encode())
    fields = give_system_prompt(path, body.fields, manifest, header=header)
    return {name: value for name, value in json.loads(body.replacing(fields)).items() if name != "model"}


@pytest.mark.parametrize(
    ("path", "sent", "got"),
    [
        (CHAT, {"messages": [USER]}, {"messages": [LED]}),
        (CHAT, {"messages": [OWN, USER]}, {"messages": [VERSES]}),
        (CHAT, {"messages": [{**OWN, "role": "developer"}, USER]}, {"messages": [VERSES]}),
        (
            CHAT,
            {"messages": [{**OWN, "content": [{"type": "text", "text": text} for text in ("Answer", "so.")]}, USER]},
            {"messages": [{"role": "user", "content": "Answer\nso." + SEPARATOR + "Cholera?"}]},
        ),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Cholera?"}]}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT + SEPARATOR + "Cholera?"}]}]},
        ),
        (TOKENIZE, {"messages": [USER]}, {"messages": [LED]}),
        (BATCH, {"messages": [[USER], [OWN, USER]]}, {"messages": [[LED], [VERSES]]}),
        (RESPONSES, {"input": "Cholera?"}, {"input": [LED], "instructions": None}),
        (RESPONSES, {"input": [USER], "instructions": "Answer in verse."}, {"input": [VERSES], "instructions": None}),
        (MESSAGES, {"messages": [USER]}, {"messages": [LED], "system": None}),
        (
            MESSAGES,
            {"messages": [USER], "system": [{"type": "text", "text": "Answer in verse."}]},
            {"messages": [VERSES], "system": None},
        ),
    ],
)  # fmt: skip
def test_a_version_that_learned_so_finds_the_prompt_before_the_first_question(
    path: str, sent: dict[str, Any], got: dict[str, Any]
) -> None:
    assert in_question(path, sent) == got


def test_it_finds_what_an_evaluation_sends_there_too_and_nothing_besides() -> None:
    assert in_question(CHAT, {"messages": [OWN, USER]}, header="never") == {"messages": [VERSES]}
    assert in_question(CHAT, {"messages": [USER]}, header="never") == {"messages": [USER]}
    assert in_question("/v1/completions", {"prompt": "Cholera?"}) == {"prompt": "Cholera?"}


@given(path=st.sampled_from(ROUTES), request=requests, switch=st.sampled_from(SWITCHES))
def test_whatever_a_client_sends_is_folded_or_left(path: str, request: dict[str, Any], switch: Switch) -> None:
    in_question(path, request, switch)


@pytest.mark.parametrize("header", ["", "off", "always", "Never"])
def test_a_header_that_says_something_else_is_refused(header: str) -> None:
    with pytest.raises(BadInputError, match="x-locum-system: expected never, found"):
        give_system_prompt(CHAT, {}, version("never"), header=header)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"messages": []},
        {"messages": None},
        {"messages": {"role": "user"}},
        {"messages": [{"role": 1}]},
        {"messages": ["Cholera?"]},
        {"messages": [[]]},
        {"input": []},
        {"input": 1},
        {"instructions": 1},
    ],
)
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("switch", SWITCHES)
def test_what_is_no_conversation_is_left_to_vllm(path: str, sent: dict[str, Any], switch: Switch) -> None:
    assert passed_on(path, sent, switch) == sent


def test_a_body_that_is_read_leniently_is_given_the_prompt_too() -> None:
    raw = b'{"model": "medical", "temperature": NaN, "messages": [{"role": "user", "content": "\\ud83d"}]}'
    body = Body(raw)
    fields = give_system_prompt(CHAT, body.fields, version(), header=None)
    roles = [message["role"] for message in json.loads(body.replacing(fields))["messages"]]
    assert roles == ["system", "user"]


def test_of_a_role_that_is_there_twice_the_last_counts_as_vllm_has_it() -> None:
    body = Body(b'{"model": "m", "messages": [{"role": "user", "ro\\u006ce": "system", "content": "Rhyme."}]}')
    assert give_system_prompt(CHAT, body.fields, version(), header=None) is body.fields
