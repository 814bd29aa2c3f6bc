"""What a test needs of the Hugging Face hub, over HTTP: repositories that are made, written and read."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_tests"


class Hub:
    """A hub with one user, whose token is `TOKEN`. Private repositories and those of `closed/…` are for nobody else."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.messages: list[str] = []
        self.blobs: dict[str, bytes] = {}
        hub = self

        class Handler(_Handler):
            def answer(self, method: str) -> None:
                hub.answer(self, method)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit_of(self, name: str) -> str:
        content = sorted((path, hashlib.sha256(data).hexdigest()) for path, data in self.repositories[name].items())
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()

    def answer(self, request: _Handler, method: str) -> None:
        path, body = request.path.partition("?")[0], request.body()
        signed = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        if method == "POST" and path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization')}/{asked['name']}"
            if not signed:
                return request.json(401, {"error": "Invalid username or password."})
            if name.startswith("closed/"):
                return request.json(403, {"error": "You don't have the rights to create a model under this namespace"})
            if name in self.repositories:
                return request.json(409, {"error": "You already created this model repo", "url": f"{self.url}/{name}"})
            self.repositories[name] = {}
            self.private |= {name} if asked.get("visibility") == "private" else set()
            return request.json(200, {"url": f"{self.url}/{name}", "id": name})
        if method == "POST" and path == "/api/validate-yaml":
            return request.json(200, {"errors": [], "warnings": []})
        if method == "PUT" and path.startswith("/blobs/"):
            self.blobs[path.removeprefix("/blobs/")] = body
            return request.json(200, {})
        match = re.match(r"/(?:api/models/)?(?P<name>[\w.-]+/[\w.-]+?)(?:\.git)?(?P<rest>/.*)?$", path)
        name, rest = (match["name"], match["rest"] or "") if match else ("", "")
        if name not in self.repositories or (name in self.private and not signed):
            return request.json(401, {"error": "Repository Not Found"}, {"X-Error-Code": "RepoNotFound"})
        files = self.repositories[name]
        if rest.startswith("/preupload/"):
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith((".safetensors", ".gguf")) else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            return request.json(200, {"files": modes})
        if rest == "/info/lfs/objects/batch":
            objects = [
                {**each, "authenticated": True, "actions": {"upload": {"href": f"{self.url}/blobs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return request.json(200, {"transfer": "basic", "objects": objects})
        if rest.startswith("/commit/"):
            for line in (json.loads(line) for line in body.splitlines()):
                value = line["value"]
                if line["key"] == "header":
                    self.messages.append(value["summary"])
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.blobs[value["oid"]]
            commit = self.commit_of(name)
            url = f"{self.url}/{name}/commit/{commit}"
            return request.json(200, {"success": True, "commitOid": commit, "commitUrl": url})
        if rest.startswith("/resolve/"):
            content = files.get(rest.split("/", 3)[3])
            if content is None:
                return request.json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            headers = {"X-Repo-Commit": self.commit_of(name), "ETag": etag}
            return request.send(200, content, headers, body=method != "HEAD")
        if rest.startswith("/revision/") and rest.removeprefix("/revision/") not in ("main", self.commit_of(name)):
            return request.json(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        if rest.startswith("/tree/"):
            listed = [{"type": "file", "path": path, "size": len(files[path]), "oid": "0"} for path in sorted(files)]
            return request.json(200, listed)
        siblings = [{"rfilename": path} for path in sorted(files)]
        return request.json(
            200, {"id": name, "sha": self.commit_of(name), "siblings": siblings, "private": name in self.private}
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, method: str) -> None:
        raise NotImplementedError

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def json(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer("GET")

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def log_message(self, *_: object) -> None:
        pass
