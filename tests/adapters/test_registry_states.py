"""Two processes do to two registries with one store whatever comes to mind, also at once, and are killed in the middle
of it.

Beside each registry stands a model of what the design allows: actions follow each other in some order, each as a whole
or not at all. A registration may be refused while the other registry removes the same artifact, or died removing it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from locum.adapters import store
from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.owners import OWNERS
from locum.adapters.registry import Registry
from locum.adapters.store import PART, artifact_digest
from locum.settings import Settings
from tests.adapters.model import DOMAINS, World, after, seen_in
from tests.adapters.worker import Order, Place, Worker

ARTIFACTS = 3

orders = st.builds(
    Order,
    # the actions that move names are the likelier ones
    action=st.sampled_from(("register", "register", "release", "release", "rollback", "delete", "evaluate", "require")),
    domain=st.sampled_from(DOMAINS),
    number=st.integers(1, 4),
    artifact=st.integers(0, ARTIFACTS - 1),
    force=st.booleans(),
    passed=st.booleans(),
    production=st.none() | st.integers(1, 2),
    suite_digest=st.sampled_from(("s1", "s2")),
)


seats = st.sampled_from((0, 0, 1))


class Seat:
    """A registry, and what there should be in it."""

    def __init__(self, place: Place, registry: Registry, digests: list[str]) -> None:
        self.place = place
        self.registry = registry
        self.digests = digests
        self.world = World()
        self.revision = registry.revision()
        self.tops = dict.fromkeys(DOMAINS, 0)
        self.manifests: dict[str, Manifest] = {}
        self.names: dict[int, str] = {}
        self.killed = False

    @property
    def ever(self) -> set[str]:
        """The artifacts that versions have or had."""
        return {manifest.digest for manifest in self.manifests.values()}

    def settle(self, done: list[tuple[Order, str | None]]) -> None:
        """Find an order of these actions that explains what there is now and what they said."""
        seen = seen_in(self.registry)
        died = [each for each in done if each[1] is None]
        lived = [each for each in done if each[1] is not None]
        self.killed = self.killed or bool(died)
        for count in range(len(died) + 1):
            for took_place in combinations(died, count):
                for order in permutations([*lived, *took_place]):
                    if self.explains(order, seen):
                        return
        raise AssertionError(f"nothing explains how {done} led from {self.world} to {seen}")

    def explains(self, done: tuple[tuple[Order, str | None], ...], seen: World) -> bool:
        world, tops = self.world, dict(self.tops)
        for order, said in done:
            number = tops[order.domain] + 1
            world, outcome = after(world, order, digests=self.digests, next_number=number)
            if said not in (None, outcome):
                return False
            if order.action == "register":
                tops[order.domain] = number
        if world != seen:
            return False
        moved = (world.versions, world.aliases) != (self.world.versions, self.world.aliases)
        revision = self.registry.revision()
        assert revision > self.revision if moved else revision >= self.revision
        self.world, self.tops, self.revision = world, tops, revision
        return True


def test_no_order_of_actions_no_coincidence_and_no_kill_leads_where_the_design_forbids(
    settings: Settings,
    base_record: Base,
    tiny_adapter: Callable[..., Path],
    tmp_path: Path,
    workers: tuple[Worker, Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapters = tuple(tiny_adapter(rank=4, seed=60 + number) for number in range(ARTIFACTS))
    digests = [artifact_digest(folder) for folder in adapters]
    Registry.open(settings)._engine.dispose()

    class Life(RuleBasedStateMachine):
        lived = 0

        @initialize()
        def two_new_registries(self) -> None:
            Life.lived += 1
            self.artifacts = tmp_path / f"artifacts-{Life.lived}"
            self.seats = tuple(self.new_seat(tmp_path / f"home-{Life.lived}-{number}") for number in range(2))
            self.refused = False

        def new_seat(self, home: Path) -> Seat:
            home.mkdir()
            shutil.copy(settings.home / "registry.db", home)
            place = Place(home, settings.bases, adapters, artifacts=str(self.artifacts))
            return Seat(place, Registry.open(place.settings), digests)

        @rule(worker=st.sampled_from((0, 1)), seat=seats, order=orders, dies_at=st.none() | st.integers(1, 40))
        def one_acts(self, worker: int, seat: int, order: Order, dies_at: int | None) -> None:
            order = replace(order, dies_at=dies_at)
            self.settle([(seat, order, workers[worker].do(self.seats[seat].place, order))])

        @rule(seat=seats, one=orders, rival_seat=seats, other=orders, dies_at=st.none() | st.integers(1, 40))
        def both_act_at_once(self, seat: int, one: Order, rival_seat: int, other: Order, dies_at: int | None) -> None:
            one = replace(one, dies_at=dies_at)
            workers[0].begin(self.seats[seat].place, one)
            workers[1].begin(self.seats[rival_seat].place, other)
            self.settle([(seat, one, workers[0].outcome()), (rival_seat, other, workers[1].outcome())])

        def settle(self, done: list[tuple[int, Order, str | None]]) -> None:
            may_be_refused = len({seat for seat, *_ in done}) == 2 or any(seat.killed for seat in self.seats)
            for number, seat in enumerate(self.seats):
                here = [(order, said) for at, order, said in done if at == number]
                refused = [each for each in here if each[1] == "UnavailableError"]
                if may_be_refused and all(order.action == "register" for order, _ in refused):
                    self.refused = self.refused or bool(refused)
                    here = [each for each in here if each not in refused]
                seat.settle(here)

        @invariant()
        def a_version_is_for_ever_what_it_was_at_first_and_its_id_is_its_own(self) -> None:
            for seat in self.seats:
                for name, entry in seat.registry.snapshot().versions.items():
                    assert seat.manifests.setdefault(name, entry.manifest) == entry.manifest
                    assert seat.names.setdefault(entry.id, name) == name

        @invariant()
        def the_artifact_of_every_version_of_either_registry_is_whole(self) -> None:
            for seat in self.seats:
                for name in seat.world.versions:
                    seat.registry.artifact_path(seat.manifests[name])

        @invariant()
        def every_alias_means_a_version_and_the_history_says_how_production_came_to_be(self) -> None:
            for world in (seat.world for seat in self.seats):
                assert set(world.aliases.values()) <= set(world.versions)
                for domain in DOMAINS:
                    lines = [line for line in world.history if line[1].startswith(f"{domain}@")]
                    assert world.aliases.get(domain) == (lines[-1][1] if lines else None)
                    assert world.aliases.get(f"{domain}@previous") == (lines[-1][2] if lines else None)

        @invariant()
        def nobody_leaves_anything_half_written_but_who_was_killed(self) -> None:
            killed = any(seat.killed for seat in self.seats)
            assert killed or not any(name.startswith(PART) for name in self.kept())

        def kept(self) -> set[str]:
            folder = self.artifacts
            return {path.name for path in folder.iterdir()} - {OWNERS} if folder.is_dir() else set()

        def teardown(self) -> None:
            if not hasattr(self, "seats"):
                return
            with monkeypatch.context() as a_day_later:
                a_day_later.setattr(store, "PART_SECONDS", 0)
                for seat in self.seats:
                    seat.registry._sweep()
            needed = {digest for seat in self.seats for digest in seat.world.versions.values()}
            # a registration that died on its last step has marked what no version of its registry ever had
            died = {digest for seat in self.seats if seat.killed for digest in set(digests) - seat.ever}
            assert needed <= self.kept()
            assert self.kept() - needed <= (set(digests) if self.refused else died)
            for seat in self.seats:
                seat.registry._engine.dispose()
                shutil.rmtree(seat.place.home)
            shutil.rmtree(self.artifacts, ignore_errors=True)

    run_state_machine_as_test(
        Life,
        settings=hypothesis_settings(
            max_examples=60,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(
                Phase.reuse,
                Phase.generate,
            ),  # what depends on a coincidence is hardly made smaller by trying again
        ),
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[Worker, Worker]]:
    both = Worker(), Worker()
    yield both
    for worker in both:
        worker.stop()
