"""From a card to a registered version: data, training, probes, registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locum.adapters.domains import Domain
from locum.adapters.recipe import ALIGNMENT, TrainingRecipe
from locum.errors import BadInputError, NotFoundError, UnavailableError
from locum.train.data.build import PREFERENCES, DataBuild, build_data, load_build, load_data
from locum.train.job import Job
from locum.train.launch import launch
from locum.train.recipe import origins, with_overrides
from locum.train.result import TrainingResult
from locum.train.run import finished, run_digest, run_name
from locum.train.spread import ALONE, Spread, check_spread
from locum.train.tracking import require_trackers

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.manifest import Manifest
    from locum.settings import Settings
    from locum.train.memory import Footprint
    from locum.train.methods import Start
    from locum.train.plan import Plan
    from locum.train.sweep import Sweep


@dataclass(frozen=True)
class TrainOutcome:
    """What came of a training."""

    result: TrainingResult
    data: DataBuild
    manifest: Manifest | None
    """The version; nothing when it was not to be registered."""
    new: bool
    """Whether the version was made now, and not found registered already."""
    base: Base | None = None
    """What came of the method `full`: a base model of its own, where it was to be registered."""


@dataclass(frozen=True)
class _Given:
    """What a training begins with."""

    recipe: TrainingRecipe
    start: Start | None
    data: DataBuild
    learnt: Path
    """The folder of the data that the method learns from."""


def train_domain(
    settings: Settings,
    domain: Domain,
    base: Base,
    *,
    overrides: Sequence[str],
    fresh: bool,
    register: bool,
    spread: Spread = ALONE,
    force: bool = False,
) -> TrainOutcome:
    """Build a domain's data, train its adapter and register it; what is done already is reused.

    Args:
        overrides: changes to the card's recipe, `key=value`.
        fresh: train anew even if the same run is finished or was interrupted.
        register: let the adapter into the registry, where it becomes the candidate; what the method `full` makes
            becomes a base model.
        spread: on how many processes of how many hosts to train.
        force: train even where the estimate says that memory or disk will not do.

    Raises:
        LocumError: as `build_data`, `with_overrides`, `fit`, `Registry.register` and `pull` raise them.
        BadInputError: the recipe asks for what the domain has not, or no server could hold.
        UnavailableError: a tracker that the card names is not installed.
    """
    from locum.train.trainer import fit

    recipe, start = _recipe(settings, domain, base, overrides, spread, register=register)
    if spread.host_rank:
        return _take_part(settings, domain, base, recipe, start, spread)
    given = _build(settings, domain, recipe, start)
    result = fit(
        domain.name,
        base,
        given.learnt,
        load_data(given.learnt),
        given.recipe,
        settings.runs,
        fresh=fresh,
        start=given.start,
        suites=domain.suites,
        tracking=domain.card.tracking,
        spread=spread,
        force=force,
    )
    return _outcome(settings, domain, base, given, result, result.summary(), register=register)


def plan_domain(
    settings: Settings, domain: Domain, base: Base, *, overrides: Sequence[str], register: bool
) -> tuple[Plan, Footprint]:
    """What `train_domain` would do, and what `require_room` judges of it. Builds the data; loads no model.

    Raises:
        LocumError: as `train_domain` raises them before it trains.
    """
    from locum.train.plan import make_plan

    given = _given(settings, domain, base, overrides, register=register)
    return make_plan(
        domain.name,
        base,
        given.learnt,
        load_data(given.learnt),
        given.recipe,
        settings.runs,
        origins=origins(domain.card.recipe, overrides),
        start=given.start,
    )


def sweep_domain(
    settings: Settings,
    domain: Domain,
    base: Base,
    *,
    overrides: Sequence[str],
    trials: int,
    fresh: bool,
    register: bool,
    force: bool = False,
) -> tuple[TrainOutcome, Sweep]:
    """Search the recipe's rank, learning rate and epochs, and register the best adapter alone.

    Raises:
        LocumError: as `train_domain` and `sweep` raise them.
    """
    from locum.train.sweep import sweep

    given = _given(settings, domain, base, overrides, register=register)
    found, result = sweep(
        domain.name,
        base,
        given.learnt,
        load_data(given.learnt),
        given.recipe,
        settings.runs,
        trials=trials,
        fresh=fresh,
        start=given.start,
        suites=domain.suites,
        tracking=domain.card.tracking,
        force=force,
    )
    training = {**result.summary(), "sweep": found.summary()}
    return _outcome(settings, domain, base, given, result, training, register=register), found


def _given(settings: Settings, domain: Domain, base: Base, overrides: Sequence[str], *, register: bool) -> _Given:
    """Check what a training of one process is asked for, and build its data."""
    return _build(settings, domain, *_recipe(settings, domain, base, overrides, ALONE, register=register))


def _build(settings: Settings, domain: Domain, recipe: TrainingRecipe, start: Start | None) -> _Given:
    data_path = settings.data_path(domain.name)
    data = build_data(domain, data_path, reviews=settings.reviews_path(domain.name))
    return _Given(recipe, start, data, data_path / PREFERENCES if recipe.method in ALIGNMENT else data_path)


def _outcome(
    settings: Settings,
    domain: Domain,
    base: Base,
    given: _Given,
    result: TrainingResult,
    training: dict[str, Any],
    *,
    register: bool,
) -> TrainOutcome:
    """Register what was trained, unless it is there or is not to be.

    Args:
        training: what the manifest records of it.
    """
    if not register:
        return TrainOutcome(result, given.data, None, new=False)
    if result.recipe.method == "full":
        return TrainOutcome(result, given.data, None, new=not result.reused, base=_as_base(settings, base, result))
    there = _registered(settings, domain.name, result.adapter, base)
    if there is not None:
        return TrainOutcome(result, given.data, there, new=False)
    manifest = _register(settings, domain, base, result, training)
    return TrainOutcome(result, given.data, manifest, new=True)


def _recipe(
    settings: Settings, domain: Domain, base: Base, overrides: Sequence[str], spread: Spread, *, register: bool
) -> tuple[TrainingRecipe, Start | None]:
    """The recipe in force and what it starts from, when they can be carried out."""
    from locum.train.methods import refuse_unservable

    recipe = with_overrides(domain.card.recipe, overrides)
    if register:
        refuse_unservable(recipe)
    if recipe.method in ALIGNMENT and domain.card.preferences is None:
        raise BadInputError(
            f"method {recipe.method} learns from preference pairs, and the card of {domain.name} names none",
            hint="give `preferences:` in the card, with the same fields as `source:`",
        )
    require_trackers(domain.card.tracking)
    if spread != ALONE:
        check_spread(spread, recipe)
    return _start(settings, recipe, base)


def _take_part(
    settings: Settings,
    domain: Domain,
    base: Base,
    recipe: TrainingRecipe,
    start: Start | None,
    spread: Spread,
) -> TrainOutcome:
    """Train with host 0, which builds the data that all share, writes the result and registers it."""
    data_path = settings.data_path(domain.name)
    learnt = data_path / PREFERENCES if recipe.method in ALIGNMENT else data_path
    job = Job(
        domain=domain.name,
        base=base,
        data_path=learnt,
        recipe=recipe,
        runs=settings.runs,
        start=start,
        suites=domain.suites,
        tracking=list(domain.card.tracking),
        processes=spread.processes,
    )
    settings.runs.mkdir(parents=True, exist_ok=True)
    launch(job, spread, settings.runs / f".{domain.name}-host-{spread.host_rank}.log")
    result = _finished(settings, domain, base, learnt, recipe, start)
    if result is None:
        raise UnavailableError(
            f"host 0 left no result in {settings.runs}", hint="`home` must be a folder that all hosts share"
        )
    return TrainOutcome(result, load_build(data_path), None, new=False)


def _finished(
    settings: Settings, domain: Domain, base: Base, learnt: Path, recipe: TrainingRecipe, start: Start | None
) -> TrainingResult | None:
    """The result of this very training, where there is one."""
    try:
        digest = run_digest(recipe, load_data(learnt), base, start.digest if start else None)
    except NotFoundError:
        return None
    return finished(settings.runs / run_name(domain.name, digest), digest)


def _start(settings: Settings, recipe: TrainingRecipe, base: Base) -> tuple[TrainingRecipe, Start | None]:
    """The version that the recipe starts from, by its lasting name."""
    from locum.adapters.registry import Registry
    from locum.train.methods import Start

    if recipe.start is None:
        return recipe, None
    registry = Registry.open(settings)
    version = registry.resolve(recipe.start)
    if version.base_fingerprint != base.fingerprint:
        raise BadInputError(
            f"start {version.name} was made for the base model {version.base} with fingerprint "
            f"{version.base_fingerprint[:12]}, found {base.name} with {base.fingerprint[:12]}",
            hint="start from a version that was made for the base model in force",
        )
    start = Start(version.name, version.digest, registry.artifact_path(version))
    return recipe.model_copy(update={"start": version.name}), start


def _as_base(settings: Settings, base: Base, result: TrainingResult) -> Base:
    """The trained checkpoint as a base model, named after what it came from."""
    from locum.adapters.base import pull

    return pull(str(result.adapter), settings.bases, name=f"{base.name}-{result.domain}-{result.run[:8]}")


def _registered(settings: Settings, domain: str, adapter: Path, base: Base) -> Manifest | None:
    """The newest version of the domain that is this very artifact for this very base model."""
    from locum.adapters.registry import Registry
    from locum.adapters.store import artifact_digest

    return Registry.open(settings).find(domain, artifact_digest(adapter), base.fingerprint)


def _register(
    settings: Settings, domain: Domain, base: Base, result: TrainingResult, training: dict[str, Any]
) -> Manifest:
    from locum.adapters.probes import make_probes, probe_prompts
    from locum.adapters.registry import Registry

    prompts = probe_prompts(domain, settings.data_path(domain.name))
    return Registry.open(settings).register(
        domain.name,
        result.adapter,
        base=base,
        recipe=result.recipe.in_force(),
        data=result.data,
        training=training,
        probes=make_probes(base.path, result.adapter, prompts, system_role=result.recipe.system_role),
        enforced_notices=domain.card.enforced_notices,
        created_by=settings.user,
        system_prompt=domain.card.system_prompt,
        system=domain.card.system,
        system_role=result.recipe.system_role,
    )
