"""`locum feedback`: what an application's users said of answers, by the version that spoke."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from locum.commands.common import JsonOption, counted, out, print_json, require_known, say, settings, table

if TYPE_CHECKING:
    from pydantic import BaseModel

    from locum.adapters.feedback import Feedback
    from locum.evaluate.feedback import VersionFeedback

Form = Literal["ratings", "conversations", "preferences"]
SHOWN = 20  # comments


def add_to(app: typer.Typer) -> None:
    app.command("feedback")(feedback)


def feedback(
    domain: Annotated[
        str | None,
        typer.Argument(help="The domain, such as medical, or `base` for the base model; all where it is left out."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only what was said from then on, in UTC."),
    ] = None,
    older_than: Annotated[
        int | None,
        typer.Option(min=0, max=36_500, metavar="DAYS", help="Only what was said longer ago than so many days."),
    ] = None,
    answer: Annotated[str | None, typer.Option(help="Only on the answer with this id.")] = None,
    user: Annotated[str | None, typer.Option(help="Only what this user said.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write it to a new JSON Lines file.")] = None,
    form: Annotated[
        Form,
        typer.Option(
            "--as",
            help="What to write: all `ratings` with their comments; liked `conversations` to train on; or "
            "`preferences`, pairs that dpo learns from. The last two need questions and answers that were sent along.",
        ),
    ] = "ratings",
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete what --answer, --user or --older-than chose, with its texts.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --delete deletes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what users said of a domain's answers (POST /v1/feedback), version by version; or delete it.

    Example: locum feedback medical --since 2026-03-01 --export pairs.jsonl --as preferences
    """
    from locum.adapters.conversations import write_rows
    from locum.adapters.feedback import delete_feedback, feedback_on
    from locum.adapters.registry import Registry
    from locum.errors import BadInputError
    from locum.evaluate.feedback import by_version

    chosen = (answer, user, older_than) != (None, None, None)
    if delete and not chosen:
        raise BadInputError("--delete: expected what to delete, found nothing", hint="--answer, --user or --older-than")
    if form != "ratings" and export is None:
        raise BadInputError(f"--as {form}: expected --export FILE beside it")
    in_force = settings()
    registry = Registry.open(in_force)
    said = feedback_on(
        registry,
        domain,
        since=since.replace(tzinfo=UTC) if since else None,
        before=datetime.now(UTC) - timedelta(days=older_than) if older_than is not None else None,
        answer_id=answer,
        user=user,
    )
    if not said and domain not in (None, "base"):
        require_known(in_force, registry, domain)
    versions = by_version(said)
    rows = _rows(said, form) if export else []
    if export:
        write_rows(export, rows)
    written = {"file": str(export), "as": form, "written": len(rows)} if export else None
    if not as_json:
        _show(domain, versions, said, chosen=chosen or since is not None)
    if delete and said:
        if not yes:
            typer.confirm(f"Delete {_ratings(said)}, with all texts in them, for good?", abort=True, err=True)
        delete_feedback(registry, said)
    if as_json:
        told = {"domain": domain, "versions": [each.model_dump(mode="json") for each in versions], "export": written}
        print_json({**told, "deleted": len(said)} if delete else told)
        return
    if delete and said:
        say(f"Deleted {_ratings(said)}. Files that were exported before, and what was trained on them, still hold it.")
    if export:
        say(f"{counted(len(rows), form.removesuffix('s'))} in {export}.")
        if not rows and form != "ratings":
            say("The server keeps no word of what it answers: send `messages` and `answer` along to have them here.")


def _rows(said: Sequence[Feedback], form: Form) -> Sequence[BaseModel]:
    from locum.evaluate.feedback import liked_conversations, preference_pairs

    if form == "conversations":
        return liked_conversations(said)
    return preference_pairs(said) if form == "preferences" else said


def _show(domain: str | None, versions: Sequence[VersionFeedback], said: Sequence[Feedback], *, chosen: bool) -> None:
    of = f" of {domain}" if domain else ""
    if not versions and chosen:
        say(f"Nobody has said anything{of} that fits what was asked for.")
        return
    if not versions:
        say(f"Nobody has said anything{of} yet. Applications send it to POST /v1/feedback.")
        return
    rows = [
        (
            each.model,
            each.up,
            each.down,
            str(each.share_up or ""),
            _score(each),
            each.comments,
        )
        for each in versions
    ]
    columns = ["version", "up", "down", "share up [95 %]", "score, 1 to 5 [95 %]", "comments"]
    out.print(table(f"Feedback on {domain or 'all domains'}", columns, rows, first_to_go=["comments"]))
    told = sum(each.ratings - each.verified for each in versions)
    if told:
        say(f"{told} of {len(said)} are credited to the version that the application named; the others prove it.")
    better = sum(bool(each.better) for each in said)
    if better:
        say(f"{counted(better, 'better answer')} came along: --export FILE --as preferences writes pairs for dpo.")
    comments = [each for each in reversed(said) if each.comment]
    if comments:
        lines = [
            (f"{each.at:%Y-%m-%d %H:%M}", each.model, each.rating or each.score, each.comment)
            for each in comments[:SHOWN]
        ]
        more = f" (the last {SHOWN} of {len(comments)})" if len(comments) > SHOWN else ""
        out.print(
            table(f"Comments{more}", ["when (UTC)", "version", "rating", "comment"], lines, first_to_go=["when (UTC)"])
        )


def _score(each: VersionFeedback) -> str:
    if each.score is None:
        return ""
    return f"{each.score.mean:.2f} [{each.score.low:.2f}, {each.score.high:.2f}] of {each.scored}"


def _ratings(said: Sequence[Feedback]) -> str:
    users = len({each.user for each in said if each.user})
    ratings = counted(len(said), "rating")
    return ratings if not users else f"{ratings} of {counted(users, 'user')}"
