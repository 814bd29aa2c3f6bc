"""From a card to a registered version: data, training, probes, registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locum.adapters.domains import Domain
from locum.adapters.recipe import ALIGNMENT, TrainingRecipe
from locum.errors import BadInputError
from locum.train.data.build import PREFERENCES, DataBuild, build_data, load_data
from locum.train.recipe import origins, with_overrides
from locum.train.result import TrainingResult
from locum.train.tracking import require_trackers

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.manifest import Manifest
    from locum.settings import Settings
    from locum.train.memory import Job
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
    force: bool = False,
) -> TrainOutcome:
    """Build a domain's data, train its adapter and register it; what is done already is reused.

    Args:
        overrides: changes to the card's recipe, `key=value`.
        fresh: train anew even if the same run is finished or was interrupted.
        register: let the adapter into the registry, where it becomes the candidate; what the method `full` makes
            becomes a base model.
        force: train even where the estimate says that memory or disk will not do.

    Raises:
        LocumError: as `build_data`, `with_overrides`, `fit`, `Registry.register` and `pull` raise them.
        BadInputError: the recipe asks for what the domain has not, or no server could hold.
        UnavailableError: a tracker that the card names is not installed.
    """
    from locum.train.trainer import fit

    given = _given(settings, domain, base, overrides, register=register)
    result = fit(
        domain.name,
        base,
        given.learnt,
        load_data(given.learnt),
        given.recipe,
        settings.runs,
        fresh=fresh,
        start=given.start,
        suites=domain.card.suites,
        tracking=domain.card.tracking,
        force=force,
    )
    return _outcome(settings, domain, base, given, result, result.summary(), register=register)


def plan_domain(
    settings: Settings, domain: Domain, base: Base, *, overrides: Sequence[str], register: bool
) -> tuple[Plan, Job]:
    """What `train_domain` would do, and the job that `require_room` judges. Builds the data; loads no model.

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
        suites=domain.card.suites,
        tracking=domain.card.tracking,
        force=force,
    )
    training = {**result.summary(), "sweep": found.summary()}
    return _outcome(settings, domain, base, given, result, training, register=register), found


def _given(settings: Settings, domain: Domain, base: Base, overrides: Sequence[str], *, register: bool) -> _Given:
    """Check what a training is asked for, and build its data."""
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
    recipe, start = _start(settings, recipe, base)
    data_path = settings.data_path(domain.name)
    data = build_data(domain, data_path)
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

    digest = artifact_digest(adapter)
    for manifest in reversed(Registry.open(settings).versions(domain)):
        if (manifest.digest, manifest.base_fingerprint) == (digest, base.fingerprint):
            return manifest
    return None


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
        probes=make_probes(base.path, result.adapter, prompts),
        created_by=settings.user,
    )
