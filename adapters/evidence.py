"""Which evidence a release needs and lacks: functions of their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from locum.adapters.manifest import EvaluationRecord, Manifest, Part
from locum.adapters.records import Evidence

_NAMED: dict[Part, str] = {
    "samples": "what is asked (its samples or the system prompt)",
    "card": "its suite.yaml",
    "judge": "the judge or its rubric",
    "compliance": "the compliance rules",
}


@dataclass(frozen=True)
class Lack:
    """What keeps a version from being released, as far as one suite goes, and what would change that."""

    sentence: str
    remedy: Literal["evaluate", "samples", "train"]


def missing_evidence(
    manifest: Manifest,
    required: Mapping[str, str],
    evaluations: Sequence[EvaluationRecord],
    *,
    production: Manifest | None = None,
    parts: Mapping[str, Mapping[Part, str]] | None = None,
) -> list[Lack]:
    """What keeps a version from being released, suite by suite; nothing when the evidence is whole.

    Args:
        required: digest of each suite that the domain asks for, by suite name.
        evaluations: the version's evaluations, newest first; the newest for exactly this digest, base fingerprint
            and suite digest, in which production answered too, counts.
        production: the version that is in production now.
        parts: what the digests of the required suites are made of, as far as that is known: to say what has changed.
    """
    if not required:
        sentence = f"there is no evaluation of {manifest.name}, and no suite is known for {manifest.domain}"
        return [Lack(sentence, "evaluate")]
    rival = _rival(manifest, production)
    return [
        lack
        for suite, digest in sorted(required.items())
        if (lack := _missing(manifest, suite, digest, [e for e in evaluations if e.suite == suite], rival, parts or {}))
    ]


def what_to_do(manifest: Manifest, lacks: Sequence[Lack]) -> str:
    """What helps against all that is lacking, in a sentence."""
    again = f"locum eval {manifest.domain} --model {manifest.name}"
    said = {
        "evaluate": f"`{again}` evaluates it",
        "samples": f"what is unclear takes more samples (`locum suite power {manifest.domain}` says how many) and "
        f"another `{again}`",
        "train": f"what was missed takes another version, from more data or another training (`locum train "
        f"{manifest.domain}`)",
    }
    found = {lack.remedy for lack in lacks}
    steps = [step for remedy, step in said.items() if remedy in found]
    return "; ".join(
        [*steps, '`--force --reason "…"` (over HTTP `force` and `reason`) releases it all the same, and is recorded']
    )


def _missing(
    manifest: Manifest,
    suite: str,
    digest: str,
    found: list[EvaluationRecord],
    rival: str | None,
    parts: Mapping[str, Mapping[Part, str]],
) -> Lack | None:
    if not found:
        return Lack(f"suite {suite}: there is no evaluation of {manifest.name}", "evaluate")
    same_version = [e for e in found if e.version_digest == manifest.digest]
    if not same_version:
        tested = found[0].version_digest[:12]
        return Lack(f"suite {suite}: evaluated was digest {tested}, this is {manifest.digest[:12]}", "evaluate")
    same_base = [e for e in same_version if e.base_fingerprint == manifest.base_fingerprint]
    if not same_base:
        tested = same_version[0].base_fingerprint[:12]
        return Lack(
            f"suite {suite}: evaluated was on base {tested}, this needs {manifest.base_fingerprint[:12]}", "evaluate"
        )
    exact = [e for e in same_base if e.suite_digest == digest]
    if not exact:
        before = same_base[0]
        changed = _changed(before.suite_parts, parts.get(suite, {}))
        return Lack(
            f"suite {suite}: {changed} changed since the evaluation "
            f"(which is of suite digest {before.suite_digest[:12]}, the suite is now {digest[:12]})",
            "evaluate",
        )
    beside = [e for e in exact if rival in (None, e.production)]
    if not beside:
        other = exact[0].production or "no version in production"
        return Lack(f"suite {suite}: evaluated was beside {other}, and {rival} is in production now", "evaluate")
    return None if beside[0].passed else _not_passed(suite, beside[0])


def _rival(manifest: Manifest, production: Manifest | None) -> str | None:
    """The version that has to have answered beside this one: none where production stands on another base model."""
    if production is None or production.base_fingerprint != manifest.base_fingerprint:
        return None
    return None if production.name == manifest.name else production.name


def _changed(before: Mapping[Part, str], now: Mapping[Part, str]) -> str:
    """The parts of a suite that are not what they were; where they are not known, all that it may be."""
    different = [name for part, name in _NAMED.items() if before.get(part) != now.get(part)]
    if not before or not now or not different:
        return "the suite, or what it is scored by,"
    return " and ".join(filter(None, [", ".join(different[:-1]), different[-1]]))


def _not_passed(suite: str, evaluation: EvaluationRecord) -> Lack:
    """What the gate missed, and what it could not see. An earlier evaluation says only all that it looked at."""
    failed = evaluation.status != "not enough evidence"
    verdict = "the gate failed" if failed else "not enough evidence"
    told = [f"missed: {reason}" for reason in evaluation.missed]
    told += [f"unclear: {reason}" for reason in evaluation.unclear]
    reasons = "".join(f"\n  {line}" for line in told or evaluation.reasons)
    return Lack(f"suite {suite}: {verdict}{':' if reasons else ''}{reasons}", "train" if failed else "samples")


def evidence_for(
    manifest: Manifest,
    required: Mapping[str, str],
    evaluations: Sequence[tuple[int, EvaluationRecord]],
    *,
    production: Manifest | None = None,
) -> list[Evidence]:
    """The evaluations that a release rests on: of each required suite the one that counts in `missing_evidence`."""
    found: dict[str, Evidence] = {}
    rival = _rival(manifest, production)
    for number, record in evaluations:
        exact = (record.version_digest, record.base_fingerprint, record.suite_digest)
        wanted = (manifest.digest, manifest.base_fingerprint, required.get(record.suite))
        if exact == wanted and rival in (None, record.production) and record.suite not in found:
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
