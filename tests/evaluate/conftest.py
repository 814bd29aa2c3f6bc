"""An evaluation without a server, and a laboratory around the real one: a proxy that disturbs, a registry to write to.

The laboratory's registry is a copy of the server's, so that what these tests record meets no other test.
"""

from __future__ import annotations

import json
import random
import re
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from locum.adapters.card import DomainCard, Source
from locum.adapters.domains import Domain, load_domain
from locum.adapters.suites import SuiteCard, Thresholds
from locum.adapters.system_prompt import HEADER
from locum.errors import UnservableError
from locum.evaluate.answers import Answer, Contender, Role
from locum.evaluate.conclusion import Run, conclude
from locum.evaluate.result import EvaluationResult
from locum.evaluate.samples import Sample
from locum.evaluate.scoring import load_metrics
from locum.evaluate.suite import Suite, load_suites
from locum.serve.http_errors import error_response
from locum.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import LiveServer

CHAPTERS = ["Respiratory", "Circulatory", "Neoplasms", "Injury"]


def write_rows(path: Path, count: int) -> None:
    """A test split of `count` questions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "conversations": [
                {"role": "user", "content": f"Diagnosis number {index}"},
                {"role": "assistant", "content": CHAPTERS[index % len(CHAPTERS)]},
            ]
        }
        for index in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    card = DomainCard(
        name="medical",
        description="Places diagnoses.",
        system_prompt="Answer with the chapter's name.",
        source=Source(files=["rows.jsonl"]),
        notices=["Not a medical device."],
        example="Where does asthma belong?",
    )
    suite = SuiteCard(name="diagnoses", thresholds=Thresholds(min_samples=10, min_score=0.3, margin=0.15))
    return Domain(card, tmp_path / "domains" / "medical", (suite,))


@pytest.fixture
def suite(domain: Domain, tmp_path: Path) -> Suite:
    write_rows(tmp_path / "data" / "test.jsonl", 120)
    [loaded] = load_suites(domain, tmp_path / "data")
    return loaded


def answer_of(contender: Contender, sample: Sample, text: str, latency_s: float = 0.5) -> Answer:
    right = float(text == sample.reference)
    return Answer(
        sample=sample.id,
        model=contender.name,
        digest=contender.digest,
        answered_by=contender.name,
        messages=list(sample.messages),
        reference=sample.reference,
        answer=text,
        scores={"exact_match": right, "token_f1": right, "rouge_l": right},
        latency_s=latency_s,
        completion_tokens=3,
        finish_reason="stop",
        attempts=1,
    )


@pytest.fixture
def made(suite: Suite, tmp_path: Path) -> Callable[..., tuple[EvaluationResult, list[Answer]]]:
    """A result and its answers, from the share of right answers that each role gives."""

    def make(
        shares: dict[Role, float] | None = None, *, domain: str = "medical", wrong: str = "I think it is hard to say."
    ) -> tuple[EvaluationResult, list[Answer]]:
        shares = shares or {"version": 0.7, "base": 0.1}
        chance = random.Random(7)
        names = {"version": f"{domain}@2", "base": "tiny", "production": f"{domain}@1", "against": f"{domain}@7"}
        contenders = [Contender(names[role], role, f"digest-of-{role}") for role in shares]
        answers = [
            answer_of(
                contender,
                sample,
                sample.reference if chance.random() < shares[contender.role] else wrong,
                chance.lognormvariate(-0.6, 0.4),
            )
            for sample in suite.samples
            for contender in contenders
        ]
        metrics = load_metrics(suite)
        run = Run(
            contenders=contenders,
            against="tiny",
            endpoint="http://127.0.0.1:8000/v1",
            concurrency=8,
            command=f"locum eval {domain} --model {domain}@2 --against base --suite diagnoses",
            folder=tmp_path / "run",
            created_by="ada",
        )
        result = conclude(replace(suite, domain=domain), metrics, answers, run)
        result = result.model_copy(update={"created_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)})
        return result, answers

    return make


class Proxy(ThreadingHTTPServer):
    """Stands between a client and the real server, and does to each request what `fault` says.

    `fault(request)` gives None to pass it on, a status to answer with, or one of: `drop` the connection, send `half`
    an answer, `hang` until the client has left, say that the model is `unservable`, pass it on but name another model
    (`impostor`), or as `abort`ed by the server.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.fault: Callable[[dict[str, Any]], int | str | None] = lambda request: None
        self.requests: list[dict[str, Any]] = []
        self.authorizations: set[str | None] = set()
        self.switches: set[str | None] = set()  # what requests say of the system prompt that a server gives
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.client = httpx.Client(timeout=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def faults_in_turn(self, *faults: int | str) -> None:
        """The first questions meet these faults, one each; whatever is asked later or again passes."""
        left, met = list(faults), set()

        def fault(request: dict[str, Any]) -> int | str | None:
            question = json.dumps([request.get(field) for field in ("model", "messages", "prompt")])
            if not left or question in met:
                return None
            met.add(question)
            return left.pop(0)

        self.fault = fault

    def forget(self) -> None:
        """Pass everything from now on, and count anew."""
        self.fault = lambda request: None
        self.requests.clear()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:  # the name that http.server calls
        self._pass_on(self.server.client.get(self.server.upstream + self.path.removeprefix("/v1")))

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        proxy = self.server
        with proxy.lock:
            fault = proxy.fault(request)
            proxy.requests.append(request)
            proxy.authorizations.add(self.headers["authorization"])
            proxy.switches.add(self.headers[HEADER])
            proxy.in_flight += 1
            proxy.most_in_flight = max(proxy.most_in_flight, proxy.in_flight)
        self._answer(request, fault)

    def _answer(self, request: dict[str, Any], fault: int | str | None) -> None:
        if isinstance(fault, int):
            self._send(fault, json.dumps({"error": {"message": f"fault {fault}"}}).encode(), {"retry-after": "0.2"})
        elif fault == "unservable":
            error = UnservableError(f"{request['model']} cannot be served: its rank is 32")
            self._send(error.http_status, bytes(error_response(error).body), dict(error.headers))
        elif fault == "drop":
            self._leave()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "half":
            self._send(200, b'{"model": "', {}, length=1000)
            self.close_connection = True
        elif fault == "hang":
            with suppress(ConnectionError):
                self.connection.recv(1)
            self._leave()
            self.close_connection = True
        else:
            url = self.server.upstream + self.path.removeprefix("/v1")
            self._pass_on(self.server.client.post(url, json=request), fault)

    def _pass_on(self, response: httpx.Response, fault: int | str | None = None) -> None:
        content = response.content
        if fault == "impostor":
            content = re.sub(rb'"model":"[^"]*"', b'"model":"medical@99"', content)
        if fault == "abort":
            content = re.sub(rb'"finish_reason":"[^"]*"', b'"finish_reason":"abort"', content)
        kept = {key: value for key, value in response.headers.items() if key in {"content-type", "x-locum-adapter"}}
        self._send(response.status_code, content, kept)

    def _leave(self) -> None:
        """Before the client can know that its answer is there, and ask for more."""
        if self.command == "POST":
            with self.server.lock:
                self.server.in_flight -= 1

    def _send(self, status: int, content: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self._leave()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(length or len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@dataclass(frozen=True)
class Laboratory:
    """The real server behind a proxy, a copy of its registry, and domains whose expected answers tests choose."""

    server: LiveServer
    proxy: Proxy
    settings: Settings

    def ask(self, model: str, question: str) -> str:
        """What the model says to a question, as the suite of `expect` asks it."""
        body = {
            "model": model,
            "messages": [{"role": "system", "content": "Answer."}, {"role": "user", "content": question}],
            "max_tokens": 8,
            "temperature": 0,
            "seed": 0,
        }
        response = httpx.post(f"{self.server.endpoint}/chat/completions", json=body, timeout=60)
        return str(response.raise_for_status().json()["choices"][0]["message"]["content"])

    def expect(
        self,
        domain: str,
        answers_of: str | None = None,
        *,
        samples: int = 12,
        card: dict[str, Any] | None = None,
        suite_card: dict[str, Any] | None = None,
        **thresholds: Any,
    ) -> Domain:
        """Write a domain whose suite expects what `answers_of` says; without it, what nobody says.

        `card` and `suite_card` are further fields of the two files.
        """
        folder = self.settings.domains / domain
        folder.mkdir(parents=True, exist_ok=True)
        questions = [f"What is number {index} in {domain}?" for index in range(samples)]
        rows = [
            {
                "conversations": [
                    {"role": "user", "content": question},
                    {
                        "role": "assistant",
                        "content": self.ask(answers_of, question) if answers_of else "Nobody says so",
                    },
                ]
            }
            for question in questions
        ]
        suite = folder / "suites" / "held-out"
        suite.mkdir(parents=True, exist_ok=True)
        (suite / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        domain_card = {
            "name": domain,
            "description": "A domain of the tests.",
            "system_prompt": "Answer.",
            "source": {"files": ["rows.jsonl"]},
            "notices": ["This is a test."],
            "example": questions[0],
            **(card or {}),
        }
        fields = {
            "name": "held-out",
            "samples": "samples.jsonl",
            "generation": {"max_tokens": 8},
            "thresholds": {"min_samples": samples, **thresholds},
            **(suite_card or {}),
        }
        (folder / "card.yaml").write_text(json.dumps(domain_card), encoding="utf-8")
        (suite / "suite.yaml").write_text(json.dumps(fields), encoding="utf-8")
        return load_domain(self.settings.domains, domain)

    def change_registry(self, statement: str) -> None:
        """Run SQL on the copy: the registry and the server then mean different things."""
        with sqlite3.connect(self.settings.registry_url.removeprefix("sqlite:///")) as database:
            database.execute(statement)

    def asked(self) -> Counter[str]:
        """How many requests each model has got through the proxy."""
        return Counter(request["model"] for request in self.proxy.requests)


@pytest.fixture
def laboratory(server: LiveServer, tmp_path: Path) -> Iterator[Laboratory]:
    copy = tmp_path / "registry.db"
    with (
        sqlite3.connect(server.settings.registry_url.removeprefix("sqlite:///")) as source,
        sqlite3.connect(copy) as target,
    ):
        source.backup(target)
    proxy = Proxy(server.endpoint)
    settings = server.settings.model_copy(
        update={
            "home": tmp_path / "home",
            "domains": tmp_path / "laboratory",
            "registry": f"sqlite:///{copy}",
            "artifacts": server.settings.artifacts_url,
            "endpoint": proxy.url,
        }
    )
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield Laboratory(server, proxy, settings)
    proxy.shutdown()
    proxy.server_close()
    proxy.client.close()
