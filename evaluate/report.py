"""The files of an evaluation: the result for machines, and what people and continuous integration read of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from locum.errors import BadInputError, DiskFullError, NotFoundError
from locum.evaluate.answers import SAMPLES_FILE, Answer, read_answers, write_answers
from locum.evaluate.junit import junit_report
from locum.evaluate.markdown import markdown_report
from locum.evaluate.page import html_report
from locum.evaluate.result import RESULT_FILE, EvaluationResult

MARKDOWN_FILE = "report.md"
HTML_FILE = "report.html"
JUNIT_FILE = "junit.xml"


def write_report(result: EvaluationResult, answers: Sequence[Answer]) -> Path:
    """Write an evaluation's files into its folder. Returns the path of the HTML.

    The result comes last: where it is, the other files are whole.
    """
    write_answers(result.folder / SAMPLES_FILE, answers)
    path = result.folder / HTML_FILE
    write_text(path, html_report(result, answers))
    write_text(result.folder / MARKDOWN_FILE, markdown_report([result], {result.suite: answers}))
    write_text(result.folder / JUNIT_FILE, junit_report([result]))
    write_text(result.folder / RESULT_FILE, result.model_dump_json(indent=2) + "\n")
    return path


def write_for_others(
    results: Sequence[EvaluationResult], *, junit: Path | None = None, markdown: Path | None = None
) -> None:
    """Write all results of a run as one JUnit XML, and as one comment for a pull request.

    Raises:
        BadInputError: a file cannot be written.
    """
    if junit is not None:
        write_text(junit, junit_report(results))
    if markdown is not None:
        answers = {result.suite: list(read_answers(result.folder / SAMPLES_FILE)) for result in results}
        write_text(markdown, markdown_report(results, answers))


def read_result(path: Path) -> EvaluationResult:
    """A result as `write_report` wrote it.

    Raises:
        NotFoundError: it is not there any more.
        BadInputError: it is of another release of Locum, or was changed.
    """
    from pydantic import ValidationError

    anew = "`locum eval DOMAIN` evaluates and writes it anew"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no {path}", hint=anew) from None
    if not text.strip():
        raise BadInputError(f"{path} is empty: expected the result of an evaluation", hint=anew)
    try:
        return EvaluationResult.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInputError(f"{path}: {where}: {first['msg']}", hint=anew) from None


def write_text(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all; its folders are made.

    Raises:
        BadInputError: it cannot be written there.
        DiskFullError: there is no room for it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        kind = DiskFullError if error.errno == errno.ENOSPC else BadInputError
        raise kind(f"{path} cannot be written: {error.strerror}") from None
