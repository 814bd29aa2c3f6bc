"""`locum eval trend · compare · show · schema`: read what was evaluated, without asking anything again."""

from __future__ import annotations

import typer

from locum.commands.common import print_json


def add_to(app: typer.Typer) -> None:
    app.command("schema")(schema)


def schema() -> None:
    """Print the JSON schema of an evaluation's result.json.

    Example: locum eval schema > result.schema.json
    """
    from locum.evaluate.result import EvaluationResult

    print_json(EvaluationResult.model_json_schema())
