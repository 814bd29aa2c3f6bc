"""`locum config`: what is in force, and where each value came from."""

from __future__ import annotations

import re

import typer

from locum.commands.common import JsonOption, out, print_json, settings, table


def add_to(app: typer.Typer) -> None:
    app.command("config")(config)


def config(as_json: JsonOption = False) -> None:
    """Show the settings in force and where each value came from.

    Example: LOCUM_PORT=9000 locum config
    """
    from locum.settings import origins

    in_force = settings()
    came_from = origins(in_force)
    values = {name: without_password(str(getattr(in_force, name))) for name in came_from}
    if as_json:
        print_json({name: {"value": values[name], "from": came_from[name]} for name in values})
        return
    fields = type(in_force).model_fields
    rows = [(name, values[name], came_from[name], fields[name].description) for name in values]
    out.print(table(None, ["setting", "value", "from", "what it is"], rows, first_to_go=["what it is", "from"]))


def without_password(url: str) -> str:
    """The text with a password in a URL replaced by stars."""
    return re.sub(r"(://[^:/@]*:)[^/]*@", r"\1***@", url)
