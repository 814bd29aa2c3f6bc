"""The runner: puts every sample to every contender at the live endpoint, and keeps each answer as it arrives."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from locum.adapters.system_prompt import HEADER
from locum.errors import CheckFailedError, UnavailableError
from locum.evaluate.answers import Answer, Contender, Likelihood
from locum.evaluate.asking import NEUTRAL, chat_fields
from locum.evaluate.cache import AnswerCache, cache_key
from locum.evaluate.client import NoReplyError, Patience, Reply, ask, session
from locum.evaluate.forecast import Forecast, duration, known_pace, learn_pace
from locum.evaluate.likelihood import ask_likelihood
from locum.evaluate.samples import GENERATED, Sample
from locum.evaluate.suite import Suite

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID

# So many questions failing in a row, each after all its attempts, means that the server is gone and not just busy.
_FAILURES_IN_A_ROW = 8
# So many answers of each contender are streamed to tell the time to the first token. Streaming costs a wake-up a token,
# and for all answers more CPU time than all else that the client does (benchmarks/eval.py); those in the middle of the
# suite are, in a row, so that what runs side by side wakes together, and when the server has warmed up.
_TIMED = 16
FIRST_ANSWERS = 16  # that the time left is told from, where no earlier run tells it
_TIMES = frozenset({"first_token", "per_token"})


@dataclass(frozen=True)
class Asking:
    """How to ask: where, how many at a time, and with how much patience."""

    url: str
    api_key: str = field(default="", repr=False)
    concurrency: int = 8
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class Asked:
    """What `ask_all` brings: every answer, those that failed with an error, and how many were known before."""

    answers: list[Answer]
    reused: int


class _Kept(BaseModel):
    """What the cache holds: a reply in text, or the likelihood of a given one."""

    model_config = ConfigDict(extra="forbid")

    reply: Reply | None = None
    likelihood: Likelihood | None = None


@dataclass(frozen=True)
class _Question:
    """One request: for an answer in text, or for the likelihood of `continuation`."""

    sample: Sample
    contender: Contender
    repeat: int
    continuation: str | None
    key: str
    timed: bool = False


def ask_all(
    suite: Suite,
    contenders: Sequence[Contender],
    asking: Asking,
    cache: AnswerCache,
    *,
    base_fingerprint: str,
    likelihoods: bool = False,
    console: Console | None = None,
) -> Asked:
    """Every contender's answer to every sample of the suite. What the cache holds is not asked again.

    The contenders answer the same sample one after the other, so that whatever changes on the server meanwhile
    touches all of them alike.

    Args:
        base_fingerprint: of the base model that all contenders stand on.
        likelihoods: ask how likely the references are, too; a choice or a preference is always asked that way.
        console: where the progress bar is drawn; none for silence.

    Returns:
        One answer for each sample, contender and repeat, in the order of the suite. One that the server refuses for
        good (it is too long, say) has `error` set.

    Raises:
        UnavailableError: the server did not answer some; those that it did are kept, and asking again continues.
        CheckFailedError: an answer came from another model than the one that was asked.
    """
    questions = _all_questions(suite, contenders, asking, base_fingerprint, likelihoods=likelihoods)
    texts = cache.get({question.key for question in questions})
    known = {key: _Kept.model_validate_json(text) for key, text in texts.items()}
    reused = sum(question.key in known for question in questions)
    missing = deque({question.key: question for question in questions if question.key not in known}.values())
    failures: dict[str, NoReplyError] = {}
    if missing:
        run = _Run(suite, cache, asking, missing, known, failures)
        known_before = known_pace(cache, suite.title, *_where(asking, base_fingerprint))
        if console is not None and not console.is_terminal and known_before is None:  # where no bar says it
            run.tell = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        with _learning_pace(run, base_fingerprint, console):
            asyncio.run(run.finish(console))
    _require_complete(len(questions), failures, len(missing))
    return Asked(_answers(questions, known, failures), reused)


def forecast(
    suite: Suite,
    contenders: Sequence[Contender],
    asking: Asking,
    cache: AnswerCache,
    *,
    base_fingerprint: str,
    likelihoods: bool = False,
) -> Forecast:
    """What `ask_all` will ask with the same arguments."""
    questions = _all_questions(suite, contenders, asking, base_fingerprint, likelihoods=likelihoods)
    keys = {question.key for question in questions}
    pace = known_pace(cache, suite.title, *_where(asking, base_fingerprint))
    return Forecast(suite.title, len(keys), len(cache.get(keys)), pace)


def _where(asking: Asking, base_fingerprint: str) -> tuple[object, ...]:
    return asking.url, base_fingerprint, asking.concurrency


@contextmanager
def _learning_pace(run: _Run, base_fingerprint: str, console: Console | None) -> Iterator[None]:
    """Keep the pace of an asking however it ends, and say what is kept of one that is interrupted."""
    left = len(run.missing)
    try:
        yield
    except KeyboardInterrupt:
        if console is not None:
            kept = f"{run.answered:,} of {left:,} answers came, and are kept in {run.cache.path}"
            console.print(f"{run.suite.title} is stopped: {kept}.", markup=False, highlight=False, soft_wrap=True)
        raise
    finally:
        seconds = time.monotonic() - run.started
        where = _where(run.asking, base_fingerprint)
        learn_pace(run.cache, run.suite.title, *where, answers=run.answered, seconds=seconds)


def _all_questions(
    suite: Suite, contenders: Sequence[Contender], asking: Asking, base_fingerprint: str, *, likelihoods: bool
) -> list[_Question]:
    beside = (asking.url, asking.concurrency, sorted(contender.digest for contender in contenders))
    return _questions(suite, contenders, base_fingerprint, beside, likelihoods=likelihoods)


def _questions(
    suite: Suite, contenders: Sequence[Contender], base_fingerprint: str, beside: object, *, likelihoods: bool
) -> list[_Question]:
    generation = suite.generation
    settings = generation.model_dump(exclude={"repeats", "seed"})
    questions = []
    timed = _timed(suite)
    # Where times are measured, an answer without them is none, and one of another run is no comparison: they depend on
    # what the server has to do besides.
    kind = ("timed text", beside) if _TIMES & set(suite.metrics) else "text"
    for place, sample in enumerate(suite.samples):
        given = [*sample.continuations, *([sample.reference] if likelihoods and sample.reference else [])]
        for contender in contenders:
            place_of_prompt = ("user",) if contender.system_role == "user" else ()
            weights = (contender.digest, base_fingerprint, sample.asked, *place_of_prompt)
            for repeat in range(generation.repeats if sample.kind in GENERATED else 0):
                key = cache_key(kind, *weights, settings, generation.seed + repeat)
                questions.append(_Question(sample, contender, repeat, None, key, place in timed))
            questions += [
                _Question(sample, contender, 0, text, cache_key("likelihood", *weights, text))
                for text in dict.fromkeys(given)
            ]
    return questions


def _timed(suite: Suite) -> range:
    """The places of the samples whose answers are streamed: all, where a metric of the suite wants their times."""
    count = len(suite.samples)
    if _TIMES & set(suite.metrics):
        return range(count)
    first = max(0, (count - _TIMED) // 2)
    return range(first, min(count, first + _TIMED))


class _Run:
    """The state of one asking: what is left to ask, and what has been answered."""

    def __init__(
        self,
        suite: Suite,
        cache: AnswerCache,
        asking: Asking,
        missing: deque[_Question],
        known: dict[str, _Kept],
        failures: dict[str, NoReplyError],
    ) -> None:
        self.suite, self.cache, self.asking = suite, cache, asking
        self.missing, self.known, self.failures = missing, known, failures
        self.failed_in_a_row = 0
        self.retries = 0
        self.answered = 0
        self.tell: Callable[[str], None] | None = None
        self.prompts: dict[str, list[int]] = {}
        self.started = time.monotonic()

    async def finish(self, console: Console | None) -> None:
        """Ask what is missing until nothing is, or the server is gone."""
        asking = self.asking
        # A sample without a system message is asked without one, of every contender alike.
        async with session(asking.url, asking.api_key, asking.concurrency, headers={HEADER: "never"}) as client:
            with progress_bar(console) as progress:
                bar = progress.add_task(self.suite.title, total=len(self.missing), errors="")
                await side_by_side(lambda: self._work(client, progress, bar), self.asking.concurrency)

    async def _work(self, client: ClientSession, progress: Progress, bar: TaskID) -> None:
        def show_errors() -> None:
            progress.update(bar, errors=f"{self.retries} retries, {len(self.failures)} failed")

        def retried() -> None:
            self.retries += 1
            show_errors()

        while self.missing and self.failed_in_a_row < max(_FAILURES_IN_A_ROW, self.asking.concurrency):
            question = self.missing.popleft()
            try:
                kept = await self._ask(client, question, retried)
            except NoReplyError as error:
                self.failures[question.key] = error
                self.failed_in_a_row += not error.refused
                show_errors()
            else:
                self.failed_in_a_row = 0
                self.answered += 1
                self._tell_time_left()
                self.cache.put(question.key, kept.model_dump_json(exclude_none=True))
                self.known[question.key] = kept
            progress.advance(bar)

    def _tell_time_left(self) -> None:
        """Once, by the pace of the first answers."""
        if self.tell is not None and self.answered == FIRST_ANSWERS and self.missing:
            seconds = (time.monotonic() - self.started) / self.answered * len(self.missing)
            self.tell(f"{self.suite.title}: about {duration(seconds)} for the other {len(self.missing):,} requests.")

    async def _ask(self, client: ClientSession, question: _Question, retried: Any) -> _Kept:
        sample, contender, patience = question.sample, question.contender, self.asking.patience
        if question.continuation is not None:
            likelihood, spoke = await ask_likelihood(
                client,
                self.asking.url,
                contender=contender,
                sample=sample,
                text=question.continuation,
                prompts=self.prompts,
                patience=patience,
                on_retry=retried,
            )
            _require_asked_model(contender, {"`model` field": spoke})
            return _Kept(likelihood=likelihood)
        body = request_body(self.suite, sample, contender, repeat=question.repeat)
        reply = await ask(client, self.asking.url, body, timed=question.timed, patience=patience, on_retry=retried)
        said = {"`model` field": reply.answered_by, "header x-locum-adapter": reply.adapter or contender.name}
        _require_asked_model(contender, said)
        return _Kept(reply=reply)


async def side_by_side(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """Let so many workers run until all have ended. When one fails the others end too, and what it raised is raised."""
    workers = [asyncio.create_task(work()) for _ in range(count)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def request_body(suite: Suite, sample: Sample, contender: Contender, *, repeat: int = 0) -> dict[str, Any]:
    """The chat request that puts a sample to a contender, with a fixed seed: any temperature can be repeated."""
    generation = suite.generation
    body: dict[str, Any] = {
        **NEUTRAL,
        "model": contender.name,
        **chat_fields(sample, contender.system_role),
        "max_tokens": generation.max_tokens,
        "temperature": generation.temperature,
        "seed": generation.seed + repeat,
    }
    if generation.choices is not None:
        body["structured_outputs"] = {"choice": list(generation.choices)}
    return body


def _answers(
    questions: Sequence[_Question], known: dict[str, _Kept], failures: dict[str, NoReplyError]
) -> list[Answer]:
    """What belongs to one sample, contender and repeat, put together."""
    found: dict[tuple[str, str, int], Answer] = {}
    for question in questions:
        key = (question.sample.id, question.contender.name, question.repeat)
        answer = found.get(key) or _empty(question)
        if error := failures.get(question.key):
            answer = answer.model_copy(update={"error": str(error), "attempts": error.attempts})
        else:
            answer = _filled(answer, known[question.key])
        found[key] = answer
    return list(found.values())


def _empty(question: _Question) -> Answer:
    return Answer(
        sample=question.sample.id,
        group=question.sample.group,
        repeat=question.repeat,
        model=question.contender.name,
        digest=question.contender.digest,
        messages=list(question.sample.messages),
        reference=question.sample.reference,
    )


def _filled(answer: Answer, kept: _Kept) -> Answer:
    if kept.likelihood is not None:
        return answer.model_copy(update={"likelihoods": [*answer.likelihoods, kept.likelihood]})
    assert kept.reply is not None
    update = kept.reply.model_dump(exclude={"text"})
    return answer.model_copy(update={"answer": kept.reply.text, **update})


def _require_asked_model(contender: Contender, said: dict[str, str]) -> None:
    """Raises CheckFailedError unless the answer says, wherever it says so, that the model asked has spoken."""
    for where, name in said.items():
        if name != contender.name:
            raise CheckFailedError(
                f"{contender.name} was asked, but the answer's {where} says {name!r}",
                hint="nothing between this command and the server may choose another model",
            )


def _require_complete(total: int, failures: dict[str, NoReplyError], not_asked: int) -> None:
    """Raises UnavailableError if the server did not answer a question that it might still answer."""
    failed = [error for error in failures.values() if not error.refused]
    if not failed and not not_asked:
        return
    unasked = f", and {not_asked} were not asked any more" if not_asked else ""
    raise UnavailableError(
        f"{len(failed)} of {total} questions failed{unasked}; the last: {failed[-1]}",
        hint="what was answered is kept: type the same command again to continue",
    )


def progress_bar(console: Console | None) -> Progress:
    """A bar with rate, time left and errors."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "", style="cyan")

    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        TextColumn("[yellow]{task.fields[errors]}"),
        console=console or Console(quiet=True),
        disable=console is None,
    )
