"""Whether an assistant keeps its form when a question is put in other words."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from locum.adapters.wordings import tokens
from locum.evaluate.metrics.base import TEXT, PairMetric
from locum.evaluate.metrics.text import fenced, unfenced

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample

# Within its line: over many empty lines, `^\s*` takes the square of their number.
_ITEM = re.compile(r"^[^\S\n]*(?:[-*•·]|\d{1,3}[.)、])\s*\S", re.MULTILINE)
_TABLE = re.compile(r"^[^\S\n]*\|.+\|[^\S\n]*$", re.MULTILINE)
_HEADING = re.compile(r"^[^\S\n]*(?:#{1,6}\s|\*\*[^*\n]+\*\*:?[^\S\n]*$)", re.MULTILINE)
_EMPHASIS = re.compile(r"\*\*\S|__\S|`\S")
_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I've|I'd|me|my|mine|we|our|us)\b|我|咱|本人")
_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’)）*_]*$")
_LABEL_TOKENS = 4


@dataclass(frozen=True)
class Form:
    """The form of an answer, without what it says."""

    shape: str
    script: str
    full_stop: bool
    headings: bool
    emphasis: bool
    first_person: bool
    length: int


def form_of(text: str) -> Form:
    """The form of an answer.

    `shape` is empty, json, table, list (two items or more), code, label (one line of at most four tokens that is no
    sentence) or prose; `script` that of most letters; `length` in tokens.
    """
    return Form(
        shape=_shape(text),
        script=_script(text),
        full_stop=bool(_SENTENCE_END.search(text.strip())),
        headings=bool(_HEADING.search(text)),
        emphasis=bool(_EMPHASIS.search(text)),
        first_person=bool(_FIRST_PERSON.search(text.replace("’", "'"))),
        length=len(tokens(text)),
    )


def agreement(one: Form, other: Form) -> float:
    """How alike two forms are, from 0 to 1: the mean over seven traits.

    Six are the same or not; the seventh is the shorter length over the longer one, 1 where both are 0.
    """
    same = [
        one.shape == other.shape,
        one.script == other.script,
        one.full_stop == other.full_stop,
        one.headings == other.headings,
        one.emphasis == other.emphasis,
        one.first_person == other.first_person,
    ]
    longer = max(one.length, other.length)
    return (sum(same) + (min(one.length, other.length) / longer if longer else 1.0)) / (len(same) + 1)


class Style(PairMetric):
    """How much an answer agrees in form with the other answers to the same question in other words.

    score(i) = mean over the other answers j of its set of agreement(form(i), form(j)), where a form has seven traits:
    shape (prose, list, table, JSON, code, label, empty), script, a full stop at the end, headings, emphasis, first
    person, and length. Six agree or do not; lengths agree by the shorter over the longer. A set is all samples with one
    `paraphrase_of`; about a sample without one, and an answer alone in its set, nothing is said.

    From 0 to 1; no unit; higher is better. Scores of one set hang together: give its samples one `group`, and the
    intervals know it. Source: pairwise agreement over paraphrases as in ParaRel (Elazar et al. 2021). Departure: there
    the same fact counts, here the same form.
    """

    metric = "style"
    source = (
        "Elazar, Kassner, Ravfogel et al.: Measuring and Improving Consistency in Pretrained Language Models. TACL 2021"
    )
    inputs: ClassVar[dict[str, Any]] = {"predictions": TEXT, "sets": TEXT}

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The answer and the name of its set."""
        if sample.paraphrase_of is None or answer.answer is None:
            return None
        return {"predictions": answer.answer, "sets": sample.paraphrase_of}

    def _compute(self, **columns: list[Any]) -> dict[str, Any]:
        forms, sets = [form_of(text) for text in columns["predictions"]], columns["sets"]
        members = defaultdict(list)
        for index, name in enumerate(sets):
            members[name].append(index)
        scores = [
            _mean([agreement(form, forms[other]) for other in members[name] if other != index])
            for index, (form, name) in enumerate(zip(forms, sets, strict=True))
        ]
        return {self.metric: _mean([score for score in scores if score is not None]), "scores": scores}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _shape(text: str) -> str:
    if not text.strip():
        return "empty"
    if _is_json(unfenced(text)):
        return "json"
    if fenced(text):
        return "code"
    if len(_TABLE.findall(text)) >= 2:
        return "table"
    if len(_ITEM.findall(text)) >= 2:
        return "list"
    one_line = len(text.strip().splitlines()) == 1 and not _SENTENCE_END.search(text.strip())
    return "label" if one_line and len(tokens(text)) <= _LABEL_TOKENS else "prose"


def _is_json(text: str) -> bool:
    """Whether the text is a JSON object or list; a bare number or word is a label."""
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _script(text: str) -> str:
    """The first word of most letters' Unicode names: LATIN, CJK, HIRAGANA; empty without letters."""
    counts = Counter(unicodedata.name(c, "UNNAMED").split()[0] for c in text if c.isalpha())
    return counts.most_common(1)[0][0] if counts else ""
