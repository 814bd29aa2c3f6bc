"""A server that ends by itself is started again, its port answers meanwhile, and one that keeps ending is given up."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from locum.adapters.base import pull
from locum.adapters.registry import Registry
from locum.errors import UnavailableError
from locum.serve import launcher, supervisor
from locum.serve.server_log import ServerLog
from locum.serve.standby import Standby
from locum.settings import Settings
from tests.conftest import LiveServer, free_port, serving
from tests.records import register_plainly

QUESTION = {"messages": [{"role": "user", "content": "Well?"}], "max_tokens": 900, "ignore_eos": True}


@pytest.fixture(scope="module")
def own_server(
    tiny_base: Path, tiny_adapter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """A server that has room for one adapter and one answer, with legal@1 in production and legal@2 the candidate.

    The last of its tests ends it.
    """
    root = tmp_path_factory.mktemp("own")
    settings = Settings(home=root / "home", domains=root, base="tiny-llama", port=free_port(), user="tester")
    base = pull(str(tiny_base), settings.bases)
    registry = Registry.open(settings)
    for seed in (1, 2):
        register_plainly(registry, "legal", tiny_adapter(rank=4, seed=seed), base)
    registry.release("legal@1", by="tester", reason="first", force=True)
    one_at_a_time = ["--max-loras", "1", "--max-cpu-loras", "1", "--max-num-seqs", "1"]
    with serving(settings, base, "--", "--enforce-eager", *one_at_a_time) as server:
        yield server


def look(server: LiveServer, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/{path}", timeout=60)


def lives(process: psutil.Process) -> bool:
    """Whether it runs: in a container, nobody may clear away what has ended without a parent."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def ready(server: LiveServer) -> httpx.Response:
    return look(server, "ready")


def answer_to(request: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask again where the connection was closed, as when its server ends just then; refused it must never be."""
    for _ in range(2):
        with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
            return request()
    return request()


def ask_a_stopped_engine(server: LiveServer, engine: psutil.Process, said: dict[str, str]) -> list[threading.Thread]:
    """A stream that has begun, a plain request and an upload that stalls; each notes at its end what it was told."""
    url = f"{server.endpoint}/chat/completions"
    began, sent = threading.Event(), threading.Event()

    def stream() -> None:
        lines = []
        # so many choices, of which the server makes one at a time, that no machine is too slow to see the first only
        body = {**QUESTION, "model": "legal", "n": 64, "stream": True}
        with httpx.stream("POST", url, json=body, timeout=300) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                if not began.is_set():  # to set it for each line would keep its lock from who waits for it
                    began.set()
        said["stream"] = "".join(lines)

    def plain() -> None:
        def trace(event: str, _: object) -> None:
            if event == "http11.send_request_body.complete":
                sent.set()

        with httpx.Client(timeout=300) as client:
            answer = client.post(url, json={**QUESTION, "model": "legal"}, extensions={"trace": trace})
        said["plain"] = f"{answer.status_code} retry-after {answer.headers.get('retry-after')}"

    def stalled() -> None:
        with socket.create_connection(("127.0.0.1", server.settings.port)) as client:
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            client.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
            with contextlib.suppress(ConnectionError):
                client.recv(1)
        said["stalled"] = "nothing more"

    threads = [threading.Thread(target=request, daemon=True) for request in (stream, stalled, plain)]
    for thread in threads[:2]:
        thread.start()
    assert began.wait(60)
    engine.suspend()  # so that it reaches the end of nothing before it is killed
    threads[2].start()
    assert sent.wait(60)
    time.sleep(1)
    return threads


def test_a_version_that_vllm_dropped_is_checked_before_it_reads_it_again_and_the_engine_lives(
    own_server: LiveServer,
) -> None:
    engine = own_server.engine
    manifest = own_server.registry.resolve("legal@1")
    weights = own_server.registry.artifact_path(manifest) / "adapter_model.safetensors"
    assert own_server.who_answers("legal") == "legal@1"
    assert own_server.who_answers("legal@2") == "legal@2"  # there is room for one
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    answer = own_server.chat("legal")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "adapter_model.safetensors" in answer.json()["error"]["message"]
    assert own_server.who_answers("legal@2") == "legal@2"
    weights.write_bytes(whole)
    own_server.until(lambda: own_server.chat("legal").status_code == 200)
    assert own_server.engine == engine


def test_a_killed_engine_is_started_again_while_the_port_answers_503_and_the_alias_means_the_same_version(
    own_server: LiveServer,
) -> None:
    assert own_server.who_answers("legal") == "legal@1"
    first = own_server.engine
    said: dict[str, str] = {}
    threads = ask_a_stopped_engine(own_server, first, said)
    deadline = time.monotonic() + 400
    first.kill()
    own_server.until(lambda: answer_to(lambda: ready(own_server)).status_code == 503)

    own_server.until(lambda: answer_to(lambda: ready(own_server)).headers["server"].startswith("locum"))
    held = [socket.create_connection(("127.0.0.1", own_server.settings.port)) for _ in range(600)]
    answers: set[tuple[int, bool]] = set()
    while answer_to(lambda: ready(own_server)).status_code == 503:
        answer = answer_to(lambda: own_server.chat("legal"))
        answers.add((answer.status_code, "retry-after" in answer.headers))
        assert answer.status_code == 200 or answer.json()["error"]["code"] == 503
        assert time.monotonic() < deadline, "the server did not come back"
        time.sleep(0.2)
    assert (503, True) in answers
    assert answers <= {(503, True), (200, False)}
    assert {own_server.chat("legal").status_code for _ in range(50)} == {200}, (
        "once ready, it must not answer 503 again"
    )
    own_server.until(lambda: "Ready again after" in (own_server.settings.home / "serve.out").read_text())
    assert own_server.who_answers("legal") == "legal@1"
    assert own_server.who_answers("legal@candidate") == "legal@2"
    for thread in threads:
        thread.join(60)
    assert said.keys() == {"stream", "plain", "stalled"}, "requests that ran must end, even one that stalls"
    assert said["plain"] == "503 retry-after 10"
    for each in held:
        each.close()
    assert '"error"' in said["stream"]
    assert not psutil.pid_exists(first.pid)


def test_an_engine_that_hangs_is_ended_and_started_again_and_a_server_that_starts_can_be_stopped(
    own_server: LiveServer,
) -> None:
    family = psutil.Process(own_server.process.pid).children(recursive=True)
    said: dict[str, str] = {}
    threads = ask_a_stopped_engine(own_server, own_server.engine, said)
    threads[2].join(120)  # longer than it takes to see that the engine hangs
    assert said.get("plain") == "503 retry-after 10"
    assert {answer_to(lambda: look(own_server, "health")).status_code for _ in range(10)} == {503}
    own_server.until(lambda: answer_to(lambda: ready(own_server)).headers["server"].startswith("locum"))
    for thread in threads:
        thread.join(60)
    assert said.keys() == {"stream", "plain", "stalled"}
    assert '"error"' in said["stream"]
    out = (own_server.settings.home / "serve.out").read_text()
    assert re.search(r"EngineHangsError: the engine has not answered for \d+ seconds and one of its processes is", out)
    assert "It is started again (2 of at most 5 times)" in out

    own_server.process.terminate()
    assert own_server.process.wait(120) == 0
    own_server.until(lambda: not any(lives(process) for process in family))


@pytest.mark.parametrize("folder", ["logs", "file"])
def test_a_server_that_keeps_ending_is_given_up_with_its_last_complaint_even_where_no_log_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", (0.1,) * supervisor.RESTARTS)
    listener = launcher._listen("127.0.0.1", port := free_port())
    said: list[str] = []
    log = ServerLog(tmp_path / folder / "serve.log", said.append)
    command = [sys.executable, "-c", "raise MemoryError('no room for the model')"]
    with log.output() as output:
        process = subprocess.Popen(command, stderr=output, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    server = launcher.Server(command, {**os.environ}, listener, Standby(listener), process, url, log, "token")
    with pytest.raises(UnavailableError, match=r"ended 6 times within 30 minutes .*MemoryError: no room for the model"):
        supervisor.supervise(server, said.append)
    assert len([event for event in said if event.startswith("The server ended by itself")]) == 5
    answer = httpx.post(f"{url}/v1/chat/completions", content=b"x" * 1_000_000, timeout=60)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    launcher.stop(server)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
