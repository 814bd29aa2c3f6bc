"""`locum eval` and `locum chat`: ask the live endpoint, to measure and to try."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from locum.commands.common import EndpointOption, JsonOption, err, out, print_json, settings, table

if TYPE_CHECKING:
    from locum.evaluate.result import EvaluationResult


def add_to(app: typer.Typer) -> None:
    app.command("eval")(evaluate)
    app.command("chat")(chat)


def evaluate(
    domain: Annotated[str, typer.Argument(help="The domain, such as medical.")],
    model: Annotated[
        str | None,
        typer.Option(help="The version to evaluate; else the domain's candidate, else its version in production."),
    ] = None,
    against: Annotated[
        str, typer.Option(help="Whom to compare it with first: `base`, or a version such as medical@1.")
    ] = "base",
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
    as_json: JsonOption = False,
) -> None:
    """Evaluate a version against the live endpoint, and hold it against the gate of its domain.

    The base model answers the same samples, and so does the version in production.

    A run that was cut off continues when the same command is typed again.

    Exits 0 if the gate passed, 1 if it failed, 3 if the server did not answer.

    Example: locum eval medical --model medical@candidate --against base
    """
    from locum.adapters.refs import parse_ref
    from locum.adapters.suites import HarnessCard
    from locum.errors import BadInputError
    from locum.evaluate.client import Patience
    from locum.evaluate.evaluation import default_ref, evaluate_version

    if lm_eval is None and (include or metric):
        raise BadInputError("--include and --metric belong to --lm-eval")
    if lm_eval is not None and suite is not None:
        raise BadInputError("--lm-eval and --suite exclude each other")
    task = HarnessCard(task=lm_eval, include=str(include) if include else None, metric=metric) if lm_eval else None
    in_force = settings(endpoint=endpoint)
    ref = model or default_ref(in_force, domain)
    if parse_ref(ref).domain != domain:
        raise BadInputError(f"--model: expected a version of {domain}, found {ref!r}")
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
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    else:
        for result in results:
            _show(result)
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def chat(
    model: Annotated[str, typer.Argument(help="A domain, a version, or the base model's name.")],
    question: Annotated[str, typer.Argument(help="What to ask.")],
    endpoint: EndpointOption = None,
    system: Annotated[str | None, typer.Option(help="A system prompt instead of the domain's own.")] = None,
    no_system: Annotated[bool, typer.Option("--no-system", help="Send no system prompt.")] = False,
    base: Annotated[
        bool, typer.Option("--base", help="Let the base model answer instead, with the same prompt, to compare.")
    ] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
) -> None:
    """Ask one question and stream the answer; says which version answered.

    Example: locum chat medical "Asthma with status asthmaticus"
    """
    from locum.errors import BadInputError
    from locum.evaluate.chat import domain_of, stream_answer
    from locum.evaluate.endpoint import read_endpoint

    if system is not None and no_system:
        raise BadInputError("--system and --no-system exclude each other")
    in_force = settings(endpoint=endpoint)
    api_key = in_force.api_key.get_secret_value()
    card = domain_of(in_force, model)
    prompt = None if no_system else system or (card.system_prompt if card else None)
    asked = read_endpoint(in_force.endpoint_url, api_key=api_key).base if base else model

    answered_by, cut_off = asked, False
    for part in stream_answer(
        in_force.endpoint_url, api_key, model=asked, system=prompt, question=question, max_tokens=max_tokens
    ):
        answered_by, cut_off = part.model, part.cut_off
        out.out(part.text, end="", highlight=False)
    out.out("")
    err.print(f"[dim]{answered_by}[/]", highlight=False)
    if cut_off:
        err.print(f"The answer is cut off after {max_tokens} tokens; --max-tokens allows more.", highlight=False)
    for notice in card.notices if card else []:
        err.print(notice, style="dim", markup=False, highlight=False)


def _show(result: EvaluationResult) -> None:
    """The table of one evaluation, the gate's reasons, and where the report lies."""
    from locum.evaluate.report import HTML_FILE, signed

    rows = []
    for answered in result.models:
        other = next((each for each in result.comparisons if each.name == answered.name), None)
        rows.append(
            (
                answered.name,
                "evaluated" if answered.role == "version" else answered.role,
                *(
                    str(score) if metric == result.metric else f"{score.mean:.3f}"
                    for metric, score in answered.scores.items()
                ),
                signed(other.differences[result.metric]) if other else "",
            )
        )
    columns = ["model", "role", *result.models[0].scores, "difference"]
    intervals = f"{100 * result.confidence:.4g} % intervals"
    out.print(table(f"{result.version} on {result.suite}: {result.samples} samples, {intervals}", columns, rows))
    for check in result.checks:
        mark = {"met": "[green]✓[/]", "missed": "[red]✗[/]", "unclear": "[yellow]?[/]"}[check.status]
        out.print(f"{mark} {check.reason}", highlight=False)
    for note in result.notes:
        out.print(note, style="dim", markup=False, highlight=False)
    colour = {"passed": "green", "failed": "red"}.get(result.status, "yellow")
    out.print(f"Gate [bold {colour}]{result.status}[/] for {result.version} on {result.suite}.", highlight=False)
    if result.reused:
        out.print(f"{result.reused} answers were taken over from an earlier run.", highlight=False)
    if not result.recorded:
        out.print("A quick look: not recorded, and no evidence for a release.", highlight=False)
    out.print(f"Report: {result.folder / HTML_FILE}", highlight=False, soft_wrap=True)
