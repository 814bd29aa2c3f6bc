"""Labels that a domain sorts into, as they are typed: what they must be so that a suite can tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from locum.errors import BadInputError, NotFoundError
from locum.evaluate.metrics.text import normalise

LONGEST = 100  # characters; a label is a name and no sentence


def read_labels(given: str) -> list[str]:
    """The labels of an option: set apart by commas, or one a line in the file after an `@`.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: they are not two or more, or cannot be told apart by `exact_match`.
    """
    labels = _lines_of(Path(given[1:])) if given.startswith("@") else [part.strip() for part in _parts(given)]
    _check(labels)
    return labels


def _parts(given: str) -> list[str]:
    return given.replace("，", ",").replace("、", ",").split(",")


def _lines_of(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise NotFoundError(f"--labels: there is no file {path}") from None
    except UnicodeDecodeError:
        raise BadInputError(f"--labels: {path} is not UTF-8", hint="save it as UTF-8") from None
    labels = [line.strip() for line in text.splitlines() if line.strip()]
    if not labels:
        raise BadInputError(f"--labels: {path} is empty: expected one label a line")
    return labels


def _check(labels: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for number, label in enumerate(labels, start=1):
        key = normalise(label)
        if not label:
            raise BadInputError(f"--labels: label {number} is blank", hint="expected labels such as billing,delivery")
        if not label.isprintable() or len(label) > LONGEST:
            raise BadInputError(f"--labels: {label!r}: expected at most {LONGEST} characters that can be seen")
        if not key:
            raise BadInputError(f"--labels: {label!r}: expected a letter or a digit in it")
        if key in seen:
            alike = "is given twice" if seen[key] == label else f"counts as the same answer as {seen[key]!r}"
            hint = "case, width, quotation marks and the sentence mark at the end make no difference: docs/metrics.md"
            raise BadInputError(f"--labels: {label!r} {alike}", hint=hint)
        seen[key] = label
    if len(labels) < 2:
        raise BadInputError(
            f"--labels: expected two or more, found {', '.join(labels)}",
            hint="set apart by commas, or --labels @FILE with one a line",
        )
