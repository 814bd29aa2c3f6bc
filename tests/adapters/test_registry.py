"""Versions, names and releases: real SQLite, real adapters, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.registry import Registry
from locum.errors import BadInputError, CheckFailedError, ConflictError, GateError, NotFoundError
from locum.settings import Settings
from tests.records import evaluation_of


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry.open(settings)


@pytest.fixture
def register(registry: Registry, base_record: Base, tiny_adapter: Callable[..., Path]) -> Callable[..., Manifest]:
    """Registers a small adapter; the same seed gives the same artifact."""
    made: dict[int, Path] = {}

    def call(domain: str = "legal", *, seed: int = 0) -> Manifest:
        folder = made.setdefault(seed, tiny_adapter(rank=4, seed=seed))
        return registry.register(
            domain, folder, base=base_record, recipe={}, data=None, training={}, probes=[], created_by="tester"
        )

    return call


def test_versions_are_numbered_from_one_and_the_newest_is_the_candidate(
    registry: Registry, register: Callable[..., Manifest]
) -> None:
    first, second = register(), register(seed=1)
    assert (first.name, second.name) == ("legal@1", "legal@2")
    assert registry.resolve("legal@candidate") == second
    versions = registry.snapshot().versions
    assert versions[second.name].id > versions[first.name].id


def test_a_manifest_of_before_notices_were_enforced_enforces_none(register: Callable[..., Manifest]) -> None:
    earlier = register().model_dump(exclude={"enforced_notices"})
    assert Manifest.model_validate(earlier).enforced_notices == []


def test_an_unknown_name_lists_what_there_is(registry: Registry, register: Callable[..., Manifest]) -> None:
    register()
    with pytest.raises(NotFoundError, match=r"no legal@7: did you mean legal@1\? there is: legal@1, legal@candidate"):
        registry.resolve("legal@7")
    with pytest.raises(NotFoundError, match=r"domains with versions: legal"):
        registry.resolve("medical")


def test_release_without_evaluation_is_refused_and_says_what_is_missing(
    registry: Registry, register: Callable[..., Manifest]
) -> None:
    manifest = register()
    registry.require_suites("legal", {"held-out": "s1"})
    with pytest.raises(GateError, match=r"suite held-out: there is no evaluation of legal@1") as caught:
        registry.release("legal@1", by="tester")
    assert caught.value.exit_code == 1
    registry.record_evaluation(evaluation_of(manifest))
    release = registry.release("legal@1", by="tester")
    assert (release.action, release.evidence[0].score) == ("release", 0.9)
    assert registry.resolve("legal") == manifest


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version_digest": "other"}, "evaluated was digest other"),
        ({"base_fingerprint": "other"}, "evaluated was on base other"),
        ({"suite_digest": "s0"}, "is of suite digest s0, the suite is now s1"),
        ({"passed": False, "reasons": ["too low."]}, "the gate failed:\n  too low."),
    ],
)
def test_evidence_for_something_else_does_not_count(
    registry: Registry, register: Callable[..., Manifest], changes: dict[str, object], complaint: str
) -> None:
    registry.require_suites("legal", {"held-out": "s1"})
    registry.record_evaluation(evaluation_of(register(), **changes))
    with pytest.raises(GateError, match=complaint):
        registry.release("legal@1", by="tester")


def test_the_newest_evaluation_counts(registry: Registry, register: Callable[..., Manifest]) -> None:
    manifest = register()
    registry.require_suites("legal", {"held-out": "s1"})
    registry.record_evaluation(evaluation_of(manifest))
    registry.record_evaluation(evaluation_of(manifest, passed=False, reasons=["it got worse."]))
    with pytest.raises(GateError, match="it got worse"):
        registry.release("legal@1", by="tester")


def test_force_needs_a_reason_which_is_recorded(registry: Registry, register: Callable[..., Manifest]) -> None:
    register()
    with pytest.raises(BadInputError, match="reason"):
        registry.release("legal@1", by="tester", force=True, reason="  ")
    registry.release("legal@1", by="tester", force=True, reason="the ward is waiting")
    [entry] = registry.history("legal")
    assert (entry.action, entry.reason, entry.by) == ("forced release", "the ward is waiting", "tester")


def test_rollback_goes_back_and_forth(registry: Registry, register: Callable[..., Manifest]) -> None:
    register(), register(seed=1)
    registry.release("legal@1", by="a", force=True, reason="r")
    with pytest.raises(ConflictError, match="no previous"):
        registry.rollback("legal", by="a")
    registry.release("legal@2", by="a", force=True, reason="r")
    with pytest.raises(ConflictError, match="already"):
        registry.release("legal@2", by="a", force=True, reason="r")
    assert registry.rollback("legal", by="b").version == "legal@1"
    assert registry.rollback("legal", by="b").version == "legal@2"
    assert [entry.action for entry in registry.history("legal")][:2] == ["rollback", "rollback"]


def test_what_is_in_production_or_would_be_rolled_back_to_is_not_deleted(
    registry: Registry, register: Callable[..., Manifest]
) -> None:
    register(), register(seed=1)
    registry.release("legal@1", by="a", force=True, reason="r")
    registry.release("legal@2", by="a", force=True, reason="r")
    for name in ("legal@1", "legal@2", "legal", "legal@previous"):
        with pytest.raises(ConflictError, match="not deleted"):
            registry.delete(name)


def test_a_deleted_number_is_never_used_again_and_a_shared_artifact_stays(
    registry: Registry, register: Callable[..., Manifest]
) -> None:
    first, twin = register(), register("medical")
    registry.delete(first.name)
    assert register(seed=1).name == "legal@2"
    assert registry.artifact_path(twin).is_dir()
    registry.delete(twin.name)
    with pytest.raises(CheckFailedError):
        registry.artifact_path(twin)


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_artifact_is_noticed(registry: Registry, register: Callable[..., Manifest], damage: str) -> None:
    manifest = register()
    weights = registry.artifact_path(manifest) / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "truncated":
        weights.write_bytes(content[:-1])
    elif damage == "changed":
        content[-1] ^= 1
        weights.write_bytes(content)
    else:
        weights.unlink()
    with pytest.raises(CheckFailedError, match=r"adapter_model\.safetensors"):
        registry.artifact_path(manifest)


def test_registering_a_damaged_artifact_again_mends_it(registry: Registry, register: Callable[..., Manifest]) -> None:
    manifest = register()
    (registry.artifact_path(manifest) / "adapter_model.safetensors").write_bytes(b"")
    register()
    assert registry.artifact_path(manifest).is_dir()


REGISTER = """
import json, sys
from pathlib import Path
from locum.adapters.base import load_base
from locum.adapters.registry import Registry
from locum.settings import Settings
home, folder, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
settings = Settings(home=home)
base = load_base(settings.bases, "tiny-llama")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(count):
    manifest = Registry.open(settings).register(
        "legal", folder, base=base, recipe={}, data=None, training={}, probes=[], created_by="tester"
    )
    print(json.dumps(manifest.number), flush=True)
"""


def start_registering(settings: Settings, folder: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", REGISTER, str(settings.home), str(folder), str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_register_at_once_get_different_numbers(
    settings: Settings, base_record: Base, tiny_adapter: Callable[..., Path]
) -> None:
    folder = tiny_adapter(rank=4, seed=5)
    processes = [start_registering(settings, folder, 5) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    numbers = [json.loads(line) for output in outputs for line in output.split()]
    assert sorted(numbers) == list(range(1, 16))


def test_a_process_killed_while_registering_leaves_whole_versions_only(
    settings: Settings, base_record: Base, tiny_adapter: Callable[..., Path]
) -> None:
    folder = tiny_adapter(rank=4, seed=6)
    for delay in (0.0, 0.05, 0.2):
        process = start_registering(settings, folder, 1000)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    registry = Registry.open(settings)
    versions = registry.versions("legal")
    assert [manifest.number for manifest in versions] == list(range(1, len(versions) + 1))
    for manifest in versions:
        assert registry.artifact_path(manifest).is_dir()
    assert registry.resolve("legal@candidate") == versions[-1]


def test_two_processes_that_open_a_new_registry_at_once_both_can(settings: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from locum.settings import Settings; "
        "from locum.adapters.registry import Registry; "
        "print(Registry.open(Settings(home=Path(sys.argv[1]))).revision())"
    )
    command = [sys.executable, "-c", code, str(settings.home)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=300)[0].strip() for process in processes] == ["1"] * 3


def test_a_snapshot_made_from_the_last_one_is_the_same_and_keeps_what_did_not_change(
    registry: Registry, register: Callable[..., Manifest]
) -> None:
    for _ in range(3):
        register()
    last = registry.snapshot()
    registry.release("legal@1", by="t", force=True, reason="r")
    registry.delete("legal@2")
    register()
    now = registry.snapshot(last)
    assert now == registry.snapshot()
    assert list(now.versions) == ["legal@1", "legal@3", "legal@4"]
    assert now.versions["legal@1"] is last.versions["legal@1"]


def test_a_snapshot_believes_no_version_that_the_registry_does_not_have(
    registry: Registry, register: Callable[..., Manifest]
) -> None:
    """As after a restore from a backup, when ids are given again."""
    register()
    true = registry.snapshot()
    [entry] = true.versions.values()
    other = replace(entry, manifest=entry.manifest.model_copy(update={"digest": "0" * 64, "number": 7}))
    assert registry.snapshot(replace(true, versions={"legal@7": other})) == true


def test_manifests_of_before_origins_were_recorded_can_be_read(register: Callable[..., Manifest]) -> None:
    manifest = register()
    old = {name: value for name, value in manifest.model_dump(mode="json").items() if name != "origin"}
    assert Manifest.model_validate_json(json.dumps(old)) == manifest
