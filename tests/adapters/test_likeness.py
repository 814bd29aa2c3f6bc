"""The index of similar texts finds what comparing each with each finds."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.likeness import FEWEST, LikenessIndex, jaccard, runs

TEXT = st.lists(st.sampled_from("abcde"), min_size=8, max_size=30).map(" ".join)


@given(texts=st.lists(TEXT, max_size=8), asked=TEXT, threshold=st.sampled_from([0.5, 0.8, 1.0]))
def test_no_similar_text_is_missed_and_no_other_found(texts: list[str], asked: str, threshold: float) -> None:
    long = len(runs(asked)) >= FEWEST
    expected = {
        place: jaccard(runs(text), runs(asked))
        for place, text in enumerate(texts)
        if long and len(runs(text)) >= FEWEST and jaccard(runs(text), runs(asked)) >= threshold
    }
    found = LikenessIndex(texts, threshold=threshold).like(asked)
    assert {like.place: like.similarity for like in found} == expected


def test_a_few_changed_words_in_a_long_text_are_seen() -> None:
    words = [f"word{number}" for number in range(60)]
    others = [" ".join(random.Random(seed).sample(words, 60)) for seed in range(20)]
    changed = " ".join([*words[:59], "other"])
    [like] = LikenessIndex([*others, " ".join(words)], threshold=0.8).like(changed)
    assert like.place == 20
    assert 0.9 < like.similarity < 1


def test_chinese_is_compared_by_characters() -> None:
    [like] = LikenessIndex(["承租人应当在租赁期限届满前三个月通知出租人"], threshold=0.8).like(
        "承租人应当在租赁期限届满前三个月通知出租人。"
    )
    assert like.similarity == 1


def test_short_texts_are_like_none() -> None:
    assert not list(LikenessIndex(["acute otitis externa"], threshold=0.5).like("acute otitis externa"))
