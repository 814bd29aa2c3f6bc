"""The registry's life cycle over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.records import evaluation_of

if TYPE_CHECKING:
    from tests.conftest import LiveServer


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/adapters"),
        ("POST", "/v1/adapters"),
        ("POST", "/v1/domains/medical/release"),
        ("POST", "/v1/domains/medical/rollback"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}])
def test_admin_routes_need_the_admin_token(server: LiveServer, method: str, path: str, headers: dict[str, str]) -> None:
    answer = httpx.request(method, f"{server.url}{path}", headers=headers, timeout=60)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "AuthenticationError"


def test_adapters_lists_versions_with_their_state(server: LiveServer) -> None:
    listed = server.admin("GET", "/v1/adapters").raise_for_status().json()
    states = {version["name"]: version["state"] for version in listed["versions"]}
    assert states["medical@1"] == "loaded"
    assert listed["aliases"]["medical"] == "medical@1"


def test_a_release_without_evidence_is_refused_with_409_and_says_what_is_missing(server: LiveServer) -> None:
    answer = server.admin("POST", "/v1/domains/legal/release", json={"version": 2})
    assert answer.status_code == 409
    assert "evaluation" in answer.json()["error"]["message"]


def test_a_release_rests_on_what_the_servers_domain_folder_asks_and_not_on_what_was_evaluated_last(
    server: LiveServer,
) -> None:
    """An evaluation of a lax copy of the suites is no evidence here, whatever it said that a release requires."""
    manifest = server.registry.resolve("legal@2")
    lax = {"suite": "held-out", "suite_digest": "lax", "production": "legal@1"}
    server.registry.record_evaluation(evaluation_of(manifest, **lax))
    server.registry.require_suites("legal", {"held-out": "lax"})
    answer = server.admin("POST", "/v1/domains/legal/release", json={"version": 2})
    assert answer.status_code == 409, answer.text
    assert "which is of suite digest lax, the suite is now" in answer.json()["error"]["message"]
    assert server.who_answers("legal") == "legal@1"


def test_a_forced_release_and_a_rollback_converge_at_once(server: LiveServer) -> None:
    body = {"version": "legal@2", "force": True, "reason": "trying the route", "by": "operator"}
    released = server.admin("POST", "/v1/domains/legal/release", json=body).raise_for_status().json()
    assert released["converged"] is True
    assert server.who_answers("legal") == "legal@2"
    rolled_back = server.admin("POST", "/v1/domains/legal/rollback", json={"by": "operator"}).raise_for_status().json()
    assert rolled_back["serving"] == "legal@1"
    again = server.admin("POST", "/v1/domains/legal/rollback", json={"version": 1})
    assert (again.status_code, "in production already" in again.text) == (409, True)
    assert server.who_answers("legal") == "legal@1"
    newest, before, *_ = server.registry.history("legal")
    assert (newest.by, before.reason) == ("operator", "trying the route")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"version": "medical@1"}, 400),
        ({"version": 99}, 404),
        ({"version": 2, "force": True}, 400),
        ({"version": 2, "unknown": 1}, 400),
    ],
)
def test_wrong_releases_are_refused(server: LiveServer, body: dict[str, object], status: int) -> None:
    assert server.admin("POST", "/v1/domains/legal/release", json=body).status_code == status


def test_an_adapter_is_registered_by_uploading_its_two_files(
    server: LiveServer, tiny_adapter: Callable[..., Path]
) -> None:
    folder = tiny_adapter(rank=8, seed=77)
    names = {"adapter_config": "adapter_config.json", "adapter_model": "adapter_model.safetensors"}
    files = {field: (name, (folder / name).read_bytes()) for field, name in names.items()}
    answer = server.admin("POST", "/v1/adapters", data={"domain": "finance"}, files=files, timeout=120)
    assert answer.status_code == 201, answer.text
    name = answer.json()["name"]
    assert server.who_answers(name) == name
    manifest = server.registry.resolve(name)
    assert (manifest.system_prompt, manifest.system) == ("You answer questions of finance.", "default")


def test_a_broken_upload_is_refused_and_leaves_nothing(server: LiveServer, tiny_adapter: Callable[..., Path]) -> None:
    folder = tiny_adapter(rank=8, seed=78)
    before = [manifest.name for manifest in server.registry.versions()]
    files = {
        "adapter_config": ("adapter_config.json", (folder / "adapter_config.json").read_bytes()),
        "adapter_model": ("x", (folder / "adapter_model.safetensors").read_bytes()[:-100]),
    }
    answer = server.admin("POST", "/v1/adapters", data={"domain": "finance"}, files=files, timeout=120)
    assert answer.status_code == 400
    assert "adapter_model.safetensors" in answer.json()["error"]["message"]
    assert [manifest.name for manifest in server.registry.versions()] == before
