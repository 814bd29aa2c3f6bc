"""Metrics by name. Importing this costs nothing; a metric's libraries are loaded with it."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from locum.errors import BadInputError, NotFoundError, UnavailableError
from locum.text import alternatives

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.metrics.base import Scale
    from locum.evaluate.samples import Sample

# name: (module in this folder, class), in the order of the documentation
METRICS = {
    "exact_match": ("exact_match", "ExactMatch"),
    "token_f1": ("token_f1", "TokenF1"),
    "rouge_1": ("rouge", "Rouge1"),
    "rouge_2": ("rouge", "Rouge2"),
    "rouge_l": ("rouge", "RougeL"),
    "bleu": ("bleu", "Bleu"),
    "chrf": ("chrf", "ChrF"),
    "numeric": ("numeric", "Numeric"),
    "entity_f1": ("entity_f1", "EntityF1"),
    "json_schema": ("json_schema", "JsonSchema"),
    "decline": ("honesty", "Decline"),
    "honesty": ("honesty", "Honesty"),
    "notice": ("compliance", "Notice"),
    "referral": ("compliance", "Referral"),
    "sources": ("compliance", "Sources"),
    "forbidden": ("compliance", "Forbidden"),
    "style": ("style", "Style"),
    "perplexity": ("perplexity", "Perplexity"),
    "choice": ("choice", "Choice"),
    "brier": ("calibration", "Brier"),
    "preference": ("preference", "Preference"),
    "first_token": ("service", "FirstToken"),
    "per_token": ("service", "PerToken"),
    "tokens": ("service", "Tokens"),
    "judge_accuracy": ("rubric", "JudgeAccuracy"),
    "judge_relevance": ("rubric", "JudgeRelevance"),
    "judge_completeness": ("rubric", "JudgeCompleteness"),
    "judge_helpfulness": ("rubric", "JudgeHelpfulness"),
    "judge_safety": ("rubric", "JudgeSafety"),
    "judge_preference": ("rubric", "JudgePreference"),
}


@dataclass(frozen=True)
class Metric:
    """A metric that is ready to score; `module` is the `evaluate.Metric` behind it."""

    name: str
    module: Any

    @property
    def unit(self) -> str:
        return self._scale.unit

    @property
    def low(self) -> float:
        return self._scale.low

    @property
    def high(self) -> float:
        return self._scale.high

    @property
    def higher_is_better(self) -> bool:
        return self._scale.higher_is_better

    @property
    def binary(self) -> bool:
        return self._scale.binary

    @property
    def needs(self) -> frozenset[str]:
        return self._scale.needs

    def score(self, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[float | None]:
        """A score for each pair of a sample and one model's answer to it; none where there is nothing to say.

        Nothing is said about a sample that has not what the metric looks at (a reference, a schema, choices), and
        nothing about a question that failed: that is counted elsewhere, and is no wrong answer.
        """
        pairs = list(zip(samples, answers, strict=True))
        rows = [None if answer.error else self._scale.columns(sample, answer) for sample, answer in pairs]
        said = [row for row in rows if row is not None]
        if not said:
            return [None] * len(rows)
        columns = {name: [row[name] for row in said] for name in said[0]}
        # Not through compute(): its way through Arrow takes 5 ms a call.
        scores = iter(self.module._compute(**columns)["scores"])
        return [None if row is None else next(scores) for row in rows]

    @property
    def _scale(self) -> Scale:
        scale: Scale = self.module
        return scale


def load_metric(name: str, options: Mapping[str, Any] | None = None) -> Metric:
    """The metric called `name`, with a suite's options for it.

    It keeps its data in memory, so that any number of evaluations can run at once without sharing a file.

    Raises:
        NotFoundError: there is no such metric; the message lists those there are.
        BadInputError: it has no such option, or the option cannot be what it is set to.
        UnavailableError: a package that metrics need is not installed.
    """
    if name not in METRICS:
        raise NotFoundError(f"there is no metric {name!r}{alternatives(name, METRICS)}")
    found = _load(*METRICS[name], wanted_by=name)
    module = _made(found)
    module.options = _checked(name, found.options_type, options or {})
    return Metric(name, module)


def given_metric(name: str, *, higher_is_better: bool) -> Metric:
    """A metric that reads the scores of that name which the answers have from another tool.

    Raises:
        UnavailableError: a package that metrics need is not installed.
    """
    found = _load("given", "Given", wanted_by=name)
    return Metric(name, _made(type("Given", (found,), {"metric": name, "higher_is_better": higher_is_better})))


def _load(file: str, kind: str, *, wanted_by: str) -> Any:
    """The class of a metric."""
    try:
        with _without_transformers():
            return getattr(importlib.import_module(f"locum.evaluate.metrics.{file}"), kind)
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"the metric {wanted_by!r} needs the package {error.name!r}, which is not installed",
            hint="pip install 'locum[eval]'",
        ) from None


def _made(kind: Any) -> Any:
    # `evaluate` makes its cache folder even for a metric that never writes there: let it have one, and take it away.
    with tempfile.TemporaryDirectory(prefix="locum-metric-") as folder:
        return kind(keep_in_memory=True, cache_dir=folder)


def _checked(name: str, kind: Any, options: Mapping[str, Any]) -> Any:
    """The options as the metric's own model; raises BadInputError that names metric, option and expectation."""
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        problem = error.errors()[0]
    first, *rest = problem["loc"] or ("options",)
    option = str(first) + "".join(f"[{part}]" for part in rest)
    if problem["type"] == "extra_forbidden":
        raise BadInputError(
            f"the metric {name!r} has no option {option!r}{alternatives(option, kind.model_fields, there_are='it has')}"
        )
    if problem["type"] == "missing":
        known = ", ".join(kind.model_fields)
        raise BadInputError(
            f"the metric {name!r} needs the option {option!r} (its options: {known})",
            hint="`options` of the suite.yaml sets it, or `compliance` of the domain's card where it is about that",
        )
    raise BadInputError(f"the metric {name!r}: option {option!r}: {problem['msg']} (found {problem['input']!r})")


@contextmanager
def _without_transformers() -> Iterator[None]:
    """Let Hugging Face's `evaluate` believe that transformers is not installed, unless it is imported already.

    It would import transformers' pipelines, and torch with them, for its `evaluator`, which metrics do not need: 3 s of
    CPU time before the first question, and a heap that Python's garbage collector then walks while answers come in.
    """
    if "evaluate" in sys.modules or "transformers" in sys.modules:
        yield
        return
    sys.modules["transformers"] = None  # type: ignore[assignment]  # how Python notes that an import has no module
    try:
        yield
    finally:
        del sys.modules["transformers"]
