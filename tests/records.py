"""Records of a registry with something in every field, for tests to which the most of it does not matter."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from locum.adapters.base import Base
from locum.adapters.manifest import EvaluationRecord, Manifest
from locum.adapters.registry import Registry
from locum.adapters.votes import Arena


def register_plainly(registry: Registry, domain: str, adapter: Path, base: Base, **more: Any) -> Manifest:
    """The domain's next version, without recipe, data, training or probes."""
    return registry.register(
        domain, adapter, base=base, recipe={}, data=None, training={}, probes=[], created_by="tester", **more
    )


def evaluation_of(manifest: Manifest, **changes: Any) -> EvaluationRecord:
    """A passing evaluation of this version on suite `held-out` with digest `s1`."""
    given = {
        "domain": manifest.domain,
        "number": manifest.number,
        "version_digest": manifest.digest,
        "base_fingerprint": manifest.base_fingerprint,
        "suite": "held-out",
        "suite_digest": "s1",
        "passed": True,
        "reasons": ["all is well."],
        "samples": 100,
        "metric": "exact_match",
        "score": 0.9,
        "base_score": 0.1,
        "gain": 0.8,
        "gain_interval": (0.7, 0.9),
        "endpoint": "http://127.0.0.1:8000/v1",
        "result_path": "somewhere",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "created_by": "tester",
    }
    return EvaluationRecord.model_validate({**given, **changes})


def arena_of(**changes: Any) -> Arena:
    """An arena between two versions of `medical` on suite `held-out`."""
    given = {
        "domain": "medical",
        "suite": "held-out",
        "suite_digest": "s1",
        "model": "medical@2",
        "model_digest": "d2",
        "against": "medical@1",
        "against_digest": "d1",
        "base_fingerprint": "f1",
        "seed": "seed",
        "created_at": datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        "created_by": "ada",
    }
    return Arena.model_validate({**given, **changes})
