"""Answers on disk: nothing that arrived is lost, nothing that is someone else's is taken over."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.adapters.conversations import Message
from locum.evaluate.answers import Answer, AnswerLog, Contender

VERSION = Contender("medical@1", "version", "digest-1")
BASE = Contender("tiny", "base", "fingerprint")


def answer(contender: Contender = VERSION, sample: str = "s1", **given: object) -> Answer:
    fields = {
        "sample": sample,
        "model": contender.name,
        "digest": contender.digest,
        "messages": [Message(role="user", content="Q 高")],
        "reference": "A",
        "answer": "A",
        "scores": {"exact_match": 1.0},
        "attempts": 1,
    }
    return Answer.model_validate(fields | given)


@pytest.fixture
def log(tmp_path: Path) -> AnswerLog:
    return AnswerLog(tmp_path / "run" / "samples.jsonl")


def test_what_was_appended_is_read_again(log: AnswerLog) -> None:
    answers = [answer(), answer(BASE), answer(sample="s2")]
    for each in answers:
        log.append(each)
    assert log.read([VERSION, BASE]) == {each.key: each for each in answers}
    assert len(log.path.read_text(encoding="utf-8").splitlines()) == 3


def test_a_run_that_never_began_has_no_answers(log: AnswerLog) -> None:
    assert log.read([VERSION]) == {}
    assert log.last_error() is None


@pytest.mark.parametrize("cut", [1, 7, 40, 120])
def test_a_line_that_was_cut_off_costs_that_answer_and_no_other(log: AnswerLog, cut: int) -> None:
    for sample in ("s1", "s2"):
        log.append(answer(sample=sample))
    log.path.write_bytes(log.path.read_bytes()[:-cut])
    whole = cut == 1  # only the newline is missing
    assert set(log.read([VERSION])) == {("s1", "medical@1")} | ({("s2", "medical@1")} if whole else set())
    log.append(answer(sample="s3"))
    assert {("s1", "medical@1"), ("s3", "medical@1")} <= set(log.read([VERSION]))


def test_a_line_cut_within_a_character_is_passed_over(log: AnswerLog) -> None:
    log.append(answer())
    log.path.write_bytes(log.path.read_bytes() + '{"sample": "高'.encode()[:-1])
    assert set(log.read([VERSION])) == {("s1", "medical@1")}


def test_answers_of_another_version_of_the_same_name_are_not_taken_over(log: AnswerLog) -> None:
    log.append(answer())
    assert log.read([Contender("medical@1", "version", "digest-2")]) == {}
    assert log.read([BASE]) == {}


def test_a_failure_is_kept_to_be_read_by_people_and_asked_again(log: AnswerLog) -> None:
    log.append(answer(answer=None, scores={}, error="503: busy", attempts=6))
    assert log.read([VERSION]) == {}
    assert log.last_error() == "503: busy"
    log.append(answer())
    assert set(log.read([VERSION])) == {("s1", "medical@1")}
