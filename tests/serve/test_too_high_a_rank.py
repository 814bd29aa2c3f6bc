"""A version of a rank that the running server cannot hold: everybody who meets it is told so, once and for good."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from locum.adapters.manifest import Manifest
from tests.records import register_plainly

if TYPE_CHECKING:
    from tests.conftest import LiveServer

RANK = 128


@pytest.fixture(scope="module")
def high(server: LiveServer, tiny_adapter: Callable[..., Path]) -> Manifest:
    """A version of finance that the server cannot hold."""
    return register_plainly(server.registry, "finance", tiny_adapter(rank=RANK, seed=301), server.base)


@pytest.fixture(scope="module")
def low(server: LiveServer, tiny_adapter: Callable[..., Path]) -> Manifest:
    return register_plainly(server.registry, "finance", tiny_adapter(rank=8, seed=302), server.base)


def test_the_server_says_which_rank_it_holds_and_which_version_it_never_answers_with(
    server: LiveServer, high: Manifest
) -> None:
    entries = {entry["id"]: entry["locum"] for entry in server.admin("GET", "/v1/models").json()["data"]}
    assert entries[server.base.name]["max_rank"] == 32  # headroom beyond the highest registered, which is 16
    assert entries[high.name]["problem"].startswith("its rank is 128, this server holds up to 32")
    assert "problem" not in entries["legal@1"]


def test_a_request_for_it_is_refused_with_a_status_that_no_client_tries_again(
    server: LiveServer, high: Manifest
) -> None:
    answer = server.chat(high.name)
    assert answer.status_code == 422
    assert "retry-after" not in answer.headers
    assert answer.headers["x-should-retry"] == "false"
    error = answer.json()["error"]
    assert error["type"] == "UnservableError"
    assert error["message"].startswith(f"{high.name} cannot be served: its rank is 128, this server holds up to 32")


def test_an_evaluation_of_it_asks_nothing_and_says_why(server: LiveServer, high: Manifest) -> None:
    before = server.metric("locum_requests_total")
    ran = server.locum("eval", "finance", "--model", high.name)
    assert ran.returncode == 3, ran.stderr
    assert f"cannot serve {high.name}: its rank is 128, this server holds up to 32" in ran.stderr
    assert ran.stderr.count("its rank is") == 1
    assert server.metric("locum_requests_total") == before


def test_a_release_says_whether_the_server_answers_with_it(server: LiveServer, high: Manifest, low: Manifest) -> None:
    def release(name: str) -> tuple[int, dict[str, Any]]:
        ran = server.locum("release", name, "--force", "--reason", "a trial", "--json")
        return ran.returncode, json.loads(ran.stdout)

    code, taken = release(low.name)
    assert (code, taken["converged"], taken["serving"]) == (0, True, low.name)
    assert server.who_answers("finance") == low.name
    ran = server.locum("release", high.name, "--force", "--reason", "a trial")
    assert ran.returncode == 3
    assert f"{high.name} is released in the registry in place of {low.name}" in ran.stdout
    assert f"Not converged: the server at {server.endpoint} still answers with {low.name} by finance" in ran.stderr
    assert "its rank is 128" in ran.stderr
    assert server.who_answers("finance") == low.name
    ran = server.locum("rollback", "finance", "--json")
    back = json.loads(ran.stdout)
    assert (ran.returncode, back["version"], back["converged"], back["serving"]) == (0, low.name, True, low.name)


def test_it_is_said_where_such_a_version_is_made(server: LiveServer, tiny_adapter: Callable[..., Path]) -> None:
    folder = tiny_adapter(rank=RANK, seed=303)
    ran = server.locum("adapters", "register", str(folder), "--domain", "finance", "--json")
    assert ran.returncode == 0, ran.stderr
    name = json.loads(ran.stdout)["name"]
    assert f"Note: {name} has the rank 128, and the server at {server.endpoint} holds up to 32" in ran.stderr
    server.registry.delete(name)
    planned = server.locum("train", "finance", "--set", "rank=128", "--plan")
    assert planned.returncode == 0, planned.stderr
    assert "Note: what this trains has the rank 128" in planned.stderr


def test_an_upload_of_one_is_refused_before_its_answers_are_computed(
    server: LiveServer, tiny_adapter: Callable[..., Path]
) -> None:
    folder = tiny_adapter(rank=RANK, seed=304)
    names = {"adapter_config": "adapter_config.json", "adapter_model": "adapter_model.safetensors"}
    files = {field: (name, (folder / name).read_bytes()) for field, name in names.items()}
    answer = server.admin("POST", "/v1/adapters", data={"domain": "finance"}, files=files, timeout=120)
    assert answer.status_code == 422
    assert "the adapter's rank is 128, and this server holds up to 32" in answer.json()["error"]["message"]
