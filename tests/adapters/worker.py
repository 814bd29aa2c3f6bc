"""A process that does to a registry what it is told over a pipe, and kills itself in the middle when it is told to.

The places to die are not guessed: everything that an action does to files or to the database is counted.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import safetensors.torch  # noqa: F401  # imported before the first action, so that its files are not counted
from sqlalchemy import event
from sqlalchemy.engine import Engine

from locum.adapters.base import load_base
from locum.adapters.registry import Registry
from locum.errors import LocumError
from locum.settings import Settings
from tests.records import evaluation_of

TOUCHES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "shutil.copyfile", "shutil.rmtree"}
SUITE = "held-out"
Action = Literal["register", "release", "rollback", "delete", "evaluate", "require"]


@dataclass(frozen=True)
class Order:
    """One action. `dies_at` is the step of it at which the process kills itself, if it has so many."""

    action: Action
    domain: str = "legal"
    number: int = 1
    artifact: int = 0
    force: bool = True
    passed: bool = True
    suite_digest: str = "s1"
    production: int | None = None
    dies_at: int | None = None

    @property
    def version(self) -> str:
        return f"{self.domain}@{self.number}"

    @property
    def beside(self) -> str | None:
        """The version in production that answered too."""
        return f"{self.domain}@{self.production}" if self.production else None


@dataclass(frozen=True)
class Place:
    """Where the actions happen: the home of the registry, that of the base model, and the adapters to register.

    `artifacts` is the store, where it is not in the home.
    """

    home: Path
    bases: Path
    adapters: tuple[Path, ...]
    artifacts: str = ""

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, artifacts=self.artifacts)


class Worker:
    """The process, as the test sees it; another one takes over when it has died."""

    def __init__(self) -> None:
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, place: Place, order: Order) -> None:
        self._pipe.send((place, order))

    def outcome(self) -> str | None:
        """The name of the version, the class of the error, or None when the process died."""
        try:
            return str(self._pipe.recv())
        except EOFError:
            self._process.join()
            assert self._process.exitcode == -signal.SIGKILL
            self._start()
            return None

    def do(self, place: Place, order: Order) -> str | None:
        self.begin(place, order)
        return self.outcome()

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(10)


_steps_to_live: int | None = None


def _passed(*_: Any) -> None:
    global _steps_to_live
    if _steps_to_live is not None:
        _steps_to_live -= 1
        if _steps_to_live <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _watch(name: str, arguments: tuple[Any, ...]) -> None:
    writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if name in TOUCHES or writes:
        _passed()


def _work(pipe: Connection) -> None:
    global _steps_to_live
    sys.addaudithook(_watch)
    event.listen(Engine, "before_cursor_execute", _passed)
    event.listen(Engine, "commit", _passed)
    while True:
        try:
            place, order = pipe.recv()
        except EOFError:
            return
        registry = _registry(place)
        _steps_to_live = order.dies_at
        try:
            said = _do(registry, place, order)
        except LocumError as error:
            said = type(error).__name__
        _steps_to_live = None
        pipe.send(said)


@cache
def _registry(place: Place) -> Registry:
    return Registry.open(place.settings)


def _do(registry: Registry, place: Place, order: Order) -> str:
    if order.action == "register":
        base = load_base(place.bases, "tiny-llama")
        folder = place.adapters[order.artifact]
        return registry.register(
            order.domain, folder, base=base, recipe={}, data=None, training={}, probes=[], created_by="t"
        ).name
    if order.action == "release":
        return registry.release(order.version, by="t", force=order.force, reason="r").version
    if order.action == "rollback":
        return registry.rollback(order.domain, by="t").version
    if order.action == "delete":
        return registry.delete(order.version).name
    if order.action == "require":
        registry.require_suites(order.domain, {SUITE: order.suite_digest})
        return order.domain
    manifest = registry.resolve(order.version)
    registry.record_evaluation(
        evaluation_of(
            manifest, suite=SUITE, suite_digest=order.suite_digest, passed=order.passed, production=order.beside
        )
    )
    return manifest.name
