"""How rows are scored best: the metrics, answers and lengths that `locum suite new` proposes for them and for a card.

What the rows look like chooses the candidates. Each metric is then asked about the rows themselves, with the expected
answers: one that says nothing about any of them is not proposed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from locum.adapters.card import DomainCard
from locum.adapters.suites import Outline
from locum.evaluate.metrics.registry import load_metric
from locum.evaluate.samples import Kind, Sample
from locum.evaluate.suite_examples import OUTLINES
from locum.evaluate.suite_fit import Fit, fit_of

KINDS: tuple[Kind, ...] = get_args(Kind)
TEXT_KINDS = frozenset({"question", "conversation", "free"})
LABEL_CHARACTERS, MOST_LABELS = 40, 50  # longer, or more, and it is no choice among labels
MOST_TOKENS = 1024  # a longer answer needs a person who knows what the base model can hold
SHORT = 60  # characters; two thirds of short answers are at most so long
_NUMBER = re.compile(r"[^\w\s]{0,4}\s*(?!0\d)\d[\d.,\u00a0\u202f ]*\s*[^\W\d_]{0,12}[^\w\s]{0,2}")


def outline_of(samples: Sequence[Sample], card: DomainCard) -> Outline:
    """By the kind that most samples are of, with the metrics that fit what there is of each kind."""
    kinds = [sample.kind for sample in samples]
    most = max(KINDS, key=kinds.count)
    labels = labels_of(samples)
    names = [name for kind in (most, *KINDS) if kind in kinds for name in _candidates(kind, samples, labels)]
    fits = _fitting([*names, *demanded(card)], samples, card.metric_options())
    names = [fit.metric.name for fit in _enough(fits, samples, card.metric_options())]
    slices = [field for field in OUTLINES[most].slices if all(field in sample.slices for sample in samples)]
    return replace(
        OUTLINES[most],
        metrics=tuple(names),
        primary=_primary(fits, samples) or names[0],
        slices=tuple(slices),
        choices=labels,
        max_tokens=max(OUTLINES[most].max_tokens, _room(samples)),
    )


def labels_of(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The labels that answers are, by how often: a few short ones that come again and again. None for other answers."""
    if not samples or any(sample.kind not in TEXT_KINDS or not sample.reference for sample in samples):
        return ()
    found = Counter(sample.reference for sample in samples)
    short = all(len(label) <= LABEL_CHARACTERS and "\n" not in label and label == label.strip() for label in found)
    again = 2 <= len(found) <= MOST_LABELS and len(samples) >= max(4, 2 * len(found))
    return tuple(label for label, _ in found.most_common()) if short and again else ()


def demanded(card: DomainCard) -> list[str]:
    """The metrics of what the card asks of every answer; of notices, where the server appends them."""
    return [name for name in card.metric_options() if name != "notice" or card.enforced_notices]


def _candidates(kind: Kind, samples: Sequence[Sample], labels: Sequence[str]) -> Iterator[str]:
    """Metrics for the samples of a kind, the one that should decide first."""
    chosen = [sample for sample in samples if sample.kind == kind]
    references = [sample.reference for sample in chosen if sample.reference]
    if kind not in TEXT_KINDS:
        yield from OUTLINES[kind].metrics
    elif labels:
        yield "exact_match"
    elif references:
        yield from _for_texts(references)
    if any(sample.paraphrase_of for sample in chosen):
        yield "style"
    if any(sample.unknowable for sample in chosen):
        yield "honesty"


def _for_texts(references: Sequence[str]) -> Sequence[str]:
    if all(_is_json(reference) for reference in references):
        return ("entity_f1", "json_schema")
    if all(_NUMBER.fullmatch(reference.strip()) for reference in references):
        return ("numeric", "exact_match")
    if sum(len(reference) <= SHORT for reference in references) * 3 >= 2 * len(references):
        return ("exact_match", "token_f1")
    return ("rouge_l", "chrf", "token_f1")


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _fitting(names: Sequence[str], samples: Sequence[Sample], options: Mapping[str, Mapping[str, Any]]) -> list[Fit]:
    """Those metrics that say something about the samples."""
    fits = [fit_of(load_metric(name, options.get(name, {})), samples) for name in dict.fromkeys(names)]
    return [fit for fit in fits if fit.said]


def _enough(fits: list[Fit], samples: Sequence[Sample], options: Mapping[str, Mapping[str, Any]]) -> list[Fit]:
    """With whether an answer is one at all, where otherwise no metric would say anything about some sample."""
    if all(any(fit.best[place] is not None for fit in fits) for place in range(len(samples))):
        return fits
    return [*fits, *_fitting(["honesty", "decline"], samples, options)]


def _primary(fits: Sequence[Fit], samples: Sequence[Sample]) -> str | None:
    """The first that says something about every sample and by which the expected answers are right; else the first."""
    whole = (fit for fit in fits if fit.said == len(samples) and (fit.mean is None or fit.mean >= 0.5))
    best = next(whole, None) or next(iter(fits), None)
    return best.metric.name if best else None


def _room(samples: Sequence[Sample]) -> int:
    """Tokens that the longest expected answer takes by most tokenizers, and more: a power of two."""
    room, longest = 32, max((_tokens(sample.reference) for sample in samples if not sample.continuations), default=0)
    while room < min(longest, MOST_TOKENS):
        room *= 2
    return room


def _tokens(text: str) -> int:
    """At most about so many: half a token a letter of ASCII, and two for any other character."""
    ascii_letters = sum(character.isascii() for character in text)
    return ascii_letters // 2 + 2 * (len(text) - ascii_letters)
