"""What a suite is known by: a digest of all that its verdict depends on, part by part, so that a change has a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from locum.adapters.compliance import METRICS as COMPLIANCE_METRICS
from locum.adapters.manifest import Part
from locum.adapters.suites import SuiteCard
from locum.evaluate.judge.prompts import judge_digest
from locum.evaluate.metrics.phrases import NO_REFERRAL, REFERRALS
from locum.evaluate.samples import Sample

# What of a card says nothing about the verdict: words about the suite. Samples and judge are parts of their own.
_NOT_OF_THE_VERDICT = {"description", "version", "limit", "samples", "judge"}
_HOW_A_JUDGE_IS_REACHED = {"endpoint", "api_key_env", "max_concurrency", "timeout_s"}


def parts_of(
    card: SuiteCard, samples: Sequence[Sample], options: Mapping[str, Mapping[str, Any]], *, guard: bool
) -> dict[Part, str]:
    """The digest of each thing that a suite's verdict depends on. A suite whose metrics ask no judge has no judge's.

    Args:
        options: the settings of metrics in force, those of the domain's card among them.
    """
    told = {name: given for name, given in options.items() if name not in COMPLIANCE_METRICS}
    parts: dict[Part, str] = {
        "samples": digest([[sample.id, sample.group, sample.digest] for sample in samples]),
        "card": digest([card.model_dump(exclude=_NOT_OF_THE_VERDICT), told, guard]),
    }
    if card.judge is not None and any(name.startswith("judge_") for name in card.metrics):
        parts["judge"] = digest([card.judge.model_dump(exclude=_HOW_A_JUDGE_IS_REACHED), judge_digest(card.judge)])
    if demanded := sorted(COMPLIANCE_METRICS.intersection(card.metrics)):
        wordings = [REFERRALS, NO_REFERRAL] if "referral" in demanded else []
        parts["compliance"] = digest([{name: options.get(name, {}) for name in demanded}, wordings])
    return parts


def digest(content: object) -> str:
    """SHA-256 over anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
