"""`locum base`: base models, made ready once."""

from __future__ import annotations

from typing import Annotated

import typer

from locum.commands.common import JsonOption, err, out, print_json, say, settings, table, waiting

app = typer.Typer(help="Base models: the frozen checkpoints that adapters are made for.", no_args_is_help=True)


@app.command("pull")
def pull(
    model: Annotated[
        str,
        typer.Argument(
            help="smollm2-135m-instruct, a folder with a checkpoint in safetensors (one of the hub's cache, too), or a "
            "hub id (org/name)."
        ),
    ] = "smollm2-135m-instruct",
    as_json: JsonOption = False,
) -> None:
    """Make a base model ready and take its fingerprint.

    Example: locum base pull deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B
    """
    from locum.adapters.base import pull as pull_base
    from locum.adapters.influences import notes as notes_on

    in_force = settings()
    passed_over: list[str] = []
    with waiting("looking") as tell:
        base = pull_base(model, in_force.bases, say=tell, note=passed_over.append)
    for note in passed_over:
        err.print(note, markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json(base.model_dump(mode="json"))
        return
    out.print(f"[bold]{base.name}[/] is ready: {base.parameters:,} weights, fingerprint {base.fingerprint[:12]}")
    for note in notes_on(base.path):
        say(note)
    if base.name != in_force.base:
        out.print(f'To use it, put base = "{base.name}" into locum.toml, or set LOCUM_BASE={base.name}.')


@app.command("show")
def show(as_json: JsonOption = False) -> None:
    """Show the base models that are ready, and which of them is in force.

    Example: locum base show
    """
    from locum.adapters.base import base_names, load_base

    in_force = settings()
    bases = [load_base(in_force.bases, name) for name in base_names(in_force.bases)]
    if not any(base.name == in_force.base for base in bases):
        load_base(in_force.bases, in_force.base)  # says what is missing, and how to get it
    if as_json:
        print_json([{**base.model_dump(mode="json"), "in_force": base.name == in_force.base} for base in bases])
        return
    rows = [
        (
            "→" if base.name == in_force.base else "",
            base.name,
            f"{base.parameters:,}",
            base.dtype,
            base.fingerprint[:12],
            base.source,
        )
        for base in bases
    ]
    out.print(
        table(
            None,
            ["", "base model", "weights", "stored as", "fingerprint", "from"],
            rows,
            first_to_go=["stored as", "weights", "from"],
        )
    )
