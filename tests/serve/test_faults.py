"""What breaks around a running server leaves the old version serving, is shown, and passes when the cause is gone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from locum.adapters.manifest import Manifest
from locum.adapters.registry import Registry
from locum.errors import ConflictError, NotFoundError
from locum.settings import Settings
from tests.locked import locked as locked_database

if TYPE_CHECKING:
    from tests.conftest import LiveServer


@pytest.fixture(scope="module")
def register(server: LiveServer, tiny_adapter: Callable[..., Path]) -> Callable[[int], Manifest]:
    """Registers a version of finance; each seed gives another one."""

    def call(seed: int) -> Manifest:
        return server.registry.register(
            "finance",
            tiny_adapter(rank=8, seed=seed),
            base=server.base,
            recipe={},
            data=None,
            training={},
            probes=[],
            created_by="test",
        )

    return call


@pytest.fixture
def old(server: LiveServer, register: Callable[[int], Manifest]) -> str:
    """The version of finance that is in production, and serves, when a test begins."""
    manifest = register(200)
    server.registry.release(manifest.name, by="test", reason="the old version", force=True)
    server.until(lambda: server.chat("finance").status_code == 200 and server.who_answers("finance") == manifest.name)
    return manifest.name


def shown(server: LiveServer) -> dict[str, Any]:
    answer = server.admin("GET", "/v1/adapters")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def release(server: LiveServer, name: str) -> httpx.Response:
    body = {"version": name, "force": True, "reason": "a fault"}
    return server.admin("POST", "/v1/domains/finance/release", json=body)


def is_damaged(weights: Path, damage: str) -> Callable[[], None]:
    """Damage the file; returns what mends it."""
    whole = weights.read_bytes()
    weights.chmod(0o644)
    if damage == "gone":
        weights.unlink()
    else:
        weights.write_bytes(whole[:-100] if damage == "truncated" else whole[:-1] + bytes([whole[-1] ^ 0xFF]))
    return lambda: weights.write_bytes(whole) and None


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_artifact_is_not_released_here_until_it_is_mended(
    server: LiveServer, register: Callable[[int], Manifest], old: str, damage: str
) -> None:
    with server.paused():  # else the server would have loaded the candidate before it is damaged
        new = register(210 + len(damage))
        weights = server.registry.artifact_path(new) / "adapter_model.safetensors"
        mend = is_damaged(weights, damage)
    released = release(server, new.name).raise_for_status().json()
    assert (released["converged"], released["serving"]) == (False, old)
    assert "adapter_model.safetensors" in released["problem"]
    assert server.who_answers("finance") == old
    listed = shown(server)
    assert new.name in listed["problems"]["finance"]
    [state] = [version["state"] for version in listed["versions"] if version["name"] == new.name]
    assert state.startswith("failed: ")
    assert server.metric("locum_adapter_loads_total", outcome="artifact", version=str(new.number)) > 0
    assert server.metric("locum_aliases_not_converged") > 0
    asked = server.chat(new.name)
    assert (asked.status_code, asked.headers["retry-after"]) == (503, "10")
    mend()
    server.until(lambda: server.who_answers("finance") == new.name)
    assert shown(server)["problems"] == {}


def test_a_store_that_is_away_leaves_the_old_version_and_is_no_problem_any_more_when_it_is_back(
    server: LiveServer, register: Callable[[int], Manifest], old: str
) -> None:
    store = Path(server.settings.artifacts_url)
    with server.paused():
        new = register(220)
        store.rename(store.with_name("unmounted"))
    try:
        released = release(server, new.name).raise_for_status().json()
        assert (released["converged"], released["serving"]) == (False, old)
        assert f"the artifact store {store} is not there" in released["problem"]
        assert server.who_answers("finance") == old
        assert server.metric("locum_adapter_loads_total", outcome="store", version=str(new.number)) > 0
    finally:
        store.with_name("unmounted").rename(store)
    server.until(lambda: server.who_answers("finance") == new.name)


def database(server: LiveServer) -> Path:
    return server.settings.home / "registry.db"


def locked(server: LiveServer, **times: float) -> contextlib.AbstractContextManager[None]:
    """Another process keeps everybody out of the registry."""
    return locked_database(database(server), **times)


@contextlib.contextmanager
def moved_away(server: LiveServer) -> Iterator[None]:
    """The registry's file is not where it was."""
    files = [path for path in server.settings.home.glob("registry.db*") if not path.name.endswith(".lock")]
    aside = server.settings.home / "aside"
    aside.mkdir()
    for path in files:
        path.rename(aside / path.name)
    try:
        yield
    finally:
        for path in server.settings.home.glob("registry.db*"):
            path.unlink()
        for path in files:
            (aside / path.name).rename(path)
        aside.rmdir()


def nobody_waits_for_the_registry(server: LiveServer, old: str) -> None:
    """What must hold while it cannot be read, which it is not for as long as this lasts."""
    for _ in range(10):
        assert server.who_answers("finance") == old
    for name in ("finance@9999", "nobody"):
        answer = server.chat(name)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert f"The model `{name}` is not known here, and the registry" in answer.json()["error"]["message"]
    for path in ("/v1/models", "/v1/adapters", "/ready"):
        assert server.admin("GET", path).status_code == 200
    assert old in {model["id"] for model in server.admin("GET", "/v1/models").json()["data"]}


@pytest.mark.parametrize("fault", [locked, moved_away])
def test_a_registry_that_cannot_be_read_holds_up_no_request_and_is_said_to_be_so(
    server: LiveServer, old: str, fault: Callable[[LiveServer], contextlib.AbstractContextManager[None]]
) -> None:
    with fault(server):
        server.until(lambda: shown(server)["registry"]["problem"] is not None)
        assert server.metric("locum_registry_up") == 0
        nobody_waits_for_the_registry(server, old)
        refused = release(server, "finance@1")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        listed = server.admin("GET", "/v1/models").json()
        assert "registry" in listed["locum"]["registry"]["problem"]
        assert listed["locum"]["registry"]["seconds"] > 0
    server.until(lambda: shown(server)["registry"]["problem"] is None)
    assert server.metric("locum_registry_up") == 1
    assert server.chat("finance@9999").status_code == 404
    assert server.who_answers("finance") == old


def test_from_the_moment_that_the_registry_is_locked_nobody_waits_for_it(server: LiveServer, old: str) -> None:
    with locked(server):
        nobody_waits_for_the_registry(server, old)


def test_a_registry_that_somebody_writes_to_for_long_can_be_read_and_a_release_says_that_it_is_locked(
    server: LiveServer, old: str
) -> None:
    code = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('BEGIN EXCLUSIVE'); print(); input()"
    command = [sys.executable, "-uc", code, str(database(server))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        refused = release(server, "finance@1")
        assert refused.status_code == 503
        assert "database is locked" in refused.json()["error"]["message"]
        assert server.who_answers("finance") == old
        assert server.chat("finance@9999").status_code == 404
        assert shown(server)["registry"]["problem"] is None
        writer.kill()


def test_a_release_reaches_a_server_whose_registry_is_slow(
    server: LiveServer, register: Callable[[int], Manifest], old: str
) -> None:
    new = register(230)
    with locked(server, hold=2.5, leave=0.5):
        assert server.locum("release", new.name, "--force", "--reason", "slow").returncode == 0
        server.until(lambda: server.who_answers("finance") == new.name)


def test_another_registry_in_the_place_of_the_old_one_does_not_make_the_server_forget(
    server: LiveServer, old: str
) -> None:
    with moved_away(server):
        Registry.open(Settings(home=server.settings.home))._engine.dispose()
        server.until(lambda: "went back from revision" in (shown(server)["registry"]["problem"] or ""))
        assert server.who_answers("finance") == old
    server.until(lambda: shown(server)["registry"]["problem"] is None)
    assert server.who_answers("finance") == old


def test_of_two_releases_at_once_the_last_one_serves_and_the_history_has_both(
    server: LiveServer, register: Callable[[int], Manifest], old: str
) -> None:
    names = [register(240).name, register(241).name]
    answers: dict[str, httpx.Response] = {}
    threads = [
        threading.Thread(target=lambda name=name: answers.update({name: release(server, name)})) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers.values()} == {200}
    last, before, *_ = server.registry.history("finance")
    assert {last.version, before.version} == set(names)
    assert (last.replaced, before.replaced) == (before.version, old)
    server.until(lambda: server.who_answers("finance") == last.version)
    assert server.who_answers("finance@previous") == before.version


@pytest.mark.parametrize("attempt", range(3))
def test_a_release_of_a_version_that_is_being_deleted_happens_or_is_refused_and_the_server_agrees(
    server: LiveServer, register: Callable[[int], Manifest], old: str, attempt: int
) -> None:
    new = register(250 + attempt).name
    deleted: list[str] = []

    def delete() -> None:
        time.sleep(0.004 * attempt)
        try:
            deleted.append(server.registry.delete(new).name)
        except ConflictError as error:
            deleted.append(str(error))

    thread = threading.Thread(target=delete)
    thread.start()
    released = release(server, new)
    thread.join()
    if deleted == [new]:
        assert released.status_code == 404
        with pytest.raises(NotFoundError):
            server.registry.resolve(new)
        server.until(lambda: server.chat(new).status_code == 404)
        assert server.who_answers("finance") == old
    else:
        assert "is not deleted" in deleted[0]
        assert released.status_code == 200
        server.until(lambda: server.who_answers("finance") == new)
