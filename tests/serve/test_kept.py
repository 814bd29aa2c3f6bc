"""What a server serves stays on its disk, whoever deletes it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from locum.adapters.store import ArtifactStore, artifact_digest
from locum.serve.kept import Kept


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), cache=tmp_path / "cache")


@pytest.fixture
def digest(store: ArtifactStore, tiny_adapter: Callable[..., Path]) -> str:
    folder = tiny_adapter(rank=4, seed=31)
    store.put(folder, artifact_digest(folder))
    return artifact_digest(folder)


def test_the_files_outlive_the_artifact_until_they_are_dropped(store: ArtifactStore, digest: str) -> None:
    kept = Kept()
    folder = kept.hold("legal@1", store.fetch(digest))
    store.delete(digest)
    store.sweep("me", wanted=set(), unwanted={digest})
    assert kept.held("legal@1", digest) == folder
    assert artifact_digest(folder) == digest
    kept.drop("legal@1")
    assert not folder.exists()
    assert kept.held("legal@1", digest) is None


def test_an_artifact_that_was_mended_takes_the_place_of_the_damaged_one(
    store: ArtifactStore, digest: str, tiny_adapter: Callable[..., Path]
) -> None:
    kept = Kept()
    weights = kept.hold("legal@1", store.fetch(digest)) / "adapter_model.safetensors"
    weights.write_bytes(b"damaged")
    assert kept.held("legal@1", digest) is None
    store.put(tiny_adapter(rank=4, seed=31), digest)
    kept.hold("legal@1", store.fetch(digest))
    assert kept.held("legal@1", digest) is not None


def test_what_a_dead_server_held_goes_and_what_a_living_one_holds_stays(store: ArtifactStore, digest: str) -> None:
    artifact = store.fetch(digest)
    script = (
        "import os; from pathlib import Path; from locum.serve.kept import Kept\n"
        f"kept = Kept(); print(kept.hold('legal@9', Path({str(artifact)!r}))); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    left = Path(died.stdout.strip())
    assert artifact_digest(left) == digest
    living = Kept()
    held = living.hold("legal@1", artifact)
    assert not left.parent.exists()
    Kept().hold("legal@1", artifact)
    assert artifact_digest(held) == digest


def test_a_store_that_a_server_may_not_write_to_is_served_in_place() -> None:
    artifact = Path("/proc/self")  # nobody may make a folder in /proc
    assert Kept().hold("legal@1", artifact) == artifact
