"""The runner: puts every sample to every contender at the live endpoint, and keeps each answer as it arrives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from locum.errors import CheckFailedError, UnavailableError
from locum.evaluate.answers import Answer, AnswerLog, Contender
from locum.evaluate.client import NoReplyError, Patience, Reply, ask_until_answered
from locum.evaluate.endpoint import authorization
from locum.evaluate.metrics.registry import load_metric
from locum.evaluate.suite import Sample, Suite

if TYPE_CHECKING:
    import httpx
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID

# So many samples failing in a row, each after all its attempts, means that the server is gone and not just busy.
_FAILURES_IN_A_ROW = 8

_Question = tuple[Sample, Contender]


@dataclass(frozen=True)
class Asking:
    """How to ask: where, how many at a time, and with how much patience."""

    url: str
    api_key: str = field(default="", repr=False)
    concurrency: int = 8
    patience: Patience = field(default_factory=Patience)


def ask_all(
    suite: Suite, contenders: Sequence[Contender], log: AnswerLog, asking: Asking, *, console: Console | None = None
) -> list[Answer]:
    """Every contender's answer to every sample of the suite, scored. Continues where an earlier run stopped.

    The contenders answer the same sample one after the other, so that whatever changes on the server meanwhile
    touches all of them alike.

    Args:
        log: where answers are kept; what it already holds for these contenders is not asked again.
        console: where the progress bar is drawn; none for silence.

    Returns:
        One answer for each sample and contender, in the order of the suite.

    Raises:
        UnavailableError: some samples got no answer; those that did are kept, and asking again continues.
        CheckFailedError: an answer came from another model than the one that was asked.
    """
    known = log.read(contenders)
    questions = [(sample, contender) for sample in suite.samples for contender in contenders]
    missing = deque(question for question in questions if _key(question) not in known)
    if missing:
        run = _Run(suite, log, asking, missing, known)
        asyncio.run(run.finish(console, total=len(questions)))
    _require_complete(questions, known, missing, log)
    return [known[_key(question)] for question in questions]


class _Run:
    """The state of one asking: what is left to ask, and what has been answered."""

    def __init__(
        self,
        suite: Suite,
        log: AnswerLog,
        asking: Asking,
        missing: deque[_Question],
        known: dict[tuple[str, str], Answer],
    ) -> None:
        self.suite, self.log, self.asking, self.missing, self.known = suite, log, asking, missing, known
        self.metrics = [load_metric(name) for name in suite.metrics]
        self.failed_in_a_row = 0
        self.failed = 0
        self.retries = 0

    async def finish(self, console: Console | None, *, total: int) -> None:
        """Ask what is missing until nothing is, or the server is gone."""
        import httpx

        headers = authorization(self.asking.api_key)
        limits = httpx.Limits(max_connections=self.asking.concurrency)
        # The timeout is over a whole attempt, in ask_until_answered; httpx's own would begin anew with each read.
        async with httpx.AsyncClient(headers=headers, limits=limits, timeout=None) as client:
            with _progress(console) as progress:
                bar = progress.add_task(f"{self.suite.domain} · {self.suite.name}", total=total, errors="")
                progress.update(bar, completed=total - len(self.missing))
                workers = [
                    asyncio.create_task(self._work(client, progress, bar)) for _ in range(self.asking.concurrency)
                ]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, client: httpx.AsyncClient, progress: Progress, bar: TaskID) -> None:
        def show_errors() -> None:
            progress.update(bar, errors=f"{self.retries} retries, {self.failed} failed")

        def retried() -> None:
            self.retries += 1
            show_errors()

        while self.missing and self.failed_in_a_row < max(_FAILURES_IN_A_ROW, self.asking.concurrency):
            sample, contender = self.missing.popleft()
            try:
                reply = await ask_until_answered(
                    client,
                    self.asking.url,
                    model=contender.name,
                    messages=sample.messages,
                    max_tokens=self.suite.max_tokens,
                    temperature=self.suite.temperature,
                    choices=self.suite.choices,
                    patience=self.asking.patience,
                    on_retry=retried,
                )
            except NoReplyError as error:
                self.failed += 1
                self.failed_in_a_row += 1
                self.log.append(_failed(sample, contender, error))
                show_errors()
            else:
                self.failed_in_a_row = 0
                _require_asked_model(contender, reply)
                answer = self._answer(sample, contender, reply)
                self.log.append(answer)
                self.known[answer.key] = answer
            progress.advance(bar)

    def _answer(self, sample: Sample, contender: Contender, reply: Reply) -> Answer:
        return Answer(
            sample=sample.id,
            model=contender.name,
            digest=contender.digest,
            answered_by=reply.answered_by,
            adapter=reply.adapter,
            messages=list(sample.messages),
            reference=sample.reference,
            answer=reply.text,
            scores={metric.name: metric.score([reply.text], [sample.reference])[0] for metric in self.metrics},
            latency_s=reply.latency_s,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            finish_reason=reply.finish_reason,
            attempts=reply.attempts,
        )


def _key(question: _Question) -> tuple[str, str]:
    sample, contender = question
    return sample.id, contender.name


def _failed(sample: Sample, contender: Contender, error: NoReplyError) -> Answer:
    return Answer(
        sample=sample.id,
        model=contender.name,
        digest=contender.digest,
        messages=list(sample.messages),
        reference=sample.reference,
        attempts=error.attempts,
        error=str(error),
    )


def _require_asked_model(contender: Contender, reply: Reply) -> None:
    """Raises CheckFailedError unless the answer says, wherever it says so, that the model asked has spoken."""
    said = {"`model` field": reply.answered_by, "header x-locum-adapter": reply.adapter or contender.name}
    for where, name in said.items():
        if name != contender.name:
            raise CheckFailedError(
                f"{contender.name} was asked, but the answer's {where} says {name!r}",
                hint="nothing between this command and the server may choose another model",
            )


def _require_complete(
    questions: list[_Question], known: dict[tuple[str, str], Answer], not_asked: deque[_Question], log: AnswerLog
) -> None:
    """Raises UnavailableError if any question is without an answer."""
    without = sum(_key(question) not in known for question in questions)
    if not without:
        return
    unasked = f", and {len(not_asked)} were not asked any more" if not_asked else ""
    raise UnavailableError(
        f"{without - len(not_asked)} of {len(questions)} questions failed{unasked}; the last: {log.last_error()}",
        hint=f"what was answered is kept in {log.path}: type the same command again to continue",
    )


def _progress(console: Console | None) -> Progress:
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
