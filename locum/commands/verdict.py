"""An evaluation in the terminal: one table, the gate's reasons in plain sentences, and single samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from locum.commands.common import counted, heading, out, say, table
from locum.commands.tables import columns_of

if TYPE_CHECKING:
    from rich.text import Text

    from locum.evaluate.answers import Answer
    from locum.evaluate.figures import Figures
    from locum.evaluate.gate import Check
    from locum.evaluate.marking import Piece
    from locum.evaluate.pairs import Pair
    from locum.evaluate.result import EvaluationResult
    from locum.evaluate.versus import Versus

NARROW = 90  # columns; below these a mean and its interval stand on two lines
_MARKS = {"met": "[green]✓[/]", "missed": "[red]✗[/]", "unclear": "[yellow]?[/]"}
_COLOURS = {"passed": "green", "failed": "red"}


def show_result(result: EvaluationResult) -> None:
    """The table of one evaluation, the gate's reasons, and where the report lies."""
    from locum.evaluate.report import HTML_FILE

    intervals = f"{100 * result.confidence:.4g} % intervals"
    title = f"{result.version} on {result.suite}: {counted(result.samples, 'sample')}, {intervals}"
    _print_scores(title, result.version, _result_rows(result))
    out.print("")
    show_checks(result.checks)
    for note in [*result.notes, *(result.judge.told if result.judge else [])]:
        out.print(note, style="dim", markup=False, highlight=False)
    colour, gate = _COLOURS.get(result.status, "yellow"), "Gate" if result.status in _COLOURS else "Gate:"
    out.print(f"{gate} [bold {colour}]{result.status}[/] for {result.version} on {result.suite}.", highlight=False)
    if result.reused:
        out.print(f"{result.reused} answers were taken over from an earlier run.", highlight=False)
    if not result.recorded:
        out.print("A quick look: not recorded, and no evidence for a release.", highlight=False)
    say(f"Report: {_from_here(result.folder / HTML_FILE)}")


def show_verdicts(results: Sequence[EvaluationResult]) -> None:
    """What the gate said of one version on several suites, in a line."""
    told = []
    for status in ("failed", "not enough evidence", "passed"):
        suites = ", ".join(result.suite for result in results if result.status == status)
        told += [f"{status} on {suites}"] if suites else []
    say(f"{results[0].version}: {'; '.join(told)}.")


def show_checks(checks: Sequence[Check]) -> None:
    """Every check in a sentence, what is not met first."""
    order = {"missed": 0, "unclear": 1, "met": 2}
    for check in sorted(checks, key=lambda check: order[check.status]):
        out.print(_MARKS[check.status], _plain(check.reason), highlight=False)


def show_versus(found: Versus, *, changed: int) -> None:
    """The table of two versions, and the samples on which they differ most."""
    from locum.evaluate.pairs import improvements, regressions

    intervals = f"{100 * found.confidence:.4g} % intervals"
    title = f"{found.ours} against {found.theirs} on {found.suite}: {intervals}"
    _print_scores(title, found.ours, _versus_rows(found))
    losses, gains = (pick(found.pairs, len(found.pairs)) for pick in (regressions, improvements))
    same = len(found.pairs) - len(losses) - len(gains)
    metric = found.rows[0].metric if found.rows else ""
    out.print(
        f"\nBy {metric}, {found.ours} does better on {counted(len(gains), 'sample')}, "
        f"the same on {same}, worse on {len(losses)}.",
        highlight=False,
        markup=False,
    )
    for title, pairs in (("Worst losses", losses), ("Greatest gains", gains)):
        if pairs:
            told = [(pair.ours.sample, f"{pair.difference:+.3f}", _short(pair.question)) for pair in pairs[:changed]]
            out.print(table(f"\n{title}", ["sample", "better by", "question"], told))
    for note in found.notes:
        out.print(note, style="dim", markup=False, highlight=False)


def show_pair(pair: Pair, metric: str) -> None:
    """One sample with two answers, the words that differ marked."""
    from locum.evaluate.marking import mark_differences
    from locum.evaluate.pairs import said

    ours, theirs = mark_differences(said(pair.ours), said(pair.theirs))
    _asked(pair.ours)
    for answer, pieces in ((pair.ours, ours), (pair.theirs, theirs)):
        _said(answer, _marked(pieces), metric)


def show_sample(answers: Sequence[Answer], metric: str) -> None:
    """One sample with every model's answer. What the first, the version's, and another do not share is marked."""
    from locum.evaluate.marking import mark_differences
    from locum.evaluate.pairs import said

    ours, *others = answers
    _asked(ours)
    marked = [mark_differences(said(ours), said(other)) for other in others]
    _said(ours, _marked(marked[0][0]) if marked else _plain(said(ours)), metric)
    for other, (_, pieces) in zip(others, marked, strict=True):
        _said(other, _marked(pieces), metric)


def _from_here(path: Path) -> Path:
    """The path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _asked(answer: Answer) -> None:
    from locum.evaluate.visible import visible

    heading(visible(answer.sample))
    for message in answer.messages:
        out.print(_plain(f"{message.role}: ", style="dim") + _plain(message.content))
    if answer.reference:
        out.print(_plain("expected: ", style="dim") + _plain(answer.reference))
    out.print("")


def _said(answer: Answer, text: Text, metric: str) -> None:
    scores = sorted(answer.scores.items(), key=lambda each: each[0] != metric)
    told = [f"{name} {value:.4g}" for name, value in scores]
    told += [f"{name} {' '.join(f'{vote:g}' for vote in votes)} of 5" for name, votes in answer.ratings.items()]
    repeat = f", repeat {answer.repeat + 1}" if answer.repeat else ""
    out.print(_plain(f"{answer.model}{repeat}", style="bold"), _plain(", ".join(told), style="dim"))
    out.print(text)
    out.print("")


@dataclass(frozen=True)
class _Row:
    """One model by one metric."""

    metric: str
    model: str
    score: str
    difference: str = ""
    p: str = ""


def _result_rows(result: EvaluationResult) -> Iterator[_Row]:
    """A row for each metric and model; the metric that decides comes first."""
    from locum.evaluate.figures import Figures, p_value

    others = {other.name: other for other in result.comparisons}
    for metric in sorted(result.models[0].scores, key=lambda name: name != result.metric):
        figures = Figures(result.metrics[metric])
        for model in result.models:
            if metric not in model.scores:
                continue
            row = _Row(_label(metric, figures), model.name, figures.estimate(model.scores[metric]))
            other = others.get(model.name)
            if other and metric in other.differences:
                told = figures.difference(other.differences[metric])
                row = replace(row, difference=told, p=p_value(other.tests[metric]))
            yield row


def _versus_rows(found: Versus) -> Iterator[_Row]:
    from locum.evaluate.figures import Figures, p_value

    for row in found.rows:
        figures = Figures(row.scale)
        name = f"{_label(row.metric, figures)}, n = {row.samples}"
        yield _Row(name, found.ours, figures.estimate(row.ours))
        yield _Row(
            name, found.theirs, figures.estimate(row.theirs), figures.difference(row.difference), p_value(row.test)
        )


def _label(metric: str, figures: Figures) -> str:
    return metric if figures.scale.higher_is_better else f"{metric} (lower is better)"


def _print_scores(title: str, version: str, rows: Iterable[_Row]) -> None:
    """The one table. In a narrow terminal the metric stands above its models, and an interval below its mean."""
    shown: list[tuple[str, ...]] = []
    last, narrow = "", (columns_of(out) or NARROW) < NARROW
    for row in rows:
        new = row.metric != last
        if narrow:
            difference = "\n".join(filter(None, [_wrapped(row.difference), row.p]))
            shown += [(row.metric, "", "")] if new else []
            shown.append((f"  {row.model}", _wrapped(row.score), difference))
        else:
            p = row.p.removeprefix("p ").removeprefix("= ")
            shown.append((row.metric if new else "", row.model, row.score, row.difference, p))
        last = row.metric
    columns = ["", "score", f"{version} minus it"]
    out.print(table(title, columns if narrow else ["metric", "model", *columns[1:], "p"], shown))


def _wrapped(estimate: str) -> str:
    return estimate.replace(" [", "\n[")


def _marked(pieces: Sequence[Piece]) -> Text:
    from rich.text import Text

    from locum.evaluate.visible import visible

    found = Text()
    for piece in pieces:
        found.append(visible(piece.text), style="bold underline" if piece.differs else "")
    return found


def _plain(text: str, style: str = "") -> Text:
    from rich.text import Text

    from locum.evaluate.visible import visible

    return Text(visible(text), style=style)


def _short(text: str) -> str:
    from locum.evaluate.visible import visible

    line = " ".join(visible(text).split())
    return line if len(line) <= 60 else f"{line[:59]}…"
