"""`locum eval show · compare · trend · schema`: read what was evaluated, without asking anything again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locum.commands.common import JsonOption, out, print_json, require_known, say, settings, table
from locum.commands.tables import columns_of

if TYPE_CHECKING:
    from locum.adapters.registry import Registry
    from locum.evaluate.recorded import Recorded
    from locum.evaluate.trend import Trend
    from locum.evaluate.versus import Versus

VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="Such as medical@3, or medical@candidate.")]
SuiteOption = Annotated[str | None, typer.Option(help="One suite; else all of them.")]
_PLOT = 44  # columns of an interval in the terminal, at most
_BESIDE_PLOT = 46  # columns of what stands beside it


def add_to(app: typer.Typer) -> None:
    app.command("show")(show)
    app.command("compare")(compare)
    app.command("trend")(trend)
    app.command("schema")(schema)


def show(
    version: VersionArgument,
    suite: SuiteOption = None,
    sample: Annotated[
        str | None, typer.Option(help="One sample with every model's answer; the beginning of its id is enough.")
    ] = None,
    worst: Annotated[
        int | None, typer.Option(min=1, help="So many samples on which it loses most, with both answers.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="The answers that failed, and those that break a hard requirement.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a version's newest evaluations: their verdict, or single samples with the words that differ marked.

    Example: locum eval show medical@3 --worst 5
    """
    from locum.errors import BadInputError
    from locum.evaluate.recorded import evaluations_of

    if sum([sample is not None, worst is not None, failed]) > 1:
        raise BadInputError("--sample, --worst and --failed exclude each other")
    evaluations = evaluations_of(_registry(), version, suite)
    if sample is not None:
        _show_sample(evaluations, sample, as_json=as_json)
    elif worst is not None:
        _show_worst(evaluations, worst, as_json=as_json)
    elif failed:
        _show_failed(evaluations, as_json=as_json)
    elif as_json:
        print_json([json.loads(each.result.model_dump_json()) for each in evaluations])
    else:
        from locum.commands.verdict import show_result

        for each in evaluations:
            show_result(each.result)


def compare(
    version: VersionArgument,
    against: Annotated[str, typer.Argument(metavar="OTHER", help="The version to compare it with.")],
    suite: SuiteOption = None,
    changed: Annotated[int, typer.Option(min=0, help="So many samples of those that differ most.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions on the suites that both have answered, from the recorded answers.

    Nothing is asked again: no server is needed. The suites must be in the same state, by their digests.

    Example: locum eval compare medical@3 medical@2
    """
    from locum.commands.verdict import show_versus
    from locum.evaluate.versus import compare_versions

    found = compare_versions(_registry(), version, against, suite)
    if as_json:
        print_json([_versus_json(each) for each in found])
        return
    for each in found:
        show_versus(each, changed=changed)
    say(f"locum eval show {found[0].ours} --sample ID shows a sample.", style="dim")


def trend(
    domain: Annotated[str, typer.Argument(help="The domain, such as medical.")],
    suite: SuiteOption = None,
    to: Annotated[
        Path | None, typer.Option(help="Write the plot to a file, too: .html, .png, .svg or .pdf by its name.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Plot the scores of a domain's versions over time, with their intervals.

    Example: locum eval trend medical --to trend.html
    """
    from locum.adapters.registry import Registry
    from locum.evaluate.trend import check_plot, trends, write_trend

    if to is not None:
        check_plot(to)
    in_force = settings()
    registry = Registry.open(in_force)
    require_known(in_force, registry, domain)
    found = trends(registry, domain, suite)
    if as_json:
        print_json([asdict(each) | {"scale": each.scale.model_dump()} for each in found])
    else:
        for each in found:
            _show_trend(each)
    if to is not None:
        write_trend(to, found)
        if not as_json:
            say(f"Written: {to}")


def schema() -> None:
    """Print the JSON schema of an evaluation's result.json.

    Example: locum eval schema > result.schema.json
    """
    from locum.evaluate.result import result_schema

    print_json(result_schema())


def _registry() -> Registry:
    from locum.adapters.registry import Registry

    return Registry.open(settings())


def _show_sample(evaluations: list[Recorded], sample: str, *, as_json: bool) -> None:
    from locum.commands.verdict import show_sample
    from locum.evaluate.recorded import answers_to

    found, answers = answers_to(evaluations, sample)
    if as_json:
        print_json([answer.model_dump(mode="json") for answer in answers])
        return
    order = [model.name for model in found.result.models]
    for repeat in sorted({answer.repeat for answer in answers}):
        of_repeat = [answer for answer in answers if answer.repeat == repeat]
        show_sample(sorted(of_repeat, key=lambda answer: order.index(answer.model)), found.result.metric)


def _show_worst(evaluations: list[Recorded], count: int, *, as_json: bool) -> None:
    from locum.commands.verdict import show_pair
    from locum.evaluate.page import result_pairs
    from locum.evaluate.pairs import regressions

    found = [(each.result, regressions(result_pairs(each.result, each.answers), count)) for each in evaluations]
    if as_json:
        print_json([_pair_json(pair) | {"suite": result.suite} for result, pairs in found for pair in pairs])
        return
    for result, pairs in found:
        for pair in pairs:
            show_pair(pair, result.metric)
        if not pairs:
            print_none = f"On no sample of {result.suite} does {result.version} do worse than {result.against}."
            out.print(print_none, highlight=False)


def _show_failed(evaluations: list[Recorded], *, as_json: bool) -> None:
    from locum.commands.verdict import show_sample
    from locum.evaluate.pairs import broken

    found = []
    for each in evaluations:
        answers = [answer for answer in each.answers if answer.error is not None]
        answers += [answer for hard in broken(each.result, each.answers, len(each.answers)) for answer in hard.answers]
        found.append((each.result, list({(a.sample, a.model, a.repeat): a for a in answers}.values())))
    if as_json:
        print_json([answer.model_dump(mode="json") for _, answers in found for answer in answers])
        return
    for result, answers in found:
        for answer in answers:
            show_sample([answer], result.metric)
        if not answers:
            out.print(f"No answer on {result.suite} failed or breaks a hard requirement.", highlight=False)


def _show_trend(found: Trend) -> None:
    from locum.evaluate.trend import interval_line

    width = max(12, min(_PLOT, (columns_of(out) or _PLOT + _BESIDE_PLOT) - _BESIDE_PLOT))
    marks = {"passed": "✓", "failed": "✗"}
    rows = [
        (
            f"{marks.get(point.status, '?')} {point.version}{'' if point.comparable else ' *'}",
            found.figures.estimate(point.score),
            interval_line(point, found.ends, width),
        )
        for point in found.points
    ]
    ends = [found.figures.value(end) for end in found.ends]
    scale = ends[0] + " " * max(1, width - len(ends[0]) - len(ends[1])) + ends[1]
    out.print(
        table(f"{found.domain} on {found.suite}: {found.metric}, {found.figures.range()}", ["", "score", scale], rows)
    )
    told = ["● score with its interval", "· base model", "✓ ✗ ? what the gate said"]
    if not all(point.comparable for point in found.points):
        told.append("* on an earlier state of the suite, not to be compared")
    out.print("   ".join(told), style="dim", highlight=False)


def _versus_json(found: Versus) -> dict[str, Any]:
    return {
        "version": found.ours,
        "against": found.theirs,
        "suite": found.suite,
        "suite_digest": found.suite_digest,
        "confidence": found.confidence,
        "metrics": [
            asdict(row) | {"scale": row.scale.model_dump(), "test": row.test.model_dump()} for row in found.rows
        ],
        "changed": [_pair_json(pair) for pair in found.pairs if pair.difference],
        "notes": found.notes,
    }


def _pair_json(pair: Any) -> dict[str, Any]:
    from locum.evaluate.pairs import said

    return {
        "sample": pair.ours.sample,
        "difference": pair.difference,
        "question": pair.question,
        "reference": pair.reference,
        pair.ours.model: said(pair.ours),
        pair.theirs.model: said(pair.theirs),
    }
