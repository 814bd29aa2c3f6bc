"""Data that lies elsewhere: in buckets, and on the Hugging Face hub."""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from locum.adapters.domains import Domain, load_domain
from locum.errors import NotFoundError, UnavailableError
from locum.settings import Settings
from locum.train.data import files
from locum.train.data.build import build_data
from locum.train.data.check import check_file
from locum.train.data.files import read_rows
from locum.train.data.places import expand
from tests.conftest import Bucket


def rows(count: int, *, start: int = 0) -> list[dict[str, str]]:
    return [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(start, start + count)]


def lines(count: int) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows(count)).encode()


def parquet(count: int, *, start: int = 0) -> bytes:
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows(count, start=start)), content)
    return content.getvalue()


@pytest.fixture
def legal(settings: Settings, domain_folder: Path) -> Domain:
    return load_domain(settings.domains, "legal")


def with_files(domain: Domain, *names: str) -> Domain:
    source = domain.card.source.model_copy(update={"files": list(names)})
    return Domain(domain.card.model_copy(update={"source": source}), domain.folder)


def test_a_domain_is_built_from_files_and_patterns_in_a_bucket(bucket: Bucket, legal: Domain, tmp_path: Path) -> None:
    bucket.put("rows.jsonl", lines(60))
    for part in (1, 2):
        bucket.put(f"parts/{part}.parquet", parquet(40, start=60 + 40 * (part - 1)))
    domain = with_files(legal, f"{bucket.url}/rows.jsonl", f"{bucket.url}/parts/*.parquet")
    built = build_data(domain, tmp_path / "legal")
    assert built.rows_read == sum(split.rows for split in built.record.splits.values()) == 140
    assert [origin.split(":")[0] for origin in built.origins] == ["rows.jsonl", "1.parquet", "2.parquet"]


def test_a_file_in_a_bucket_that_has_changed_is_read_anew(bucket: Bucket, legal: Domain, tmp_path: Path) -> None:
    domain = with_files(legal, f"{bucket.url}/*.jsonl")
    for count in (60, 90):
        bucket.put("rows.jsonl", lines(count))
        assert build_data(domain, tmp_path / "legal").rows_read == count


def test_a_pattern_in_a_bucket_finds_a_sheet_of_each_workbook(bucket: Bucket) -> None:
    for name in ("b.xlsx", "a.xlsx", "a.csv"):
        bucket.put(f"sheets/{name}", b"")
    assert expand(Path(), [f"{bucket.url}/sheets/*.xlsx#rows"]) == [
        "s3://bucket/sheets/a.xlsx#rows",
        "s3://bucket/sheets/b.xlsx#rows",
    ]


@pytest.mark.parametrize("name", ["bucket/none.jsonl", "bucket/*.parquet", "nowhere/rows.jsonl", "nowhere/*.jsonl"])
def test_what_is_not_in_a_bucket_or_has_none_is_named(bucket: Bucket, name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        for location in expand(Path(), [f"s3://{name}"]):
            list(read_rows(location))
    assert str(caught.value) == f"there is no file s3://{name}"


@pytest.mark.parametrize("name", ["rows.jsonl", "*.jsonl"])
def test_wrong_keys_are_told_and_where_they_come_from(bucket: Bucket, legal: Domain, tmp_path: Path, name: str) -> None:
    bucket.put("rows.jsonl", lines(60))
    bucket.let_nobody_in()
    with pytest.raises(UnavailableError, match=r"s3://bucket/.*jsonl cannot be read: PermissionError: ") as caught:
        build_data(with_files(legal, f"{bucket.url}/{name}"), tmp_path / "legal")
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value.hint)
    assert not (tmp_path / "legal").exists()


def test_a_server_that_goes_while_a_file_is_read_is_not_taken_for_a_damaged_file(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    bucket.put("rows.jsonl", lines(5000))
    monkeypatch.setattr(s3fs.S3FileSystem, "default_block_size", 1 << 16)
    reading = read_rows(f"{bucket.url}/rows.jsonl")
    assert next(reading).number == 1
    bucket.stop()
    with pytest.raises(UnavailableError, match=r"s3://bucket/rows\.jsonl cannot be read: .*[Cc]onnect"):
        list(reading)


def test_without_the_package_for_buckets_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(importlib.import_module("fsspec.registry")._registry, "s3", raising=False)
    with pytest.raises(UnavailableError, match="needs a package that is not installed") as caught:
        check_file("s3://bucket/rows.jsonl")
    assert caught.value.hint == "pip install 'locum[s3]'"


class Hub(BaseHTTPRequestHandler):
    """The hub's API for the one file rows.parquet of datasets/org/name."""

    file = parquet(3)
    commit = "c" * 40

    def do_GET(self) -> None:
        if self.path.startswith("/api/datasets/org/name/tree/"):
            self._json([self._entry()])
        elif self.path == "/api/datasets/org/name":
            self._json({"id": "org/name", "sha": self.commit})
        elif self.path.startswith("/datasets/org/name/resolve/") and self.path.endswith("/rows.parquet"):
            self._file()
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if self.path.startswith("/api/datasets/org/name/paths-info/"):
            self._json([self._entry()])
        else:
            self.send_error(404)

    def _entry(self) -> dict[str, Any]:
        return {"type": "file", "path": "rows.parquet", "size": len(self.file), "oid": "a" * 40}

    def _file(self) -> None:
        first, _, last = self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = self.file[int(first) : int(last) + 1 if last else None]
        self.send_response(206 if "range" in self.headers else 200)
        self.send_header("x-repo-commit", self.commit)
        self.send_header("etag", '"a"')
        self._body(part)

    def _json(self, value: Any) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self._body(json.dumps(value).encode())

    def _body(self, content: bytes) -> None:
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def check(location: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: huggingface_hub reads its variables when it is imported."""
    command = [sys.executable, "-m", "locum", "data", "check", location]
    environment = {**os.environ, "COLUMNS": "300", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_file_on_the_hub_is_read(tmp_path: Path) -> None:
    with hub() as endpoint:
        variables = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
        found = check("hf://datasets/org/name/rows.parquet", **variables)
        assert found.returncode == 0, found.stderr
        assert "3 rows, all right" in found.stdout
        missing = check("hf://datasets/org/other/rows.parquet", **variables)
    assert missing.returncode != 0
    assert "hf://datasets/org/other/rows.parquet" in missing.stderr
    gone = check("hf://datasets/org/name/rows.parquet", **variables)
    assert gone.returncode == 3
    assert "check the address and the network" in gone.stderr


def test_offline_a_file_on_the_hub_is_refused_and_it_is_said_what_to_do(tmp_path: Path) -> None:
    refused = check("hf://datasets/org/name/rows.parquet", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert refused.returncode == 3
    assert "offline mode is enabled" in refused.stderr
    assert "unset HF_HUB_OFFLINE, or name a copy of the file that is on this machine" in refused.stderr


def test_how_far_a_file_was_read_is_told_by_its_bytes_or_its_rows(tmp_path: Path) -> None:
    contents = {"rows.jsonl": lines(5000), "rows.parquet": parquet(5000)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        told: list[float] = []
        for _ in read_rows(str(tmp_path / name), watch=told.append):
            pass
        assert len(told) == 5000 // files.BATCH
        assert told == sorted(told)
        assert 0 <= told[0] < 0.5 < told[-1] <= 1
