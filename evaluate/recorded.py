"""Evaluations that were made before: found through the registry, and read from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from locum.errors import BadInputError, NotFoundError
from locum.evaluate.answers import SAMPLES_FILE, Answer, read_answers
from locum.evaluate.report import read_result
from locum.evaluate.result import RESULT_FILE, EvaluationResult
from locum.text import alternatives

if TYPE_CHECKING:
    from locum.adapters.registry import Registry


@dataclass(frozen=True)
class Recorded:
    """An evaluation and all of its answers."""

    result: EvaluationResult
    folder: Path

    @cached_property
    def answers(self) -> list[Answer]:
        """Every answer to every sample, in the order of the suite.

        Raises:
            NotFoundError: the file is not there any more.
            BadInputError: it is of another release of Locum, or was changed.
        """
        from pydantic import ValidationError

        path = self.folder / SAMPLES_FILE
        again = f"type again: {self.result.command}"
        try:
            answers = list(read_answers(path))
        except FileNotFoundError:
            raise NotFoundError(f"there is no {path}", hint=again) from None
        except ValidationError as error:
            raise BadInputError(f"{path}: {error.errors(include_url=False)[0]['msg']}", hint=again) from None
        if not answers:
            raise BadInputError(f"{path} is empty: expected the answers of an evaluation", hint=again)
        return answers


def read_evaluation(folder: Path) -> Recorded:
    """The evaluation that a folder holds.

    Raises:
        NotFoundError: there is none any more.
        BadInputError: it is of another release of Locum, or was changed.
    """
    return Recorded(read_result(folder / RESULT_FILE), folder)


def evaluations_of(registry: Registry, ref: str, suite: str | None = None) -> list[Recorded]:
    """A version's newest evaluation on each suite, or on the one of that name.

    Raises:
        NotFoundError: there is no such version, it has no such evaluation, or the evaluation's folder is gone.
        BadInputError: a result is of another release of Locum, or was changed.
    """
    manifest = registry.resolve(ref)
    newest = {record.suite: record for record in reversed(registry.evaluations(manifest.name))}
    if not newest:
        raise NotFoundError(
            f"there is no evaluation of {manifest.name}",
            hint=f"locum eval {manifest.domain} --model {manifest.name} makes one",
        )
    if suite is not None and suite not in newest:
        raise NotFoundError(
            f"there is no evaluation of {manifest.name} on {suite!r}{alternatives(suite, sorted(newest))}",
            hint=f"locum eval {manifest.domain} --model {manifest.name} --suite {suite} makes one",
        )
    chosen = [record for name, record in sorted(newest.items()) if suite in (None, name)]
    return [read_evaluation(Path(record.result_path)) for record in chosen]


def answers_to(evaluations: Sequence[Recorded], sample: str) -> tuple[Recorded, list[Answer]]:
    """The evaluation that has a sample, and all models' answers to it; the beginning of an id is enough.

    Raises:
        NotFoundError: there is no such sample.
        BadInputError: several samples begin like this.
    """
    ids = dict.fromkeys(answer.sample for each in evaluations for answer in each.answers)
    found = [name for name in ids if name == sample] or [name for name in ids if name.startswith(sample)]
    if not found:
        suites = ", ".join(each.result.suite for each in evaluations)
        raise NotFoundError(
            f"there is no sample {sample!r} in {suites}",
            hint=f"ids are in {evaluations[0].folder / SAMPLES_FILE} and in the report",
        )
    if len(found) > 1:
        raise BadInputError(f"{len(found)} samples begin with {sample!r}: {', '.join(found[:5])}, …")
    for each in evaluations:
        answers = [answer for answer in each.answers if answer.sample == found[0]]
        if answers:
            return each, answers
    raise AssertionError("an id comes from one of the evaluations")
