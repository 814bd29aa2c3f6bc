"""The rows of a suite, one by one and against each other: which are malformed, repeated, or cannot be answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from locum.adapters.base import load_base
from locum.adapters.conversations import normalise
from locum.adapters.likeness import LikenessIndex
from locum.adapters.suites import Generation
from locum.errors import UnavailableError
from locum.evaluate.findings import Finding, Row, Watch
from locum.evaluate.samples import GENERATED, read_lines
from locum.settings import Settings

EVERY = 200  # rows from one look at the bar to the next


@dataclass(frozen=True)
class Ruler:
    """Counts the tokens of an answer. `exact` by the base model's own tokenizer, else by its characters."""

    count: Callable[[str], int]
    exact: bool


def ruler(settings: Settings) -> Ruler:
    """By the base model's tokenizer; where it is not at hand, a Chinese character or four others are a token."""
    try:
        file = load_base(settings.bases, settings.base).path / "tokenizer.json"
    except UnavailableError:
        return Ruler(_by_characters, exact=False)
    if not file.is_file():
        return Ruler(_by_characters, exact=False)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return Ruler(lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids), exact=True)


def read_rows(paths: Sequence[Path]) -> tuple[list[Row], list[Finding]]:
    """The rows of a suite's files, and what is wrong with those that are none.

    Raises:
        NotFoundError: there is no such file.
    """
    rows, findings = [], []
    for path in paths:
        for line in read_lines(path):
            if line.sample is None:
                advice = "docs/suites.md shows a row of each kind"
                findings.append(
                    Finding(check="row", place=f"{path}:{line.number}", sentence=line.problem, advice=advice)
                )
            else:
                rows.append(Row(path, line.number, line.sample))
    return rows, findings


def check_rows(
    rows: Sequence[Row], generation: Generation, measure: Ruler, *, threshold: float, watch: Watch
) -> list[Finding]:
    """All that can be said of the rows alone.

    Args:
        threshold: from which similarity on, by Jaccard, two questions are near duplicates.
    """
    return [
        *_same_ids(rows),
        *_repeated(rows),
        *_nearly_repeated(rows, threshold, watch),
        *(finding for row in rows for finding in _blank(row)),
        *(finding for row in rows for finding in _unanswerable(row, generation, measure)),
        *(finding for row in rows for finding in _schema(row)),
    ]


def _same_ids(rows: Sequence[Row]) -> Iterator[Finding]:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.sample.id, row)
        if other is not row and not other.sample.expects_the_same(row.sample):
            yield Finding(
                check="id",
                place=row.place,
                sentence=f"the id {row.sample.id!r} is that of {_from(row, other)} too",
                advice="give it another id, or leave the id out",
            )


def _repeated(rows: Sequence[Row]) -> Iterator[Finding]:
    first: dict[tuple[str, ...], Row] = {}
    for row in rows:
        sample = row.sample
        # Two pairs of answers to one prompt, or two lists of choices, are two samples.
        key = (sample.asked,) if sample.kind in GENERATED else (sample.asked, *map(str, sorted(sample.continuations)))
        other = first.setdefault(key, row)
        if other is row:
            continue
        if other.sample.expects_the_same(sample):
            sentence, advice = f"repeats {_from(row, other)}", "leave one of them out"
        else:
            sentence = (
                f"asks what {_from(row, other)} asks, and expects {_short(sample.reference)} "
                f"instead of {_short(other.sample.reference)}"
            )
            advice = "keep the one that is right"
        yield Finding(check="duplicate", place=row.place, sentence=sentence, advice=advice)


def _nearly_repeated(rows: Sequence[Row], threshold: float, watch: Watch) -> Iterator[Finding]:
    said = [row.said for row in rows]
    index = LikenessIndex(said, threshold=threshold)
    plain: dict[str, int] = {}
    for place, row in enumerate(rows):
        if place % EVERY == 0:
            watch("near duplicates", place, len(rows))
        other = plain.setdefault(normalise(said[place]) or said[place], place)
        near = [(other, 1.0)] if other < place else []
        for like in index.like(said[place]):  # by place
            if like.place >= place:
                break
            near.append((like.place, like.similarity))
        found = [(rows[each], similarity) for each, similarity in near if _independent(rows[each], row)]
        if found:
            earlier, similarity = max(found, key=lambda pair: pair[1])
            yield Finding(
                check="near duplicate",
                place=row.place,
                sentence=f"asks nearly what {_from(row, earlier)} asks (similarity {similarity:.2f}), in another group",
                advice="give both one `group`, or leave one out: as they stand they count as independent evidence",
            )


def _independent(one: Row, other: Row) -> bool:
    """Whether two rows count as independent evidence, and are not one row twice, which is told elsewhere."""
    wording = one.sample.paraphrase_of is not None and one.sample.paraphrase_of == other.sample.paraphrase_of
    return one.sample.group != other.sample.group and one.sample.asked != other.sample.asked and not wording


def _blank(row: Row) -> Iterator[Finding]:
    if not row.said.strip():
        sentence, advice = "asks nothing: what the user says is blank", "write the question, or take the row out"
        yield Finding(check="row", place=row.place, sentence=sentence, advice=advice)


def _unanswerable(row: Row, generation: Generation, measure: Ruler) -> Iterator[Finding]:
    sample = row.sample
    if sample.kind not in GENERATED:
        return
    if generation.choices and sample.kind == "decline":
        yield Finding(
            check="choices",
            place=row.place,
            sentence="is to be declined, and generation.choices lets no model do so",
            advice="move it to a suite without generation.choices",
        )
    if not sample.reference:
        if sample.kind in ("question", "conversation", "extraction") and not sample.unknowable:
            advice = "say what the right answer is, or mark it `unknowable`"
            yield Finding(check="answer", place=row.place, sentence="expects an empty answer", advice=advice)
        return
    if generation.choices and sample.reference not in generation.choices:
        yield Finding(
            check="choices",
            place=row.place,
            sentence=f"expects {_short(sample.reference)}, which is not among generation.choices",
            advice="add it to generation.choices in the suite.yaml, or correct the row",
        )
    tokens = measure.count(sample.reference)
    if tokens > generation.max_tokens:
        about = "" if measure.exact else "about "
        yield Finding(
            check="answer",
            severity="wrong" if measure.exact else "note",
            place=row.place,
            sentence=f"expects an answer of {about}{tokens} tokens, and generation.max_tokens allows "
            f"{generation.max_tokens}",
            advice="raise generation.max_tokens in the suite.yaml",
        )


def _schema(row: Row) -> Iterator[Finding]:
    schema = row.sample.schema
    if schema is None:
        return
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    def found(sentence: str, advice: str) -> Finding:
        return Finding(check="schema", place=row.place, sentence=sentence, advice=advice)

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        yield found(f"schema: is no JSON schema: {error.message}", "correct the schema (draft 2020-12)")
        return
    if not row.sample.reference:
        return
    try:
        expected = json.loads(row.sample.reference)
    except ValueError:
        yield found(f"expects {_short(row.sample.reference)}, which is not JSON", "write the reference as JSON")
        return
    try:
        problem = best_match(Draft202012Validator(schema, registry=Registry()).iter_errors(expected))
    except Unresolvable as error:
        yield found(f"schema: refers to {error.ref}, which is not in it", "put what it refers to under $defs")
        return
    if problem is not None:
        where = f" at {problem.json_path}" if problem.absolute_path else ""
        yield found(f"expects an answer that its own schema refuses{where}: {problem.message}", "correct one of them")


def _from(row: Row, other: Row) -> str:
    """Where another row stands, seen from this one."""
    return f"line {other.line}" if other.path == row.path else other.place


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _by_characters(text: str) -> int:
    chinese = sum("\u3040" <= character <= "\u9fff" for character in text)
    return chinese + -(-(len(text) - chinese) // 4)
