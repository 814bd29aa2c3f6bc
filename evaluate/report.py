"""Reports: result.json for machines, Markdown for the terminal and pull requests, HTML for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from locum.evaluate.answers import SAMPLES_FILE, Answer, write_answers
from locum.evaluate.result import RESULT_FILE, EvaluationResult
from locum.evaluate.statistics import RESAMPLES, Estimate

if TYPE_CHECKING:
    from jinja2 import Environment

MARKDOWN_FILE = "report.md"
HTML_FILE = "report.html"
_EXAMPLES = 8  # of each kind in the report; all are in samples.jsonl


@dataclass(frozen=True)
class Asked:
    """One question that both models were asked outside the suite, to show rather than to measure."""

    domain: str
    version: str
    question: str
    answer: str
    base_answer: str
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """The version's and the other model's answer to one sample."""

    question: str
    reference: str
    ours: Answer
    theirs: Answer
    difference: float


def write_report(result: EvaluationResult, answers: Sequence[Answer]) -> Path:
    """Write the answers and the result's JSON, Markdown and HTML into its folder. Returns the path of the HTML."""
    write_answers(result.folder / SAMPLES_FILE, answers)
    (result.folder / RESULT_FILE).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (result.folder / MARKDOWN_FILE).write_text(markdown_report(result), encoding="utf-8")
    path = result.folder / HTML_FILE
    path.write_text(html_report(result, answers), encoding="utf-8")
    return path


def read_result(path: Path) -> EvaluationResult:
    """A result as `write_report` wrote it."""
    return EvaluationResult.model_validate_json(path.read_text(encoding="utf-8"))


def markdown_report(result: EvaluationResult) -> str:
    """A few lines and two tables that a terminal and a pull request both show well."""
    percent = f"{100 * result.confidence:.4g} %"
    lines = [
        f"### {result.version} on {result.suite}: {result.status}",
        "",
        f"{result.samples} samples, metric `{result.metric}`, against {result.against} at {result.endpoint}",
        "",
        "| model | " + " | ".join(result.models[0].scores) + " |",
        "| --- |" + " ---: |" * len(result.models[0].scores),
        *(
            f"| {_cell(model.name)} | " + " | ".join(str(score) for score in model.scores.values()) + " |"
            for model in result.models
        ),
        "",
        f"| {result.version} minus | difference [{percent}] | better | equal | worse |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {_cell(other.name)} | {signed(other.differences[result.metric])} "
            f"| {other.better} | {other.equal} | {other.worse} |"
            for other in result.comparisons
        ),
        "",
        *(f"- {'✓' if check.met else '✗'} {check.reason}" for check in result.checks),
    ]
    if not result.recorded:
        lines += ["", "A quick look: not recorded, no evidence for a release."]
    return "\n".join(lines) + "\n"


def html_report(result: EvaluationResult, answers: Sequence[Answer]) -> str:
    """One self-contained page on one evaluation."""
    pairs = paired(result, answers)
    latencies = {
        model.name: [answer.latency_s or 0.0 for answer in answers if answer.model == model.name]
        for model in result.models
    }
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            latencies=latencies,
            slowest=max(max(values) for values in latencies.values()) or 1.0,
            regressions=[pair for pair in pairs if pair.difference < 0][:_EXAMPLES],
            improvements=[pair for pair in reversed(pairs) if pair.difference > 0][:_EXAMPLES],
            resamples=RESAMPLES,
            samples_file=SAMPLES_FILE,
        )
    )


def summary_report(results: Sequence[EvaluationResult], asked: Sequence[Asked] = ()) -> str:
    """One self-contained page over the evaluations of several domains, with what both models said when asked."""
    ends = [end for result in results for end in (result.gain.low, result.gain.high)]
    return (
        _environment()
        .get_template("summary.html.j2")
        .render(results=results, asked=asked, low=min(0.0, *ends), high=max(0.05, *ends), resamples=RESAMPLES)
    )


def paired(result: EvaluationResult, answers: Sequence[Answer]) -> list[Pair]:
    """Each sample's two answers, of the version and of `against`: the worst loss first, the greatest gain last.

    Samples that the primary metric cannot tell apart are ordered by the sum of all metrics.
    """
    sign = 1 if result.metrics[result.metric].higher_is_better else -1
    found = {(answer.sample, answer.model, answer.repeat): answer for answer in answers}
    pairs = []
    for ours in answers:
        theirs = found.get((ours.sample, result.against, ours.repeat))
        if ours.model == result.version and theirs and result.metric in ours.scores and result.metric in theirs.scores:
            difference = sign * (ours.scores[result.metric] - theirs.scores[result.metric])
            pairs.append(Pair(ours.messages[-1].content, ours.reference, ours, theirs, difference))
    return sorted(
        pairs,
        key=lambda pair: (pair.difference, sum(pair.ours.scores.values()) - sum(pair.theirs.scores.values())),
    )


def signed(estimate: Estimate) -> str:
    """`+0.725 [+0.640, +0.800]`."""
    return f"{estimate.mean:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from locum.evaluate import charts

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        score_bar=charts.score_bar,
        difference_bar=charts.difference_bar,
        outcome_bar=charts.outcome_bar,
        histogram=charts.histogram,
    )
    environment.filters["signed"] = signed
    return environment
