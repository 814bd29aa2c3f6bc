"""The clients of the field, as docs/clients.md shows them, each against the real server.

They run in an environment of their own, `.venv-clients`, as they do at an application's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serve.clients import CHECKS, LEFT_THE_MACHINE

if TYPE_CHECKING:
    from tests.conftest import LiveServer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clients.md"
ADVISED = dict(re.findall(r"^export (\w+)=(\S+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
CLIENTS = ROOT / ".venv-clients" / "bin" / "python"  # `make clients`


def run(
    section: str, server: LiveServer, home: Path, *, python: Path, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-P", str(ROOT / "tests" / "serve" / "clients.py"), str(PAGE), section, server.url]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), **variables}
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)


def refused(server: LiveServer) -> float:
    return sum(server.metric("locum_requests_total", outcome=outcome) for outcome in ("refused", "failed"))


@pytest.mark.parametrize(
    ("section", "python"),
    [
        *(pytest.param(section, CLIENTS, id=section) for section in CHECKS),
        # LlamaIndex holds openai below 3; the server's own environment has it beyond
        pytest.param("OpenAI", Path(sys.executable), id="OpenAI, newer"),
    ],
)
def test_a_client_is_answered_by_the_version_that_the_domains_name_means(
    section: str, python: Path, server: LiveServer, tmp_path: Path
) -> None:
    before = refused(server)
    ran = run(section, server, tmp_path, python=python, variables=ADVISED)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert refused(server) == before, "a client may try again in silence what was refused"


def test_every_client_of_the_page_is_tested() -> None:
    assert re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(CHECKS)


def test_a_client_that_asks_another_machine_is_caught(server: LiveServer, tmp_path: Path) -> None:
    ran = run("LiteLLM", server, tmp_path, python=CLIENTS, variables={})
    assert ran.returncode == LEFT_THE_MACHINE, ran.stderr
    assert "asked another machine: raw.githubusercontent.com" in ran.stderr
