"""The main path: load suites → check the endpoint → ask → score → compare → decide → report → record."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from locum.adapters.base import load_base
from locum.adapters.domains import load_domain
from locum.adapters.manifest import Manifest
from locum.adapters.refs import CANDIDATE
from locum.adapters.suites import HarnessCard, SuiteCard
from locum.errors import BadInputError, ConflictError, NotFoundError, UnavailableError
from locum.evaluate.answers import Answer, Contender
from locum.evaluate.cache import CACHE_FILE, AnswerCache
from locum.evaluate.client import Patience
from locum.evaluate.conclusion import Run, conclude
from locum.evaluate.endpoint import Endpoint, read_endpoint
from locum.evaluate.forecast import total
from locum.evaluate.harness import HarnessSuite, load_harness_suite, suite_name
from locum.evaluate.harness_asking import ask_harness
from locum.evaluate.metrics.registry import Metric
from locum.evaluate.report import write_report
from locum.evaluate.result import EvaluationResult
from locum.evaluate.runner import Asked, Asking, ask_all, forecast
from locum.evaluate.scoring import load_metrics, needs, score_all
from locum.evaluate.suite import Suite, choose_suites, load_guards, load_suites, require_system_role
from locum.evaluate.suite_fit import require_fit
from locum.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from locum.adapters.judge import JudgeCard
    from locum.adapters.registry import Registry
    from locum.evaluate.judge.summary import JudgeSummary

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
    against: str | None = None,
    suite: str | None = None,
    task: HarnessCard | None = None,
    limit: int | None = None,
    concurrency: int = 8,
    patience: Patience | None = None,
    console: Console | None = None,
) -> list[EvaluationResult]:
    """Evaluate a version on its domain's suites against the live endpoint, and record the results with it.

    The base model answers the same samples, and so does the version in production if that is another one. A run that
    was cut off continues where it stopped.

    Args:
        settings: say where the endpoint, the registry, the cards and the data are.
        ref: the version, such as `medical@candidate`.
        against: whose comparison the report tells first: `base` or a version; none for the version in production where
            there is another one, else the base model. The gate looks at both.
        suite: one suite of the card; none for all.
        task: a task of lm-evaluation-harness instead of the suites; its `include` is relative to the working folder.
        limit: so many samples, for a quick look that is not recorded.
        concurrency: requests at a time.
        patience: how long one request may take, and how often it is tried; none for the usual.
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
    if task is None:
        suites = all_suites(settings, manifest.domain)
        chosen = choose_suites(suites, suite)
    else:
        chosen = [_task_suite(settings, manifest.domain, task)]
    metrics = {each.name: load_metrics(each) for each in chosen}
    for each in chosen:
        require_fit(each, metrics[each.name])
    api_key = settings.api_key.get_secret_value()
    endpoint = read_endpoint(settings.endpoint_url, api_key=api_key)
    plan = _plan(registry, endpoint, manifest, against)
    plan = replace(plan, notes=(*plan.notes, *_other_prompt(settings, manifest)))
    asking = Asking(endpoint.url, api_key, concurrency, patience or Patience())
    if limit is not None:
        chosen = [each.limited(limit) for each in chosen]
    elif task is None:
        registry.require_suites(manifest.domain, {each.name: each.digest for each in suites})

    results = []
    with closing(AnswerCache(settings.evaluations / CACHE_FILE)) as cache:
        _tell_cost(chosen, metrics, plan, endpoint, asking, cache, console)
        for each in chosen:
            with _run_folder(settings, plan, each, endpoint) as folder:
                asked = _ask(settings, each, metrics[each.name], plan, endpoint, asking, cache, console)
                answers, judge = asked.answers, None
                if each.card.judge is not None:
                    answers, judge = _judged(registry, each, answers, each.card.judge, cache, console)
                answers = score_all(each, metrics[each.name], answers)
                run = Run(
                    contenders=plan.contenders,
                    against=plan.against,
                    notes=plan.notes,
                    endpoint=asking.url,
                    concurrency=concurrency,
                    reused=asked.reused,
                    recorded=limit is None,
                    command=_command(settings, plan, endpoint, each, limit),
                    folder=folder,
                    created_by=settings.user,
                    judge=judge,
                )
                result = conclude(each, metrics[each.name], answers, run)
                write_report(result, answers)
            if result.recorded:
                registry.record_evaluation(result.record())
            results.append(result)
    return results


def all_suites(settings: Settings, domain_name: str) -> list[Suite]:
    """What a version of a domain is asked: its own suites, then the guard suites that its card names.

    Raises:
        NotFoundError: there is no such domain, it has no suite, or data is missing.
        BadInputError: a card or a row is wrong.
    """
    domain = load_domain(settings.domains, domain_name)
    own = load_suites(domain, settings.data_path(domain_name))
    return [*own, *load_guards(domain, settings.domains, settings.data_path(domain_name).parent)]


def _tell_cost(
    suites: Sequence[Suite],
    metrics: Mapping[str, Sequence[Metric]],
    plan: Plan,
    endpoint: Endpoint,
    asking: Asking,
    cache: AnswerCache,
    console: Console | None,
) -> None:
    """Say what is about to be asked of the server. How much lm-evaluation-harness asks, only itself knows, and how much
    a judge, the answers decide."""
    if console is None:
        return
    forecasts = []
    for suite in suites:
        if isinstance(suite, HarnessSuite):
            sentence = f"{suite.title}: lm-evaluation-harness puts {len(suite.samples):,} samples to every model."
        else:
            likelihoods = needs(metrics[suite.name], "likelihood")
            forecasts.append(
                forecast(
                    suite,
                    plan.contenders,
                    asking,
                    cache,
                    base_fingerprint=endpoint.fingerprint,
                    likelihoods=likelihoods,
                )
            )
            sentence = forecasts[-1].sentence
        console.print(sentence, style="dim", markup=False, highlight=False, soft_wrap=True)
    if sum_of_all := total(forecasts):
        console.print(sum_of_all, style="dim", markup=False, highlight=False, soft_wrap=True)


def _ask(
    settings: Settings,
    suite: Suite,
    metrics: Sequence[Metric],
    plan: Plan,
    endpoint: Endpoint,
    asking: Asking,
    cache: AnswerCache,
    console: Console | None,
) -> Asked:
    """The contenders' answers: lm-evaluation-harness asks for its own tasks, the runner for all else."""
    if isinstance(suite, HarnessSuite):
        return ask_harness(
            suite,
            plan.contenders,
            asking,
            cache,
            base_fingerprint=endpoint.fingerprint,
            tokenizer=_tokenizer(settings, endpoint),
            console=console,
        )
    return ask_all(
        suite,
        plan.contenders,
        asking,
        cache,
        base_fingerprint=endpoint.fingerprint,
        likelihoods=needs(metrics, "likelihood"),
        console=console,
    )


def _judged(
    registry: Registry,
    suite: Suite,
    answers: list[Answer],
    card: JudgeCard,
    cache: AnswerCache,
    console: Console | None,
) -> tuple[list[Answer], JudgeSummary]:
    """The answers with a judge's ratings, and what there is to know about the judging."""
    from locum.evaluate.judge.people import people_summary
    from locum.evaluate.judge.rating import rate_all

    judged = rate_all(suite.samples, answers, card, cache, console=console)
    people = people_summary(registry, suite.domain, judged.outcomes, confidence=suite.thresholds.confidence)
    return judged.answers, judged.summary.model_copy(update={"people": people})


def _task_suite(settings: Settings, domain_name: str, task: HarnessCard) -> HarnessSuite:
    domain = load_domain(settings.domains, domain_name)
    card = SuiteCard(name=suite_name(task.task), lm_eval=task)
    require_system_role(domain, card)
    return load_harness_suite(domain_name, card, folder=Path.cwd(), system=domain.card.system_prompt)


def _tokenizer(settings: Settings, endpoint: Endpoint) -> Path | None:
    """The folder of the endpoint's base model, if exactly that is here."""
    try:
        base = load_base(settings.bases, endpoint.base)
    except UnavailableError:
        return None
    return base.path if base.fingerprint == endpoint.fingerprint else None


def default_ref(settings: Settings, domain: str) -> str:
    """The domain's candidate if it has one, else its version in production.

    Raises:
        NotFoundError: the domain has neither.
        BadInputError: it is a version and no domain.
    """
    from locum.adapters.registry import Registry

    if "@" in domain:
        of = domain.partition("@")[0]
        raise BadInputError(
            f"expected a domain, such as {of}, found {domain!r}",
            hint=f"a version is named by --model: {of} --model {domain}",
        )
    registry = Registry.open(settings)
    for ref in (f"{domain}@{CANDIDATE}", domain):
        if _resolve_if_any(registry, ref):
            return ref
    load_domain(settings.domains, domain)  # a name that nobody knows is refused
    raise NotFoundError(
        f"{domain} has neither a candidate nor a version in production", hint=f"locum train {domain} makes a candidate"
    )


def _plan(registry: Registry, endpoint: Endpoint, manifest: Manifest, against: str | None) -> Plan:
    """Who answers: the version, the base, production if it is another one, and whom `against` names besides.

    Every version's digest and base model are held against what the endpoint says that it serves.
    """
    endpoint.check(manifest)
    contenders = [
        Contender(manifest.name, "version", manifest.digest),
        Contender(endpoint.base, "base", endpoint.fingerprint, manifest.system_role),
    ]
    notes = _note_notices(manifest)
    production = _resolve_if_any(registry, manifest.domain)
    if production and production.name != manifest.name:
        if production.base_fingerprint == manifest.base_fingerprint:
            endpoint.check(production)
            notes += _note_notices(production)
            contenders.append(Contender(production.name, "production", production.digest))
        else:
            notes.append(f"{production.name} in production stands on another base model and was not compared with.")
    if against is None:
        return Plan(manifest, tuple(contenders), contenders[-1].name, tuple(notes))
    if against in (BASE, endpoint.base):
        return Plan(manifest, tuple(contenders), endpoint.base, tuple(notes))
    opponent = registry.resolve(against)
    if opponent.domain != manifest.domain:
        notes.append(f"{opponent.name} is of another domain, and was asked what {manifest.domain} asks.")
    if opponent.name == manifest.name:
        raise BadInputError(
            f"{manifest.name} cannot be compared with itself", hint="--against takes `base` or another version"
        )
    if opponent.name not in [contender.name for contender in contenders]:
        endpoint.check(opponent)
        notes += _note_notices(opponent)
        contenders.append(Contender(opponent.name, "against", opponent.digest))
    return Plan(manifest, tuple(contenders), opponent.name, tuple(notes))


def _other_prompt(settings: Settings, manifest: Manifest) -> list[str]:
    """What to know where a server gives the version's users another system prompt than its suites ask with."""
    asked_with = load_domain(settings.domains, manifest.domain).card.system_prompt
    if manifest.system == "never" or manifest.system_prompt in (None, asked_with):
        return []
    return [
        f"{manifest.name} was asked with the card's system prompt, but a server gives its users the one that it was "
        "registered with, another one: `locum adapters register` makes a version of the same files with the card's."
    ]


def _note_notices(manifest: Manifest) -> list[str]:
    """What a report says of a version to whose answers the server appends what they lack."""
    if not manifest.enforced_notices:
        return []
    return [
        f"The server appends notices to answers of {manifest.name} that lack them; what is measured here is the "
        "model's own answer, without an appended notice."
    ]


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


def _command(settings: Settings, plan: Plan, endpoint: Endpoint, suite: Suite, limit: int | None) -> str:
    against = BASE if plan.against == endpoint.base else plan.against
    parts = ["locum", "eval", plan.manifest.domain, "--model", plan.manifest.name, "--against", against]
    parts += _chosen_by(suite)
    parts += ["--endpoint", settings.endpoint_url]
    parts += ["--limit", str(limit)] if limit is not None else []
    return shlex.join(parts)


def _chosen_by(suite: Suite) -> list[str]:
    """The options that choose this very suite."""
    task = suite.card.lm_eval
    if task is None or suite.name != suite_name(task.task):
        return ["--suite", suite.name]
    given = {"--lm-eval": task.task, "--include": task.include, "--metric": task.metric}
    return [word for option, value in given.items() if value is not None for word in (option, value)]
