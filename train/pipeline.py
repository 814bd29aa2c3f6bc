"""From a card to a registered version: data, training, probes, registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from locum.adapters.domains import Domain
from locum.train.data.build import DataBuild, build_data
from locum.train.recipe import with_overrides
from locum.train.result import TrainingResult

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.manifest import Manifest
    from locum.settings import Settings


@dataclass(frozen=True)
class TrainOutcome:
    """What came of a training."""

    result: TrainingResult
    data: DataBuild
    manifest: Manifest | None
    """The version; nothing when it was not to be registered."""
    new: bool
    """Whether the version was made now, and not found registered already."""


def train_domain(
    settings: Settings, domain: Domain, base: Base, *, overrides: Sequence[str], fresh: bool, register: bool
) -> TrainOutcome:
    """Build a domain's data, train its adapter and register it; what is done already is reused.

    Args:
        overrides: changes to the card's recipe, `key=value`.
        fresh: train anew even if the same run is finished or was interrupted.
        register: let the adapter into the registry, where it becomes the candidate.

    Raises:
        LocumError: as `build_data`, `with_overrides`, `fit` and `Registry.register` raise them.
    """
    from locum.train.trainer import fit

    recipe = with_overrides(domain.card.recipe, overrides)
    data_path = settings.data_path(domain.name)
    data = build_data(domain, data_path)
    result = fit(
        domain.name, base, data_path, data.record, recipe, settings.runs, fresh=fresh, suites=domain.card.suites
    )
    if not register:
        return TrainOutcome(result, data, None, new=False)
    there = _registered(settings, domain.name, result.adapter, base)
    if there is not None:
        return TrainOutcome(result, data, there, new=False)
    return TrainOutcome(result, data, _register(settings, domain, base, result, data_path), new=True)


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
        recipe=result.recipe.model_dump(mode="json"),
        data=result.data,
        training=result.summary(),
        probes=make_probes(base.path, result.adapter, probe_prompts(domain, data_path)),
        created_by=settings.user,
    )
