"""A registration that dies at any step leaves the old world or the new one.

The steps are found, not guessed: everything that a registration does to files or to the database is counted, and it is
run once for each, killing itself there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from locum.adapters.base import Base
from locum.adapters.registry import Registry
from locum.settings import Settings

DYING = """
import json, os, shutil, signal, sys
from pathlib import Path
import safetensors.torch
from sqlalchemy import event
from sqlalchemy.engine import Engine
from locum.adapters.base import load_base
from locum.adapters.registry import Registry
from locum.settings import Settings

home, adapter, scratch = map(Path, sys.argv[1:])
settings = Settings(home=home)
base = load_base(settings.bases, "tiny-llama")
touches = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "shutil.copyfile", "shutil.rmtree"}


def register_and_die_at(step):
    seen = 0

    def passed(*_):
        nonlocal seen
        seen += 1
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(name, arguments):
        writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if name in touches or writes:
            passed()

    registry = Registry.open(settings)
    folder = shutil.copytree(adapter, scratch / str(step))
    config = folder / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "revision": f"step {step}"}))
    sys.addaudithook(watch)
    event.listen(Engine, "before_cursor_execute", passed)
    event.listen(Engine, "commit", passed)
    registry.register("legal", folder, base=base, recipe={}, data=None, training={}, probes=[], created_by="t")


step, exit_code = 0, None
while exit_code != 0:
    step += 1
    child = os.fork()
    if child == 0:
        register_and_die_at(step)
        os._exit(0)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    registry = Registry.open(settings)
    snapshot = registry.snapshot()
    for entry in snapshot.versions.values():
        registry.artifact_path(entry.manifest)
    world = {"exit": exit_code, "versions": list(snapshot.versions), "aliases": dict(snapshot.aliases)}
    print(json.dumps(world | {"revision": snapshot.revision}), flush=True)
    registry._engine.dispose()
"""


def test_a_registration_killed_at_any_step_leaves_the_old_world_or_the_new_one(
    settings: Settings, base_record: Base, tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    before = Registry.open(settings).snapshot()
    (tmp_path / "scratch").mkdir()
    command = [
        sys.executable,
        "-c",
        DYING,
        str(settings.home),
        str(tiny_adapter(rank=4, seed=41)),
        str(tmp_path / "scratch"),
    ]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    worlds = [json.loads(line) for line in done.stdout.splitlines()]
    *died, lived = worlds
    assert len(died) > 10, "the steps of a registration were not seen"
    assert {world["exit"] for world in died} == {-9}
    assert lived["exit"] == 0

    count, revision = 0, before.revision
    for world in worlds:
        grown = len(world["versions"]) - count
        assert grown in (0, 1)
        assert world["revision"] == revision + grown
        count, revision = count + grown, world["revision"]
        assert world["versions"] == [f"legal@{number}" for number in range(1, count + 1)]
        assert world["aliases"] == ({"legal@candidate": f"legal@{count}"} if count else {})
    assert count >= 1
