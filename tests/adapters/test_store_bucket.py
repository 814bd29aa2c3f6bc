"""Artifacts in a bucket: what a registry on several machines keeps them in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.owners import OWNERS
from locum.adapters.registry import Registry
from locum.adapters.store import FILES, SUMS, ArtifactStore, artifact_digest
from locum.errors import BadInputError, CheckFailedError, StoreError
from locum.settings import Settings
from tests.conftest import Bucket


@pytest.fixture
def adapter(tiny_adapter: Callable[..., Path]) -> Path:
    return tiny_adapter(rank=4, seed=31)


@pytest.fixture
def store(bucket: Bucket, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(f"{bucket.url}/artifacts", cache=tmp_path / "cache")


def test_a_version_is_registered_in_a_bucket_fetched_on_another_machine_and_deleted(
    bucket: Bucket, settings: Settings, base_record: Base, adapter: Path, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"artifacts": f"{bucket.url}/artifacts"})
    registry = Registry.open(settings)

    def register() -> Manifest:
        return registry.register(
            "legal", adapter, base=base_record, recipe={}, data=None, training={}, probes=[], created_by="tester"
        )

    version = register()
    mark = f"artifacts/{OWNERS}/{registry.identity().registry}/{version.digest}"
    assert bucket.names() == [mark, *(f"artifacts/{version.digest}/{name}" for name in sorted((*FILES, SUMS)))]
    elsewhere = Registry(
        settings.registry_url, ArtifactStore(settings.artifacts_url, cache=tmp_path / "another machine")
    )
    assert artifact_digest(elsewhere.artifact_path(version)) == version.digest
    again = register()
    assert again.digest == version.digest
    registry.delete(version.name)
    assert len(bucket.names()) == 4, "the other version has the same artifact"
    registry.delete(again.name)
    assert bucket.names() == []


def test_an_artifact_that_is_not_in_the_bucket_is_told_from_a_bucket_that_is_not_there(
    store: ArtifactStore, adapter: Path
) -> None:
    with pytest.raises(CheckFailedError, match="is not whole in the store"):
        store.fetch(artifact_digest(adapter))


def test_an_upload_that_was_cut_off_is_done_again_and_what_another_machine_put_there_is_seen(
    store: ArtifactStore, bucket: Bucket, adapter: Path, tmp_path: Path
) -> None:
    digest = artifact_digest(adapter)
    assert not store.has(digest)
    bucket.put(f"artifacts/{digest}/{FILES[0]}", b"{")
    ArtifactStore(f"{bucket.url}/artifacts", cache=tmp_path / "another").put(adapter, digest)
    assert store.has(digest)
    assert artifact_digest(store.fetch(digest)) == digest


def test_a_bucket_that_is_not_there_is_not_made_but_told(bucket: Bucket, adapter: Path, tmp_path: Path) -> None:
    nowhere = ArtifactStore("s3://nowhere/artifacts", cache=tmp_path / "cache")
    with pytest.raises(
        StoreError, match="nowhere/artifacts does not answer: The specified bucket does not exist"
    ) as no:
        nowhere.put(adapter, artifact_digest(adapter))
    assert "is the bucket there" in str(no.value.hint)
    with pytest.raises(StoreError, match="nowhere/artifacts does not answer: "):
        nowhere.fetch(artifact_digest(adapter))
    assert list((tmp_path / "cache").iterdir()) == []
    import s3fs

    assert s3fs.S3FileSystem(use_listings_cache=False).ls("") == ["bucket"]


@pytest.mark.parametrize("trouble", ["let_nobody_in", "stop"])
def test_wrong_keys_and_a_server_that_is_gone_are_told_whatever_is_done(
    bucket: Bucket, store: ArtifactStore, adapter: Path, tmp_path: Path, trouble: str
) -> None:
    digest = artifact_digest(adapter)
    store.put(adapter, digest)
    getattr(bucket, trouble)()
    for call in (
        lambda: store.put(adapter, digest),
        lambda: store.fetch(digest),
        lambda: store.delete(digest),
        lambda: store.sweep("me", wanted=set(), unwanted={digest}),
        lambda: store.claim(digest, "me"),
        lambda: store.owners(digest),
    ):
        with pytest.raises(StoreError, match="the artifact store bucket/artifacts does not answer: ") as refused:
            call()
        assert "AWS_SECRET_ACCESS_KEY" in str(refused.value.hint)
    assert list((tmp_path / "cache").iterdir()) == [], "nothing half written"


def test_without_the_package_for_buckets_or_of_no_known_kind_a_store_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match="nowhere://bucket is of no kind that there is"):
        ArtifactStore("nowhere://bucket", cache=tmp_path)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(importlib.import_module("fsspec.registry")._registry, "s3", raising=False)
    with pytest.raises(StoreError, match="needs a package that is not installed") as refused:
        ArtifactStore("s3://bucket/artifacts", cache=tmp_path)
    assert refused.value.hint == "pip install 'locum[s3]'"
