"""`locum serve`: the base model and all its adapters behind one OpenAI-compatible endpoint."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from locum.commands.common import err, out, settings, waiting

if TYPE_CHECKING:
    from locum.serve.launcher import Server
    from locum.settings import Settings

INTERRUPTED = 130  # what shells report for a program that Ctrl-C has ended


def add_to(app: typer.Typer) -> None:
    app.command("serve", context_settings={"allow_interspersed_args": False})(serve)


def serve(
    vllm_args: Annotated[
        list[str] | None, typer.Argument(metavar="[-- VLLM ARGUMENTS]", help="Passed on to vLLM as they are.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Base model to serve; else the setting `base`.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; else the setting `host`.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; else the setting `port`.")] = None,
    verbose: Annotated[bool, typer.Option(help="Show vLLM's own log here instead of writing it to a file.")] = False,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(
            help="json: one object a line in vLLM's log, one line a request, with the id in its answer's header."
        ),
    ] = "text",
) -> None:
    """Start the server, start it again if it ends by itself, and stop it gently on Ctrl-C or SIGTERM.

    Example: locum serve --port 8000 -- --max-model-len 4096
    """
    from locum.adapters.base import load_base
    from locum.adapters.registry import Registry
    from locum.serve import launcher, parsers
    from locum.serve.host import plan_for_this_host
    from locum.serve.supervisor import supervise

    in_force = settings(base=base, host=host, port=port)
    model = load_base(in_force.bases, in_force.base)
    ranks = [manifest.rank for manifest in Registry.open(in_force).versions()]
    rank = launcher.held_rank([launcher.HEADROOM_RANK, *ranks, *ranks_of_cards(in_force)])
    plan = plan_for_this_host()
    chosen = parsers.for_arguments(model.path, vllm_args or [])
    room = launcher.room_line(model, plan, rank)
    for line in [*plan.lines(), *([] if "--max-lora-rank" in (vllm_args or []) else [room]), *chosen.lines()]:
        err.print(line, style="dim", highlight=False, soft_wrap=True)

    in_json = ["--logging-config.formatter", "json", "--disable-uvicorn-access-log"] if log_format == "json" else []
    say = partial(err.print, markup=False, highlight=False, soft_wrap=True)
    with launcher.stopping_on_signals(), ExitStack() as at_the_end:
        server = launcher.start(
            *(in_force, model, plan),
            max_rank=rank,
            vllm_args=[*in_json, *chosen.arguments, *(vllm_args or [])],
            verbose=verbose,
            say=say,
        )
        at_the_end.callback(launcher.end, server)
        try:
            with waiting("waiting: importing vLLM") as tell:
                launcher.wait_until_ready(server, lambda reason: tell(f"waiting: {reason}"))
            out.print(f"[bold green]Ready[/] at {server.endpoint} · base model {model.name}", highlight=False)
            if not in_force.admin_token.get_secret_value():
                out.print(f"admin token, made for this run: {server.admin_token}", highlight=False)
            if server.log:
                err.print(f"vLLM's log: {server.log.path}", style="dim", highlight=False)
            supervise(server, say)
        except KeyboardInterrupt:
            _stop(server)


def ranks_of_cards(in_force: Settings) -> list[int]:
    """The ranks that trainings by the cards here would have. A card that is wrong keeps no server from starting."""
    from contextlib import suppress

    from locum.adapters.domains import domain_names, load_domain
    from locum.commands.convergence import rank_of
    from locum.errors import LocumError

    found = []
    for name in domain_names(in_force.domains):
        with suppress(LocumError):
            found.append(rank_of(load_domain(in_force.domains, name).card.recipe))
    return found


def _stop(server: Server) -> None:
    """Stop the server gently, or at once if the caller is interrupted again."""
    from locum.serve import launcher

    try:
        err.print("Stopping: running requests may finish. Press Ctrl-C again to end at once.")
        launcher.stop(server)
    except KeyboardInterrupt:
        err.print("Ended at once: requests that were running are cut off.")
        raise typer.Exit(INTERRUPTED) from None
