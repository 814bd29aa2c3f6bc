"""A server with an API key, from its first request to SIGTERM: running requests finish."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import anthropic
import httpx
import pytest

from locum.adapters.base import pull
from locum.settings import Settings
from tests.conftest import free_port, serving


def test_a_server_with_a_key_asks_for_it_and_lets_a_running_stream_finish_at_sigterm(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUM_API_KEY", "unused")  # what the fixture's client sends
    settings = Settings(home=tmp_path / "home", domains=tmp_path, base="tiny-llama", port=free_port(), user="tester")
    base = pull(str(tiny_base), settings.bases)
    log = settings.logs / f"serve-{settings.port}.log"
    with serving(settings, base, "--", "--enforce-eager") as server:
        assert httpx.get(f"{server.endpoint}/models", timeout=60).status_code == 401
        assert server.chat(base.name).status_code == 401
        assert httpx.get(f"{server.url}/health", timeout=60).status_code == 200

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

        engine = server.engine
        began = threading.Event()
        finish: list[str | None] = []

        def stream() -> None:
            for chunk in server.client.chat.completions.create(
                model=base.name,
                messages=[{"role": "user", "content": "Tell me everything."}],
                max_tokens=300,
                stream=True,
                extra_body={"ignore_eos": True},
            ):
                if not began.is_set():
                    engine.suspend()  # so that it is not at its end before the server is told to stop
                    began.set()
                if chunk.choices:
                    finish.append(chunk.choices[0].finish_reason)

        thread = threading.Thread(target=stream)
        thread.start()
        assert began.wait(60)
        server.process.send_signal(signal.SIGTERM)
        server.until(lambda: "[shutdown]" in log.read_text())
        engine.resume()
        thread.join(60)
        assert finish[-1] == "length", "the stream must reach its own end"
        assert server.process.wait(120) == 0
