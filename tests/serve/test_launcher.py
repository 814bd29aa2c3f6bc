"""A server that cannot start says why, and keeps what the start before it had said."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import pytest

from locum.adapters.base import pull
from locum.errors import UnavailableError
from locum.serve import launcher
from locum.serve.host import plan_for_this_host
from locum.serve.server_log import complaint_in
from locum.settings import Settings
from tests.conftest import free_port


def test_the_cause_is_named_even_when_it_lies_in_the_engine_process(tiny_base: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", domains=tmp_path, base="tiny-llama", port=free_port(), user="tester")
    base = pull(str(tiny_base), settings.bases)
    log = settings.logs / f"serve-{settings.port}.log"
    log.parent.mkdir(parents=True)
    log.write_text("what the last start said")

    server = launcher.start(
        settings, base, plan_for_this_host(), vllm_args=["--enforce-eager", "--kv-cache-memory-bytes", str(1 << 50)]
    )
    with pytest.raises(
        UnavailableError, match="ended with code 1 while starting: ValueError: Available memory on node"
    ):
        launcher.wait_until_ready(server, lambda reason: None, timeout=500)
    assert log.with_name(f"{log.name}.1").read_text() == "what the last start said"


def test_the_cause_is_found_in_a_log_of_json_lines_too() -> None:
    failed = {"message": "EngineCore failed to start.", "exc_info": "Traceback …\n  File …\nValueError: no room"}
    lines = [json.dumps(entry) for entry in (failed, {"message": "RuntimeError: a consequence"})]
    assert complaint_in("\n".join(lines)) == "ValueError: no room"


def test_a_ctrl_c_that_comes_while_something_is_finalized_is_not_lost() -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    with launcher.stopping_on_signals(), pytest.raises(KeyboardInterrupt):
        Finalized()
        threading.Event().wait(300)
