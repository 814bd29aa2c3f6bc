"""`locum data`: the conversations that adapters learn from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from locum.commands.common import JsonOption, err, out, print_json, say, settings, table

if TYPE_CHECKING:
    from locum.adapters.card import BlankAnswers, Column, Format, Speaker
    from locum.train.data.check import FileCheck
    from locum.train.data.fields import Action

app = typer.Typer(help="Data: conversations, checked and split.", no_args_is_help=True)
SHOWN = 20
FIELDS_BUILT = {
    "not learnt": "Not learnt:",
    "passed over": "Passed over:",
    "judgement": "Passed over, though it looks like a judgement of the row:",
}
FIELDS_SAID: dict[str, Action] = {"Used": "used", "Not learnt:": "not learnt", "Passed over": "passed over"}


@app.command("build")
def build(domain: Annotated[str, typer.Argument(help="The domain's name.")], as_json: JsonOption = False) -> None:
    """Build a domain's train, validation and test split from the source that its card names.

    Example: locum data build medical
    """
    from locum.adapters.domains import load_domain
    from locum.train.data.build import build_data

    in_force = settings()
    folder = in_force.data_path(domain)
    built = build_data(load_domain(in_force.domains, domain), folder, reviews=in_force.reviews_path(domain))
    if as_json:
        print_json({**built.model_dump(mode="json"), "path": str(folder)})
        return
    for origin in built.origins:
        say(f"{origin}.")
    splits = built.record.splits
    rows = [(name, splits[name].rows, splits[name].digest[:12]) for name in ("train", "validation", "test")]
    out.print(table(domain, ["split", "rows", "digest"], rows))
    if built.topics.before:
        heads = ["topic", "train, before balancing", "train", "validation", "test"]
        out.print(table(None, heads, built.topics.table()))
    out.print(f"{built.leak}. {built.sureness}.", highlight=False)
    changed = ", ".join(f"{step.rows:,} {step.reason}" for step in built.steps if step.action == "changed")
    if changed:
        out.print(f"Changed: {changed}.", highlight=False, soft_wrap=True)
    for action, heading in FIELDS_BUILT.items():
        steps = [step for step in built.steps if (step.step, step.action) == ("fields", action)]
        if steps:
            say(f"{heading} {', '.join(f'{step.reason} ({step.rows:,} rows)' for step in steps)}.")
    left_out = [(step.rows, step.reason) for step in built.steps if step.action == "dropped"]
    left_out += [(built.rejects, "do not fit (rejects.jsonl)")] if built.rejects else []
    if left_out:
        told = ", ".join(f"{rows:,} {reason}" for rows, reason in left_out)
        out.print(f"Left out of {built.rows_read:,} rows: {told}.", highlight=False, soft_wrap=True)
    if built.reviews:
        say(f"Reviewed: {built.reviews}.")
    out.print(f"In {folder}. Next: locum train {domain}", highlight=False, soft_wrap=True)


@app.command("sheet")
def sheet(
    domain: Annotated[str, typer.Argument(help="The domain's name.")],
    file: Annotated[Path, typer.Argument(help="The file to write: .xlsx, or .csv.")],
    as_json: JsonOption = False,
) -> None:
    """Write an empty sheet for an interview with experts, to be filled in and named in the card's `source.files`.

    Example: locum data sheet medical interview.xlsx
    """
    from locum.adapters.domains import load_domain
    from locum.errors import NotFoundError
    from locum.train.data.build import load_build
    from locum.train.data.sheet import write_sheet

    in_force = settings()
    load_domain(in_force.domains, domain)
    try:
        topics = [name for name, *_ in load_build(in_force.data_path(domain)).topics.table()]
    except NotFoundError:  # nothing is built yet: the interview may be where the domain begins
        topics = []
    write_sheet(file, domain, topics)
    if as_json:
        print_json({"sheet": str(file), "topics": topics})
        return
    say(f"{file}")
    say(f"When it is filled in: locum data check {file}")


@app.command("report")
def report(domain: Annotated[str, typer.Argument(help="The domain's name.")], as_json: JsonOption = False) -> None:
    """Write a page and a data card that show a domain's built data: lengths, topics, what each step did, samples.

    Example: locum data report medical
    """
    from locum.adapters.base import load_base
    from locum.adapters.domains import load_domain
    from locum.train.data.report import write_report

    in_force = settings()
    base = load_base(in_force.bases, in_force.base) if in_force.base_path.is_dir() else None
    if base is None:
        err.print("There is no base model yet: lengths are in characters. `locum base pull` gets one.", highlight=False)
    with err.status(f"reading the data of {domain}"):
        html, card = write_report(load_domain(in_force.domains, domain), in_force.data_path(domain), base)
    if as_json:
        print_json({"report": str(html), "card": str(card)})
        return
    out.print(f"{html}\n{card}", highlight=False, soft_wrap=True)


@app.command("check")
def check(
    file: Annotated[str, typer.Argument(help="A file of rows, or its URL: JSON, JSONL, CSV, Parquet, Excel or .ods.")],
    format: Annotated[str | None, typer.Option(help="The format of its rows, when it cannot be told.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="OURS=THEIRS", help="What the file calls a field of ours; repeatable."),
    ] = None,
    roles: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="THEIRS=OURS", help="Who a speaker of a log is, or `skip`; repeatable."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The encoding of a text, such as windows-1252; found out when not given.")
    ] = None,
    blank_answers: Annotated[
        str, typer.Option(help="Rows whose answer is blank: `refuse` them, or `skip` them and count.")
    ] = "refuse",
    rejects: Annotated[Path | None, typer.Option(help="Write the rows that do not fit to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a file of conversations or preferences: what it is, and what is wrong in which row; exits 1 then.

    Example: locum data check spreadsheet.xlsx --column question=Frage --column answer=Antwort
    """
    from locum.errors import BadInputError, CheckFailedError
    from locum.train.data.check import check_file

    with err.status(f"checking {file}"):
        found = check_file(
            file,
            format=_format(format),
            columns=_columns(columns or []),
            roles=_roles(roles or []),
            encoding=_encoding(encoding),
            blank_answers=_blank_answers(blank_answers),
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        say(f"{file}: {found.format}, by {found.why}.")
        for note in found.notes:
            say(f"{file}: {note}.")
        if found.format == "kto":
            say("As `source`, wanted answers alone are learnt; as `preferences` with the method kto, both kinds are.")
        _say_fields(found)
    if rejects is not None:
        rejects.write_text("".join(reject.as_json() + "\n" for reject in found.rejects), encoding="utf-8")
    if found.problems:
        if not as_json:
            for problem in found.problems[:SHOWN]:
                say(problem)
            if len(found.problems) > SHOWN:
                out.print(f"… and {len(found.problems) - SHOWN:,} more", highlight=False)
        raise CheckFailedError(
            f"{file}: {found.wrong:,} of {found.rows:,} rows are wrong",
            hint=f"{'docs/data.md shows each format' if rejects else '--rejects FILE writes them to a file'}. "
            + found.summary,
        )
    if not found.rows:
        raise BadInputError(f"{file} holds no row, expected conversations or preferences")
    if not as_json:
        say(found.summary)


def _say_fields(check: FileCheck) -> None:
    """What is done with fields besides those that the format is known by, one line for each."""
    for heading, action in FIELDS_SAID.items():
        for each in check.fields_of(action):
            say(f"{heading} {each.sentence}")
    if empty := check.fields_of("empty"):
        say(f"Empty, as if not there: {', '.join(each.sentence for each in empty)}")
    judging = check.fields_of("judgement")
    for each in judging:
        say(f"Passed over {each.sentence}, which looks like a judgement of the row: rows are read whatever it says")
    if columns := [each.field for each in judging if "." not in each.field and "[" not in each.field]:
        say(
            f"Where such a field says whether a row is wanted: `columns: {{wanted: {columns[0]}}}` in the card's "
            f"source, --column wanted={columns[0]} here"
        )


def _format(name: str | None) -> Format | None:
    from locum.adapters.card import Format

    return None if name is None else cast("Format", _one_of(name, Format, "--format"))


def _blank_answers(name: str) -> BlankAnswers:
    from locum.adapters.card import BlankAnswers

    return cast("BlankAnswers", _one_of(name, BlankAnswers, "--blank-answers"))


def _encoding(name: str | None) -> str | None:
    from locum.adapters.card import known_encoding
    from locum.errors import BadInputError

    try:
        return name and known_encoding(name)
    except ValueError as error:
        raise BadInputError(f"--encoding: {error}") from None


def _columns(given: list[str]) -> dict[Column, str]:
    from locum.adapters.card import Column
    from locum.errors import BadInputError

    found = {}
    for each in given:
        ours, equals, theirs = each.partition("=")
        if not (equals and theirs):
            raise BadInputError(f"--column {each}: expected OURS=THEIRS, such as --column question=Frage")
        found[cast("Column", _one_of(ours, Column, "--column"))] = theirs
    return found


def _roles(given: list[str]) -> dict[str, Speaker]:
    from locum.adapters.card import Speaker
    from locum.errors import BadInputError

    found = {}
    for each in given:
        theirs, equals, ours = each.rpartition("=")
        if not (equals and theirs):
            raise BadInputError(f"--role {each}: expected THEIRS=OURS, such as --role Supervisor=assistant")
        found[theirs] = cast("Speaker", _one_of(ours, Speaker, "--role"))
    return found


def _one_of(name: str, allowed: object, option: str) -> str:
    from typing import get_args

    from locum.errors import BadInputError
    from locum.text import expected_one_of

    if name not in get_args(allowed):
        raise BadInputError(f"{option} {name}{expected_one_of(name, get_args(allowed))}")
    return name
