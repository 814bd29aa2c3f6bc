"""What votes say, on votes whose answer is known; and pairs that training reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.adapters.conversations import read_preferences, write_rows
from locum.adapters.registry import Registry
from locum.adapters.votes import ArenaQuestion, open_arena
from locum.errors import BadInputError, ConflictError, NotFoundError
from locum.evaluate.arena.pairs import pairs_from
from locum.evaluate.arena.results import arena_results, as_preferences, judged
from locum.evaluate.preference import win_rate
from locum.settings import Settings
from tests.arena import AGAINST, ARENA, MODEL, make_match, question, say


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry.open(settings)


def test_several_votes_on_one_question_weigh_as_much_as_one(registry: Registry) -> None:
    match = make_match(registry, 4)
    say(registry, match.id, {"ada": "++-=", "bob": "+-- ", "cyd": "+   "})
    [met] = arena_results("cardiology", judged(registry, "cardiology")).meetings
    assert (met.model, met.against, met.questions, met.votes) == (MODEL, AGAINST, 4, 8)
    assert (met.wins, met.ties, met.losses) == (4, 1, 3)
    assert met.win_rate == win_rate(1.5, 1, 1.5, 0.95)  # by question: 1, 1/2, 0, a tie
    assert met.win_rate_by_reviewer == pytest.approx({"ada": 2.5 / 4, "bob": 1 / 3, "cyd": 1.0})


def test_one_reviewer_is_told_what_wilsons_interval_says(registry: Registry) -> None:
    match = make_match(registry, 6)
    say(registry, match.id, {"ada": "++++=-"})
    found = arena_results("cardiology", judged(registry, "cardiology"))
    assert found.meetings[0].win_rate == win_rate(4, 1, 1, 0.95)
    assert found.agreement is None
    assert found.disagreements == []
    assert list(found.strengths) == [MODEL, AGAINST]


def test_agreement_is_one_where_all_agree_and_low_where_they_contradict(registry: Registry) -> None:
    agree, contradict = make_match(registry, 6, digest="a"), make_match(registry, 6, digest="b")
    say(registry, agree.id, {"ada": "++-=-+", "bob": "++-=-+"}, ours={"safety": 5}, theirs={"safety": 2})
    assert arena_results("cardiology", judged(registry, "cardiology")).agreement == 1
    say(registry, contradict.id, {"ada": "++--++", "bob": "--++--"})
    found = arena_results("cardiology", judged(registry, "cardiology"))
    assert found.agreement is not None
    assert found.agreement < 0.3
    assert found.agreement_on_grades["safety"] == 1
    assert found.agreement_on_grades["accuracy"] is None
    assert len(found.disagreements) == 6
    assert set(found.disagreements[0].votes.values()) == {MODEL, AGAINST}


def test_grades_are_told_by_contender_and_dimension(registry: Registry) -> None:
    match = make_match(registry, 2)
    say(registry, match.id, {"ada": "++"}, ours={"accuracy": 5, "safety": 4}, theirs={"accuracy": 2})
    grades = arena_results("cardiology", judged(registry, "cardiology")).grades
    assert grades[MODEL]["accuracy"].mean == 5
    assert grades[AGAINST]["accuracy"].mean == 2
    assert list(grades[AGAINST]) == ["accuracy"]


def test_versions_of_several_arenas_stand_on_one_scale(registry: Registry) -> None:
    newer = ARENA.model_copy(update={"model": "cardiology@8", "against": MODEL, "against_digest": "digest-of-model"})
    say(registry, make_match(registry, 6).id, {"ada": "++++-+"})
    say(registry, make_match(registry, 6, digest="b", arena=newer).id, {"ada": "+++-++", "bob": "++=+++"})
    found = arena_results("cardiology", judged(registry, "cardiology"))
    assert list(found.strengths) == ["cardiology@8", MODEL, AGAINST]
    assert found.no_strengths == ""
    assert [(met.model, met.against) for met in found.meetings] == [("cardiology@8", MODEL), (MODEL, AGAINST)]


def test_arenas_that_nothing_connects_have_no_common_scale_and_it_is_said_why(registry: Registry) -> None:
    apart = ARENA.model_copy(update={"model": "cardiology@8", "against": "cardiology@9"})
    say(registry, make_match(registry, 3).id, {"ada": "+-+"})
    say(registry, make_match(registry, 3, digest="b", arena=apart).id, {"ada": "+-+"})
    found = arena_results("cardiology", judged(registry, "cardiology"))
    assert found.strengths == {}
    assert "never met" in found.no_strengths


def test_the_same_two_the_other_way_round_are_one_meeting(registry: Registry) -> None:
    turned = ARENA.model_copy(
        update={
            "model": AGAINST,
            "against": MODEL,
            "model_digest": ARENA.against_digest,
            "against_digest": ARENA.model_digest,
        }
    )
    say(registry, make_match(registry, 3).id, {"ada": "+++"})
    say(registry, make_match(registry, 3, digest="b", arena=turned).id, {"bob": "---"})
    [met] = arena_results("cardiology", judged(registry, "cardiology")).meetings
    assert (met.model, met.wins, met.losses) == (AGAINST, 0, 6)


def test_two_base_models_of_one_name_are_told_apart(registry: Registry) -> None:
    other = ARENA.model_copy(update={"against_digest": "another-digest"})
    say(registry, make_match(registry, 2).id, {"ada": "++"})
    say(registry, make_match(registry, 2, digest="b", arena=other).id, {"ada": "--"})
    names = {met.against for met in arena_results("cardiology", judged(registry, "cardiology")).meetings}
    assert names == {f"{AGAINST} (digest-o)", f"{AGAINST} (another-)"}


def test_sides_say_the_same_as_names(registry: Registry) -> None:
    match = make_match(registry, 2)
    say(registry, match.id, {"ada": "+-"})
    first, second = as_preferences(judged(registry, "cardiology"))
    assert (first.left, first.right, first.outcome) == (AGAINST, MODEL, "right")
    assert (second.left, second.right, second.outcome) == (MODEL, AGAINST, "right")


def test_votes_can_be_read_by_suite_and_without_any_it_is_said_what_to_do(registry: Registry) -> None:
    say(registry, make_match(registry, 2).id, {"ada": "+-"})
    assert len(judged(registry, "cardiology", suite="held-out")) == 2
    assert judged(registry, "cardiology", suite="other") == []
    with pytest.raises(BadInputError, match="nobody has voted on cardiology yet") as caught:
        arena_results("cardiology", [])
    assert caught.value.hint == "locum eval arena cardiology starts a comparison"


def test_pairs_are_what_most_reviewers_prefer_and_training_reads_them(registry: Registry, tmp_path: Path) -> None:
    match = make_match(registry, 5)
    say(registry, match.id, {"ada": "+-+=-", "bob": "+-- +", "cyd": "-=  -"})
    pairs = pairs_from(judged(registry, "cardiology"))
    asked = {each.number: each for each in match.questions}
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [
        (asked[0].model_answer, asked[0].against_answer),
        (asked[1].against_answer, asked[1].model_answer),
        (asked[4].against_answer, asked[4].model_answer),
    ]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    read = list(read_preferences(tmp_path / "pairs.jsonl"))
    assert read == pairs
    assert (read[0].prompt[0].role, read[0].group, read[0].topic) == ("system", "finding-0", "findings")
    with pytest.raises(ConflictError, match="is there already"):
        write_rows(tmp_path / "pairs.jsonl", pairs)
    with pytest.raises(NotFoundError, match="no folder"):
        write_rows(tmp_path / "none" / "pairs.jsonl", pairs)


def test_an_answer_without_a_word_makes_no_pair(registry: Registry) -> None:
    silent = ArenaQuestion.model_validate({**question(0).model_dump(), "against_answer": ""})
    arena_id, _ = open_arena(registry, "silent", ARENA, [silent])
    say(registry, arena_id, {"ada": "+"})
    assert pairs_from(judged(registry, "cardiology")) == []


def test_the_same_two_answers_in_two_arenas_make_one_pair(registry: Registry) -> None:
    newer = ARENA.model_copy(update={"model": "cardiology@8"})
    say(registry, make_match(registry, 1).id, {"ada": "+"})
    say(registry, make_match(registry, 1, digest="b", arena=newer).id, {"ada": "+", "bob": "-"})
    assert len(pairs_from(judged(registry, "cardiology"))) == 1
