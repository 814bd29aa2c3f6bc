"""Commands as they are typed, each in a home of its own."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from locum import cli
from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.registry import Registry
from locum.settings import Settings
from tests.records import register_plainly


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def workplace(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working folder, with variables that make commands use the test's settings."""
    for name in [name for name in os.environ if name.startswith("LOCUM_")]:
        monkeypatch.delenv(name)
    for name in ("home", "domains", "base", "user"):
        monkeypatch.setenv(f"LOCUM_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("LOCUM_ENDPOINT", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command in this process, through the same `main` as the console script: a new process is slow."""

    def run(*arguments: str, typed: str | None = None) -> Ran:
        monkeypatch.setattr(sys, "argv", ["locum", *arguments])
        if typed is not None:
            monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
            raise SystemExit(0)
        said = capsys.readouterr()
        return Ran(int(caught.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def locum(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command at the workplace."""
    return runner(monkeypatch, capsys)


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry.open(settings)


@pytest.fixture
def register(registry: Registry, base_record: Base, tiny_adapter: Callable[..., Path]) -> Callable[[], Manifest]:
    """Registers another version of `legal`, without probes."""
    folder = tiny_adapter(rank=4)

    def call() -> Manifest:
        return register_plainly(registry, "legal", folder, base_record)

    return call
