"""Fields that judge a row: what they are called, and how yes and no are written."""

from __future__ import annotations

import re
from typing import Any

_WORDS = frozenset({
    "label", "labels", "score", "scores", "scored", "rating", "ratings", "rate", "rated", "rank", "quality",
    "good", "bad", "wanted", "unwanted", "thumbs", "thumb", "vote", "votes", "upvotes", "downvotes", "stars",
    "flag", "flagged", "flags", "delete", "deleted", "hidden", "hide", "toxic", "toxicity", "spam", "ignore",
    "ignored", "exclude", "excluded", "skip", "skipped", "reviewed", "review", "accept", "accepted", "approve",
    "approved", "reject", "rejected", "correct", "correctness", "incorrect", "wrong", "valid", "invalid",
    "validated", "verified", "feedback", "preference", "reward", "grade", "graded", "helpfulness", "helpful",
    "harmful", "safe", "unsafe", "redacted", "status", "use", "usable", "keep", "kept", "train", "loss", "mask",
    "weight", "discard", "discarded", "drop", "dropped", "remove", "removed", "include", "included", "outdated",
    "obsolete", "deprecated", "desirable", "undesirable", "coherence", "verbosity", "complexity", "hallucination",
    "hallucinated",
})  # fmt: skip
_PARTS = (
    "标签", "评分", "得分", "分数", "质量", "采用", "采纳", "合格", "有效", "正确", "审核", "状态", "是否",
    "点赞", "点踩", "删除", "好评", "差评", "满意", "bewertung", "gültig", "freigegeben", "gelöscht", "geprüft",
)  # fmt: skip
_YES = frozenset({
    "true", "yes", "y", "1", "t", "good", "wanted", "desirable", "chosen", "accepted", "accept", "approved",
    "keep", "ok", "up", "thumbs_up", "thumbsup", "thumbs up", "like", "liked", "positive", "👍", "ja", "是", "对", "好",
    "有", "采用", "合格", "正确", "通过",
})  # fmt: skip
_NO = frozenset({
    "false", "no", "n", "0", "f", "bad", "unwanted", "undesirable", "rejected", "reject", "declined", "drop",
    "discarded", "down", "thumbs_down", "thumbsdown", "thumbs down", "dislike", "disliked", "negative", "👎", "nein",
    "否", "错", "差", "无", "不采用", "不合格", "错误", "不通过",
})  # fmt: skip
# Where one of these fields says yes, or no, it says that what has it is not to be learnt.
_UNWANTED_IF_TRUE = frozenset({
    "deleted", "is_deleted", "ignore", "ignored", "exclude", "excluded", "skip", "skipped", "hidden", "spam", "is_spam",
    "is_rejected", "undesirable", "is_undesirable",
    "discard", "discarded", "removed", "masked", "context_only", "outdated", "obsolete",
    "删除", "已删除", "是否删除", "作废", "已作废", "是否作废", "gelöscht", "gesperrt",
})  # fmt: skip
_UNWANTED_IF_FALSE = frozenset({
    "train", "training", "trainable", "train_on_turn", "loss", "loss_mask", "wanted", "accepted", "is_accepted",
    "approved", "is_approved", "desirable", "is_desirable", "is_chosen", "is_preferred", "use", "usable", "keep",
    "include", "included", "valid", "is_valid", "is_good",
    "采用", "是否采用", "采纳", "是否采纳", "合格", "是否合格", "有效", "是否有效", "通过", "是否通过", "可用",
    "是否可用", "freigegeben", "gültig",
})  # fmt: skip
MARKS = _UNWANTED_IF_TRUE | _UNWANTED_IF_FALSE
_TRUTH = re.compile(r"[-+]?\d+\.0+")


def mark_name(name: str) -> str:
    """A field's name as marks are written here: `isDeleted`, `Is deleted` and `is-deleted` are `is_deleted`."""
    return re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name))).strip("_").lower()


def looks_like_judgement(name: str) -> bool:
    """Whether a field's name sounds as if it judged the row."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return not _WORDS.isdisjoint(words) or any(part in name.lower() for part in _PARTS)


def truth(value: Any) -> bool | None:
    """Yes or no, however it is written; None where it is neither."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().casefold()
    text = text.partition(".")[0] if _TRUTH.fullmatch(text) else text
    return True if text in _YES else False if text in _NO else None


def lets_learn(name: str, value: Any) -> bool | None:
    """Whether a mark of that name lets what has it be learnt; None where it says neither yes nor no."""
    found = truth(value)
    return found if found is None or mark_name(name) in _UNWANTED_IF_FALSE else not found
