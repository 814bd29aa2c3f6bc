"""Several registries in one store: none removes what another has a version of, whatever coincides and whoever dies."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.owners import OWNERS, UNKNOWN
from locum.adapters.registry import Registry
from locum.adapters.store import ArtifactStore
from locum.errors import CheckFailedError, UnavailableError
from locum.settings import Settings
from tests.records import register_plainly


@dataclass(frozen=True)
class Shared:
    """A store, and registries that share it."""

    url: str
    homes: Path
    base: Base
    adapter: Path

    def settings(self, name: str) -> Settings:
        return Settings(home=self.homes / name, artifacts=self.url)

    def registry(self, name: str) -> Registry:
        return Registry.open(self.settings(name))

    def register(self, registry: Registry) -> Manifest:
        return register_plainly(registry, "legal", self.adapter, self.base)

    def is_whole(self, manifest: Manifest) -> bool:
        """As another machine would find it, which has no copy."""
        try:
            ArtifactStore(self.url, cache=self.homes / uuid.uuid4().hex).fetch(manifest.digest)
        except CheckFailedError:
            return False
        return True

    def files(self) -> list[str]:
        fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        return [path.removeprefix(f"{root}/") for path in fs.find(root)]

    def remove(self, name: str) -> None:
        fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        fs.rm(f"{root}/{name}", recursive=True)


@pytest.fixture(params=["folder", "bucket"])
def shared(
    request: pytest.FixtureRequest, base_record: Base, tiny_adapter: Callable[..., Path], tmp_path: Path
) -> Shared:
    in_bucket = request.param == "bucket"
    url = f"{request.getfixturevalue('bucket').url}/artifacts" if in_bucket else str(tmp_path / "artifacts")
    return Shared(url, tmp_path, base_record, tiny_adapter(rank=4, seed=81))


WRITES = {"makedirs", "pipe", "pipe_file", "put_file", "cp_file", "rm", "rm_file"}


class Steps:
    """A store's file system that is watched: each call is announced before it is made, by its number and whether it
    writes. What is called meanwhile is not."""

    def __init__(self, fs: Any, before: Callable[[int, bool], None]) -> None:
        self._fs = fs
        self._before = before
        self._count = 0
        self._announcing = False

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._fs, name)
        return self.announced(attribute, is_write=name in WRITES) if callable(attribute) else attribute

    def announced(self, function: Callable[..., Any], *, is_write: bool = True) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self._announcing:
                self._count += 1
                self._announcing = True
                try:
                    self._before(self._count, is_write)
                finally:
                    self._announcing = False
            return function(*arguments, **options)

        return call


@contextmanager
def watched(registry: Registry, before: Callable[[int, bool], None]) -> Iterator[None]:
    store, fs = registry.store, registry.store._fs
    steps = store._fs = store._owners._fs = Steps(fs, before)
    with pytest.MonkeyPatch.context() as patch:  # what a local folder is put in its place with
        for name in ("rename", "replace"):
            call = steps.announced(getattr(Path, name))
            patch.setattr(Path, name, lambda *paths, call=call: call(*paths))
        try:
            yield
        finally:
            store._fs = store._owners._fs = fs


class KilledError(BaseException):
    """Stands for kill -9: nothing that would tidy up catches it, and nothing is done after it."""


def dying_at(write: int) -> Callable[[int, bool], None]:
    writes = 0

    def before(_: int, is_write: bool) -> None:
        nonlocal writes
        writes += is_write
        if writes >= write:
            raise KilledError

    return before


def test_what_staging_deletes_stays_for_production_and_goes_with_the_last_version_that_has_it(shared: Shared) -> None:
    staging, production = shared.registry("staging"), shared.registry("production")
    version = shared.register(staging)
    shared.register(production)
    assert staging.other_owners(version.digest) == {production.identity().registry}
    staging.delete(version.name)
    assert shared.is_whole(version)
    assert production.other_owners(version.digest) == set()
    production.delete(version.name)
    assert shared.files() == []


def test_an_artifact_that_is_registered_while_another_registry_removes_it_is_whole_or_refused(shared: Shared) -> None:
    """At each step of a deletion, as a whole, a registration of the same artifact."""
    one, other = shared.registry("one"), shared.registry("other")
    outcomes: list[str] = []

    def register_at(step: int) -> Callable[[int, bool], None]:
        def before(count: int, _: bool) -> None:
            if count == step:
                try:
                    outcomes.append(shared.register(other).name)
                except UnavailableError as error:
                    assert f"just being removed from the store by the registry {one.identity().registry}" in str(error)
                    outcomes.append("refused")

        return before

    for step in range(1, 200):
        version = shared.register(one)
        with watched(one, register_at(step)):
            one.delete(version.name)
        if len(outcomes) < step:
            break
        registered = shared.register(other) if outcomes[-1] == "refused" else other.resolve(outcomes[-1])
        assert shared.is_whole(registered), f"at step {step}"
        other.delete(registered.name)
        assert not shared.is_whole(registered)
    assert {"refused", "legal@1"} <= set(outcomes)


def test_an_artifact_that_is_removed_while_another_registry_registers_it_is_whole_or_refused(shared: Shared) -> None:
    """At each step of a registration, as a whole, a deletion of the same artifact."""
    one, other = shared.registry("one"), shared.registry("other")
    for step in range(1, 200):
        version = shared.register(one)
        deleted: list[Manifest] = []

        def delete_at(
            count: int, _: bool, *, at: int = step, name: str = version.name, deleted: list[Manifest] = deleted
        ) -> None:
            if count == at:
                deleted.append(one.delete(name))

        with watched(other, delete_at):
            registered = shared.register(other)
        if not deleted:
            break
        assert shared.is_whole(registered), f"at step {step}"
        other.delete(registered.name)
        assert shared.files() == [], f"at step {step}"
    assert step > 10


def test_a_registration_that_dies_beside_another_of_the_same_artifact_does_not_harm_that_one(shared: Shared) -> None:
    """At each step of a registration another one as a whole; the first one dies at the second write after that."""
    one, other = shared.registry("one"), shared.registry("other")
    for step in range(1, 200):
        registered: list[Manifest] = []
        then = dying_at(2)

        def register_and_die(
            count: int, is_write: bool, *, at: int = step, registered: list[Manifest] = registered, then: Any = then
        ) -> None:
            if count == at:
                registered.append(shared.register(other))
            if registered:
                then(count, is_write)

        with suppress(KilledError), watched(one, register_and_die):
            shared.register(one)
        if not registered:
            break
        assert shared.is_whole(registered[0]), f"at step {step}"
        for registry in (one, other):
            for version in registry.versions():
                registry.delete(version.name)
        for name in {file.partition("/")[0] for file in shared.files()}:
            shared.remove(name)
    assert step > 10


def test_a_deletion_that_dies_at_any_step_takes_nothing_from_others_and_is_ended_by_the_next(shared: Shared) -> None:
    one, other = shared.registry("one"), shared.registry("other")
    for step in range(1, 200):
        version = shared.register(one)
        if step % 2:
            shared.register(other)
        try:
            with watched(one, dying_at(step)):
                one.delete(version.name)
            break
        except KilledError:
            pass
        for kept in other.versions():
            assert shared.is_whole(kept), f"at step {step}"
            other.delete(kept.name)
        one._sweep()
        assert shared.files() == [], f"at step {step}"
    assert step > 4


def test_a_registration_that_dies_at_any_step_leaves_nothing_that_keeps_others_from_theirs(shared: Shared) -> None:
    one, other = shared.registry("one"), shared.registry("other")
    for step in range(1, 200):
        try:
            with watched(one, dying_at(step)):
                shared.register(one)
            break
        except KilledError:
            pass
        registered = shared.register(other)
        assert shared.is_whole(registered), f"at step {step}"
        other.delete(registered.name)
        for mine in one.versions():
            assert shared.is_whole(mine), f"at step {step}"
            one.delete(mine.name)
        shutil.rmtree(shared.url, ignore_errors=True)
    assert step > 4


def test_a_copy_of_a_registry_is_another_one_to_the_store(shared: Shared, caplog: pytest.LogCaptureFixture) -> None:
    production = shared.registry("production")
    first, second = shared.register(production), shared.register(production)
    (shared.homes / "staging").mkdir()
    with closing(sqlite3.connect(shared.settings("production").home / "registry.db")) as source:
        source.execute("VACUUM INTO ?", (str(shared.settings("staging").home / "registry.db"),))
    with caplog.at_level(logging.WARNING):
        staging = shared.registry("staging")
    assert f"in the artifact store it is now called {staging.identity().registry}" in caplog.text
    for version in (first, second):
        staging.delete(version.name)
    assert shared.is_whole(first)
    assert production.identity() == shared.registry("production").identity()
    for version in (first, second):
        production.delete(version.name)
    assert shared.files() == []


def as_before_marks(shared: Shared, *registries: Registry) -> None:
    """The store and the registries as a release of Locum left them that knew no marks."""
    shared.remove(OWNERS)
    for registry in registries:
        with registry._engine.begin() as db:
            db.exec_driver_sql("DELETE FROM identity")


def test_what_was_there_before_marks_stays_until_somebody_says_that_all_have_marked_theirs(shared: Shared) -> None:
    one, other = shared.registry("one"), shared.registry("other")
    version = shared.register(one)
    shared.register(other)
    as_before_marks(shared, one, other)
    one = shared.registry("one")
    assert one.other_owners(version.digest) == {UNKNOWN}
    one.delete(version.name)
    assert shared.is_whole(version), "the other registry has not been opened yet"
    other = shared.registry("other")
    shared.remove(f"{OWNERS}/{UNKNOWN}")
    one._sweep()
    assert shared.is_whole(version)
    other.delete(version.name)
    assert shared.files() == []


def test_what_was_there_before_marks_and_is_registered_again_is_not_taken_for_this_registrys_alone(
    shared: Shared,
) -> None:
    old, new = shared.registry("old"), shared.registry("new")
    version = shared.register(old)
    as_before_marks(shared, old)
    shared.register(new)
    new.delete(version.name)
    assert shared.is_whole(version)
    shared.remove(f"{OWNERS}/{UNKNOWN}")
    new._sweep()
    assert shared.files() == []


def test_a_registry_opens_without_its_store_and_marks_what_it_holds_when_that_is_back(
    base_record: Base, tiny_adapter: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "locum")  # vLLM's imports may have raised the root's level
    shared = Shared(str(tmp_path / "artifacts"), tmp_path, base_record, tiny_adapter(rank=4, seed=81))
    version = shared.register(shared.registry("one"))
    as_before_marks(shared, shared.registry("one"))
    (tmp_path / "artifacts").rename(tmp_path / "unmounted")
    registry = shared.registry("one")
    assert registry.resolve("legal@1") == version
    assert "artifacts is not there" in caplog.text
    (tmp_path / "unmounted").rename(tmp_path / "artifacts")
    assert registry.identity().registry not in registry.store.owners(version.digest)
    assert shared.registry("one").identity().registry in registry.store.owners(version.digest)


def test_what_moves_to_another_store_with_its_marks_is_marked_there(
    base_record: Base, tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    shared = Shared(str(tmp_path / "artifacts"), tmp_path, base_record, tiny_adapter(rank=4, seed=81))
    version = shared.register(shared.registry("one"))
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")
    moved = Shared(str(tmp_path / "elsewhere"), tmp_path, base_record, shared.adapter)
    registry = moved.registry("one")
    assert registry.store.owners(version.digest) == {registry.identity().registry}
    assert registry.identity().marked_in == moved.url
