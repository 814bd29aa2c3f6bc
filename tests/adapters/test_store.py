"""Artifacts in a local folder and in a remote store: whole or not there, and checked whenever they are fetched."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from locum.adapters.owners import OWNERS
from locum.adapters.store import FILES, SUMS, ArtifactStore, artifact_digest
from locum.errors import CheckFailedError, StoreError


@pytest.fixture
def adapter(tiny_adapter: Callable[..., Path]) -> Path:
    return tiny_adapter(rank=4, seed=31)


@pytest.fixture
def local(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), cache=tmp_path / "cache")


@pytest.fixture
def url() -> str:
    """A remote store: fsspec's own in-memory one, which has no local paths, as an object store has none."""
    return f"memory://{uuid.uuid4().hex}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_put_is_fetched_and_a_local_store_is_served_in_place(
    local: ArtifactStore, adapter: Path, tmp_path: Path
) -> None:
    digest = artifact_digest(adapter)
    assert not local.has(digest)
    local.put(adapter, digest)
    assert local.has(digest)
    assert local.fetch(digest) == tmp_path / "artifacts" / digest
    assert all((local.fetch(digest) / name).read_bytes() == (adapter / name).read_bytes() for name in FILES)
    assert names(tmp_path / "artifacts") == [digest]


def test_nothing_but_the_two_files_and_their_checksums_is_kept(
    local: ArtifactStore, adapter: Path, tmp_path: Path
) -> None:
    (adapter / "README.md").write_text("# Mine")
    local.put(adapter, artifact_digest(adapter))
    assert names(local.fetch(artifact_digest(adapter))) == [SUMS, *FILES]


def test_sha256sum_can_check_an_artifact_and_its_digest(local: ArtifactStore, adapter: Path) -> None:
    digest = artifact_digest(adapter)
    local.put(adapter, digest)
    folder = local.fetch(digest)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=folder, check=True)
    assert hashlib.sha256((folder / SUMS).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_damaged_file_is_named(local: ArtifactStore, adapter: Path, name: str, damage: str) -> None:
    digest = artifact_digest(adapter)
    local.put(adapter, digest)
    path = local.fetch(digest) / name
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[-7:]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckFailedError, match=rf"was changed: {name} \({len(content)} bytes\): expected SHA-256"):
        local.fetch(digest)
    other = next(each for each in FILES if each != name)
    with pytest.raises(CheckFailedError, match=rf"^(?!.*{other})"):
        local.fetch(digest)


def test_a_missing_file_is_named(local: ArtifactStore, adapter: Path) -> None:
    digest = artifact_digest(adapter)
    local.put(adapter, digest)
    (local.fetch(digest) / FILES[1]).unlink()
    with pytest.raises(CheckFailedError, match=f"has no {FILES[1]}"):
        local.fetch(digest)


def test_damage_to_the_checksums_too_does_not_hide_damage_to_a_file(local: ArtifactStore, adapter: Path) -> None:
    digest = artifact_digest(adapter)
    local.put(adapter, digest)
    folder = local.fetch(digest)
    (folder / FILES[0]).write_text("{}")
    sums = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES)
    (folder / SUMS).write_text(sums)
    with pytest.raises(CheckFailedError, match="was changed"):
        local.fetch(digest)


def test_putting_again_mends_what_was_damaged(local: ArtifactStore, adapter: Path) -> None:
    digest = artifact_digest(adapter)
    local.put(adapter, digest)
    (local.fetch(digest) / FILES[1]).write_bytes(b"")
    local.put(adapter, digest)
    assert artifact_digest(local.fetch(digest)) == digest


def test_a_folder_that_is_not_what_its_digest_says_is_not_kept(
    local: ArtifactStore, adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckFailedError, match="changed while it was copied"):
        local.put(adapter, "0" * 64)
    assert names(tmp_path / "artifacts") == []


def test_a_deleted_artifact_is_gone_and_deleting_it_again_is_no_error(local: ArtifactStore, adapter: Path) -> None:
    digest = artifact_digest(adapter)
    local.put(adapter, digest)
    local.delete(digest)
    local.delete(digest)
    with pytest.raises(CheckFailedError):
        local.fetch(digest)


def test_a_remote_artifact_is_copied_here_once_and_checked_each_time(url: str, adapter: Path, tmp_path: Path) -> None:
    digest = artifact_digest(adapter)
    ArtifactStore(url, cache=tmp_path / "writer").put(adapter, digest)
    store = ArtifactStore(url, cache=tmp_path / "reader")
    folder = store.fetch(digest)
    assert folder == tmp_path / "reader" / digest
    (folder / FILES[1]).write_bytes(b"a damaged copy")
    assert artifact_digest(store.fetch(digest)) == digest, "a damaged local copy is fetched anew"
    fsspec.filesystem("memory").rm(f"{url}/{digest}/{FILES[1]}")
    assert artifact_digest(store.fetch(digest)) == digest, "the copy that is here is whole"
    with pytest.raises(CheckFailedError, match="is not whole in the store"):
        ArtifactStore(url, cache=tmp_path / "another").fetch(digest)
    assert names(tmp_path / "another") == []


def test_a_remote_upload_that_was_cut_off_is_done_again(url: str, adapter: Path, tmp_path: Path) -> None:
    digest = artifact_digest(adapter)
    store = ArtifactStore(url, cache=tmp_path / "cache")
    fsspec.filesystem("memory").pipe_file(f"{url}/{digest}/{FILES[0]}", b"{")
    store.put(adapter, digest)
    assert artifact_digest(store.fetch(digest)) == digest
    fs = fsspec.filesystem("memory")
    assert sorted(path.rsplit("/", 1)[-1] for path in fs.find(url)) == [SUMS, *FILES]
    store.delete(digest)
    assert not store.has(digest)


def test_what_was_left_half_written_is_swept_after_a_day_and_what_is_being_written_is_not(
    local: ArtifactStore, adapter: Path, tmp_path: Path
) -> None:
    digest = artifact_digest(adapter)
    local.claim(digest, "me")
    local.put(adapter, digest)
    now = int(time.time())
    for left in (f".part-{now - 25 * 3600}-a", f".part-{now - 3600}-b", ".part-made-before-parts-had-a-time"):
        (tmp_path / "artifacts" / left).mkdir()
    local.sweep("me", wanted={digest}, unwanted=set())
    assert names(tmp_path / "artifacts") == sorted([OWNERS, f".part-{now - 3600}-b", digest])
    local.sweep("me", wanted=set(), unwanted={digest})
    assert names(tmp_path / "artifacts") == [OWNERS, f".part-{now - 3600}-b"]


FETCH = """
import resource, sys
from pathlib import Path
from locum.adapters.store import ArtifactStore
from locum.errors import LocumError
url, cache, digest, largest = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), resource.RLIM_INFINITY))
try:
    print(ArtifactStore(url, cache=Path(cache)).fetch(digest))
except LocumError as error:
    print(f"{type(error).__name__}: {error}")
"""


def test_a_disk_that_is_full_and_a_store_that_is_down_are_told_apart_and_leave_nothing_behind(
    local: ArtifactStore, adapter: Path, tmp_path: Path
) -> None:
    digest = artifact_digest(adapter)
    local.put(adapter, digest)
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d", str(tmp_path / "artifacts"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as remote:
        assert remote.stdout is not None
        url = f"http://127.0.0.1:{remote.stdout.readline().split()[5].decode()}"

        def fetch(*, largest_file: int) -> str:
            arguments = [url, str(cache), digest, str(largest_file)]
            return subprocess.run([sys.executable, "-c", FETCH, *arguments], capture_output=True, text=True).stdout

        assert fetch(largest_file=4096).startswith("DiskFullError: there is no room for the artifact: [Errno 27]")
        assert names(cache) == []
        assert fetch(largest_file=1 << 30).strip() == str(cache / digest)
        (cache / digest).rename(tmp_path / "aside")
        remote.kill()
        remote.wait()
        assert fetch(largest_file=1 << 30).startswith(f"StoreError: the artifact store {url} does not answer: ")
        assert names(cache) == []


def test_a_local_store_that_is_not_there_is_not_taken_for_a_damaged_artifact(
    local: ArtifactStore, adapter: Path, tmp_path: Path
) -> None:
    local.put(adapter, artifact_digest(adapter))
    (tmp_path / "artifacts").rename(tmp_path / "unmounted")
    with pytest.raises(StoreError, match="artifacts is not there"):
        local.fetch(artifact_digest(adapter))
