"""Which registries hold a version's artifact, in the words of `locum adapters`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.adapters.owners import OWNERS, UNKNOWN
from locum.commands.common import err
from locum.errors import LocumError

if TYPE_CHECKING:
    from locum.adapters.manifest import Manifest
    from locum.adapters.registry import Registry

SETTLE = (
    f"When every registry of this store has been opened by this release of Locum, remove {OWNERS}/{UNKNOWN} in the "
    "store: the next registration or deletion then removes what nobody holds"
)


def owners_of(registry: Registry, manifest: Manifest) -> set[str] | None:
    """The registries that hold a version's artifact; None, and a line that says why, where the store does not tell."""
    try:
        return registry.store.owners(manifest.digest)
    except LocumError as error:
        err.print(f"Who holds {manifest.name} is not known: {error}", markup=False, highlight=False, soft_wrap=True)
        return None


def held_by(registry: Registry, owners: set[str] | None) -> str:
    """The cell of a table."""
    if owners is None:
        return "not known: the artifact store does not answer"
    mine = registry.identity().registry
    names = [f"this registry ({mine})"] if mine in owners else []
    names += [f"registry {other}" for other in sorted(owners - {mine, UNKNOWN})]
    if UNKNOWN in owners:
        names.append("perhaps others: it was there before registries marked what they hold")
    return ", ".join(names) or "no registry has marked it"


def why_artifact_stays(registry: Registry, manifest: Manifest) -> str | None:
    """Why the artifact of a deleted version is still in the store; None where it is gone."""
    if same := [other.name for other in registry.versions() if other.digest == manifest.digest]:
        return f"{', '.join(same)} {'has' if len(same) == 1 else 'have'} the same one"
    try:
        if not registry.store.has(manifest.digest):
            return None
        others = registry.other_owners(manifest.digest)
    except LocumError as error:
        return f"{error}. The next registration or deletion tries again"
    if known := sorted(others - {UNKNOWN}):
        return f"{'another registry holds' if len(known) == 1 else 'other registries hold'} it too ({', '.join(known)})"
    if UNKNOWN in others:
        return f"it was there before registries marked what they hold, and another may have a version of it. {SETTLE}"
    return "it could not be removed now. The next registration or deletion tries again"
