"""Metrics by name. Importing this costs nothing; a metric's libraries are loaded with it."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from locum.errors import NotFoundError, UnavailableError

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample

_CLASSES = {"exact_match": "ExactMatch", "token_f1": "TokenF1", "rouge_l": "RougeL"}


@dataclass(frozen=True)
class Metric:
    """A metric that is ready to score; `module` is the `evaluate.Metric` behind it."""

    name: str
    module: Any

    @property
    def low(self) -> float:
        return float(self.module.low)

    @property
    def high(self) -> float:
        return float(self.module.high)

    @property
    def unit(self) -> str:
        return str(self.module.unit)

    @property
    def higher_is_better(self) -> bool:
        return bool(self.module.higher_is_better)

    @property
    def binary(self) -> bool:
        return bool(self.module.binary)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.module.needs)

    def score(self, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[float | None]:
        """A score for each pair; none where the metric says nothing about it."""
        rows = [self.module.columns(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
        given = [row for row in rows if row is not None]
        if not given:
            return [None] * len(rows)
        columns = {name: [row[name] for row in given] for name in given[0]}
        # Not through compute(): its way through Arrow takes 5 ms a call and wants plain columns.
        found = iter(self.module._compute(**columns)["scores"])
        return [None if row is None else float(next(found)) for row in rows]


def load_metric(name: str, options: Mapping[str, Any]) -> Metric:
    """The metric called `name`.

    It keeps its data in memory, so that any number of evaluations can run at once without sharing a file.

    Raises:
        NotFoundError: there is no such metric; the message lists those there are.
        UnavailableError: a package that metrics need is not installed.
    """
    if name not in _CLASSES:
        raise NotFoundError(f"there is no metric {name!r} (there are: {', '.join(_CLASSES)})")
    try:
        with _without_transformers():
            importlib.import_module("evaluate")
        module = importlib.import_module(f"locum.evaluate.metrics.{name}")
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"the metric {name!r} needs the package {error.name!r}, which is not installed",
            hint="pip install 'locum[eval]'",
        ) from None
    # `evaluate` makes its cache folder even for a metric that never writes there: let it have one, and take it away.
    with tempfile.TemporaryDirectory(prefix="locum-metric-") as folder:
        made = getattr(module, _CLASSES[name])(keep_in_memory=True, cache_dir=folder)
    made.options = dict(options)
    return Metric(name, made)


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
