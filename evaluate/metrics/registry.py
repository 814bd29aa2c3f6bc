"""Metrics by name. Importing this costs nothing; a metric's libraries are loaded with it."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from locum.errors import NotFoundError, UnavailableError

_CLASSES = {"exact_match": "ExactMatch", "token_f1": "TokenF1", "rouge_l": "RougeL"}


@dataclass(frozen=True)
class Metric:
    """A metric that is ready to score; `module` is the `evaluate.Metric` behind it."""

    name: str
    module: Any

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """A score from 0 to 1 for each pair."""
        # Not through compute(): its way through Arrow takes 5 ms a call, and the runner scores each answer as it comes.
        found = self.module._compute(predictions=list(predictions), references=list(references))
        return list(found["scores"])


def load_metric(name: str) -> Metric:
    """The metric called `name`.

    It keeps its data in memory, so that any number of evaluations can run at once without sharing a file.

    Raises:
        NotFoundError: there is no such metric; the message lists those there are.
        UnavailableError: a package that metrics need is not installed.
    """
    if name not in _CLASSES:
        raise NotFoundError(f"there is no metric {name!r} (there are: {', '.join(_CLASSES)})")
    try:
        module = importlib.import_module(f"locum.evaluate.metrics.{name}")
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"the metric {name!r} needs the package {error.name!r}, which is not installed",
            hint="pip install 'locum[eval]'",
        ) from None
    # `evaluate` makes its cache folder even for a metric that never writes there: let it have one, and take it away.
    with tempfile.TemporaryDirectory(prefix="locum-metric-") as folder:
        return Metric(name, getattr(module, _CLASSES[name])(keep_in_memory=True, cache_dir=folder))
