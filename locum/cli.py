"""The `locum` command: assembles the groups and turns errors into one or two lines and an exit code."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from locum import __version__
from locum.commands import (
    adapters,
    base,
    config,
    data,
    domain,
    evaluation,
    feedback,
    release,
    review,
    serve,
    suite,
    teacher,
    train,
)
from locum.commands.common import no_bars_in_logs
from locum.errors import LocumError, UnavailableError

app = typer.Typer(
    name="locum",
    help="One frozen base model, many domain experts: train, register, serve, evaluate and release LoRA adapters.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(base.app, name="base")
app.add_typer(domain.app, name="domain")
app.add_typer(data.app, name="data")
app.add_typer(adapters.app, name="adapters")
app.add_typer(suite.app, name="suite")
teacher.add_to(data.app)
review.add_to(data.app)
train.add_to(app)
serve.add_to(app)
evaluation.add_to(app)
feedback.add_to(app)
release.add_to(app)
config.add_to(app)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"locum {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    if debug:
        os.environ["LOCUM_DEBUG"] = "1"


def main() -> None:
    """Run the command line; exits 0 fine, 1 a gate or check failed, 2 wrong use, 3 the environment."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # `✓` on a terminal of Latin-1 is no error, as on standard error
        sys.stdout.reconfigure(errors="backslashreplace")
    no_bars_in_logs()
    try:
        app(prog_name="locum")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("LOCUM_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        else:
            _explain(error)
        # What nobody foresaw is no failed gate: scripts must be able to tell the two apart.
        sys.exit(error.exit_code if isinstance(error, LocumError) else UnavailableError.exit_code)


def _explain(error: Exception) -> None:
    """One or two lines for a person: what is wrong, and what to do."""
    if not isinstance(error, LocumError | OSError):
        unforeseen = f"unforeseen {type(error).__name__}: {error}"
        error = UnavailableError(unforeseen, hint="this is a fault in Locum: `locum --debug …` shows where")
    from locum.commands.common import err

    err.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    if hint := getattr(error, "hint", None):
        err.print(f"[dim]{escape(hint)}[/]", highlight=False, soft_wrap=True)


def escape(text: str) -> str:
    """Text in which Rich sees no markup and the terminal no command: some of it is what a server said."""
    from rich.markup import escape as rich_escape

    from locum.evaluate.visible import visible

    return rich_escape(visible(text))
