"""A server is found where it listens, and one's own machine is asked directly whatever a company's proxy is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from locum.adapters.base import Base
from locum.adapters.probes import served_dtype
from locum.errors import BadInputError, LocumError
from locum.evaluate.chat import stream_answer
from locum.evaluate.client import session
from locum.evaluate.endpoint import read_endpoint
from locum.network import asked_directly, host_and_port, http_url, on_loopback, proxy_of
from locum.serve import launcher
from locum.serve.host import plan_for_this_host
from locum.settings import Settings, load_settings, origins
from locum.train.data.teacher import Teacher
from tests.chat import FakeModel
from tests.conftest import free_port
from tests.proxy import company_proxy, ipv6_loopback

ELSEWHERE = "http://models.example/v1"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The URLs that the company's proxy is asked for."""
    with company_proxy(monkeypatch) as asked:
        yield asked


@pytest.fixture
def here() -> Iterator[FakeModel]:
    """A server on this machine."""
    with _Here("m").answering() as model:
        yield model


class _Here(FakeModel):
    def says(self, body: dict[str, Any]) -> str:
        return "well"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("2001:db8::7", "http://[2001:db8::7]:8000"),
        ("gpu-3.example", "http://gpu-3.example:8000"),
    ],
)
def test_a_url_leads_to_where_a_server_listens(host: str, url: str) -> None:
    assert http_url(host, 8000) == url
    assert Settings(host=host).endpoint_url == f"{url}/v1"
    assert httpx.URL(url).port == 8000


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_makes_a_url_that_means_it(address: Any, port: int) -> None:
    url = httpx.URL(f"http://{host_and_port(str(address), port)}/")
    assert url.host == str(address)
    assert (url.port or 80) == port


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.1",
        "localhost",
        "LOCALHOST",
        "api.localhost.",
        "[::1]",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert on_loopback(f"http://{host}:8000/v1")
    assert on_loopback(f"https://user:secret@{host}/v1?a=b")


@pytest.mark.parametrize(
    "url",
    [ELSEWHERE, "http://localhost.example/", "http://127.0.0.1.example/", "http://10.0.0.1/", "http://[::1", "", "x",
     "http://models.example/127.0.0.1", "http://127.0.0.1@models.example/"],
)  # fmt: skip
def test_another_machine_is_not_taken_for_this_one(url: str) -> None:
    assert not on_loopback(url)


def ask_with_aiohttp(url: str) -> None:
    async def get() -> None:
        async with session(url, "", 1) as client, client.get(f"{url}/models"):
            pass

    asyncio.run(get())


def ask_with_requests(url: str) -> None:
    with asked_directly(url):
        requests.get(f"{url}/models", timeout=60)


CLIENTS: dict[str, Callable[[str], object]] = {
    "the endpoint of an evaluation": lambda url: read_endpoint(url),
    "an evaluation's questions": ask_with_aiohttp,
    "lm-evaluation-harness": ask_with_requests,
    "the probes": lambda url: served_dtype(url),
    "locum chat": lambda url: list(stream_answer(url, "", model="m", system=None, question="?", max_tokens=1)),
    "the teacher": lambda url: Teacher(Settings(teacher=url, teacher_key=SecretStr("k"))),
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())
def test_a_server_on_this_machine_is_asked_directly(
    client: Callable[[str], object], proxy: list[str], here: FakeModel
) -> None:
    with suppress(LocumError):  # it is no Locum server
        client(here.url)
    assert proxy == []


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())
def test_other_machines_are_asked_by_the_proxy_that_the_environment_names(
    client: Callable[[str], object], proxy: list[str]
) -> None:
    with suppress(LocumError):
        client(ELSEWHERE)
    assert proxy and all(url.startswith(ELSEWHERE) for url in proxy)


def test_what_other_libraries_are_told_lasts_no_longer_than_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intern.example")
    monkeypatch.delenv("no_proxy", raising=False)
    with asked_directly("http://[::1]:8000/v1"):
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intern.example,::1"
    assert os.environ["NO_PROXY"] == "intern.example"
    assert "no_proxy" not in os.environ


def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@proxy.example:1080")
    with pytest.raises(BadInputError, match="socks5") as caught:
        proxy_of(ELSEWHERE)
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")
    assert proxy_of(ELSEWHERE) == "http://proxy.example:3128"


def test_the_launcher_hears_its_own_server_past_a_proxy(proxy: list[str], here: FakeModel) -> None:
    server: Any = SimpleNamespace(url=here.url, log=None)
    assert launcher._waiting_for(server) is None
    assert proxy == []


@pytest.mark.skipif(not ipv6_loopback(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_a_server_on_an_ipv6_address_is_at_the_url_that_is_printed(
    host: str, settings: Settings, base_record: Base, proxy: list[str]
) -> None:
    at = settings.model_copy(update={"host": host, "port": free_port()})
    server = launcher.start(at, base_record, plan_for_this_host())
    try:
        assert server.endpoint == f"http://[::1]:{at.port}/v1" == at.endpoint_url
        answer = httpx.get(f"{server.url}/ready", timeout=60, trust_env=False)
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
    finally:
        launcher.stop(server, timeout=0)


def test_kubernetes_variables_of_a_service_called_locum_are_passed_over_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "LOCUM_PORT": "tcp://10.0.0.1:8000",
        "LOCUM_SERVICE_HOST": "10.0.0.1",
        "LOCUM_SERVICE_PORT": "8000",
        "LOCUM_SERVICE_PORT_HTTP": "8000",
        "LOCUM_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "LOCUM_PORT_8000_TCP_PROTO": "tcp",
        "LOCUM_PORT_8000_TCP_PORT": "8000",
        "LOCUM_PORT_8000_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    assert (load_settings().port, load_settings().host) == (8000, "127.0.0.1")
    assert origins(load_settings())["port"] == "default"
    (tmp_path / "locum.toml").write_text("port = 9001\n")
    assert load_settings().port == 9001
    assert load_settings(port=9002).port == 9002
    said = capfd.readouterr().err.splitlines()
    assert said == ["LOCUM_PORT=tcp://10.0.0.1:8000 is passed over: Kubernetes sets it for a service called `locum`"]
