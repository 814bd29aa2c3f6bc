"""Names of a server whose registry hangs: what it has heard of answers at once, and nobody waits without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from locum.adapters.base import Base
from locum.adapters.registry import Registry
from locum.errors import NotFoundError, UnavailableError, UnservableError
from locum.serve import loader, swap
from locum.serve.engine import Engine
from locum.serve.swap import Swap
from locum.settings import Settings
from tests.locked import locked
from tests.records import register_plainly


async def loads_anything(request: object) -> None:
    pass


@pytest.fixture
async def names(
    settings: Settings, base_record: Base, tiny_adapter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Swap]:
    """The names of a server with legal@1 in production, over an engine that loads whatever it is told to.

    Who waits for a registry that does not answer waits until the test is over.
    """
    monkeypatch.setattr(swap, "READ_SECONDS", 600)
    registry = Registry.open(settings, busy_seconds=600)
    register_plainly(registry, "legal", tiny_adapter(rank=4), base_record)
    registry.release("legal@1", by="tester", reason="first", force=True)
    lora = SimpleNamespace(max_lora_rank=8, max_cpu_loras=8)
    client = SimpleNamespace(
        vllm_config=SimpleNamespace(lora_config=lora),
        model_config=SimpleNamespace(dtype="torch.float32"),
        errored=False,
        add_lora=loads_anything,
    )
    models = SimpleNamespace(base_model_paths=[SimpleNamespace(name=base_record.name)], lora_requests={})
    found = Swap(registry, Engine(client, models), base_record)  # type: ignore[arg-type]
    found.start()
    async with asyncio.timeout(60):
        while found.waiting_for() is not None:
            await asyncio.sleep(0.01)
    yield found
    assert found._watcher is not None
    found._watcher.cancel()


async def name_of(names: Swap, model: str) -> str | None:
    """The version that a model's name means, by its manifest."""
    entry = await names.resolve(model)
    return entry.manifest.name if entry else None


async def test_what_the_server_has_heard_of_is_named_while_whoever_asks_the_registry_waits(
    names: Swap, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(settings.home / "registry.db"):
        async with asyncio.timeout(60):
            hearing = asyncio.create_task(names.hear())
            await asyncio.sleep(0)
            assert await name_of(names, "legal") == "legal@1"
            assert await name_of(names, "legal@1") == "legal@1"
            assert await names.resolve("tiny-llama") is None
            assert not hearing.done()
            monkeypatch.setattr(swap, "READ_SECONDS", 0.1)
            with pytest.raises(UnavailableError, match="`nobody` is not known here, and the registry has not answered"):
                await names.resolve("nobody")
            assert not hearing.done()
    async with asyncio.timeout(60):
        await hearing
    assert names.stale is None


async def test_a_deleted_version_that_an_alias_still_means_here_keeps_its_manifest(
    names: Swap, base_record: Base, tiny_adapter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(names.engine, "load", fails)
    for seed in (2, 3):  # the last but one is what a rollback would go back to, and cannot be deleted
        made = register_plainly(names.registry, "legal", tiny_adapter(rank=4, seed=seed), base_record)
        names.registry.release(made.name, by="tester", reason="next", force=True)
    names.registry.delete("legal@1")
    await names.settle("legal")
    assert await name_of(names, "legal") == "legal@1"


@pytest.mark.parametrize("asked", ["legl", "Legal", "legal@11", "legal:1", "legal-1"])
async def test_an_unknown_model_is_told_what_was_probably_meant_before_all_that_there_is(
    names: Swap, asked: str
) -> None:
    with pytest.raises(NotFoundError) as caught:
        await names.resolve(asked)
    said = str(caught.value)
    assert said.startswith(f"The model `{asked}` does not exist. Did you mean `legal")
    assert said.endswith("There is: tiny-llama, legal, legal@1.")


async def test_of_a_version_that_this_server_cannot_answer_nothing_is_proposed(
    names: Swap, base_record: Base, tiny_adapter: Callable[..., Path]
) -> None:
    other = base_record.model_copy(update={"fingerprint": "f" * 64})
    register_plainly(names.registry, "oncology", tiny_adapter(rank=4, seed=5), other)
    with pytest.raises(NotFoundError) as caught:
        await names.resolve("oncolgy@1")
    assert "oncology" not in str(caught.value)


async def test_a_version_of_too_high_a_rank_is_refused_for_good_and_not_tried_again(
    names: Swap, base_record: Base, tiny_adapter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = register_plainly(names.registry, "legal", tiny_adapter(rank=16), base_record)
    names.registry.release(made.name, by="tester", reason="the next step of the docs", force=True)
    await names.settle("legal")
    assert await name_of(names, "legal") == "legal@1"
    assert not names.converged("legal")
    assert names.problems["legal"].startswith("legal@2 cannot be served: its rank is 16, this server holds up to 8")
    monkeypatch.setattr(loader, "RETRY_SECONDS", 0)
    assert not names.loader.may_try("legal@2")
    with pytest.raises(UnservableError, match="its rank is 16, this server holds up to 8: restart it") as caught:
        await names.resolve("legal@2")
    assert (caught.value.http_status, dict(caught.value.headers)) == (422, {"x-should-retry": "false"})


async def test_what_may_pass_is_refused_for_a_while(names: Swap) -> None:
    error = loader.Failure("the store does not answer", "store").error("legal@1")
    assert (error.http_status, dict(error.headers), type(error)) == (503, {"retry-after": "10"}, UnavailableError)
