"""Which words are marked where two answers stand side by side, and what is made visible in them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.evaluate.marking import Piece, beginning, mark_differences
from locum.evaluate.visible import visible


def marked(pieces: list[Piece]) -> list[str]:
    return [piece.text for piece in pieces if piece.differs]


def test_only_the_words_that_differ_are_marked_on_either_side() -> None:
    ours, theirs = mark_differences("Take two tablets a day.", "Take three tablets every day.")
    assert marked(ours) == ["two", "a"]
    assert marked(theirs) == ["three", "every"]


def test_words_are_compared_whole_and_neighbours_are_one_mark() -> None:
    ours, theirs = mark_differences("It is a benign growth of the skin.", "It is a benignant tumour of the skin.")
    assert marked(ours) == ["benign growth"]
    assert marked(theirs) == ["benignant tumour"]


def test_chinese_is_compared_by_characters() -> None:
    ours, theirs = mark_differences("每天服用两片，饭后服用。", "每天服用三片，饭前服用。")
    assert marked(ours) == ["两", "后"]
    assert marked(theirs) == ["三", "前"]


def test_white_space_alone_is_never_marked() -> None:
    ours, theirs = mark_differences("one two\nthree", "one  two three")
    assert marked(ours) == marked(theirs) == []


@pytest.mark.parametrize(("ours", "theirs"), [("", ""), ("", "all of it"), ("all of it", "")])
def test_an_empty_answer_leaves_all_of_the_other_marked(ours: str, theirs: str) -> None:
    assert "".join(marked(mark_differences(ours, theirs)[0])) == ours
    assert "".join(marked(mark_differences(ours, theirs)[1])) == theirs


@given(st.text(), st.text())
def test_the_pieces_of_a_text_are_the_text(ours: str, theirs: str) -> None:
    for text, pieces in zip((ours, theirs), mark_differences(ours, theirs), strict=True):
        assert "".join(piece.text for piece in pieces) == text


@pytest.mark.timeout(120)
def test_answers_that_repeat_one_word_for_ever_do_not_hold_the_report_up() -> None:
    ours, _ = mark_differences("no " * 50_000, "no " * 49_000 + "yes")
    assert "".join(piece.text for piece in ours) == "no " * 50_000


def test_the_beginning_of_a_text_keeps_its_marks() -> None:
    pieces = [Piece("Take ", False), Piece("two", True), Piece(" tablets", False)]
    assert beginning(pieces, 6) == [Piece("Take ", False), Piece("t", True)]
    assert beginning(pieces, 99) == pieces


def test_what_cannot_be_seen_is_shown_as_a_sign() -> None:
    assert visible("a\x00b\x1b[31mc\x7f") == "a␀b␛[31mc␡"
    assert visible("pay \u202e001") == "pay [U+202E]001"
    assert visible("half \ud83d") == "half \ufffd"
    assert visible("line\r\nnext\ttab") == "line\nnext\ttab"
    assert visible("你好, naïve 😀 — fine") == "你好, naïve 😀 — fine"


@given(st.text(st.characters(codec=None), max_size=50))
def test_whatever_is_said_becomes_text_that_xml_and_files_can_hold(text: str) -> None:
    element = ElementTree.Element("said")
    element.text = visible(text)
    assert ElementTree.fromstring(ElementTree.tostring(element, encoding="utf-8")).text == (visible(text) or None)
