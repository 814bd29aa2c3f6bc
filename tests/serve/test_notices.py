"""Notices that are enforced: appended where the model forgot them, and nowhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.manifest import Manifest
from locum.adapters.wordings import lacking
from locum.errors import BadInputError
from locum.serve import metrics
from locum.serve.access import ROUTES
from locum.serve.body import Body
from locum.serve.event_stream import Events, data_of
from locum.serve.notices import FORMATS, NOTICE_HEADER, enforcing
from tests.records import register_plainly

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Message

    from tests.conftest import LiveServer


NOTICES = [["Not medical advice.", "/不构成.*建议/"], ["请咨询医生。"]]
VERSION = Manifest(
    domain="medical",
    number=1,
    digest="d",
    base="tiny",
    base_fingerprint="b",
    rank=8,
    alpha=16,
    target_modules=["q_proj"],
    parameters=10,
    size=10,
    enforced_notices=NOTICES,
    code_version="1",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    created_by="tester",
)
ALL = "\n\nNot medical advice.\n\n请咨询医生。"
CHAT, COMPLETIONS, RESPONSES, MESSAGES = (
    f"/v1/{route}" for route in ("chat/completions", "completions", "responses", "messages")
)


def body_of(fields: dict[str, Any] | None = None) -> Body:
    return Body(json.dumps({"model": "medical", **(fields or {})}).encode())


def through(
    path: str,
    parts: Iterable[bytes],
    *,
    request: dict[str, Any] | None = None,
    kind: str = "application/json",
    status: int = 200,
) -> tuple[dict[str, str], bytes]:
    """Headers and body of an answer that goes through the wrapper in these parts."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def answer() -> None:
        keeping = enforcing(send, VERSION, path=path, body=body_of(request))
        headers = [(b"content-type", kind.encode()), (b"content-length", b"7")]
        await keeping({"type": "http.response.start", "status": status, "headers": headers})
        for part in parts:
            await keeping({"type": "http.response.body", "body": part, "more_body": True})
        await keeping({"type": "http.response.body", "body": b"", "more_body": False})

    asyncio.run(answer())
    assert [message["type"] for message in sent].count("http.response.start") == 1
    assert [message.get("more_body") for message in sent[1:]].count(False) == 1
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return headers, b"".join(message["body"] for message in sent[1:])


def whole(path: str, answer: dict[str, Any], **request: Any) -> tuple[dict[str, str], dict[str, Any]]:
    headers, body = through(path, [json.dumps(answer, ensure_ascii=False).encode()], request=request)
    assert int(headers["content-length"]) == len(body)
    return headers, json.loads(body)


def streamed(path: str, parts: Iterable[bytes], **request: Any) -> bytes:
    headers, body = through(path, parts, request=request, kind="text/event-stream; charset=utf-8")
    assert "content-length" not in headers
    return body


def contents(stream: bytes) -> list[dict[str, Any]]:
    """The JSON of each event, in which the event's name is the type."""
    found = []
    for event in Events().feed(stream):
        data = data_of(event)
        if data and data != b"[DONE]":
            found.append(json.loads(data))
            if "type" in found[-1]:
                assert event.startswith(f"event: {found[-1]['type']}\n".encode())
    return found


@pytest.fixture(autouse=True)
def outcomes() -> Iterator[Callable[[], dict[str, float]]]:
    """How often each outcome was counted."""
    known = set(metrics._known)
    metrics.know({*known, "medical@1"})

    def counted() -> dict[str, float]:
        names = ("given", "appended", "header")
        found = {name: metrics.NOTICES.labels("medical", "1", name)._value.get() for name in names}
        return {name: count for name, count in found.items() if count}

    yield counted
    metrics.know(known)


def chat(*contents: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": content, "reasoning": None, **message},
            "logprobs": {"content": [{"token": "a", "logprob": -1.5, "bytes": [97], "top_logprobs": []}]},
            "finish_reason": finish,
            "stop_reason": None,
        }
        for index, content in enumerate(contents)
    ]
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "medical@1", "choices": choices, "usage": usage}


def test_each_choice_that_lacks_a_notice_gets_it_and_nothing_else_changes(
    outcomes: Callable[[], dict[str, float]],
) -> None:
    model = chat("Take rest.", f"Rest.{ALL}", "休息。本回答不构成医疗建议。", finish="length")
    headers, answer = whole(CHAT, model)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert texts == [f"Take rest.{ALL}", f"Rest.{ALL}", "休息。本回答不构成医疗建议。\n\n请咨询医生。"]
    assert [choice.pop("locum", None) for choice in answer["choices"]] == [
        {"notice_appended": ALL},
        None,
        {"notice_appended": "\n\n请咨询医生。"},
    ]
    for choice, said in zip(answer["choices"], model["choices"], strict=True):
        choice["message"]["content"] = said["message"]["content"]
    assert answer == model
    assert unquote(headers[NOTICE_HEADER]) == ALL.strip()
    assert outcomes() == {"appended": 2, "given": 1}


def test_an_answer_that_has_all_notices_is_passed_on_byte_for_byte() -> None:
    body = json.dumps(chat(f"Rest.{ALL}"), indent=1).encode()
    assert through(CHAT, [body[:9], body[9:]])[1] == body


STRUCTURED: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}),
    (CHAT, {"response_format": {"type": "json_object"}}),
    (CHAT, {"response_format": {"type": "structural_tag", "format": {}}}),
    (CHAT, {"structured_outputs": {"choice": ["A00", "B00"]}}),
    (CHAT, {"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}}),
    (CHAT, {"tools": [{}], "tool_choice": "required"}),
    (CHAT, {"tools": [{}], "tool_choice": {"type": "function", "function": {"name": "look_up"}}}),
    (f"{CHAT}/batch", {"structured_outputs": {"grammar": "root ::= a"}}),
    (COMPLETIONS, {"structured_outputs": {"json": {}}}),
    (COMPLETIONS, {"echo": True, "max_tokens": 0}),
    (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "a", "schema": {}}}}),
    (RESPONSES, {"structured_outputs": {"choice": ["A00"]}}),
    (RESPONSES, {"tools": [{}], "tool_choice": "required"}),
    (MESSAGES, {"output_config": {"format": {"type": "json_schema", "schema": {}}}}),
    (MESSAGES, {"tools": [{}], "tool_choice": {"type": "any"}}),
    (MESSAGES, {"tools": [{}], "tool_choice": {"type": "tool", "name": "look_up"}}),
]
FREE: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"response_format": {"type": "text"}, "structured_outputs": None}),
    (CHAT, {"tools": [{}], "tool_choice": "auto"}),
    (CHAT, {"tools": [{}], "tool_choice": "none"}),
    (CHAT, {"tool_choice": "required"}),
    (CHAT, {"guided_json": {}}),  # vLLM 0.32 ignores it
    (f"{CHAT}/batch", {}),
    (COMPLETIONS, {"prompt": "The", "max_tokens": 1}),
    (RESPONSES, {"text": {"verbosity": "low"}}),
    (RESPONSES, {"text": {"format": {"type": "text"}}}),
    (MESSAGES, {"output_config": {"effort": "low"}}),
    (MESSAGES, {"tools": [{}], "tool_choice": {"type": "auto"}}),
]


def said(path: str, text: str) -> dict[str, Any]:
    """An answer of a route's API."""
    if path == RESPONSES:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": None}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        thought = {"id": "rs_1", "type": "reasoning", "content": [{"type": "reasoning_text", "text": "Well."}]}
        return {"id": "resp_1", "status": "completed", "output": [thought, message]}
    if path == MESSAGES:
        blocks = [{"type": "thinking", "thinking": "Well."}, {"type": "text", "text": text}]
        return {"id": "chatcmpl-1", "type": "message", "content": blocks, "stop_reason": "end_turn"}
    if path == COMPLETIONS:
        return {"choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}]}
    return chat(text)


def text_of(path: str, answer: dict[str, Any]) -> str:
    if path == RESPONSES:
        return str(answer["output"][1]["content"][0]["text"])
    if path == MESSAGES:
        return str(answer["content"][1]["text"])
    [choice] = answer["choices"]
    return str(choice["text"] if path == COMPLETIONS else choice["message"]["content"])


@pytest.mark.parametrize(("path", "request_"), STRUCTURED)
def test_an_answer_whose_form_the_request_decides_is_left_alone_and_a_header_says_it(
    path: str, request_: dict[str, Any], outcomes: Callable[[], dict[str, float]]
) -> None:
    headers, answer = whole(path, said(path, '{"code": "A00"}'), **request_)
    assert answer == said(path, '{"code": "A00"}')
    assert unquote(headers[NOTICE_HEADER]) == ALL.strip()
    assert headers[NOTICE_HEADER].isascii()
    assert outcomes() == {"header": 1}


@pytest.mark.parametrize(("path", "request_"), FREE)
def test_an_answer_in_the_models_own_words_gets_the_notice_on_every_route(
    path: str, request_: dict[str, Any], outcomes: Callable[[], dict[str, float]]
) -> None:
    _, answer = whole(path, said(path, "Take rest."), **request_)
    assert text_of(path, answer) == f"Take rest.{ALL}"
    assert outcomes() == {"appended": 1}


CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
UNTOUCHED: list[tuple[str, dict[str, Any]]] = [
    (CHAT, chat("One moment.", finish="tool_calls", tool_calls=[CALL])),
    (CHAT, chat("Take re", finish="abort")),
    (CHAT, chat(None, finish="length", reasoning="Well, …")),
    (CHAT, chat(" \n")),
    (RESPONSES, {"status": "completed", "output": [*said(RESPONSES, "Wait.")["output"], {"type": "function_call"}]}),
    (RESPONSES, {**said(RESPONSES, "Take re"), "status": "cancelled"}),
    (RESPONSES, {"status": "incomplete", "output": []}),
    (MESSAGES, {"content": [{"type": "text", "text": "Wait."}, {"type": "tool_use"}], "stop_reason": "tool_use"}),
    (MESSAGES, {"content": [{"type": "text", "text": ""}], "stop_reason": "end_turn"}),
]


@pytest.mark.parametrize(("path", "answer"), UNTOUCHED)
def test_calls_of_tools_what_was_broken_off_and_what_says_nothing_get_the_header_alone(
    path: str, answer: dict[str, Any], outcomes: Callable[[], dict[str, float]]
) -> None:
    assert whole(path, answer)[1] == answer
    assert outcomes() == {"header": 1}


def test_refusals_other_routes_and_versions_that_enforce_nothing_are_not_touched() -> None:
    headers, body = through(CHAT, [b'{"error": {}}'], status=400)
    assert (headers, body) == ({"content-type": "application/json", "content-length": "7"}, b'{"error": {}}')

    async def send(message: Message) -> None: ...

    assert enforcing(send, VERSION, path="/tokenize", body=body_of()) is send
    assert enforcing(send, VERSION.model_copy(update={"enforced_notices": []}), path=CHAT, body=body_of()) is send
    assert enforcing(send, None, path=CHAT, body=body_of()) is send


def test_every_route_that_generates_keeps_notices() -> None:
    assert {route.path for route in ROUTES if route.generates} == FORMATS.keys()


def test_an_answer_in_the_background_would_escape_and_is_refused() -> None:
    with pytest.raises(BadInputError, match="medical@1 enforces notices"):
        through(RESPONSES, [], request={"background": True})


# Streams, as vLLM writes them ---------------------------------------------------------------------------------------


def sse(content: dict[str, Any]) -> bytes:
    name = f"event: {content['type']}\n" if "type" in content else ""
    return f"{name}data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def chunk(index: int, *, usage: bool = False, **choice: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "model": "medical@1",
        "choices": [{"index": index, "logprobs": None, "finish_reason": None, **choice}],
        **({"usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}} if usage else {}),
    }


def chat_stream(pieces: Sequence[Sequence[str]], *, text_at_end: bool, usage: bool, completions: bool = False) -> bytes:
    """Chunks of a choice for each list of pieces; the last piece comes with the reason of the end, or before it."""

    def spoken(index: int, piece: str, **choice: Any) -> dict[str, Any]:
        part = {"text": piece} if completions else {"delta": {"content": piece}}
        return chunk(index, usage=usage, **part, **choice)

    chunks = [] if completions else [chunk(i, delta={"role": "assistant", "content": ""}) for i in range(len(pieces))]
    for index, said in enumerate(pieces):
        *first, last = [*said, ""] if not text_at_end else said
        chunks += [spoken(index, piece) for piece in first]
        chunks.append(
            spoken(index, last, finish_reason="length", stop_reason=7, logprobs={"content": [{"token": "x"}]})
        )
    total = {"id": "chatcmpl-1", "choices": [], "usage": {"completion_tokens": 3}}
    return b"".join([b": keep-alive\n\n", *map(sse, [*chunks, total]), b"data: [DONE]\n\n"])


def heard(stream: bytes) -> dict[int, tuple[str, list[str | None], int]]:
    """Of each choice what a client reads of it: the text, the reasons of its end, and how many log-probabilities."""
    found: dict[int, tuple[str, list[str | None], int]] = {}
    for content in contents(stream):
        for choice in content["choices"]:
            text, ends, logprobs = found.get(choice["index"], ("", [], 0))
            assert not ends, "nothing comes after the end"
            text += choice["delta"].get("content") or "" if "delta" in choice else choice["text"]
            ends = [*ends, choice["finish_reason"]] if choice["finish_reason"] else ends
            probable = choice["logprobs"] or {}
            logprobs += len(probable.get("content") or probable.get("tokens") or [])
            found[choice["index"]] = (text, ends, logprobs)
    return found


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places})
    return [stream[start:end] for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)]


WORDS = ["Take ", "rest", "。", "休息", "\n\n", "\r\n", "data: x", '"', "Not medical", " advice. ", ALL, "é😀"]
words = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), min_size=1, max_size=6)
places = st.lists(st.integers(0, 10_000), max_size=12)


@given(pieces=st.lists(words, min_size=1, max_size=3), text_at_end=..., usage=..., completions=..., places=places)
def test_however_a_stream_is_cut_each_choice_ends_with_its_notices_and_the_rest_stays(
    pieces: list[list[str]], text_at_end: bool, usage: bool, completions: bool, places: list[int]
) -> None:
    path = COMPLETIONS if completions else CHAT
    stream = chat_stream(pieces, text_at_end=text_at_end, usage=usage, completions=completions)
    answer = streamed(path, [stream])
    assert streamed(path, cut(stream, places)) == answer
    for index, said in enumerate(pieces):
        text = "".join(said)
        lacks = lacking(text, NOTICES) if text.strip() else []
        appended = "".join(f"\n\n{notice}" for notice in lacks)
        assert heard(answer)[index] == (text + appended, ["length"], 1)
        marks = [
            (choice["locum"]["notice_appended"], choice["delta"]["content"] if "delta" in choice else choice["text"])
            for content in contents(answer)
            for choice in content["choices"]
            if choice["index"] == index and "locum" in choice
        ]
        assert marks == ([(appended, appended)] if appended else [])
    assert contents(answer)[-1] == contents(stream)[-1]
    assert answer.endswith(b"data: [DONE]\n\n")
    if all(not lacking("".join(said), NOTICES) for said in pieces):
        assert answer == stream


def test_a_choice_that_calls_a_tool_is_streamed_as_it_is(outcomes: Callable[[], dict[str, float]]) -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "look_up", "arguments": "{}"}}
    chunks = [
        chunk(0, delta={"content": "One moment."}),
        chunk(0, delta={"tool_calls": [call]}),
        chunk(0, delta={"content": ""}, finish_reason="tool_calls"),
    ]
    stream = b"".join(map(sse, chunks))
    assert streamed(CHAT, [stream]) == stream
    assert outcomes() == {"header": 1}


def test_what_a_model_thinks_is_not_its_answer(outcomes: Callable[[], dict[str, float]]) -> None:
    chunks = [
        chunk(0, delta={"reasoning": f"I should say: {ALL}"}),
        chunk(0, delta={"content": "Rest."}),
        chunk(0, delta={"content": ""}, finish_reason="stop"),
    ]
    assert heard(streamed(CHAT, map(sse, chunks)))[0] == (f"Rest.{ALL}", ["stop"], 0)
    assert outcomes() == {"appended": 1}


def test_a_stream_that_ends_with_an_error_or_in_the_middle_is_passed_on() -> None:
    for end in (b'data: {"error": {"message": "gone"}}\n\ndata: [DONE]\n\n', b'data: {"choi', b"\n"):
        stream = sse(chunk(0, delta={"content": "Take re"})) + end
        assert streamed(CHAT, [stream]) == stream


def test_a_beam_searched_completion_that_is_streamed_as_one_event_keeps_its_parts() -> None:
    event = chunk(0, text="Rest.", finish_reason="stop", prompt_token_ids=[1], usage=True)
    [head, notice, tail] = contents(streamed(COMPLETIONS, [sse(event)]))
    assert [each["choices"][0]["text"] for each in (head, notice, tail)] == ["Rest.", ALL, ""]
    assert [each["choices"][0]["finish_reason"] for each in (head, notice, tail)] == [None, None, "stop"]
    assert [each["choices"][0].get("prompt_token_ids") for each in (head, notice, tail)] == [[1], None, None]


def response_stream(pieces: Sequence[str], *, tool: bool = False, status: str = "completed") -> bytes:
    """A thought, then a message in these pieces, and then perhaps the call of a tool."""
    text, at = "".join(pieces), {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": None}
    message = {"id": "msg_1", "type": "message", "content": [part] if text else []}
    thought = {"id": "rs_1", "type": "reasoning", "content": [{"type": "reasoning_text", "text": "Well."}]}
    call = {"id": "fc_1", "type": "function_call", "name": "look_up"}
    items = [thought, message, *([call] if tool else [])]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "item": {"type": "reasoning", "id": "rs_1"}},
        {"type": "response.reasoning_text.delta", "delta": ALL},
        {"type": "response.content_part.done", "part": {"type": "reasoning_text", "text": "Well."}},
        {"type": "response.output_item.done", "item": thought},
        {"type": "response.output_item.added", "item": {**message, "content": []}},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []} for piece in pieces),
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 1, "item": message},
    ]
    if tool:
        events += [{"type": f"response.output_item.{step}", "item": call} for step in ("added", "done")]
    usage = {"output_tokens": 3}
    events.append({"type": "response.completed", "response": {"status": status, "output": items, "usage": usage}})
    return b"".join(sse({**event, "sequence_number": number}) for number, event in enumerate(events))


@given(pieces=words, places=places, status=st.sampled_from(["completed", "incomplete"]))
def test_all_events_of_a_response_agree_on_its_text_however_the_stream_is_cut(
    pieces: list[str], places: list[int], status: str
) -> None:
    stream = response_stream(pieces, status=status)
    answer = streamed(RESPONSES, [stream])
    assert streamed(RESPONSES, cut(stream, places)) == answer
    text = "".join(pieces)
    lacks = lacking(text, NOTICES) if text.strip() else []
    if not lacks:
        assert answer == stream
        return
    events = contents(answer)
    appended = "".join(f"\n\n{notice}" for notice in lacks)
    said = text + appended
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == said
    [delta, done, part, item, completed] = events[-5:]
    assert (delta["delta"], delta["locum"]) == (appended, {"notice_appended": appended})
    assert done["text"] == part["part"]["text"] == item["item"]["content"][0]["text"] == said
    assert completed["response"]["output"][1] == item["item"]
    assert completed["response"]["output"][0]["content"][0]["text"] == "Well."
    assert completed["response"]["usage"] == {"output_tokens": 3}
    assert completed["response"]["status"] == status
    assert completed["response"]["locum"] == {"notice_appended": appended}


def test_a_response_that_goes_on_to_call_a_tool_is_streamed_as_it_is(outcomes: Callable[[], dict[str, float]]) -> None:
    stream = response_stream(["One ", "moment."], tool=True)
    assert streamed(RESPONSES, [stream]) == stream
    assert outcomes() == {"header": 1}


def test_a_response_that_breaks_off_is_passed_on_with_what_was_held_back() -> None:
    stream = response_stream(["Take ", "rest."])
    broken = stream[: stream.index(b"event: response.completed")]
    assert streamed(RESPONSES, [broken]) == broken


def message_stream(pieces: Sequence[str], *, tool: bool = False, reason: str | None = "max_tokens") -> bytes:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"content": [], "usage": {"output_tokens": 0}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": ALL}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": p}} for p in pieces),
        {"type": "content_block_stop", "index": 1},
    ]
    if tool:
        events.append({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "a"}})
        events.append({"type": "content_block_stop", "index": 2})
    delta = {"stop_reason": reason, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 3}})
    return b"".join(map(sse, [*events, {"type": "message_stop"}]))


@given(pieces=words, places=places)
def test_a_message_gets_its_notices_before_its_block_ends_however_the_stream_is_cut(
    pieces: list[str], places: list[int]
) -> None:
    stream = message_stream(pieces)
    answer = streamed(MESSAGES, [stream])
    assert streamed(MESSAGES, cut(stream, places)) == answer
    text = "".join(pieces)
    lacks = lacking(text, NOTICES) if text.strip() else []
    if not lacks:
        assert answer == stream
        return
    appended = "".join(f"\n\n{notice}" for notice in lacks)
    added = {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "text_delta", "text": appended},
        "locum": {"notice_appended": appended},
    }
    before = contents(stream)
    assert contents(answer) == [*before[:-3], added, *before[-3:]]


@pytest.mark.parametrize(
    "stream", [message_stream(["Wait."], tool=True, reason="tool_use"), message_stream(["Re"], reason=None)]
)
def test_a_message_that_calls_a_tool_or_was_broken_off_is_streamed_as_it_is(
    stream: bytes, outcomes: Callable[[], dict[str, float]]
) -> None:
    assert streamed(MESSAGES, [stream]) == stream
    assert outcomes() == {"header": 1}


def test_where_a_thought_comes_last_there_is_nothing_to_append_to(outcomes: Callable[[], dict[str, float]]) -> None:
    thought = {"type": "content_block_start", "index": 2, "content_block": {"type": "thinking", "thinking": ""}}
    end = b"event: message_delta"
    before, after = message_stream(["Rest."]).split(end)
    stream = before + sse(thought) + sse({"type": "content_block_stop", "index": 2}) + end + after
    assert streamed(MESSAGES, [stream]) == stream
    end = b"event: response.completed"
    before, after = response_stream(["Rest."]).split(end)
    stream = before + sse({"type": "response.output_item.added", "item": {"type": "reasoning"}}) + end + after
    assert streamed(RESPONSES, [stream]) == stream
    assert outcomes() == {"header": 2}


# The real server ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def versions(server: LiveServer, tiny_adapter: Callable[..., Path]) -> Iterator[tuple[str, str]]:
    """One adapter as two versions: the second one's notices are enforced."""
    folder = tiny_adapter(rank=4, seed=83)
    free = register_plainly(server.registry, "finance", folder, server.base)
    held = register_plainly(server.registry, "finance", folder, server.base, enforced_notices=NOTICES)
    yield free.name, held.name
    for name in (held.name, free.name):
        server.registry.delete(name)


def ask(server: LiveServer, path: str, model: str, **body: Any) -> httpx.Response:
    """A question on any route. The tiny model never says a notice, and most answers end with the last token."""
    asked: dict[str, Any] = {"messages": QUESTION, "max_tokens": 6, "temperature": 0}
    if path == RESPONSES:
        asked = {"input": "What does the court say?", "max_output_tokens": 6, "temperature": 0}
    elif path == COMPLETIONS:
        asked = {"prompt": "The court", "max_tokens": 6, "temperature": 0}
    answer = httpx.post(f"{server.url}{path}", json={"model": model, **asked, **body}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


QUESTION = [{"role": "user", "content": "What does the court say?"}]
ASKED: list[tuple[str, dict[str, Any], int]] = [
    (CHAT, {"n": 2, "temperature": 1, "seed": 3, "logprobs": True}, 2),
    (f"{CHAT}/batch", {"messages": [QUESTION, QUESTION]}, 2),
    (COMPLETIONS, {"prompt": ["The court", "Cholera"], "logprobs": 1, "return_token_ids": True}, 2),
    (RESPONSES, {}, 1),
    (MESSAGES, {}, 1),
]


def lasting(answer: Any) -> Any:
    """An answer without what is another at each request, the last digits of its log-probabilities included."""
    if isinstance(answer, dict):
        passing = {"id", "created", "created_at", "model", "item_id", "signature"}
        return {name: lasting(value) for name, value in answer.items() if name not in passing}
    if isinstance(answer, float):
        return "a number"
    return [lasting(each) for each in answer] if isinstance(answer, list) else answer


def without(value: Any) -> Any:
    """What was there before the notices were appended."""
    if isinstance(value, dict):
        return {name: without(each) for name, each in value.items() if name != "locum"}
    if isinstance(value, list):
        return [without(each) for each in value]
    return value.removesuffix(ALL) if isinstance(value, str) else value


@pytest.mark.parametrize(("path", "body", "answers"), ASKED)
def test_on_every_route_a_version_says_its_notices_and_else_what_it_would_say(
    server: LiveServer, versions: tuple[str, str], path: str, body: dict[str, Any], answers: int
) -> None:
    free, held = versions
    plain, kept = ask(server, path, free, **body), ask(server, path, held, **body)
    assert NOTICE_HEADER not in plain.headers
    assert unquote(kept.headers[NOTICE_HEADER]) == ALL.strip()
    assert json.dumps(kept.json(), ensure_ascii=False).count(json.dumps(ALL, ensure_ascii=False)[1:-1]) == 2 * answers
    assert lasting(without(kept.json())) == lasting(plain.json())


@pytest.mark.parametrize(("path", "body", "answers"), [each for each in ASKED if "batch" not in each[0]])
def test_on_every_route_that_streams_too(
    server: LiveServer, versions: tuple[str, str], path: str, body: dict[str, Any], answers: int
) -> None:
    options = {} if path in (RESPONSES, MESSAGES) else {"stream_options": {"include_usage": True}}
    free, held = (
        ask(server, path, version, **body, stream=True, **options, ignore_eos=True).content for version in versions
    )
    plain, kept = contents(free), contents(held)
    if path in (CHAT, COMPLETIONS):
        said, kept_said = heard(free), heard(held)
        assert len(said) == answers
        for index, (text, ends, logprobs) in said.items():
            assert kept_said[index] == (text + ALL, ends, logprobs)
        assert lasting(kept[-1]) == lasting(plain[-1]), "usage is the model's"
    else:
        text = "".join(map(piece_of, plain)) + ALL
        assert "".join(map(piece_of, kept)) == text
        assert lasting(without(whole_parts(kept))) == lasting(whole_parts(plain))
    if path == RESPONSES:
        assert [each["sequence_number"] for each in kept] == list(range(len(kept)))
        assert kept[-1]["response"]["output"][0]["content"][0]["text"] == text


def piece_of(event: dict[str, Any]) -> str:
    """What a delta adds to an answer; how many there are, depends on how busy the server is."""
    if event["type"] == "response.output_text.delta":
        return str(event["delta"])
    return str(event["delta"]["text"]) if event["type"] == "content_block_delta" else ""


def whole_parts(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All events but the deltas, without their numbers."""
    return [
        {name: value for name, value in event.items() if name != "sequence_number"}
        for event in events
        if not piece_of(event)
    ]


def test_the_official_client_reads_the_notices_as_part_of_the_answer(
    server: LiveServer, versions: tuple[str, str]
) -> None:
    _, held = versions
    before = server.metric("locum_notices_total", domain="finance", outcome="appended")
    chunks = list(server.client.chat.completions.create(model=held, messages=QUESTION, max_tokens=4, stream=True))  # type: ignore[call-overload]
    assert "".join(each.choices[0].delta.content or "" for each in chunks).endswith(ALL)
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
    with server.client.responses.stream(model=held, input="Well?", max_output_tokens=4) as stream:
        assert stream.get_final_response().output_text.endswith(ALL)
    assert server.metric("locum_notices_total", domain="finance", outcome="appended") == before + 2


def test_labels_and_calls_of_tools_stay_what_they_are(server: LiveServer, versions: tuple[str, str]) -> None:
    _, held = versions
    before = server.metric("locum_notices_total", domain="finance", outcome="header")
    label = ask(server, CHAT, held, structured_outputs={"choice": ["A00", "B00"]})
    assert label.json()["choices"][0]["message"]["content"] in {"A00", "B00"}
    function = {"name": "look_up", "parameters": {"type": "object", "properties": {"code": {"enum": ["A00"]}}}}
    tool = {"tools": [{"type": "function", "function": function}], "max_tokens": 400}
    named = {"type": "function", "function": {"name": "look_up"}}
    call = ask(server, CHAT, held, **tool, tool_choice=named, stream=True)
    assert all(NOTICE_HEADER in answer.headers for answer in (label, call))
    assert ALL.strip() not in label.text + call.text
    assert server.metric("locum_notices_total", domain="finance", outcome="header") == before + 2


def test_models_say_whose_notices_are_enforced(server: LiveServer, versions: tuple[str, str]) -> None:
    listed = {model.id: model.model_dump()["locum"] for model in server.client.models.list()}
    free, held = versions
    assert "notices" not in listed[free]
    assert listed[held]["notices"] == {"enforce": "append", "texts": ["Not medical advice.", "请咨询医生。"]}


def test_an_answer_in_the_background_is_refused(server: LiveServer, versions: tuple[str, str]) -> None:
    before = server.metric("locum_requests_total", outcome="failed")
    body = {"model": versions[1], "input": "Well?", "background": True}
    answer = httpx.post(f"{server.url}{RESPONSES}", json=body, timeout=60)
    assert answer.status_code == 400
    assert "enforces notices" in answer.json()["error"]["message"]
    assert server.metric("locum_requests_total", outcome="failed") == before
