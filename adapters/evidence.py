"""Which evidence a release needs and lacks: a function of its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from locum.adapters.manifest import EvaluationRecord, Manifest
from locum.adapters.records import Evidence


def missing_evidence(
    manifest: Manifest, required: Mapping[str, str], evaluations: Sequence[EvaluationRecord]
) -> list[str]:
    """What keeps a version from being released, one sentence each; nothing when the evidence is whole.

    Args:
        required: digest of each suite that the domain asks for, by suite name.
        evaluations: the version's evaluations, newest first; the newest for exactly this digest, base fingerprint
            and suite digest counts.
    """
    if not required:
        return [f"there is no evaluation of {manifest.name}, and no suite is known for {manifest.domain}"]
    return [
        complaint
        for suite, digest in sorted(required.items())
        if (complaint := _missing(manifest, suite, digest, [e for e in evaluations if e.suite == suite]))
    ]


def _missing(manifest: Manifest, suite: str, digest: str, found: list[EvaluationRecord]) -> str | None:
    if not found:
        return f"suite {suite}: there is no evaluation of {manifest.name}"
    same_version = [e for e in found if e.version_digest == manifest.digest]
    if not same_version:
        return f"suite {suite}: evaluated was digest {found[0].version_digest[:12]}, this is {manifest.digest[:12]}"
    same_base = [e for e in same_version if e.base_fingerprint == manifest.base_fingerprint]
    if not same_base:
        tested = same_version[0].base_fingerprint[:12]
        return f"suite {suite}: evaluated was on base {tested}, this needs {manifest.base_fingerprint[:12]}"
    exact = [e for e in same_base if e.suite_digest == digest]
    if not exact:
        return (
            f"suite {suite}: the evaluation is of suite digest {same_base[0].suite_digest[:12]}, "
            f"the suite is now {digest[:12]}"
        )
    if not exact[0].passed:
        verdict = "not enough evidence" if exact[0].status == "not enough evidence" else "the gate failed"
        return f"suite {suite}: {verdict}: {' '.join(exact[0].reasons)}"
    return None


def evidence_for(
    manifest: Manifest, required: Mapping[str, str], evaluations: Sequence[tuple[int, EvaluationRecord]]
) -> list[Evidence]:
    """The evaluations that a release rests on: the newest exact one of each required suite."""
    found: dict[str, Evidence] = {}
    for number, record in evaluations:
        exact = (record.version_digest, record.base_fingerprint, record.suite_digest)
        wanted = (manifest.digest, manifest.base_fingerprint, required.get(record.suite))
        if exact == wanted and record.suite not in found:
            found[record.suite] = Evidence(
                evaluation=number,
                suite=record.suite,
                suite_digest=record.suite_digest,
                metric=record.metric,
                score=record.score,
                gain=record.gain,
                gain_interval=record.gain_interval,
                passed=record.passed,
            )
    return list(found.values())
