"""What an application's users said of answers: shares and means by version, and rows to learn from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.adapters.conversations import Conversation, Preference
from locum.adapters.feedback import Feedback
from locum.evaluate.preference import win_rate
from locum.evaluate.statistics import Estimate, mean_estimate

CONFIDENCE = 0.95
GOOD, BAD = 4, 2  # scores from and up to which an answer counts as liked and as disliked


class VersionFeedback(BaseModel):
    """What users said of one version's answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    ratings: int = Field(description="answers and users that said anything")
    verified: int = Field(description="of these, those whose answer's id itself says which version spoke")
    up: int
    down: int
    share_up: Estimate | None = Field(description="up / (up + down), with Wilson's interval")
    scored: int
    score: Estimate | None = Field(description="mean score of 1 to 5, with a bootstrap interval over users")
    comments: int


def by_version(said: Sequence[Feedback], *, confidence: float = CONFIDENCE) -> list[VersionFeedback]:
    """Feedback by the version that spoke, in the order of their names' numbers."""
    found: defaultdict[str, list[Feedback]] = defaultdict(list)
    for each in said:
        found[each.model].append(each)
    return [_of_version(model, found[model], confidence) for model in sorted(found, key=_number)]


def liked_conversations(said: Iterable[Feedback]) -> list[Conversation]:
    """Conversations that users liked, and those with the better answer that a user gave; each once.

    Only where the application sent question and answer along. What is no conversation of ours (two messages of one
    speaker in a row, say) is left out.
    """
    rows: dict[str, Conversation] = {}
    for each in said:
        answer = each.better or (each.answer if _liked(each) else "")
        if each.messages and answer:
            turns = [
                *(message.model_dump(exclude_none=True) for message in each.messages),
                {"role": "assistant", "content": answer},
            ]
            try:
                row = Conversation.model_validate({"conversations": turns})
            except ValidationError:
                continue
            rows[row.digest] = row
    return list(rows.values())


def preference_pairs(said: Iterable[Feedback]) -> list[Preference]:
    """Pairs to learn from, each once: a user's better answer before what was said, and where several answers to one
    question were rated, one that was liked before one that was not."""
    rows: dict[str, Preference] = {}
    liked: defaultdict[str, dict[str, Feedback]] = defaultdict(dict)
    disliked: defaultdict[str, dict[str, Feedback]] = defaultdict(dict)

    def add(asked: Feedback, chosen: str, rejected: str) -> None:
        try:
            row = Preference(prompt=asked.messages, chosen=chosen, rejected=rejected)
        except ValidationError:
            return
        rows[row.digest] = row

    for each in said:
        if not each.messages:
            continue
        if each.better:
            add(each, each.better, each.answer)
        asked = "\0".join(f"{message.role}\0{message.content}" for message in each.messages)
        if _liked(each):
            liked[asked][each.answer] = each
        elif _disliked(each):
            disliked[asked][each.answer] = each
    for asked, good in liked.items():
        contested = good.keys() & disliked[asked].keys()
        for answer, each in good.items():
            for other in disliked[asked]:
                if answer not in contested and other not in contested:
                    add(each, answer, other)
    return list(rows.values())


def _of_version(model: str, said: Sequence[Feedback], confidence: float) -> VersionFeedback:
    up = sum(each.rating == "up" for each in said)
    down = sum(each.rating == "down" for each in said)
    scored = [each for each in said if each.score is not None]
    score = None
    if scored:
        score = mean_estimate(
            [float(each.score or 0) for each in scored],
            groups=[each.user or each.answer_id for each in scored],
            confidence=confidence,
            bounds=(1.0, 5.0),
        )
    return VersionFeedback(
        model=model,
        ratings=len(said),
        verified=sum(each.verified for each in said),
        up=up,
        down=down,
        share_up=win_rate(up, 0, down, confidence) if up + down else None,
        scored=len(scored),
        score=score,
        comments=sum(bool(each.comment) for each in said),
    )


def _number(model: str) -> tuple[int, str]:
    number = model.partition("@")[2]
    return (int(number) if number.isdigit() else 0, model)


def _liked(each: Feedback) -> bool:
    return each.rating == "up" or (each.rating is None and each.score is not None and each.score >= GOOD)


def _disliked(each: Feedback) -> bool:
    return each.rating == "down" or (each.rating is None and each.score is not None and each.score <= BAD)
