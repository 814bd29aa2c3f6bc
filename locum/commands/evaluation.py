"""`locum eval` and `locum chat`: ask the live endpoint, to measure and to try."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from locum.commands import arena, reading
from locum.commands.common import EndpointOption, JsonOption, err, out, print_json, settings
from locum.commands.default import RUN, DefaultGroup
from locum.commands.verdict import show_result, show_verdicts

app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=True,
    help="""Evaluate a version against the live endpoint, and read what was found.

    `locum eval DOMAIN` is short for `locum eval run DOMAIN`, whose arguments and options are these.

    Example: locum eval medical --model medical@candidate""",
)


def add_to(root: typer.Typer) -> None:
    app.command(RUN)(evaluate)
    reading.add_to(app)
    arena.add_to(app)
    root.add_typer(app, name="eval")
    root.command("chat")(chat)


def evaluate(
    domain: Annotated[str, typer.Argument(help="The domain, such as medical.")],
    model: Annotated[
        str | None,
        typer.Option(help="The version to evaluate; else the domain's candidate, else its version in production."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Opponent shown first: `base`, or a version such as medical@1; else production's, and the "
            "base model's where nothing else is in production."
        ),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="One suite of the domain's card; else all of them.")] = None,
    lm_eval: Annotated[
        str | None,
        typer.Option("--lm-eval", metavar="TASK", help="A task of lm-evaluation-harness instead of the suites."),
    ] = None,
    include: Annotated[
        Path | None, typer.Option(help="With --lm-eval: the folder that holds the task's YAML; else one it brings.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="With --lm-eval: the task's metric that decides; else its first.")
    ] = None,
    endpoint: EndpointOption = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one request may take.")] = 120.0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many samples: a quick look, which is not recorded.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the gate's checks as JUnit XML to this file, for test reports.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a comment for a pull request to this file, as Markdown.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a version against the live endpoint, and hold it against the gate of its domain.

    The base model answers the same samples, and so does the version in production.

    A run that was cut off continues when the same command is typed again.

    Exits 0 if the gate passed, 1 if it failed or the evidence is not enough, 3 if the server did not answer.

    Example: locum eval medical --model medical@candidate
    """
    from locum.adapters.refs import parse_ref
    from locum.adapters.suites import HarnessCard
    from locum.errors import BadInputError
    from locum.evaluate.client import Patience
    from locum.evaluate.evaluation import default_ref, evaluate_version
    from locum.evaluate.report import write_for_others

    if lm_eval is None and (include or metric):
        raise BadInputError("--include and --metric belong to --lm-eval")
    if lm_eval is not None and suite is not None:
        raise BadInputError("--lm-eval and --suite exclude each other")
    task = HarnessCard(task=lm_eval, include=str(include) if include else None, metric=metric) if lm_eval else None
    in_force = settings(endpoint=endpoint)
    ref = model or default_ref(in_force, domain)
    if parse_ref(ref).domain != domain:
        raise BadInputError(f"--model: expected a version of {domain}, found {ref!r}")
    try:
        results = evaluate_version(
            in_force,
            ref,
            against=against,
            suite=suite,
            task=task,
            limit=limit,
            concurrency=concurrency,
            patience=Patience(timeout_s=timeout),
            console=None if as_json else err,
        )
    except KeyboardInterrupt:
        err.print("Stopped. What was answered is kept: type the same command again to continue.")
        raise
    write_for_others(results, junit=junit, markdown=markdown)
    if as_json:
        print_json([json.loads(result.model_dump_json()) for result in results])
    else:
        for result in results:
            show_result(result)
        if len(results) > 1:
            show_verdicts(results)
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def chat(
    model: Annotated[str, typer.Argument(help="A domain, a version, or the base model's name.")],
    question: Annotated[str, typer.Argument(help="What to ask.")],
    endpoint: EndpointOption = None,
    system: Annotated[str | None, typer.Option(help="A system prompt instead of the domain's own.")] = None,
    no_system: Annotated[
        bool, typer.Option("--no-system", help="Send no system prompt, and let the server give none.")
    ] = False,
    base: Annotated[
        bool, typer.Option("--base", help="Let the base model answer instead, with the same prompt, to compare.")
    ] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
) -> None:
    """Ask one question and stream the answer; says which version answered.

    Example: locum chat medical "Asthma with status asthmaticus"
    """
    from locum.adapters.wordings import lacking
    from locum.errors import BadInputError
    from locum.evaluate.chat import domain_of, stream_answer
    from locum.evaluate.endpoint import read_endpoint
    from locum.evaluate.visible import visible

    if system is not None and no_system:
        raise BadInputError("--system and --no-system exclude each other")
    in_force = settings(endpoint=endpoint)
    api_key = in_force.api_key.get_secret_value()
    card = domain_of(in_force, model)
    prompt = None if no_system else system or (card.system_prompt if card else None)
    asked = read_endpoint(in_force.endpoint_url, api_key=api_key).base if base else model

    answered_by, cut_off = asked, False
    answer = ""
    for part in stream_answer(
        in_force.endpoint_url,
        api_key,
        model=asked,
        system=prompt,
        question=question,
        max_tokens=max_tokens,
        no_system=no_system,
        system_role=card.recipe.system_role if base and card else "system",
    ):
        answered_by, cut_off = part.model, part.cut_off
        answer += part.text
        out.out(visible(part.text), end="", highlight=False)
    out.out("")
    err.print(f"[dim]{answered_by}[/]", highlight=False)
    if cut_off:
        err.print(f"The answer is cut off after {max_tokens} tokens; --max-tokens allows more.", highlight=False)
    for notice in lacking(answer, card.notices.texts) if card else ():
        err.print(notice, style="dim", markup=False, highlight=False)
