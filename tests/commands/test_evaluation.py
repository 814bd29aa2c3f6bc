"""`locum eval` and `locum chat` as typed, against the real server. Quick looks only: they record nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.commands.conftest import Ran, runner

if TYPE_CHECKING:
    from tests.conftest import LiveServer

NOWHERE = "http://127.0.0.1:1/v1"


@pytest.fixture
def locum(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs a command with the server's settings."""
    for name, value in server.environment.items():
        if name.startswith("LOCUM_") or name not in os.environ:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return runner(monkeypatch, capsys)


def test_a_gate_that_does_not_pass_exits_1_with_table_reasons_and_report(
    locum: Callable[..., Ran], tmp_path: Path
) -> None:
    files = ["--junit", str(tmp_path / "junit.xml"), "--markdown", str(tmp_path / "comment.md")]
    ran = locum("eval", "legal", "--model", "legal@2", "--limit", "4", *files)
    assert ran.code == 1, ran.err
    for text in (
        "legal@2",
        "legal@1",
        "tiny-llama",
        "exact_match",
        "? The gain over the base model",
        "Gate: not enough",
    ):
        assert text in ran.out
    assert "quick look: not recorded" in ran.out
    assert "Difference to legal@1" in Path(ran.out.split("Report: ")[1].strip()).read_text(encoding="utf-8")
    report = Path(ran.out.split("Report: ")[1].strip())
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "<failure" in (tmp_path / "junit.xml").read_text(encoding="utf-8")
    assert (tmp_path / "comment.md").read_text(encoding="utf-8").startswith("<!-- locum-eval:legal -->")


def test_a_passed_gate_exits_0_and_json_is_one_document(
    locum: Callable[..., Ran], server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "medical"
    folder.mkdir()
    source = server.settings.domains / "medical"
    (folder / "card.yaml").write_bytes((source / "card.yaml").read_bytes())
    suite = Path("suites") / "held-out"
    (folder / suite).mkdir(parents=True)
    (folder / suite / "samples.jsonl").write_bytes((source / suite / "samples.jsonl").read_bytes())
    card = (source / suite / "suite.yaml").read_text().replace("min_samples: 4", "min_samples: 4, min_gain: -1")
    (folder / suite / "suite.yaml").write_text(card)
    monkeypatch.setenv("LOCUM_DOMAINS", str(tmp_path))
    ran = locum("eval", "medical", "--limit", "6", "--json")
    assert ran.code == 0, ran.err
    [result] = json.loads(ran.out)
    assert result["version"] == "medical@1"
    assert result["status"] == "passed"
    assert result["recorded"] is False
    assert ran.err == ""


def test_a_server_that_is_not_there_exits_3(locum: Callable[..., Ran]) -> None:
    for command in (["eval", "medical"], ["chat", "medical", "Well?"]):
        ran = locum(*command, "--endpoint", NOWHERE)
        assert ran.code == 3
        assert f"no server answers at {NOWHERE}" in ran.err
        assert "locum serve" in ran.err
        assert len(ran.err.splitlines()) == 2


def test_an_interrupted_evaluation_says_how_to_go_on_and_exits_as_no_gate_does(server: LiveServer) -> None:
    command = [sys.executable, "-m", "locum", "eval", "legal", "--model", "legal@2", "--endpoint"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        process = subprocess.Popen([*command, endpoint], env=server.environment, stderr=subprocess.PIPE, text=True)
        listener.settimeout(120)
        with listener.accept()[0]:  # it asks now, and is not answered
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "What was answered is kept: type the same command again to continue." in said
    assert "Traceback" not in said


def test_an_endpoint_without_its_v1_is_recognised(locum: Callable[..., Ran], server: LiveServer) -> None:
    for command in (["eval", "medical"], ["chat", "medical", "Well?"], ["adapters", "verify", "medical@1"]):
        ran = locum(*command, "--endpoint", server.url)
        assert ran.code in (2, 3)
        assert "the URL of an endpoint usually ends in /v1" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "legal", "--model", "medical@1"], "expected a version of legal"),
        (["eval", "legal", "--model", "legal@9"], "legal@1, legal@2"),
        (["eval", "legal@2"], "a version is named by --model: legal --model legal@2"),
        (["eval", "insurance"], "neither a candidate nor a version in production"),
        (["eval", "legal", "--suite", "nope"], "held-out"),
        (["chat", "medical", "Well?", "--system", "x", "--no-system"], "exclude each other"),
        (["chat", "astrology", "Well?"], "medical@1"),
    ],
)
def test_wrong_use_exits_2_and_says_what_there_is(locum: Callable[..., Ran], arguments: list[str], said: str) -> None:
    ran = locum(*arguments)
    assert ran.code == 2
    assert said in ran.err


def test_chat_prints_the_answer_and_then_who_answered_and_the_notices(
    locum: Callable[..., Ran], server: LiveServer
) -> None:
    ran = locum("chat", "medical", "What does the court say?", "--max-tokens", "8")
    assert ran.code == 0, ran.err
    answer = server.client.chat.completions.create(
        model="medical@1",
        messages=[
            {"role": "system", "content": "You answer questions of medical."},
            {"role": "user", "content": "What does the court say?"},
        ],
        max_tokens=8,
        temperature=0,
    )
    assert ran.out == f"{answer.choices[0].message.content}\n"
    assert ran.err.splitlines() == [
        "medical@1",
        "The answer is cut off after 8 tokens; --max-tokens allows more.",
        "This is a test.",
    ]


def test_chat_lets_the_base_model_answer_the_same_prompt(locum: Callable[..., Ran]) -> None:
    adapter, base = (
        locum("chat", "legal@2", "What does the court say?", "--max-tokens", "8", *more) for more in ([], ["--base"])
    )
    assert base.err.splitlines()[0] == "tiny-llama"
    assert adapter.err.splitlines()[0] == "legal@2"
    assert base.out != adapter.out


def test_chat_sends_the_system_prompt_that_is_asked_for_or_none(locum: Callable[..., Ran]) -> None:
    said = [
        locum("chat", "medical", "What does the court say?", "--max-tokens", "8", *more).out
        for more in ([], ["--system", "Cholera is bread."], ["--no-system"])
    ]
    assert len(set(said)) == 3
