"""`locum eval arena`: domain experts compare answers without knowing whose they are, and what they found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locum.commands.common import (
    EndpointOption,
    JsonOption,
    counted,
    err,
    out,
    print_json,
    require_known,
    say,
    settings,
    table,
)

if TYPE_CHECKING:
    from locum.adapters.registry import Registry
    from locum.evaluate.arena.matches import Match
    from locum.evaluate.arena.results import ArenaResults

SHOWN = 10  # disagreements, and comments
RELIABLE, TENTATIVE = 0.8, 0.667  # Krippendorff's own bounds


def add_to(app: typer.Typer) -> None:
    app.command("arena")(arena)


def arena(
    domain: Annotated[str, typer.Argument(help="The domain, such as medical.")],
    model: Annotated[
        str | None,
        typer.Option(help="The version to compare; else the domain's candidate, else its version in production."),
    ] = None,
    against: Annotated[str, typer.Option(help="With whom: `base`, or a version such as medical@1.")] = "base",
    suite: Annotated[
        str | None, typer.Option(help="The suite whose questions are asked; may be left out where there is one.")
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="At most so many of the suite's questions.")] = 40,
    reviewers: Annotated[int, typer.Option(min=1, max=200, help="So many reviewers, each with a link.")] = 3,
    reviewer: Annotated[
        list[str] | None, typer.Option(help="A reviewer by name, instead of --reviewers; can be given again.")
    ] = None,
    pause_every: Annotated[int, typer.Option(min=1, help="After so many questions a break is suggested.")] = 10,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8100,
    url: Annotated[
        str | None, typer.Option(help="How reviewers reach it, such as https://review.example.org, for the links.")
    ] = None,
    endpoint: EndpointOption = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one request may take.")] = 120.0,
    results: Annotated[
        bool, typer.Option("--results", help="Show what the votes so far say, and stop; needs no server.")
    ] = False,
    export: Annotated[
        Path | None, typer.Option(help="Write what reviewers preferred as pairs that dpo learns from, and stop.")
    ] = None,
    forget: Annotated[
        str | None, typer.Option(help="Delete all that this reviewer said in the domain's arenas, and stop.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --forget deletes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let experts compare a version's answers with another's on a web page, blind.

    Each reviewer gets a link of their own. Every vote is kept at once; the same command later goes on with the same
    links. Ctrl + C stops the page. With --results it shows what the votes so far say instead.

    Example: locum eval arena medical --model medical@candidate --against medical --reviewer ana --reviewer bo
    """
    from locum.adapters.refs import parse_ref
    from locum.adapters.registry import Registry
    from locum.adapters.votes import arenas
    from locum.errors import BadInputError
    from locum.evaluate.arena.matches import prepare_match
    from locum.evaluate.arena.serving import reviewer_names
    from locum.evaluate.evaluation import default_ref

    in_force = settings(endpoint=endpoint)
    registry = Registry.open(in_force)
    if not arenas(registry, domain):
        require_known(in_force, registry, domain)
    if forget is not None:
        forget_reviewer(registry, domain, forget, yes=yes, as_json=as_json)
        return
    if results or export:
        tell_results(registry, domain, suite, export, as_json)
        return
    names = reviewer_names(reviewer or [], reviewers)
    ref = model or default_ref(in_force, domain)
    if parse_ref(ref).domain != domain:
        raise BadInputError(f"--model: expected a version of {domain}, found {ref!r}")
    match = prepare_match(
        in_force,
        registry,
        ref,
        against=against,
        suite=suite,
        count=questions,
        concurrency=concurrency,
        timeout_s=timeout,
        console=None if as_json else err,
    )
    serve_match(registry, match, names, host=host, port=port, url=url, pause_every=pause_every, as_json=as_json)


def serve_match(
    registry: Registry,
    match: Match,
    names: list[str],
    *,
    host: str,
    port: int,
    url: str | None,
    pause_every: int,
    as_json: bool,
) -> None:
    """Print the links, and serve the page until somebody stops it."""
    from locum.evaluate.arena.app import make_app
    from locum.evaluate.arena.serving import listen, open_desks, serve, url_of

    listener = listen(host, port)
    desks = open_desks(registry, match, names, pause_every=pause_every)
    root = (url or url_of(listener)).rstrip("/")
    links = {desk.reviewer: f"{root}/r/{token}" for token, desk in desks.items()}
    done = {desk.reviewer: desk.state().done for desk in desks.values()}
    if as_json:
        arena = match.arena.model_dump(mode="json", exclude={"seed"})
        told = {"arena": match.id, **arena, "questions": len(match.questions), "links": links, "done": done}
        print_json(told)
    else:
        say(
            f"{match.arena.model} and {match.arena.against} on {match.arena.suite}: {len(match.questions)} questions."
            f"{_left_out(match)}"
        )
        rows = [(name, f"{done[name]} of {len(match.questions)}", link) for name, link in links.items()]
        out.print(
            table("One link a reviewer; each is a secret", ["reviewer", "voted", "link"], rows, first_to_go=["voted"])
        )
        say(f"Results at any time: locum eval arena {match.arena.domain} --results")
        say("Ctrl + C stops the page; the votes are kept.")
    serve(make_app(desks, domain=match.arena.domain), listener)
    if not as_json:
        say("Stopped. The votes are kept, and the same command serves the same links.")


def tell_results(registry: Registry, domain: str, suite: str | None, export: Path | None, as_json: bool) -> None:
    """What the votes say, and the pairs that follow from them."""
    from locum.adapters.conversations import write_rows
    from locum.errors import NotFoundError
    from locum.evaluate.arena.pairs import pairs_from
    from locum.evaluate.arena.results import arena_results, judged
    from locum.text import alternatives

    said = judged(registry, domain, suite=suite)
    others = sorted({each.arena.suite for each in judged(registry, domain)}) if suite and not said else []
    if others:
        raise NotFoundError(
            f"nobody has voted on suite {suite!r} of {domain}{alternatives(str(suite), others, there_are='voted on')}"
        )
    found = arena_results(domain, said)
    pairs = pairs_from(said) if export else []
    if export:
        write_rows(export, pairs)
    if as_json:
        written = {"pairs": {"file": str(export), "written": len(pairs)}} if export else {}
        print_json({**found.model_dump(mode="json"), **written})
        return
    _show(found)
    if export:
        say(f"{len(pairs):,} preference pairs in {export}, for `preferences` in a domain's card.")
        say(
            "What is learnt from is no longer unseen: `locum data build` leaves out what the test split asks, and what "
            "comes of the others must be evaluated on other questions."
        )


def forget_reviewer(registry: Registry, domain: str, reviewer: str, *, yes: bool, as_json: bool) -> None:
    """Delete a reviewer's votes with their grades and comments, after a question unless `yes`."""
    from locum.adapters.votes import delete_votes
    from locum.errors import NotFoundError
    from locum.evaluate.arena.results import judged
    from locum.text import alternatives

    said = judged(registry, domain)
    count = sum(each.vote.reviewer == reviewer for each in said)
    if not count:
        known = sorted({each.vote.reviewer for each in said})
        raise NotFoundError(
            f"no reviewer {reviewer!r} has voted on {domain}{alternatives(reviewer, known, there_are='who has')}"
        )
    votes = counted(count, "vote")
    if not yes:
        question = f"Delete {votes} of {reviewer} on {domain}, with grades and comments, for good?"
        typer.confirm(question, abort=True, err=True)
    delete_votes(registry, domain, reviewer)
    if as_json:
        print_json({"domain": domain, "reviewer": reviewer, "deleted": count})
    else:
        say(f"Deleted {votes} of {reviewer}. Their link takes votes as long as an arena is served for that name.")


def _show(found: ArenaResults) -> None:
    percent = f"{100 * found.confidence:.4g} %"
    rows = [
        (
            each.model,
            each.against,
            each.questions,
            each.votes,
            f"{each.wins} · {each.ties} · {each.losses}",
            str(each.win_rate),
            ", ".join(f"{reviewer} {rate:.2f}" for reviewer, rate in each.win_rate_by_reviewer.items()),
        )
        for each in found.meetings
    ]
    columns = [
        "model",
        "against",
        "questions",
        "votes",
        "better · same · worse",
        f"win rate [{percent}]",
        "by reviewer",
    ]
    title = f"{found.domain}: {counted(found.votes, 'vote')} of {counted(len(found.reviewers), 'reviewer')}"
    out.print(table(title, columns, rows, first_to_go=["by reviewer", "votes", "questions"]))
    for each in found.meetings:
        say(_verdict(each.model, each.against, each.win_rate.low, each.win_rate.high))
    if len(found.strengths) > 2:
        strengths = [
            (name, f"{each.mean:+.2f} [{each.low:+.2f}, {each.high:+.2f}]") for name, each in found.strengths.items()
        ]
        out.print(table("Bradley-Terry strengths", ["", f"log-odds [{percent}]"], strengths))
    elif found.no_strengths:
        say(f"No common scale: {found.no_strengths}.")
    if found.grades:
        dimensions = [each for each in found.agreement_on_grades if any(each in by for by in found.grades.values())]
        grades = [
            (
                name,
                *(
                    f"{by[each].mean:.2f} [{by[each].low:.2f}, {by[each].high:.2f}]" if each in by else ""
                    for each in dimensions
                ),
            )
            for name, by in found.grades.items()
        ]
        out.print(table("Mean grades, 1 to 5", ["", *dimensions], grades))
    say(f"Agreement on what is better: {_agreement(found.agreement)}.")
    on_grades = ", ".join(
        f"{name} {value:.2f}" for name, value in found.agreement_on_grades.items() if value is not None
    )
    if on_grades:
        say(f"Agreement on grades (alpha): {on_grades}.")
    if found.disagreements:
        rows_of = [
            (_short(each.question), ", ".join(f"{reviewer}: {whom}" for reviewer, whom in each.votes.items()))
            for each in found.disagreements[:SHOWN]
        ]
        more = f" ({SHOWN} of {len(found.disagreements)})" if len(found.disagreements) > SHOWN else ""
        out.print(table(f"Where reviewers disagree{more}", ["question", "preferred"], rows_of))
    if found.comments:
        wrote = [
            (each.reviewer, _short(each.question), each.preferred, each.a, each.comment) for each in found.comments
        ]
        more = f" (the last {SHOWN} of {len(wrote)})" if len(wrote) > SHOWN else ""
        out.print(table(f"Comments{more}", ["reviewer", "question", "preferred", "A was", "comment"], wrote[:SHOWN]))


def _verdict(model: str, against: str, low: float, high: float) -> str:
    if low > 0.5:
        return f"People prefer {model} to {against}; chance does not explain it."
    if high < 0.5:
        return f"People prefer {against} to {model}; chance does not explain it."
    return f"Between {model} and {against} these votes do not decide."


def _agreement(alpha: float | None) -> str:
    if alpha is None:
        return "unknown: it takes questions that two reviewers voted on, and votes that are not all alike"
    meaning = "reliable" if alpha >= RELIABLE else "enough for tentative conclusions" if alpha >= TENTATIVE else "low"
    return f"Krippendorff's alpha {alpha:.2f}, {meaning}"


def _left_out(match: Match) -> str:
    parts = []
    if match.same:
        parts.append(f"{match.same} that both answer the same")
    if match.unanswered:
        parts.append(f"{match.unanswered} that one of them did not answer")
    return f" Not shown: {' and '.join(parts)}." if parts else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
