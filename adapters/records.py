"""What the registry answers beside manifests: snapshots of its names, and releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.manifest import Manifest, Part


@dataclass(frozen=True)
class VersionEntry:
    """A version and its row id, which is unique over all domains and never used again."""

    id: int
    manifest: Manifest


@dataclass(frozen=True)
class Snapshot:
    """All names at one revision. Aliases are written as users write them: `medical`, `medical@candidate`."""

    revision: int
    versions: Mapping[str, VersionEntry]
    aliases: Mapping[str, str]


class Evidence(BaseModel):
    """An evaluation that a release rests on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluation: int
    suite: str
    suite_digest: str
    metric: str
    score: float
    gain: float | None
    gain_interval: tuple[float, float] | None
    passed: bool


class RequiredSuite(BaseModel):
    """A suite that a release needs a pass of. `parts` are the digests that its digest is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    parts: dict[Part, str] = {}


class Release(BaseModel):
    """One line of a domain's history."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    action: Literal["release", "forced release", "rollback"]
    version: str
    replaced: str | None
    by: str
    at: datetime
    reason: str | None
    evidence: list[Evidence]
    missing: list[str] = Field([], description="what a forced release lacked, a sentence for each suite")
