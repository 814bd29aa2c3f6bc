"""`locum data review`: people decide which of what a model wrote is learnt from."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locum.commands.common import JsonOption, heading, out, print_json, say, settings, table

if TYPE_CHECKING:
    from locum.train.data.reviews import Item, Reviews, Verdict

KEYS = "[a]ccept  [e]dit  [r]eject  [s]kip  [b]ack  [q]uit"
QUESTION, ANSWER = "# Question", "# Answer"


def add_to(app: typer.Typer) -> None:
    app.command("review")(review)


def review(
    domain: Annotated[str, typer.Argument(help="The domain's name.")],
    show_list: Annotated[bool, typer.Option("--list", help="List all items and what was decided, and stop.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Write the pending items to a sheet (.csv or .xlsx) to decide in.")
    ] = None,
    imported: Annotated[
        Path | None, typer.Option("--import", help="Take the decisions that somebody wrote into such a sheet.")
    ] = None,
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Accept all that is pending, unseen; needs --reason, and is recorded.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Reason for --accept-all.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Decide, one by one, which of the items that a model wrote are learnt from.

    Who decided and when is kept. Accepted items enter the next `locum data build`, all others do not.

    Example: locum data review medical
    """
    from contextlib import closing

    from locum.adapters.domains import load_domain
    from locum.errors import BadInputError
    from locum.train.data.decisions import read_sheet, write_sheet
    from locum.train.data.reviews import Reviews, Verdict

    ways = {"--list": show_list, "--export": export, "--import": imported, "--accept-all": accept_all}
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise BadInputError(f"expected one of {', '.join(ways)}, found {' and '.join(given)}")
    if bool(reason.strip()) != accept_all:
        raise BadInputError(
            "--accept-all needs a --reason, and --reason is for nothing else",
            hint="it is kept with each item, together with who accepted it and when",
        )
    in_force = settings()
    load_domain(in_force.domains, domain)  # says when there is no such domain
    with closing(Reviews(in_force.reviews_path(domain))) as queue:
        pending = queue.items("pending")
        if accept_all:
            verdicts = [Verdict(each, "accepted", each.question, each.answer, reason.strip()) for each in pending]
            taken = queue.decide(verdicts, by=in_force.user, how="all at once")
            _tell(queue, domain, f"{taken:,} items accepted unseen by {in_force.user}.", {"taken": taken}, as_json)
        elif imported:
            verdicts, undecided = read_sheet(imported, queue)
            taken = queue.decide(verdicts, by=in_force.user, how="in a sheet")
            told = f"{taken:,} decisions taken from {imported} as {in_force.user}'s; {undecided:,} rows hold none."
            _tell(queue, domain, told, {"taken": taken, "undecided": undecided}, as_json)
        elif export:
            write_sheet(pending, export)
            told = f"{len(pending):,} pending items in {export}. Then: locum data review {domain} --import {export}"
            _tell(queue, domain, told, {"file": str(export), "written": len(pending)}, as_json)
        elif show_list or as_json:
            _list(queue, domain, as_json)
        else:
            _one_by_one(queue, pending, in_force.user)
            _tell(queue, domain, "", {}, as_json)


def _tell(queue: Reviews, domain: str, told: str, fields: dict[str, object], as_json: bool) -> None:
    counts = queue.counts()
    if as_json:
        print_json({**fields, "queue": counts})
        return
    if told:
        say(told)
    say(", ".join(f"{count:,} {state}" for state, count in counts.items()) + ".")
    if not any(counts.values()):
        say(f"Nothing is written yet. Next: locum data generate {domain}")
    if counts["accepted"] and not counts["pending"]:
        say(f"Next: locum data build {domain}")


def _list(queue: Reviews, domain: str, as_json: bool) -> None:
    items = queue.items()
    if as_json:
        print_json([item.as_json() for item in items])
        return
    if not items:
        say(f"Nothing is written for {domain} yet. Next: locum data generate {domain}")
        return
    rows = [
        (item.id, item.state, item.decision.by if item.decision else "", item.source, item.question, item.answer)
        for item in items
    ]
    out.print(table(None, ["item", "state", "by", "from", "question", "answer"], rows, first_to_go=["by", "from"]))
    _tell(queue, domain, "", {}, as_json)


def _one_by_one(queue: Reviews, pending: list[Item], user: str) -> None:
    from locum.errors import ConflictError

    if not pending:
        say("Nothing is pending.")
    shown, at = list(pending), 0
    while at < len(shown):
        _show(shown[at], f"{at + 1} of {len(shown)}")
        try:
            key = typer.prompt(KEYS, prompt_suffix=": ").strip().lower()[:1]
        except typer.Abort:  # the input has ended
            say("")
            return
        if key == "q":
            return
        if key == "b":
            at = max(0, at - 1)
        elif key == "s":
            at += 1
        elif key in {"a", "e", "r"}:
            verdict = _verdict(shown[at], key)
            if verdict is None:
                continue
            try:
                queue.decide([verdict], by=user, how="one by one")
            except ConflictError as error:
                say(f"{error}. What was decided stands.")
            shown[at] = next(item for item in queue.items() if item.id == shown[at].id)
            at += 1
        else:
            say(f"Expected one of a, e, r, s, b and q, found {key!r}.")


def _verdict(item: Item, key: str) -> Verdict | None:
    """What somebody wants; nothing when they thought better of it."""
    from locum.train.data.reviews import Verdict

    if key == "a":
        return Verdict(item, "accepted", item.question, item.answer)
    if key == "r":
        reason = typer.prompt("Why (Enter alone goes back)", default="", show_default=False).strip()
        return Verdict(item, "rejected", item.question, item.answer, reason) if reason else None
    edited = _edited(item)
    return Verdict(item, "accepted", *edited) if edited else None


def _edited(item: Item) -> tuple[str, str] | None:
    """Question and answer as somebody changed them: in their editor, or line by line where they have none."""
    from locum.train.data.teacher import tidy

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        question = typer.prompt("Question (Enter keeps it)", default=item.question, show_default=False)
        answer = typer.prompt("Answer (Enter keeps it)", default=item.answer, show_default=False)
        return tidy(question), tidy(answer)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"item-{item.id}.md"
        file.write_text(f"{QUESTION}\n\n{item.question}\n\n{ANSWER}\n\n{item.answer}\n", encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"The editor failed, nothing is changed: {error}")
            return None
        text = file.read_text(encoding="utf-8")
    question, mark, answer = text.partition(f"\n{ANSWER}\n")
    question, answer = tidy(question.removeprefix(QUESTION)), tidy(answer)
    if not (mark and question and answer):
        say(f"Expected a question, the line `{ANSWER}` and an answer; nothing is changed.")
        return None
    return question, answer


def _show(item: Item, progress: str) -> None:
    from rich.panel import Panel
    from rich.text import Text

    heading(progress)
    if item.draft.passage:
        panel = Panel(Text(item.draft.passage), title=Text(item.source), title_align="left", border_style="dim")
        out.print(panel, soft_wrap=False)
    else:
        say(f"From: {item.source}")
    edited = ", edited" if item.edited else ""
    say(f"{item.draft.kind}, written by {item.teacher} on {item.written[:10]}{edited}")
    if item.decision:
        reason = f": {item.decision.reason}" if item.decision.reason else ""
        say(f"{item.state} by {item.decision.by} on {item.decision.at[:10]}{reason}")
    say(f"\nQuestion: {item.question}\n\nAnswer:   {item.answer}\n")
