"""`locum data generate` and `locum data augment`: what a teacher writes, for people to review."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, cast

import typer

from locum.commands.common import JsonOption, err, print_json, say, settings

if TYPE_CHECKING:
    from locum.settings import Settings
    from locum.train.data.prompts import Variant
    from locum.train.data.writing import Say, Written

SHOWN = 20


def add_to(app: typer.Typer) -> None:
    app.command("generate")(generate)
    app.command("augment")(augment)


def generate(
    domain: Annotated[str, typer.Argument(help="The domain's name.")],
    synthetic: Annotated[
        int | None,
        typer.Option(min=1, help="Without documents: questions that users would ask, until there are so many."),
    ] = None,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", help="With --synthetic, what they are about; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a teacher write questions and answers from a domain's documents, for people to review.

    The teacher is the model that the settings `teacher` and `teacher_model` name. A run that was interrupted goes on.

    Example: locum data generate medical
    """
    from locum.adapters.domains import load_domain
    from locum.errors import BadInputError
    from locum.train.data.teacher import Teacher
    from locum.train.data.writing import write_from_card, write_from_documents

    if topics and synthetic is None:
        raise BadInputError("--topic is for --synthetic; expected both", hint="documents have topics of their own")
    in_force = settings()
    card = load_domain(in_force.domains, domain)
    teacher, reviews = Teacher(in_force), in_force.reviews_path(domain)
    with _progress(f"{teacher.model} writes for {domain}") as told:
        if synthetic is None:
            written = write_from_documents(card, teacher, reviews, told)
        else:
            written = write_from_card(card, teacher, reviews, told, count=synthetic, topics=topics or [])
    _tell(in_force, domain, written, as_json=as_json)


def augment(
    domain: Annotated[str, typer.Argument(help="The domain's name.")],
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="question or answer in other words; easier or harder questions; outside: questions that "
            "the assistant should not answer. Repeatable; question when not given.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Of how many rows, chosen by hash.")] = 100,
    count: Annotated[int, typer.Option(min=1, max=20, help="How many of each kind for each row.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Let a teacher vary a domain's rows and accepted items, for people to review.

    A variant never falls into another split than the row that it was made of.

    Example: locum data augment medical --kind question --kind outside --rows 200
    """
    from typing import get_args

    from locum.adapters.domains import load_domain
    from locum.errors import BadInputError
    from locum.text import expected_one_of
    from locum.train.data.prompts import Variant
    from locum.train.data.teacher import Teacher
    from locum.train.data.writing import write_variants

    given = list(dict.fromkeys(kinds or ["question"]))
    for kind in given:
        if kind not in get_args(Variant):
            raise BadInputError(f"--kind {kind}{expected_one_of(kind, get_args(Variant))}")
    in_force = settings()
    card = load_domain(in_force.domains, domain)
    teacher = Teacher(in_force)
    with _progress(f"{teacher.model} varies rows of {domain}") as told:
        written = write_variants(
            card,
            teacher,
            in_force.reviews_path(domain),
            told,
            kinds=cast("list[Variant]", given),
            rows=rows,
            count=count,
        )
    _tell(in_force, domain, written, as_json=as_json)


@contextmanager
def _progress(label: str) -> Iterator[Say]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(compact=True), TextColumn("left"), console=err) as progress:
        task = progress.add_task(label, total=None)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield told


def _tell(in_force: Settings, domain: str, written: Written, *, as_json: bool) -> None:
    from contextlib import closing
    from dataclasses import asdict

    from locum.train.data.reviews import Reviews

    with closing(Reviews(in_force.reviews_path(domain))) as queue:
        counts = queue.counts()
    if as_json:
        print_json({**asdict(written), "queue": counts})
        return

    before = f"; {written.done_before:,} were answered in an earlier run" if written.done_before else ""
    say(f"{written.asked:,} requests{before}. {written.items:,} new items.")
    if written.repeated:
        say(f"Left out: {written.repeated:,} that were there already or said nothing new.")
    for title, lines in (("Notes on documents", written.passed_over), ("Could not be used", written.problems)):
        if lines:
            say(f"{title}, {len(lines):,}:")
            for line in lines[:SHOWN]:
                say(f"  {line}")
            if len(lines) > SHOWN:
                say(f"  … and {len(lines) - SHOWN:,} more (--json lists them all)")
    if written.problems:
        say("What could not be used is asked again by the next run, unless a part of it could.")
    following = f" Next: locum data review {domain}" if counts["pending"] else ""
    say(f"{counts['pending']:,} items are pending.{following}")
