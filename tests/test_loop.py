"""The whole loop on the real base model and real data, each step by the command that a user types.

The adapter sees four steps of training: enough to be another model than the base, not to be a good one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from locum.adapters.base import load_base
from locum.settings import Settings
from tests.conftest import environment_of, free_port, serving
from tests.proxy import company_proxy, ipv6_loopback

ROOT = Path(__file__).parent.parent
SHORT = ["max_steps=4", "evaluations=1", "validation_limit=8"]


@pytest.mark.timeout(1800)
def test_the_loop_from_a_wheel_of_weights_to_a_release_with_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an IPv6 address where there is one, and where a company's proxy stands before all other machines."""
    host = "::1" if ipv6_loopback() else "127.0.0.1"
    with company_proxy(monkeypatch) as proxy:
        go_round(Settings(home=tmp_path / "home", domains=ROOT / "domains", user="tester", host=host, port=free_port()))
    assert proxy == []


def go_round(settings: Settings) -> None:
    environment = environment_of(settings, "token")

    def locum(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "locum", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    locum("train", "finance", code=3)  # no base model yet
    assert json.loads(locum("base", "pull", "--json").stdout)["parameters"] == 134_515_008
    assert "0 of" in locum("data", "build", "finance").stdout
    changes = [part for change in SHORT for part in ("--set", change)]
    trained = json.loads(locum("train", "finance", *changes, "--json").stdout)
    assert trained["version"] == "finance@1"
    again = json.loads(locum("train", "finance", *changes, "--json").stdout)
    assert (again["version"], again["new"], again["reused"]) == ("finance@1", False, True)
    locum("adapters", "verify", "finance@1", "--offline")
    locum("adapters", "verify", "finance@1", code=3)  # no server yet

    with serving(settings, load_base(settings.bases, settings.base), "--", "--enforce-eager", "--dtype", "float32"):
        said = (settings.home / "serve.out").read_text()
        assert f"Ready at {settings.endpoint_url}" in said
        assert "tools    none (the chat template shows the model no tools)" in said
        verified = json.loads(locum("adapters", "verify", "finance@1", "--json").stdout)
        assert verified["passed"] is True
        assert verified["worst"] < 0.02 < verified["from_base"]
        assert "too few" in locum("eval", "finance", "--limit", "6", code=1).stdout
        assert "no evaluation of finance@1" in locum("release", "finance@1", code=1).stderr
        locum("release", "finance@1", "--force", "--reason", "the test of the loop")
        chat = locum("chat", "finance", "Sal's Pizza", "--max-tokens", "8")
        assert chat.stdout.strip()
        assert "finance@1" in chat.stderr
        [entry] = json.loads(locum("history", "finance", "--json").stdout)
        assert (entry["action"], entry["version"], entry["reason"]) == (
            "forced release",
            "finance@1",
            "the test of the loop",
        )


@pytest.mark.parametrize("domain", ["medical", "legal", "finance"])
def test_a_shipped_domain_has_enough_held_out_items_and_none_of_them_in_training(domain: str, tmp_path: Path) -> None:
    from locum.adapters.domains import load_domain
    from locum.train.data.build import build_data, load_data

    built = build_data(load_domain(ROOT / "domains", domain), tmp_path / domain)
    assert built.leak.startswith("0 of ")
    assert load_data(tmp_path / domain).splits["test"].rows >= 100
