"""What a teacher writes, put into the review queue: from passages, from the card alone, and from rows there are."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

from filelock import FileLock, Timeout

from locum.adapters.conversations import Conversation, normalise
from locum.adapters.domains import Domain
from locum.errors import BadInputError, CheckFailedError, ConflictError
from locum.train.data import prompts
from locum.train.data.cleaning import Cleaner
from locum.train.data.documents import documents_card, read_documents, where
from locum.train.data.files import nobody
from locum.train.data.prompts import Variant
from locum.train.data.reading import Reject, Unanswered, Unwanted
from locum.train.data.reviews import Draft, Reviews
from locum.train.data.source import origins
from locum.train.data.teacher import Reply, Teacher

BATCH = 5  # questions without a document that are asked for at once
BOTH = ("question", "answer")

Say = Callable[[int, int], None]
"""Told how many of how many requests are done; without documents, how many of how many questions are written."""


@dataclass(frozen=True)
class Task:
    """A request to a teacher. `draft` is what each item of the answer is, but for the `fields` that it has itself."""

    messages: list[dict[str, str]]
    draft: Draft
    fields: tuple[str, ...] = BOTH
    unlike: str = ""
    """Question and answer that a variant must not be the same as."""
    once: bool = True
    """Whether it is not asked again when it was answered before."""

    def key(self, teacher: str) -> str:
        """What is the same when the same teacher is told the same."""
        return hashlib.sha256(json.dumps([teacher, prompts.VERSION, self.messages]).encode()).hexdigest()


@dataclass
class Written:
    """What came of asking a teacher."""

    asked: int = 0
    done_before: int = 0
    """Requests that were answered in an earlier run."""
    items: int = 0
    repeated: int = 0
    """Items that were there already, or said nothing new."""
    problems: list[str] = field(default_factory=list)
    """What of the answers could not be used, and where that was."""
    passed_over: list[str] = field(default_factory=list)
    """What was not asked about, and why."""


def write_from_documents(domain: Domain, teacher: Teacher, reviews: Path, say: Say) -> Written:
    """Let a teacher write questions and answers from each passage of a domain's documents.

    Each reply is kept as it comes; a passage that was done with the same teacher, prompt and text is not asked again.

    Raises:
        BadInputError: the card names no documents, or none can be read.
        NotFoundError: a document is not there, or the teacher does not know the model.
        UnavailableError: the teacher does not answer.
        CheckFailedError: nothing that it said could be used.
    """
    documents = read_documents(domain)
    tasks = [
        Task(
            prompts.for_passage(domain.card, passage, documents_card(domain).questions),
            Draft(
                "passage", "", "", topic=passage.topic, file=passage.file, heading=passage.heading,
                passage=passage.text, digest=passage.digest,
            ),
        )
        for passage in documents.passages
    ]  # fmt: skip
    written = Written(passed_over=list(documents.unreadable))
    if documents.short:
        written.passed_over.append(f"{documents.short} sections in which next to nothing stands")
    with _queue(reviews) as queue:
        _write(tasks, teacher, queue, written, say)
    return written


def write_from_card(
    domain: Domain, teacher: Teacher, reviews: Path, say: Say, *, count: int, topics: Sequence[str] = ()
) -> Written:
    """Let a teacher write what users of a domain would ask, with answers, until the queue holds so many.

    Those that were rejected do not count. Raises as `write_from_documents`.
    """
    written = Written()
    wanted: list[str | None] = list(dict.fromkeys(topics)) or [None]
    shares = {topic: count // len(wanted) + (at < count % len(wanted)) for at, topic in enumerate(wanted)}
    with _queue(reviews) as queue:
        goal = sum(_missing(queue, topic, share) for topic, share in shares.items())
        for topic, share in shares.items():
            while missing := _missing(queue, topic, share):
                before = written.items
                known = [item.question for item in queue.items() if item.draft.kind == "synthetic"]
                tasks = [
                    Task(
                        prompts.for_domain(
                            domain.card,
                            topic=topic,
                            angle=prompts.ANGLES[(len(known) // BATCH + at) % len(prompts.ANGLES)],
                            known=known,
                            count=min(BATCH, missing - BATCH * at),
                        ),
                        Draft("synthetic", "", "", topic=topic),
                        once=False,
                    )
                    for at in range(min(len(prompts.ANGLES), -(-missing // BATCH)))
                ]
                _write(tasks, teacher, queue, written, lambda *_: say(min(written.items, goal), goal))
                if written.items == before:
                    written.passed_over.append(
                        f"{missing} questions{f' on {topic}' if topic else ''}: the teacher had no new ones"
                    )
                    break
    return written


def write_variants(
    domain: Domain, teacher: Teacher, reviews: Path, say: Say, *, kinds: Sequence[Variant], rows: int, count: int
) -> Written:
    """Let a teacher vary a domain's rows and accepted items: so many variants of each kind, of so many rows.

    The rows are chosen by hash, so that a greater number takes in those of a smaller one. They are cleaned first, as
    in a build. Raises as `write_from_documents`.
    """
    written = Written()
    with _queue(reviews) as queue:
        chosen = {
            each.digest: each
            for each in heapq.nsmallest(rows, _models(domain, queue, written), key=attrgetter("digest"))
        }
        if not chosen:
            raise BadInputError(
                f"{domain.name} has no row to vary" + "".join(f"\n  {each}" for each in written.passed_over),
                hint=f"give `source:` in its card, or accept items: locum data review {domain.name}",
            )
        tasks = [_variant(domain, each, kind, count) for each in chosen.values() for kind in kinds]
        _write(tasks, teacher, queue, written, say)
    return written


@dataclass(frozen=True)
class _Model:
    """What variants are made of: a row of the source, or an accepted item."""

    digest: str
    question: str
    answer: str
    draft: Draft


def _models(domain: Domain, queue: Reviews, written: Written) -> Iterator[_Model]:
    for item in queue.items("accepted"):
        if item.draft.row is None and item.draft.parent is None:  # no variants of variants
            digest = hashlib.sha256(f"{item.question}\n{item.answer}".encode()).hexdigest()
            yield _Model(digest, item.question, item.answer, Draft("", "", "", topic=item.draft.topic, parent=item.id))
    if domain.card.source is None:
        return
    clean, turns, calling, unfit = Cleaner(domain.card.cleaning), 0, 0, 0
    for origin in origins(domain, domain.card.source, Conversation):
        for read in origin.rows(0, nobody):
            if isinstance(read, (Unanswered, Unwanted)):
                continue
            row = None if isinstance(read, Reject) else clean(read.row).row
            if isinstance(read, Reject) or not isinstance(row, Conversation):
                unfit += 1
            elif sum(message.role == "user" for message in row.conversations) > 1:
                turns += 1
            elif any(message.tool_calls for message in row.conversations):
                calling += 1  # a teacher would be shown an answer without what it rests on
            else:
                system = row.conversations[0].content if row.conversations[0].role == "system" else None
                draft = Draft("", "", "", topic=row.topic, system=system, row=read.row.digest)
                yield _Model(read.row.digest, row.question, row.answer, draft)
    written.passed_over += [f"{turns} rows of several turns"] if turns else []
    written.passed_over += [f"{calling} rows with calls of tools"] if calling else []
    written.passed_over += [f"{unfit} rows that do not fit, or that cleaning drops"] if unfit else []


def _variant(domain: Domain, model: _Model, kind: Variant, count: int) -> Task:
    fields: tuple[str, ...] = (kind,) if kind in BOTH else BOTH
    given = f"Question: {model.question}\n\nAnswer: {model.answer}"
    draft = replace(
        model.draft,
        kind=kind,
        question="" if "question" in fields else model.question,
        answer="" if "answer" in fields else model.answer,
        passage=given,
        digest=hashlib.sha256(given.encode()).hexdigest(),
    )
    messages = prompts.for_variant(
        domain.card, kind, question=model.question, answer=model.answer, count=count, fields=fields
    )
    return Task(messages, draft, fields, unlike=normalise(f"{model.question}\n{model.answer}"))


@contextmanager
def _queue(path: Path) -> Iterator[Reviews]:
    """The queue, for one writer at a time: two would ask the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConflictError(f"another process is writing into {path}", hint="wait for it") from None
    with lock, closing(Reviews(path)) as queue:
        yield queue


def _missing(queue: Reviews, topic: str | None, share: int) -> int:
    there = [
        item
        for item in queue.items()
        if item.draft.kind == "synthetic" and item.state != "rejected" and topic in (None, item.draft.topic)
    ]
    return max(0, share - len(there))


def _write(tasks: Sequence[Task], teacher: Teacher, queue: Reviews, written: Written, say: Say) -> None:
    keyed = {task.key(teacher.model): task for task in tasks}
    remaining = {key: task for key, task in keyed.items() if not (task.once and queue.asked(key))}
    written.done_before += len(keyed) - len(remaining)
    done = usable = 0
    say(0, len(remaining))

    def take(task: Task, reply: Reply) -> None:
        nonlocal done, usable
        done += 1
        own = {"question": task.draft.question, "answer": task.draft.answer}
        items = [{**own, **item} for item in reply.items]
        drafts = [replace(task.draft, question=item["question"], answer=item["answer"]) for item in items]
        if task.draft.kind == "synthetic":
            known = {normalise(item.question) for item in queue.items() if item.draft.kind == "synthetic"}
            new = list({q: draft for draft in drafts if (q := normalise(draft.question)) not in known}.values())
        else:
            new = [draft for draft in drafts if normalise(f"{draft.question}\n{draft.answer}") != task.unlike]
        if reply.problem:
            written.problems.append(f"{_about(task.draft)}: {reply.problem}")
        if drafts:
            usable += 1
            added = queue.add(task.key(teacher.model), new, teacher=teacher.model, prompt=prompts.VERSION)
            written.items += added
            written.repeated += len(drafts) - added
        say(done, len(remaining))

    written.asked += len(remaining)
    teacher.ask(remaining.values(), take)
    if remaining and not (usable or written.items or written.done_before):
        raise CheckFailedError(
            f"nothing that {teacher.model} said to {len(remaining)} requests could be used, such as "
            f"{written.problems[-1]}",
            hint="a model that follows instructions, with structured output if there is one, does better",
        )


def _about(draft: Draft) -> str:
    if draft.file:
        return where(draft.file, draft.heading)
    told = f"{draft.kind} of {draft.passage}" if draft.passage else f"{draft.kind} {draft.topic or ''}"
    return " ".join(told.split())[:80]
