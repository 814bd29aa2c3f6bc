"""What `/ready` says to anybody: which version lacks what, and no host, user or path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import httpx
import pytest
from fastapi import FastAPI

from locum.adapters.base import Base
from locum.adapters.registry import Registry
from locum.errors import DiskFullError, UnavailableError
from locum.serve import routes
from locum.serve.engine import Engine
from locum.serve.loader import IN_GENERAL, Kind
from locum.serve.stopping import Drain
from locum.serve.swap import Swap
from locum.settings import Settings
from tests.records import register_plainly

SECRET = "db.internal.example:5432"


def weights_are_gone(settings: Settings, registry: Registry, client: SimpleNamespace) -> None:
    (registry.artifact_path(registry.resolve("legal@1")) / "adapter_model.safetensors").unlink()


def store_is_away(settings: Settings, registry: Registry, client: SimpleNamespace) -> None:
    Path(settings.artifacts_url).rename(settings.home / "unmounted")


def disk_is_full(settings: Settings, registry: Registry, client: SimpleNamespace) -> None:
    raises(registry, "artifact_path", DiskFullError(f"no room in {settings.home}"))


def rank_is_too_high(settings: Settings, registry: Registry, client: SimpleNamespace) -> None:
    client.vllm_config.lora_config.max_lora_rank = 2


def engine_refuses(settings: Settings, registry: Registry, client: SimpleNamespace) -> None:
    async def add_lora(request: object) -> None:
        raise RuntimeError(f"cannot read {settings.home} as tester on {SECRET}")

    client.add_lora = add_lora


def registry_is_away(settings: Settings, registry: Registry, client: SimpleNamespace) -> None:
    raises(registry, "revision", UnavailableError(f"tester cannot connect to {SECRET}"))


def raises(registry: Registry, method: str, error: Exception) -> None:
    def fail(*arguments: object) -> None:
        raise error

    setattr(registry, method, fail)


FAULTS: dict[Callable[[Settings, Registry, SimpleNamespace], None], str] = {
    weights_are_gone: "legal@1: its artifact is damaged or gone",
    store_is_away: "legal@1: the artifact store cannot be reached",
    disk_is_full: "legal@1: the disk has no room for its artifact",
    rank_is_too_high: "legal@1: it does not fit the base model or the rank of this server",
    engine_refuses: "legal@1: the engine cannot load it",
    registry_is_away: "the registry cannot be read",
}


async def loads_anything(request: object) -> None:
    pass


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_ready_says_what_is_wrong_and_names_no_host_user_or_path(
    settings: Settings,
    base_record: Base,
    tiny_adapter: Callable[..., Path],
    fault: Callable[[Settings, Registry, SimpleNamespace], None],
) -> None:
    registry = Registry.open(settings)
    register_plainly(registry, "legal", tiny_adapter(rank=4), base_record)
    registry.release("legal@1", by="tester", reason="first", force=True)
    client = SimpleNamespace(
        vllm_config=SimpleNamespace(lora_config=SimpleNamespace(max_lora_rank=8, max_cpu_loras=8)),
        model_config=SimpleNamespace(dtype="torch.float32"),
        errored=False,
        add_lora=loads_anything,
    )
    fault(settings, registry, client)
    models = SimpleNamespace(base_model_paths=[SimpleNamespace(name=base_record.name)], lora_requests={})
    swap = Swap(registry, Engine(client, models), base_record)  # type: ignore[arg-type]
    app = FastAPI()
    app.include_router(routes.router)
    app.state.locum = SimpleNamespace(swap=swap, drain=Drain())
    swap.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        async with asyncio.timeout(60):
            while not (swap.problems or swap.stale):
                await asyncio.sleep(0.01)
        answer = await http.get("/ready")
    assert swap._watcher is not None
    swap._watcher.cancel()
    content: dict[str, Any] = {"ready": False, "waiting_for": FAULTS[fault]}
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (503, content, "10")


def test_every_kind_of_failure_has_words_that_anybody_may_read() -> None:
    assert set(IN_GENERAL) == set(get_args(Kind))
    assert all(words.replace(" ", "").isalpha() for words in IN_GENERAL.values())
