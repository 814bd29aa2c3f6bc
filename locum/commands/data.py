"""`locum data`: the conversations that adapters learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locum.commands.common import JsonOption, err, out, print_json, settings, table

app = typer.Typer(help="Data: conversations, checked and split.", no_args_is_help=True)
SHOWN = 20


@app.command("build")
def build(domain: Annotated[str, typer.Argument(help="The domain's name.")], as_json: JsonOption = False) -> None:
    """Build a domain's train, validation and test split from the source that its card names.

    Example: locum data build medical
    """
    from locum.adapters.domains import load_domain
    from locum.train.data.build import build_data

    in_force = settings()
    folder = in_force.data_path(domain)
    with err.status(f"building the data of {domain}"):
        built = build_data(load_domain(in_force.domains, domain), folder)
    if as_json:
        print_json({**built.model_dump(mode="json"), "path": str(folder)})
        return
    splits = built.record.splits
    rows = [(name, splits[name].rows, splits[name].digest[:12]) for name in ("train", "validation", "test")]
    out.print(table(domain, ["split", "rows", "digest"], rows))
    out.print(f"{built.leak}.", highlight=False)
    if built.duplicates or built.variants:
        out.print(
            f"Left out of {built.rows_read:,} rows: {built.duplicates:,} that are there twice, "
            f"{built.variants:,} that ask what a held-out row asks.",
            highlight=False,
        )
    out.print(f"In {folder}. Next: locum train {domain}", highlight=False, soft_wrap=True)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A JSON Lines file of conversations.")], as_json: JsonOption = False
) -> None:
    """Check a file of conversations and say what is wrong in which line; exits 1 when something is.

    Example: locum data check conversations.jsonl
    """
    from locum.errors import BadInputError, CheckFailedError
    from locum.train.data.check import check_file

    found = check_file(file)
    if as_json:
        print_json(found.model_dump(mode="json"))
    if found.problems:
        if not as_json:
            for problem in found.problems[:SHOWN]:
                out.print(problem, markup=False, highlight=False, soft_wrap=True)
            if len(found.problems) > SHOWN:
                out.print(f"… and {len(found.problems) - SHOWN:,} more", highlight=False)
        raise CheckFailedError(
            f"{file}: {found.wrong:,} of {found.rows:,} rows are wrong",
            hint='a row is {"conversations": [{"role": "system|user|assistant", "content": "…"}]}, '
            "ending with the assistant",
        )
    if not found.rows:
        raise BadInputError(f"{file} holds no row, expected conversations, one JSON object a line")
    if not as_json:
        out.print(
            f"{found.rows:,} conversations, all right: {found.turns:,} answers, {found.characters:,} characters, "
            f"{found.groups:,} groups.",
            highlight=False,
        )
