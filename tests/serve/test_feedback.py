"""`POST /v1/feedback` at the live server: kept with the version that spoke, whoever asks and however."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from locum.adapters.feedback import Feedback, feedback_on
from locum.adapters.registry import Registry
from locum.adapters.signing import signing_key
from locum.errors import LocumError
from locum.serve import feedback
from locum.serve.answer_ids import BASE_ID, AnswerIds
from locum.serve.door import Door
from locum.serve.http_errors import explain
from locum.settings import Settings
from tests.conftest import LiveServer


def send(server: LiveServer, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.endpoint}/feedback", json=body, timeout=30)


def last(server: LiveServer, domain: str) -> Feedback:
    return feedback_on(server.registry, domain)[-1]


@pytest.mark.parametrize(("asked", "spoke"), [("medical", "medical@1"), ("legal@2", "legal@2"), ("tiny-llama", None)])
def test_a_thumb_is_kept_with_the_version_that_gave_the_answer(
    server: LiveServer, asked: str, spoke: str | None
) -> None:
    answer = server.chat(asked).json()
    spoke = spoke or str(answer["model"])
    sent = send(server, id=answer["id"], rating="down", comment=" 太长了 ", user="u1")
    assert sent.status_code == 200, sent.text
    expected = {"object": "feedback", "id": answer["id"], "model": spoke, "verified": True, "replaced": False}
    assert sent.json() == expected
    kept = last(server, asked.partition("@")[0] if "@" in spoke else "base")
    assert (kept.model, kept.rating, kept.comment, kept.user) == (spoke, "down", "太长了", "u1")


def test_a_stream_and_a_completion_can_be_rated_and_so_can_the_header(server: LiveServer) -> None:
    messages = [{"role": "user", "content": "Well?"}]
    with server.client.chat.completions.create(model="medical", messages=messages, max_tokens=2, stream=True) as stream:  # type: ignore[call-overload]
        streamed = next(iter(stream)).id
    completed = server.client.completions.create(model="legal", prompt="Well?", max_tokens=1).id
    header = server.chat("tax@1").headers["x-request-id"]
    for answer_id, spoke in ((streamed, "medical@1"), (completed, "legal@1"), (header, "tax@1")):
        assert send(server, id=answer_id, score=4).json()["model"] == spoke


def test_a_user_changes_their_mind_and_counts_once(server: LiveServer) -> None:
    answer_id = server.chat("legal").json()["id"]
    before = len(feedback_on(server.registry, "legal"))
    assert [send(server, id=answer_id, user="u", rating=each).json()["replaced"] for each in ("up", "down")] == [
        False,
        True,
    ]
    assert len(feedback_on(server.registry, "legal")) == before + 1
    assert last(server, "legal").rating == "down"


def test_question_answer_and_a_better_answer_come_along_where_the_application_sends_them(server: LiveServer) -> None:
    answer = server.chat("medical").json()
    said = {"messages": [{"role": "user", "content": "Well?"}], "answer": "Hm.", "better": "Well indeed."}
    assert send(server, id=answer["id"], **said).status_code == 200
    kept = last(server, "medical")
    assert (kept.messages[0].content, kept.answer, kept.better) == ("Well?", "Hm.", "Well indeed.")


def test_choices_share_their_answers_id_and_a_response_can_be_rated_as_its_header_can(server: LiveServer) -> None:
    asked = {"model": "medical", "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 1}
    several = httpx.post(f"{server.endpoint}/chat/completions", json={**asked, "n": 2, "temperature": 1}, timeout=60)
    assert len(several.json()["choices"]) == 2
    assert send(server, id=several.json()["id"], rating="up").json()["model"] == "medical@1"
    given = {"model": "legal@1", "input": "Well?", "max_output_tokens": 1}
    response = httpx.post(f"{server.endpoint}/responses", json=given, timeout=60)
    assert response.status_code == 200, response.text
    for answer_id in (response.json()["id"], response.headers["x-request-id"]):
        assert send(server, id=answer_id, rating="up").json()["model"] == "legal@1"


def test_an_answer_is_rated_once_however_its_id_is_written(settings: Settings) -> None:
    registry = Registry.open(settings)
    app = app_of(registry)
    bare = app.state.locum.answer_ids.new(BASE_ID)
    client = TestClient(app)
    ways = [bare, f"chatcmpl-{bare}", f"cmpl-{bare}", bare.upper(), f"chatcmpl-cmpl-{bare}"]
    told = [client.post("/v1/feedback", json={"id": way, "rating": "up", "user": "u"}).json() for way in ways]
    assert [each["id"] for each in told] == ways
    assert [each["replaced"] for each in told] == [False, True, True, True, True]
    assert [each.answer_id for each in feedback_on(registry, "base")] == [bare]


def test_an_id_that_the_client_chose_needs_the_model_too(server: LiveServer) -> None:
    body = {"model": "medical", "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 1}
    headers = {"x-request-id": "visit-77"}
    answer = httpx.post(f"{server.endpoint}/chat/completions", json=body, headers=headers, timeout=60).json()
    assert answer["id"] == "chatcmpl-visit-77"
    refused = send(server, id=answer["id"], rating="up")
    assert refused.status_code == 404
    assert "send the answer's `model` along" in refused.json()["error"]["message"]
    taken = send(server, id=answer["id"], rating="up", model=answer["model"])
    assert taken.json()["verified"] is False
    assert (last(server, "medical").model, last(server, "medical").verified) == ("medical@1", False)
    for model, status in (("medical@99", 404), ("medical", 400), ("no such thing", 400)):
        assert send(server, id=answer["id"], rating="up", model=model).status_code == status


def test_an_id_that_names_one_version_is_not_credited_to_another(server: LiveServer) -> None:
    answer_id = server.chat("legal@1").json()["id"]
    refused = send(server, id=answer_id, rating="up", model="legal@2")
    assert refused.status_code == 409
    assert "was given by legal@1, not by legal@2" in refused.json()["error"]["message"]


def test_the_answer_of_a_version_that_was_deleted_since_can_still_be_rated(
    server: LiveServer, tiny_adapter: Callable[..., Path]
) -> None:
    folder = tiny_adapter(rank=4, seed=77)
    given = {"recipe": {}, "data": None, "training": {}, "probes": [], "created_by": "tester"}
    made = server.registry.register("finance", folder, base=server.base, **given)  # type: ignore[arg-type]
    answer_id = server.chat(made.name).json()["id"]
    server.registry.delete(made.name)
    assert send(server, id=answer_id, rating="up").json()["model"] == made.name


def test_ids_are_read_by_every_process_of_the_registry(server: LiveServer) -> None:
    """As another replica, or this server after a restart, would have made it."""
    ids = AnswerIds(signing_key(server.registry, "answers"))
    assert send(server, id=f"chatcmpl-{ids.new(BASE_ID)}", rating="up").json()["model"] == "tiny-llama"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"id": "x"}, 400, "expected a `rating`"),
        ({"rating": "up"}, 400, "id: "),
        ({"id": "x y", "rating": "up"}, 400, "id: "),
        ({"id": "x", "rating": "meh"}, 400, "rating: "),
        ({"id": "x", "score": 6}, 400, "score: "),
        ({"id": "x", "rating": "up", "colour": "red"}, 400, "colour: "),
        ({"id": "x", "comment": "c" * 4001}, 400, "comment: "),
        ({"id": "x", "better": "b"}, 400, "`better` needs"),
        ({"id": "x", "rating": "up", "answer": "a"}, 400, "go together"),
        ({"id": "x", "comment": "c" * 300_000}, 413, "more than 256 KiB"),
    ],
)
def test_what_cannot_be_right_is_refused_in_openais_format(
    server: LiveServer, body: dict[str, Any], status: int, said: str
) -> None:
    refused = send(server, **body)
    assert refused.status_code == status, refused.text
    error = refused.json()["error"]
    assert said in error["message"]
    assert error["code"] == status


def test_a_body_that_is_no_json_is_refused(server: LiveServer) -> None:
    refused = httpx.post(f"{server.endpoint}/feedback", content=b"{", timeout=30)
    assert refused.status_code == 400
    assert "Invalid JSON" in refused.json()["error"]["message"]


def test_feedback_is_counted_by_version_and_is_no_request_to_a_model(server: LiveServer) -> None:
    answer_id = server.chat("legal@2").json()["id"]
    before = server.metric("locum_feedback_total", version="2", rating="up"), server.metric("locum_requests_total")
    send(server, id=answer_id, rating="up", model="legal@2")
    after = server.metric("locum_feedback_total", version="2", rating="up"), server.metric("locum_requests_total")
    assert after == (before[0] + 1, before[1])


@dataclass(frozen=True)
class Engine:
    """All that the route asks of an engine."""

    base_name: str = "tiny"


@dataclass(frozen=True)
class Swap:
    registry: Registry
    engine: Engine = Engine()


def state_of(registry: Registry, **given: Any) -> SimpleNamespace:
    """What a server shares with its routes, as far as feedback needs it."""
    ids = AnswerIds(signing_key(registry, "answers"))
    return SimpleNamespace(swap=Swap(registry), answer_ids=ids, **{"api_key": "", "admin_token": "", **given})


def app_of(registry: Registry, **given: Any) -> FastAPI:
    """The route behind the door, in this process and without a model."""
    app = FastAPI()
    app.state.locum = state_of(registry, **given)
    app.include_router(feedback.router)
    app.add_exception_handler(LocumError, explain)
    app.add_middleware(Door)
    return app


def test_feedback_wants_the_key_that_the_chat_wants(settings: Settings) -> None:
    app = app_of(Registry.open(settings), api_key="sk-1", admin_token="sk-2")
    client = TestClient(app)
    body = {"id": app.state.locum.answer_ids.new(BASE_ID), "rating": "up"}
    assert client.post("/v1/feedback", json=body).status_code == 401
    assert client.post("/v1/feedback", json=body, headers={"authorization": "Bearer wrong"}).status_code == 401
    assert client.post("/v1/feedback", json=body, headers={"authorization": "Bearer sk-1"}).json()["model"] == "tiny"


def test_an_application_is_not_told_where_the_registry_lies_and_the_operator_is(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry.open(settings)
    app = app_of(registry)
    body = {"id": app.state.locum.answer_ids.new(BASE_ID), "rating": "down", "comment": "my own words", "user": "u-1"}
    (settings.home / "registry.db").rename(settings.home / "moved.db")
    refused = TestClient(app).post("/v1/feedback", json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    assert "does not take the feedback now" in refused.text
    assert str(settings.home) not in refused.text
    assert "registry.db" in caplog.text
    assert "my own words" not in caplog.text
    assert "u-1" not in caplog.text


async def test_while_others_hold_the_registry_some_wait_for_it_and_more_are_sent_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "WRITE_SECONDS", 60)
    registry = Registry.open(settings)
    app = app_of(registry)
    bodies = [{"id": app.state.locum.answer_ids.new(BASE_ID), "rating": "up"} for _ in range(feedback.MAX_WAITING + 6)]
    async with asyncio.timeout(60), client_of(app) as client:
        with registry.writing():
            first = [asyncio.create_task(client.post("/v1/feedback", json=body)) for body in bodies[:-6]]
            while not feedback._waiting.locked():
                await asyncio.sleep(0.01)
            refused = await asyncio.gather(*(client.post("/v1/feedback", json=body) for body in bodies[-6:]))
            assert not any(each.done() for each in first)
        assert {each.status_code for each in refused} == {429}
        assert all(int(each.headers["retry-after"]) > 0 for each in refused)
        assert {each.status_code for each in await asyncio.gather(*first)} == {200}
    assert {each.answer_id for each in feedback_on(registry, "base")} == {body["id"] for body in bodies[:-6]}


async def test_whoever_has_waited_too_long_for_the_registry_is_sent_away_and_may_come_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry.open(settings)
    app = app_of(registry)
    bodies = [{"id": app.state.locum.answer_ids.new(BASE_ID), "rating": "up"} for _ in range(3)]
    async with asyncio.timeout(60), client_of(app) as client:
        with registry.writing():
            monkeypatch.setattr(feedback, "WRITE_SECONDS", 0.1)
            refused = await asyncio.gather(*(client.post("/v1/feedback", json=body) for body in bodies))
        assert {each.status_code for each in refused} == {503}
        assert all(int(each.headers["retry-after"]) > 0 for each in refused)
        monkeypatch.setattr(feedback, "WRITE_SECONDS", 60)
        assert (await client.post("/v1/feedback", json=bodies[0])).status_code == 200
    kept = [each.answer_id for each in feedback_on(registry, "base")]
    assert bodies[0]["id"] in kept
    assert len(kept) <= 2, "of those sent away only the one that was being written may be there"


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test", timeout=None)
