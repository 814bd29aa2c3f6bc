"""What is compared: both contenders' answers to a suite's questions, from the live endpoint, kept as an arena."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from locum.adapters.domains import load_domain
from locum.adapters.system_prompt import SystemRole
from locum.adapters.votes import Arena, ArenaQuestion, open_arena, questions
from locum.errors import BadInputError
from locum.evaluate.answers import Answer, Contender
from locum.evaluate.cache import CACHE_FILE, AnswerCache
from locum.evaluate.client import Patience
from locum.evaluate.endpoint import Endpoint, read_endpoint
from locum.evaluate.evaluation import BASE
from locum.evaluate.runner import Asking, ask_all
from locum.evaluate.samples import GENERATED
from locum.evaluate.suite import Suite, load_suites
from locum.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from locum.adapters.registry import Registry


@dataclass(frozen=True)
class Match:
    """An arena that people can vote in. `same` and `unanswered` count the samples that they are not shown."""

    id: int
    digest: str
    arena: Arena
    questions: tuple[ArenaQuestion, ...]
    same: int
    unanswered: int


def prepare_match(
    settings: Settings,
    registry: Registry,
    ref: str,
    *,
    against: str = BASE,
    suite: str | None = None,
    count: int = 40,
    concurrency: int = 8,
    timeout_s: float = 120.0,
    console: Console | None = None,
) -> Match:
    """Ask both contenders, and open the arena for their answers; the same contenders and questions come back to it.

    Args:
        ref: the version, such as `medical@candidate`.
        against: `base`, or another version.
        suite: one of the domain's; may be left out where there is only one with answers in text.
        count: so many of the suite's samples, at most.
        console: where progress is drawn; none for silence.

    Raises:
        NotFoundError: there is no such version or suite.
        BadInputError: the suite is not clear, nobody answers in text there, or both are the same version.
        UnavailableError: the endpoint does not answer, or does not serve them.
        CheckFailedError: it serves something else under their names.
    """
    manifest = registry.resolve(ref)
    api_key = settings.api_key.get_secret_value()
    endpoint = read_endpoint(settings.endpoint_url, api_key=api_key)
    endpoint.check(manifest)
    model = Contender(manifest.name, "version", manifest.digest)
    opponent = _opponent(registry, endpoint, against, manifest.system_role)
    if opponent.name == model.name:
        raise BadInputError(f"{model.name} cannot be compared with itself", hint="--against takes `base` or a version")
    domain = load_domain(settings.domains, manifest.domain)
    chosen = _for_people(load_suites(domain, settings.data_path(domain.name), suite), count)
    with closing(AnswerCache(settings.evaluations / CACHE_FILE)) as cache:
        answers = ask_all(
            chosen,
            [model, opponent],
            Asking(endpoint.url, api_key, concurrency, Patience(timeout_s=timeout_s)),
            cache,
            base_fingerprint=endpoint.fingerprint,
            console=console,
        ).answers
    found, same, unanswered = _questions(chosen, model, opponent, answers)
    if not found:
        raise BadInputError(
            f"there is nothing to compare: on all {len(chosen.samples)} questions of {chosen.name}, {model.name} and "
            f"{opponent.name} answer the same"
        )
    digest = _digest(chosen, model, opponent, endpoint)
    arena = Arena(
        domain=domain.name,
        suite=chosen.name,
        suite_digest=chosen.digest,
        model=model.name,
        model_digest=model.digest,
        against=opponent.name,
        against_digest=opponent.digest,
        base_fingerprint=endpoint.fingerprint,
        seed=secrets.token_hex(16),
        created_at=datetime.now(UTC),
        created_by=settings.user,
    )
    arena_id, kept = open_arena(registry, digest, arena, found)
    return Match(arena_id, digest, kept, tuple(questions(registry, arena_id)), same, unanswered)


def _opponent(registry: Registry, endpoint: Endpoint, against: str, system_role: SystemRole) -> Contender:
    if against in (BASE, endpoint.base):
        return Contender(endpoint.base, "base", endpoint.fingerprint, system_role)
    manifest = registry.resolve(against)
    endpoint.check(manifest)
    return Contender(manifest.name, "against", manifest.digest)


def _for_people(suites: list[Suite], count: int) -> Suite:
    """The suite that is meant, with at most `count` of those samples that are answered in text, once each."""
    readable = [suite for suite in suites if any(sample.kind in GENERATED for sample in suite.samples)]
    if len(suites) == 1 or len(readable) == 1:
        [chosen] = readable or suites
    else:
        known = ", ".join(suite.name for suite in readable) or "none"
        raise BadInputError(
            f"expected one suite to compare on, found {len(readable)} ({known})", hint="--suite NAME says which"
        )
    samples = tuple(sample for sample in chosen.samples if sample.kind in GENERATED)
    if not samples:
        raise BadInputError(f"suite {chosen.name!r} has no sample that is answered in text")
    once = chosen.card.model_copy(update={"generation": chosen.generation.model_copy(update={"repeats": 1})})
    return replace(chosen, card=once, samples=samples).limited(count)


def _questions(
    suite: Suite, model: Contender, opponent: Contender, answers: Sequence[Answer]
) -> tuple[list[ArenaQuestion], int, int]:
    """What people are asked, and how many samples they are not: answered the same, or not answered by one."""
    said = {(answer.sample, answer.model): answer for answer in answers}
    found: list[ArenaQuestion] = []
    same = unanswered = 0
    for sample in suite.samples:
        ours, theirs = said[sample.id, model.name], said[sample.id, opponent.name]
        if ours.answer is None or theirs.answer is None:
            unanswered += 1
        elif ours.answer.strip() == theirs.answer.strip():
            same += 1
        else:
            question = ArenaQuestion(
                number=len(found),
                sample=sample.id,
                messages=list(sample.messages),
                model_answer=ours.answer.strip(),
                against_answer=theirs.answer.strip(),
                group=sample.group,
                topic=sample.slices.get("topic"),
            )
            found.append(question)
    return found, same, unanswered


def _digest(suite: Suite, model: Contender, opponent: Contender, endpoint: Endpoint) -> str:
    content = [suite.domain, suite.digest, model.digest, opponent.digest, endpoint.fingerprint]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
