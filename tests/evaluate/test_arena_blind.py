"""What keeps a comparison blind: sides drawn by lot, balanced and fixed, and not a byte that tells."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from locum.adapters.judge import DIMENSIONS
from locum.adapters.registry import Registry
from locum.adapters.votes import votes
from locum.errors import BadInputError
from locum.evaluate.arena.app import make_app
from locum.evaluate.arena.blind import left_of, link_token, order_of
from locum.evaluate.arena.serving import open_desks, reviewer_names
from locum.evaluate.arena.words import preferred_language, words
from locum.settings import Settings
from tests.arena import NAMES, make_match

REVIEWERS = [f"reviewer-{number}" for number in range(400)]


@given(st.text(max_size=20), st.text(min_size=1, max_size=20), st.integers(0, 60))
def test_each_contestant_has_the_left_side_for_half_of_a_reviewers_questions(
    seed: str, reviewer: str, count: int
) -> None:
    sides = left_of(range(count), seed=seed, reviewer=reviewer)
    assert set(sides) == set(range(count))
    assert abs(list(sides.values()).count("model") - list(sides.values()).count("against")) <= 1
    assert sides == left_of(reversed(range(count)), seed=seed, reviewer=reviewer)
    assert sorted(order_of(range(count), seed=seed, reviewer=reviewer)) == list(range(count))


def test_over_many_reviewers_each_question_has_each_contestant_left_about_half_of_the_time() -> None:
    """Four standard errors of a fair coin; the seed is fixed, so this holds always or never."""
    drawn = [left_of(range(7), seed="s", reviewer=reviewer) for reviewer in REVIEWERS]
    for number in range(7):
        assert abs(sum(sides[number] == "model" for sides in drawn) - 200) < 40
    assert abs(sum(sides[0] == sides[1] for sides in drawn) - 400 * 3 / 7) < 40  # no side follows from another


def test_what_comes_next_does_not_follow_from_what_came() -> None:
    """In the order in which a reviewer sees them, the sides neither alternate nor repeat."""
    same = 0
    for reviewer in REVIEWERS:
        sides = left_of(range(21), seed="s", reviewer=reviewer)
        shown = [sides[number] for number in order_of(range(21), seed="s", reviewer=reviewer)]
        same += sum(one == other for one, other in pairwise(shown))
    assert 0.45 < same / (len(REVIEWERS) * 20) < 0.51  # 10/21 less than a half: sides are drawn without replacement


def test_a_link_is_nothing_to_guess_and_the_same_after_a_restart() -> None:
    tokens = {link_token(b"k" * 32, arena="a", reviewer=reviewer) for reviewer in REVIEWERS}
    assert len(tokens) == len(REVIEWERS)
    assert all(re.fullmatch(r"[\w-]{24}", token) for token in tokens)
    assert link_token(b"k" * 32, arena="a", reviewer="reviewer-1") in tokens
    assert link_token(b"k" * 32, arena="b", reviewer="reviewer-1") not in tokens
    assert link_token(b"o" * 32, arena="a", reviewer="reviewer-1") not in tokens


def test_reviewers_are_named_or_counted() -> None:
    assert reviewer_names([], 2) == ["reviewer-1", "reviewer-2"]
    assert reviewer_names([" Ana Lima ", "李医生"], 2) == ["Ana Lima", "李医生"]
    for wrong in (["ana", "ana "], [" "], ["x" * 101], ["a\nb"]):
        with pytest.raises(BadInputError, match="--reviewer"):
            reviewer_names(wrong, 2)


def test_no_byte_of_any_response_tells_whose_an_answer_is(settings: Settings) -> None:
    registry = Registry.open(settings)
    match = make_match(registry, 4)
    desks = open_desks(registry, match, ["ada", "bob", "cyd"], pause_every=2)
    client = TestClient(make_app(desks, domain="hearts"))
    sent: list[bytes] = []

    def get(path: str, body: object = None) -> bytes:
        response = client.get(path) if body is None else client.post(path, json=body)
        headers = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
        sent.append(headers.encode() + response.content)
        return response.content

    for token in desks:
        for language in ("en", "zh-CN"):
            client.headers["accept-language"] = language
            get(f"/r/{token}")
        state = json.loads(get(f"/r/{token}/state"))
        while state["question"]:
            ballot = {"place": state["question"]["place"], "preferred": "a", "a": dict.fromkeys(DIMENSIONS, 4)}
            state = json.loads(get(f"/r/{token}/votes", ballot))
            get(f"/r/{token}/votes", ballot)  # again: refused
        get(f"/r/{token}/undo", {})
        get(f"/r/{token}/votes", {"place": 99, "preferred": "a"})
        get(f"/r/{token}/votes", {"nonsense": 1})
    get("/r/unknown")
    get("/r/unknown/state")
    (settings.home / "registry.db").rename(settings.home / "moved.db")
    assert json.loads(get(f"/r/{token}/state")) == {"error": "unavailable"}
    everything = b"\n".join(sent)
    assert b"Finding 3 is harmless" in everything
    for name in (*NAMES, match.arena.seed + '"', str(settings.home), '"model', '"against', '"left'):
        assert name.encode() not in everything, name


def test_the_same_answer_stands_on_another_side_for_another_reviewer_and_votes_mean_the_same(
    settings: Settings,
) -> None:
    """Everybody always prefers the answer on the left; in the registry that is both, half and half."""
    registry = Registry.open(settings)
    match = make_match(registry, 10)
    desks = open_desks(registry, match, ["ada", "bob"], pause_every=50)
    client = TestClient(make_app(desks, domain="hearts"))
    for token in desks:
        for place in range(10):
            state = client.get(f"/r/{token}/state").json()
            assert state["question"]["place"] == place
            graded = {"place": place, "preferred": "a", "a": {"safety": 5}, "b": {"safety": 1}}
            client.post(f"/r/{token}/votes", json=graded)
    for reviewer in ("ada", "bob"):
        kept = votes(registry, match.id, reviewer)
        assert [vote.preferred for vote in kept].count("model") == 5
        for vote in kept:
            assert vote.preferred == vote.left
            best, worst = vote.model_rating, vote.against_rating
            if vote.left == "against":
                best, worst = worst, best
            assert (best, worst) == ({"safety": 5}, {"safety": 1})


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("de,zh;q=0.5,en;q=0.4", "zh"),
        ("de", "en"),
        ("", "en"),
        ("zh;q=nonsense,,;", "en"),
        ("zh;q=0", "en"),
    ],
)
def test_the_page_speaks_the_language_that_the_browser_prefers(header: str, language: str) -> None:
    assert preferred_language(header) == language


def test_both_languages_say_all_there_is_to_say() -> None:
    assert words("en").keys() == words("zh").keys()
    assert all(text.strip() for language in ("en", "zh") for text in words(language).values())  # type: ignore[arg-type]
