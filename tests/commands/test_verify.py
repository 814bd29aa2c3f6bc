"""`locum adapters verify` against the real server: what answers is what was trained, or it is said that it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum.adapters.base import Base
from locum.adapters.domains import load_domain
from locum.adapters.probes import make_probes, probe_prompts
from locum.adapters.registry import Registry

if TYPE_CHECKING:
    from tests.commands.conftest import Ran
    from tests.conftest import LiveServer


@pytest.mark.parametrize("version", ["medical@1", "medical", "legal@2"])
def test_what_the_server_was_given_passes(
    locum: Callable[..., Ran], server: LiveServer, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("LOCUM_HOME", str(server.settings.home))
    ran = locum("adapters", "verify", version, "--endpoint", server.endpoint, "--json")
    assert ran.code == 0, ran.err
    said = ran.json
    assert said["passed"] is True
    assert said["worst"] <= said["tolerance"] < said["from_base"]
    assert said["greedy"] == len(server.registry.resolve(version).probes)


def test_something_else_that_answers_by_the_name_fails_with_exit_code_1(
    locum: Callable[..., Ran],
    server: LiveServer,
    base_record: Base,
    registry: Registry,
    tiny_adapter: Callable[..., Path],
) -> None:
    adapter = tiny_adapter(rank=8, seed=63)
    prompts = probe_prompts(load_domain(server.settings.domains, "medical"), Path("no-data"))
    registry.register(
        "medical",
        adapter,
        base=base_record,
        recipe={},
        data=None,
        training={},
        probes=make_probes(base_record.path, adapter, prompts),
        created_by="tester",
    )
    ran = locum("adapters", "verify", "medical@1", "--endpoint", server.endpoint)
    assert ran.code == 1
    assert "nats a token from the adapter's known answers" in ran.out
    assert f"what answers as medical@1 at {server.endpoint} is not what was trained" in ran.err


def test_a_version_that_the_server_does_not_know_exits_2(
    locum: Callable[..., Ran],
    server: LiveServer,
    base_record: Base,
    registry: Registry,
    tiny_adapter: Callable[..., Path],
) -> None:
    adapter = tiny_adapter(rank=4, seed=64)
    prompts = probe_prompts(load_domain(server.settings.domains, "medical"), Path("no-data"))
    probes = make_probes(base_record.path, adapter, prompts)
    registry.register(
        "oncology", adapter, base=base_record, recipe={}, data=None, training={}, probes=probes, created_by="tester"
    )
    ran = locum("adapters", "verify", "oncology@1", "--endpoint", server.endpoint)
    assert ran.code == 2
    assert "says 404" in ran.err
