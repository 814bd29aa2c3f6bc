"""From a card to a registered version: data, training, probes, registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from locum.adapters.domains import Domain
from locum.adapters.recipe import ALIGNMENT, TrainingRecipe
from locum.errors import BadInputError
from locum.train.data.build import PREFERENCES, DataBuild, build_data, load_data
from locum.train.recipe import with_overrides
from locum.train.result import TrainingResult
from locum.train.tracking import require_trackers

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.manifest import Manifest
    from locum.settings import Settings
    from locum.train.methods import Start


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


def train_domain(
    settings: Settings, domain: Domain, base: Base, *, overrides: Sequence[str], fresh: bool, register: bool
) -> TrainOutcome:
    """Build a domain's data, train its adapter and register it; what is done already is reused.

    Args:
        overrides: changes to the card's recipe, `key=value`.
        fresh: train anew even if the same run is finished or was interrupted.
        register: let the adapter into the registry, where it becomes the candidate; what the method `full` makes
            becomes a base model.

    Raises:
        LocumError: as `build_data`, `with_overrides`, `fit`, `Registry.register` and `pull` raise them.
        BadInputError: the recipe asks for what the domain has not, or no server could hold.
    """
    from locum.train.methods import refuse_unservable
    from locum.train.trainer import fit

    recipe = with_overrides(domain.card.recipe, overrides)
    require_trackers(domain.card.tracking)
    if register:
        refuse_unservable(recipe)
    if recipe.method in ALIGNMENT and domain.card.preferences is None:
        raise BadInputError(
            f"method {recipe.method} learns from preference pairs, and the card of {domain.name} names none",
            hint="give `preferences:` in the card, with the same fields as `source:`",
        )
    recipe, start = _start(settings, recipe, base)
    data_path = settings.data_path(domain.name)
    data = build_data(domain, data_path)
    learnt = data_path / PREFERENCES if recipe.method in ALIGNMENT else data_path
    result = fit(
        domain.name,
        base,
        learnt,
        load_data(learnt),
        recipe,
        settings.runs,
        fresh=fresh,
        start=start,
        suites=domain.card.suites,
        tracking=domain.card.tracking,
    )
    if not register:
        return TrainOutcome(result, data, None, new=False)
    if recipe.method == "full":
        return TrainOutcome(result, data, None, new=not result.reused, base=_as_base(settings, base, result))
    there = _registered(settings, domain.name, result.adapter, base)
    if there is not None:
        return TrainOutcome(result, data, there, new=False)
    return TrainOutcome(result, data, _register(settings, domain, base, result, data_path), new=True)


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


def _register(settings: Settings, domain: Domain, base: Base, result: TrainingResult, data_path: Path) -> Manifest:
    from locum.adapters.probes import make_probes, probe_prompts
    from locum.adapters.registry import Registry

    return Registry.open(settings).register(
        domain.name,
        result.adapter,
        base=base,
        recipe=result.recipe.in_force(),
        data=result.data,
        training=result.summary(),
        probes=make_probes(base.path, result.adapter, probe_prompts(domain, data_path)),
        created_by=settings.user,
    )
