"""The comment on a pull request: the verdict in a line, a table and the reasons; the rest folds up.

The first line is a marker that nobody sees: by it, continuous integration finds its earlier comment and rewrites it.
Only what GitHub's and GitLab's Markdown both know is used. Text of models is shown as code, so that none of it is
Markdown, mentions somebody or loads a picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from locum.evaluate.answers import Answer
from locum.evaluate.figures import Figures, p_value
from locum.evaluate.gate import Check
from locum.evaluate.page import result_pairs
from locum.evaluate.pairs import Pair, regressions, said
from locum.evaluate.result import EvaluationResult
from locum.evaluate.visible import visible

_MARKS = {"met": "✅", "missed": "❌", "unclear": "❔"}
_STATUS = {"passed": "✅ passed", "failed": "❌ failed", "not enough evidence": "❔ not enough evidence"}
_REGRESSIONS = 5
_SHOWN = 400  # characters of a question or an answer
_SLICES = 30
_LONGEST = 60_000  # GitHub takes 65,536 characters, GitLab a million


def marker(domain: str) -> str:
    """What an evaluation's comment begins with; one comment a domain."""
    return f"<!-- locum-eval:{domain} -->"


def markdown_report(results: Sequence[EvaluationResult], answers: Mapping[str, Sequence[Answer]] | None = None) -> str:
    """The results of one version on all its suites as one comment.

    Args:
        answers: those of each suite, by its name, where the worst regressions shall be shown.
    """
    first = results[0]
    statuses = {result.status for result in results}
    worst = next(status for status in ("failed", "not enough evidence", "passed") if status in statuses)
    suites = first.suite if len(results) == 1 else f"{len(results)} suites"
    lines = [marker(first.domain), f"### {_STATUS[worst]}: {first.version} on {suites}"]
    for result in results:
        lines += ["", *_suite(result, (answers or {}).get(result.suite, ()), alone=len(results) == 1)]
    text = "\n".join(lines) + "\n"
    if len(text) <= _LONGEST:
        return text
    return markdown_report(results) if answers else text[:_LONGEST] + "\n\n(cut off: too long for a comment)\n"


def _suite(result: EvaluationResult, answers: Sequence[Answer], *, alone: bool) -> list[str]:
    open_checks = [check for check in result.checks if not check.met]
    lines = [] if alone else [f"#### {_STATUS[result.status]}: {result.suite}", ""]
    lines += [
        f"{result.samples} samples, decided by `{result.metric}`, {100 * result.confidence:.4g} % intervals.",
        "",
        *_scores(result),
        "",
        *(_reason(check) for check in open_checks),
    ]
    met = [check for check in result.checks if check.met]
    if met:
        title = "1 check is met" if len(met) == 1 else f"{len(met)} checks are met"
        lines += ["", *_folded(title, [_reason(check) for check in met])]
    if result.slices:
        lines += ["", *_folded(f"{len(result.slices)} slices", _slices(result))]
    if result.judge is not None:
        lines += ["", *_folded(f"Judged by {result.judge.model}", [f"- {_inert(line)}" for line in result.judge.told])]
    if worst := regressions(result_pairs(result, answers), _REGRESSIONS):
        lines += ["", *_folded(f"Worst regressions against {result.against}", _answers(result, worst))]
    lines += ["", *_folded("How to reproduce this", ["```sh", _unfenced(result.command), "```"])]
    if not result.recorded:
        lines += ["", "A quick look: not recorded, and no evidence for a release."]
    return lines


def _scores(result: EvaluationResult) -> list[str]:
    """A row for each metric, the deciding one first: the version's score, and its difference to each other model."""
    names = sorted(result.models[0].scores, key=lambda name: name != result.metric)
    head = ["metric", result.version, *(f"minus {_cell(other.name)}" for other in result.comparisons)]
    rows = []
    for name in names:
        figures = Figures(result.metrics[name])
        label = f"**`{name}`**" if name == result.metric else f"`{name}`"
        if not figures.scale.higher_is_better:
            label += " (lower is better)"
        differences = [
            f"{figures.difference(other.differences[name])}, {p_value(other.tests[name])}".replace("<", "&lt;")
            if name in other.differences
            else ""
            for other in result.comparisons
        ]
        rows.append([label, figures.estimate(result.models[0].scores[name]), *differences])
    return _table(head, rows)


def _slices(result: EvaluationResult) -> list[str]:
    against = result.production or result.base
    figures = Figures(result.metrics[result.metric])
    rows = [
        [
            _cell(f"{each.field}: {each.value}"),
            str(each.samples),
            figures.estimate(each.scores[result.version]),
            figures.difference(each.differences[against]),
        ]
        for each in result.slices
        if against in each.differences
    ]
    table = _table(["slice", "samples", result.version, f"minus {_cell(against)}"], rows[:_SLICES])
    return table if len(rows) <= _SLICES else [*table, "", f"… and {len(rows) - _SLICES} more in the report."]


def _answers(result: EvaluationResult, pairs: Sequence[Pair]) -> list[str]:
    lines = []
    for pair in pairs:
        lines += [f"**{_inert(pair.ours.sample)}**", ""]
        for who, text in (
            ("question", pair.question),
            ("expected", pair.reference),
            (pair.ours.model, said(pair.ours)),
            (pair.theirs.model, said(pair.theirs)),
        ):
            lines += _quoted(who, text) if text else []
    return lines


def _reason(check: Check) -> str:
    return f"- {_MARKS[check.status]} {_inert(check.reason)}"


def _folded(title: str, content: Sequence[str]) -> list[str]:
    return [f"<details><summary>{_html(title)}</summary>", "", *content, "", "</details>"]


def _quoted(who: str, text: str) -> list[str]:
    """A text in a code block whose fence is longer than any in it."""
    shown = visible(text)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    longest = max((len(found) for found in re.findall(r"`{3,}", shown)), default=2)
    fence = "`" * (longest + 1)
    return [f"{_inert(who)}:", fence, shown, fence, ""]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def _cell(text: str) -> str:
    return _inert(text).replace("|", "\\|").replace("\n", " ")


def _inert(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no mention, no link."""
    escaped = re.sub(r"([\\`*_\[\]])", r"\\\1", _html(visible(text)))
    return re.sub(r"(?<!\w)@", "@\u200b", escaped)


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unfenced(text: str) -> str:
    return visible(text).replace("```", "'''")
