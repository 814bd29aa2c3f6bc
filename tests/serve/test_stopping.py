"""Ctrl-C and SIGTERM: running requests finish, new ones are not taken."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from locum.adapters.base import pull
from locum.settings import Settings
from tests.conftest import free_port, serving


def test_a_stream_that_runs_at_sigterm_ends_properly_and_the_command_exits_with_0(
    tiny_base: Path, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", domains=tmp_path, base="tiny-llama", port=free_port(), user="tester")
    base = pull(str(tiny_base), settings.bases)
    with serving(settings, base) as server:
        began = threading.Event()
        finish: list[str | None] = []

        def stream() -> None:
            for chunk in server.client.chat.completions.create(
                model=base.name,
                messages=[{"role": "user", "content": "Tell me everything."}],
                max_tokens=600,
                stream=True,
                extra_body={"ignore_eos": True},
            ):
                began.set()
                if chunk.choices:
                    finish.append(chunk.choices[0].finish_reason)

        thread = threading.Thread(target=stream)
        thread.start()
        assert began.wait(30)
        server.process.send_signal(signal.SIGTERM)
        thread.join(60)
        assert finish[-1] == "length", "the stream must reach its own end"
        assert server.process.wait(60) == 0
