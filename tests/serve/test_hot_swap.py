"""A release on a running server: new requests move, running ones finish, none fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import LiveServer

QUESTION = [{"role": "user", "content": "What does the court say?"}]


def stream_slowly(server: LiveServer, model: str, began: threading.Event, said: list[str]) -> None:
    """One long stream; appends the model that each chunk names, and `done` at its proper end."""
    stream = server.client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=400, temperature=0, stream=True, extra_body={"ignore_eos": True}
    )
    for chunk in stream:
        said.append(chunk.model)
        if not began.is_set():
            began.set()
        if chunk.choices and chunk.choices[0].finish_reason == "length":
            said.append("done")


def test_a_release_reaches_new_requests_and_no_request_fails(server: LiveServer) -> None:
    assert server.who_answers("legal") == "legal@1"
    streams: list[list[str]] = [[] for _ in range(4)]
    threads = []
    for said in streams:
        began = threading.Event()
        thread = threading.Thread(target=stream_slowly, args=(server, "legal", began, said))
        thread.start()
        threads.append(thread)
        assert began.wait(60)

    assert server.locum("release", "legal@2", "--force", "--reason", "the test of the swap").returncode == 0
    server.until(lambda: server.who_answers("legal") == "legal@2")

    for thread in threads:
        thread.join(120)
    for said in streams:
        assert set(said) == {"legal@1", "done"}, "a stream must end on the version that it began with"

    assert server.locum("rollback", "legal").returncode == 0
    server.until(lambda: server.who_answers("legal") == "legal@1")


def test_a_version_that_fails_its_probes_never_reaches_production(
    server: LiveServer, tiny_adapter: Callable[..., Path]
) -> None:
    truth = server.registry.resolve("medical@1")
    impostor = server.registry.register(
        "medical",
        tiny_adapter(rank=8, seed=99),
        base=server.base,
        recipe={},
        data=None,
        training={},
        probes=list(truth.probes),  # another adapter's known answers
        created_by="test",
    )
    server.registry.release(impostor.name, by="test", reason="to see it refused", force=True)
    server.until(lambda: "medical" in server.admin("GET", "/v1/adapters").json()["problems"])
    assert server.who_answers("medical") == "medical@1"
    problem = server.admin("GET", "/v1/adapters").json()["problems"]["medical"]
    assert impostor.name in problem
    assert "probes" in problem
    server.registry.rollback("medical", by="test")
    server.until(lambda: not server.admin("GET", "/v1/adapters").json()["problems"])
