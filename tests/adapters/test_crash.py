"""An action that dies at any step leaves the old world or the new one, and the next process goes on from there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from locum.adapters.base import Base
from locum.adapters.registry import Registry
from locum.adapters.store import artifact_digest
from locum.settings import Settings
from tests.adapters.model import after, seen_in
from tests.adapters.worker import Order, Place, Worker

ARTIFACT = 4  # the number of the adapter that is not registered yet


@pytest.fixture
def worker() -> Iterator[Worker]:
    found = Worker()
    yield found
    found.stop()


@pytest.fixture
def prepared(settings: Settings, base_record: Base, tiny_adapter: Callable[..., Path], worker: Worker) -> Place:
    """A home with legal@2 in production, legal@1 before it, legal@3 proven and legal@4 the candidate."""
    first = tiny_adapter(rank=4, seed=70)
    adapters = [first]
    for number in range(1, ARTIFACT + 1):
        adapters.append(first.with_name(f"another-{number}"))
        shutil.copytree(first, adapters[-1])
        config = adapters[-1] / "adapter_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "revision": f"{number}"}))
    place = Place(settings.home, settings.bases, tuple(adapters))
    for order in (
        *(Order("register", artifact=number) for number in range(4)),
        Order("require"),
        Order("evaluate", number=3),
        Order("release", number=1),
        Order("release", number=2),
    ):
        assert worker.do(place, order) is not None
    return place


@pytest.mark.parametrize(
    "order",
    [
        Order("register", artifact=ARTIFACT),
        Order("release", number=3, force=False),
        Order("rollback"),
        Order("delete", number=4),
        Order("evaluate", number=4),
        Order("require", suite_digest="s2"),
    ],
    ids=lambda order: order.action,
)
def test_an_action_killed_at_any_step_happened_as_a_whole_or_not_at_all(
    prepared: Place, worker: Worker, tmp_path: Path, order: Order
) -> None:
    old = seen_in(Registry.open(Settings(home=prepared.home)))
    new, _ = after(old, order, digests=[artifact_digest(folder) for folder in prepared.adapters], next_number=5)
    happened = []
    outcome = None
    while outcome is None:
        step = len(happened) + 1
        home = tmp_path / f"dies-at-{step}"
        shutil.copytree(prepared.home, home, ignore=shutil.ignore_patterns("bases"))
        place = Place(home, prepared.bases, prepared.adapters)
        outcome = worker.do(place, Order(**{**vars(order), "dies_at": step}))

        registry = Registry.open(Settings(home=home))
        seen = seen_in(registry)
        assert seen in (old, new)
        happened.append(seen == new)
        for name in seen.versions:
            registry.artifact_path(registry.resolve(name))
        assert worker.do(place, Order("register", domain="medical", artifact=ARTIFACT)) == "medical@1"
        registry.artifact_path(registry.resolve("medical@1"))
        registry._engine.dispose()
        shutil.rmtree(home)
    assert len(happened) > 4, "the steps were not seen"
    assert happened == sorted(happened), "what has happened stays so, whichever step dies after it"
    assert happened[-1]
