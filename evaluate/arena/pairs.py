"""Preference pairs from votes: what `method: dpo` learns from."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence

from locum.adapters.conversations import Preference
from locum.adapters.votes import ArenaQuestion
from locum.evaluate.arena.results import Judged


def pairs_from(said: Sequence[Judged]) -> list[Preference]:
    """One pair for each question and two answers of which more reviewers preferred the one than the other.

    Votes on the same two answers count together, whichever arena they are from. Left out is what teaches nothing: as
    many votes for either, and an answer without a word.
    """
    liked: defaultdict[tuple[str, frozenset[str]], Counter[str]] = defaultdict(Counter)
    asked: dict[tuple[str, frozenset[str]], ArenaQuestion] = {}
    for each in said:
        question, preferred = each.question, each.vote.preferred
        answers = {"model": question.model_answer, "against": question.against_answer}
        key = (_prompt(question), frozenset(answers.values()))
        asked[key] = question
        if preferred != "tie":
            liked[key][answers[preferred]] += 1
    pairs = []
    for key, counts in liked.items():
        question = asked[key]
        chosen, rejected = sorted(key[1], key=lambda answer: -counts[answer])
        if counts[chosen] > counts[rejected] and chosen and rejected:
            about = {"group": question.group or None, "topic": question.topic or None}
            pairs.append(Preference(prompt=question.messages, chosen=chosen, rejected=rejected, **about))
    return pairs


def _prompt(question: ArenaQuestion) -> str:
    return json.dumps([[message.role, message.content] for message in question.messages])
