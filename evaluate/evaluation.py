"""The main path: load suite → check the endpoint → ask and score → compare → decide → report → record."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from locum import __version__
from locum.adapters.card import GateCard
from locum.adapters.domains import load_domain
from locum.adapters.manifest import Manifest
from locum.adapters.refs import CANDIDATE
from locum.errors import BadInputError, ConflictError, NotFoundError
from locum.evaluate.answers import SAMPLES_FILE, Answer, AnswerLog, Contender
from locum.evaluate.client import Patience
from locum.evaluate.comparison import by_model, compare, describe
from locum.evaluate.endpoint import Endpoint, read_endpoint
from locum.evaluate.gate import Check, decide
from locum.evaluate.report import write_report
from locum.evaluate.result import EvaluationResult
from locum.evaluate.runner import Asking, ask_all
from locum.evaluate.suite import Suite, choose_suites, load_suites
from locum.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from locum.adapters.registry import Registry

BASE = "base"


@dataclass(frozen=True)
class Plan:
    """What is evaluated against what. The version comes first, the base model second."""

    manifest: Manifest
    contenders: tuple[Contender, ...]
    against: str
    notes: tuple[str, ...] = ()


def evaluate_version(
    settings: Settings,
    ref: str,
    *,
    against: str = BASE,
    suite: str | None = None,
    limit: int | None = None,
    concurrency: int = 8,
    timeout_s: float = 120.0,
    console: Console | None = None,
) -> list[EvaluationResult]:
    """Evaluate a version on its domain's suites against the live endpoint, and record the results with it.

    The base model answers the same samples, and so does the version in production if that is another one. A run that
    was cut off continues where it stopped.

    Args:
        settings: say where the endpoint, the registry, the cards and the data are.
        ref: the version, such as `medical@candidate`.
        against: `base`, or a version whose comparison the report tells first. The gate always looks at the base model.
        suite: one suite of the card; none for all.
        limit: so many samples, for a quick look that is not recorded.
        concurrency: requests at a time.
        timeout_s: how long one request may take.
        console: where progress is drawn; none for silence.

    Returns:
        One result for each suite. Whether the gate passed is in it; a failed gate raises nothing.

    Raises:
        NotFoundError: there is no such version, domain, suite or data.
        UnavailableError: the endpoint does not answer, or left samples without an answer.
        CheckFailedError: the endpoint serves something else than the registry means, or another model answered.
        ConflictError: the same evaluation is running already.
    """
    from locum.adapters.registry import Registry

    registry = Registry.open(settings)
    manifest = registry.resolve(ref)
    domain = load_domain(settings.domains, manifest.domain)
    suites = load_suites(domain, settings.data_path(domain.name))
    chosen = choose_suites(suites, suite)
    api_key = settings.api_key.get_secret_value()
    endpoint = read_endpoint(settings.endpoint_url, api_key=api_key)
    plan = _plan(registry, endpoint, manifest, against)
    asking = Asking(endpoint.url, api_key, concurrency, Patience(timeout_s=timeout_s))
    if limit is None:
        registry.require_suites(domain.name, {each.name: each.digest for each in suites})
    else:
        chosen = [each.limited(limit) for each in chosen]

    results = []
    for each in chosen:
        with _run_folder(settings, plan, each, endpoint) as folder:
            log = AnswerLog(folder / SAMPLES_FILE)
            reused = len(log.read(plan.contenders))
            answers = ask_all(each, plan.contenders, log, asking, console=console)
            result = _judge(
                plan,
                each,
                answers,
                gate=domain.card.gate,
                asking=asking,
                folder=folder,
                reused=reused,
                recorded=limit is None,
                command=_command(settings, manifest, against, each, limit),
                created_by=settings.user,
            )
            write_report(result, answers)
        if result.recorded:
            registry.record_evaluation(result.record())
        results.append(result)
    return results


def default_ref(settings: Settings, domain: str) -> str:
    """The domain's candidate if it has one, else its version in production.

    Raises:
        NotFoundError: the domain has neither.
    """
    from locum.adapters.registry import Registry

    registry = Registry.open(settings)
    for ref in (f"{domain}@{CANDIDATE}", domain):
        if _resolve_if_any(registry, ref):
            return ref
    raise NotFoundError(
        f"{domain} has neither a candidate nor a version in production", hint=f"locum train {domain} makes a candidate"
    )


def _plan(registry: Registry, endpoint: Endpoint, manifest: Manifest, against: str) -> Plan:
    """Who answers: the version, the base, production if it is another one, and whom `against` names besides.

    Every version's digest and base model are held against what the endpoint says that it serves.
    """
    endpoint.check(manifest)
    contenders = [
        Contender(manifest.name, "version", manifest.digest),
        Contender(endpoint.base, "base", endpoint.fingerprint),
    ]
    notes = []
    production = _resolve_if_any(registry, manifest.domain)
    if production and production.name != manifest.name:
        if production.base_fingerprint == manifest.base_fingerprint:
            endpoint.check(production)
            contenders.append(Contender(production.name, "production", production.digest))
        else:
            notes.append(f"{production.name} in production stands on another base model and was not compared with.")
    if against in (BASE, endpoint.base):
        return Plan(manifest, tuple(contenders), endpoint.base, tuple(notes))
    opponent = registry.resolve(against)
    if opponent.name == manifest.name:
        raise BadInputError(
            f"{manifest.name} cannot be compared with itself", hint="--against takes `base` or another version"
        )
    if opponent.name not in [contender.name for contender in contenders]:
        endpoint.check(opponent)
        contenders.append(Contender(opponent.name, "against", opponent.digest))
    return Plan(manifest, tuple(contenders), opponent.name, tuple(notes))


def _judge(
    plan: Plan,
    suite: Suite,
    answers: Sequence[Answer],
    *,
    gate: GateCard,
    asking: Asking,
    folder: Path,
    reused: int,
    recorded: bool,
    command: str,
    created_by: str,
) -> EvaluationResult:
    """Compare the answers and decide."""
    version, base, *_ = plan.contenders
    answered = by_model(suite, plan.contenders, answers)
    models = [describe(contender, answered, suite, confidence=gate.confidence) for contender in plan.contenders]
    comparisons = [
        compare(version, other, answered, suite, confidence=gate.confidence) for other in plan.contenders[1:]
    ]
    production = next((comparison for comparison in comparisons if comparison.role == "production"), None)
    verdict = decide(
        gate,
        samples=len(suite.samples),
        score=models[0].scores[suite.primary],
        gain=comparisons[0].differences[suite.primary],
        production=production.name if production else None,
        change=production.differences[suite.primary] if production else None,
    )
    return EvaluationResult(
        domain=suite.domain,
        version=version.name,
        version_digest=version.digest,
        base=base.name,
        base_fingerprint=base.digest,
        suite=suite.name,
        suite_digest=suite.digest,
        metric=suite.primary,
        samples=len(suite.samples),
        groups=len({sample.group for sample in suite.samples}),
        confidence=gate.confidence,
        max_tokens=suite.max_tokens,
        temperature=suite.temperature,
        choices=suite.choices,
        endpoint=asking.url,
        concurrency=asking.concurrency,
        models=models,
        comparisons=comparisons,
        against=plan.against,
        checks=[*verdict.checks, *(Check(met=True, reason=note) for note in plan.notes)],
        passed=verdict.passed,
        recorded=recorded,
        reused=reused,
        command=command,
        folder=folder,
        code_version=__version__,
        created_at=datetime.now(UTC),
        created_by=created_by,
    )


@contextmanager
def _run_folder(settings: Settings, plan: Plan, suite: Suite, endpoint: Endpoint) -> Iterator[Path]:
    """The folder of this very evaluation: the same contenders, suite and endpoint come back to it and continue.

    Raises:
        ConflictError: another process is writing there.
    """
    from filelock import FileLock, Timeout

    digests = sorted(contender.digest for contender in plan.contenders)
    key = json.dumps([plan.manifest.digest, digests, suite.digest, endpoint.url])
    name = f"{plan.manifest.name}-{suite.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    folder = (settings.evaluations / name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield folder
    except Timeout:
        raise ConflictError(
            f"this evaluation of {plan.manifest.name} on {suite.name} is running already, in {folder}",
            hint="wait for it; this command then takes over its answers",
        ) from None


def _resolve_if_any(registry: Registry, ref: str) -> Manifest | None:
    try:
        return registry.resolve(ref)
    except NotFoundError:
        return None


def _command(settings: Settings, manifest: Manifest, against: str, suite: Suite, limit: int | None) -> str:
    parts = ["locum", "eval", manifest.domain, "--model", manifest.name, "--against", against, "--suite", suite.name]
    parts += ["--endpoint", settings.endpoint_url]
    parts += ["--limit", str(limit)] if limit is not None else []
    return shlex.join(parts)
