"""A server with an API key, from its first request to SIGTERM: running requests finish, and new ones are refused."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from pathlib import Path

import anthropic
import httpx
import psutil
import pytest

from locum.adapters.base import pull
from locum.serve.stopping import Drain, StoppingError
from locum.settings import Settings
from tests.conftest import LiveServer, free_port, serving

CLIENTS = 4
# What a client may see of a server that stops: an answer, a refusal that says when to come again, a closed port.
ALLOWED = {"200", "503 retry-after 10, connection close", "closed", "refused"}


def stream_from_a_stopped_engine(server: LiveServer, engine: psutil.Process, finish: list[str | None]) -> None:
    """A stream; the engine is stopped when it has begun, so that it is not at its end before the server stops."""
    for chunk in server.client.chat.completions.create(
        model=server.base.name,
        messages=[{"role": "user", "content": "Tell me everything."}],
        max_tokens=300,
        stream=True,
        extra_body={"ignore_eos": True},
    ):
        if not finish:
            engine.suspend()
        finish.append(chunk.choices[0].finish_reason if chunk.choices else None)


def chat(client: httpx.Client, server: LiveServer) -> httpx.Response:
    body = {"model": server.base.name, "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 1}
    return client.post(f"{server.endpoint}/chat/completions", json=body)


def describe(answer: httpx.Response) -> str:
    if answer.status_code != 503:
        return str(answer.status_code)
    headers = answer.headers
    return f"503 retry-after {headers.get('retry-after')}, connection {headers.get('connection')}"


def ask_until_refused(server: LiveServer, seen: Counter[str]) -> None:
    """One client that asks again and again on a connection that it keeps, as long as somebody listens."""
    with httpx.Client(headers={"authorization": "Bearer unused"}, timeout=120) as client:
        while "refused" not in seen:
            try:
                seen[describe(chat(client, server))] += 1
            except httpx.ConnectError:
                seen["refused"] += 1
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                seen["closed"] += 1


def test_a_server_with_a_key_asks_for_it_and_at_sigterm_lets_what_runs_finish_and_nobody_else_in(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUM_API_KEY", "unused")  # what the fixture's client sends
    settings = Settings(home=tmp_path / "home", domains=tmp_path, base="tiny-llama", port=free_port(), user="tester")
    base = pull(str(tiny_base), settings.bases)
    with serving(settings, base, "--", "--enforce-eager") as server, httpx.Client(timeout=60) as late:
        assert httpx.get(f"{server.endpoint}/models", timeout=60).status_code == 401
        assert server.chat(base.name).status_code == 401

        # Anthropic's clients send a bearer token since 2.0; before that, and LiteLLM's provider of that name, x-api-key
        message = {"model": base.name, "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 1}
        client = anthropic.Anthropic(base_url=server.url, api_key="unused", max_retries=0)
        assert client.messages.create(**message).model == base.name
        with pytest.raises(anthropic.AuthenticationError):
            client.with_options(api_key="wrong").messages.create(**message)
        for key, status in {"unused": 200, "wrong": 401}.items():
            asked = httpx.post(f"{server.endpoint}/messages", json=message, headers={"x-api-key": key}, timeout=60)
            assert asked.status_code == status, asked.text

        assert server.admin("GET", "/v1/models").status_code == 200
        assert late.get(f"{server.url}/health").status_code == 200

        seen: list[Counter[str]] = [Counter() for _ in range(CLIENTS)]
        clients = [threading.Thread(target=ask_until_refused, args=(server, each)) for each in seen]
        for client in clients:
            client.start()
        server.until(lambda: all(each["200"] > 1 for each in seen))
        engine = server.engine
        finish: list[str | None] = []
        stream = threading.Thread(target=stream_from_a_stopped_engine, args=(server, engine, finish))
        stream.start()
        server.until(lambda: engine.status() == psutil.STATUS_STOPPED)

        server.process.send_signal(signal.SIGTERM)
        server.until(lambda: httpx.get(f"{server.url}/ready", timeout=60).status_code == 503)
        late.headers["authorization"] = "Bearer unused"
        refused = chat(late, server)  # on the connection that it has had before
        assert describe(refused) == "503 retry-after 10, connection close"
        assert refused.json()["error"]["code"] == 503
        assert "is stopping" in refused.json()["error"]["message"]
        assert late.get(f"{server.url}/ready").json() == {"ready": False, "waiting_for": "running requests, then stops"}
        assert late.get(f"{server.url}/health").status_code == 200, "it lives until what runs has ended"

        engine.resume()
        stream.join(60)
        assert finish[-1] == "length", "the stream must reach its own end"
        assert server.process.wait(120) == 0
        for client in clients:
            client.join(120)
        assert set().union(*seen) <= ALLOWED, seen


async def test_what_came_in_before_the_stop_is_waited_for_and_nobody_comes_in_after_it() -> None:
    drain = Drain()
    let_go = asyncio.Event()

    async def request() -> None:
        with drain.admitted():
            await let_go.wait()

    requests = [asyncio.create_task(request()) for _ in range(3)]
    await asyncio.sleep(0)
    drain.stopping = True
    with pytest.raises(StoppingError), drain.admitted():
        pass
    assert not await drain.finish(timeout=0)
    requests[0].cancel()
    with pytest.raises(StoppingError):  # which the door answers with 503; uvicorn would answer 500
        await requests[0]
    assert drain.running == 2
    let_go.set()
    assert await drain.finish(timeout=60)
    await asyncio.gather(*requests[1:])
