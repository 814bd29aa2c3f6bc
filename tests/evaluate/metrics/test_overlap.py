"""Exact match, token F1, ROUGE, BLEU and chrF, against published numbers and against the reference implementations."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from locum.adapters.wordings import tokens

Score = Callable[..., float]

NAMES = ["exact_match", "token_f1", "rouge_1", "rouge_l", "bleu", "chrf"]
SYMMETRIC = ["exact_match", "token_f1", "rouge_1", "rouge_2", "rouge_l"]
_ASCII = st.text(alphabet=string.printable)
_TEXT = st.text(min_size=1)


@pytest.fixture(scope="module", autouse=True)
def _loaded(score: Score) -> None:
    """Loads the libraries once, before Hypothesis looks at the clock."""
    for name in [*NAMES, "rouge_2"]:
        score(name, "a", "a")


@given(_TEXT)
def test_a_text_with_tokens_scores_one_against_itself(score: Score, text: str) -> None:
    text = text if tokens(text) else "a"
    for name in NAMES:
        assert score(name, text, text) == pytest.approx(1.0)


@given(st.text(), _TEXT)
def test_scores_lie_between_zero_and_one(score: Score, answer: str, reference: str) -> None:
    for name in [*NAMES, "rouge_2"]:
        assert 0 <= score(name, answer, reference) <= 1


@given(_TEXT, _TEXT)
def test_f_measures_do_not_mind_which_is_the_reference(score: Score, answer: str, reference: str) -> None:
    for name in SYMMETRIC:
        assert score(name, reference, answer) == pytest.approx(score(name, answer, reference))


def test_an_empty_answer_is_wrong_and_without_a_reference_nothing_is_said(score: Score) -> None:
    for name in [*NAMES, "rouge_2"]:
        assert score(name, "", "a reference") == 0
        assert score(name, "an answer", "") is None
        assert score(name, None, "a reference") is None


def squad_f1(prediction: str, reference: str) -> float:
    """The published evaluation of SQuAD 1.1, without its removal of articles."""
    found, expected = (
        "".join(c for c in text.lower() if c not in string.punctuation).split() for text in (prediction, reference)
    )
    shared = sum((Counter(found) & Counter(expected)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(found), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


_WORDS = st.lists(st.sampled_from(["heart", "Lung", "skin.", "eye", "of"]), min_size=1, max_size=8).map(" ".join)


@given(_WORDS, _WORDS)
def test_token_f1_is_squads_where_both_mean_the_same(score: Score, prediction: str, reference: str) -> None:
    assert score("token_f1", prediction, reference) == pytest.approx(squad_f1(prediction, reference))


def test_token_f1_decides_about_texts_without_tokens(score: Score) -> None:
    assert [score("token_f1", *pair) for pair in [("", "..."), ("...", "word"), ("word", "...")]] == [1.0, 0.0, 0.0]


def test_rouge_l_gives_the_numbers_of_lins_paper(score: Score) -> None:
    """Lin (2004), section 3.1: reference S1, candidates S2, S3 and S4 with ROUGE-L of 3/4, 2/4 and 2/4."""
    answers = ["police kill the gunman", "the gunman kill police", "the gunman police killed"]
    assert [score("rouge_l", answer, "police killed the gunman") for answer in answers] == [0.75, 0.5, 0.5]


def test_rouge_2_counts_pairs_as_lins_paper_says(score: Score) -> None:
    """Lin (2004), section 3.1: S2 and S3 have the same ROUGE-2 of 1/3, because both share `the gunman`."""
    answers = ["police kill the gunman", "the gunman kill police"]
    assert [score("rouge_2", answer, "police killed the gunman") for answer in answers] == pytest.approx([1 / 3] * 2)


@pytest.mark.parametrize(("name", "kind"), [("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")])
def test_rouge_is_rouge_scores_own_on_ascii(score: Score, name: str, kind: str) -> None:
    theirs = RougeScorer([kind])

    @given(_ASCII, _ASCII.filter(bool))
    def agree(answer: str, reference: str) -> None:
        expected = theirs.score(target=reference, prediction=answer)[kind]
        assert score(name, answer, reference) == expected.fmeasure

    agree()


def test_rouge_can_be_precision_or_recall(score: Score) -> None:
    pair = ("the big red cat", "the cat")
    assert score("rouge_1", *pair, options={"measure": "precision"}) == 0.5
    assert score("rouge_1", *pair, options={"measure": "recall"}) == 1.0


def test_rouge_reads_chinese_by_the_character(score: Score) -> None:
    pair = ("呼吸病", "呼吸系统病")
    assert score("rouge_1", *pair) == pytest.approx(0.75)  # P = 3/3, R = 3/5
    assert score("rouge_2", *pair) == pytest.approx(1 / 3)  # 呼吸 of 2 and of 4 pairs
    assert score("rouge_l", *pair) == pytest.approx(0.75)


@given(_ASCII, _ASCII.filter(bool))
def test_bleu_and_chrf_are_sacrebleus_own_over_a_hundred(score: Score, answer: str, reference: str) -> None:
    bleu = sacrebleu.BLEU(effective_order=True).sentence_score(answer, [reference]).score
    assert score("bleu", answer, reference) == min(1, bleu / 100)
    assert score("chrf", answer, reference) == sacrebleu.sentence_chrf(answer, [reference]).score / 100


def test_bleu_worked_by_hand(score: Score) -> None:
    """Seven of eight tokens, 5 of 7 pairs, 4 of 6 triples, 3 of 5 quadruples; lengths are equal."""
    score_ = score("bleu", "the cat sat on the old mat .", "the cat sat on the red mat .")
    assert score_ == pytest.approx((7 / 8 * 5 / 7 * 3 / 6 * 2 / 5) ** 0.25)


def test_bleu_punishes_brevity(score: Score) -> None:
    """Papineni et al. 2002, section 2.2: exp(1 − r/c), here 8 tokens against 4."""
    assert score("bleu", "the cat sat on", "the cat sat on the red mat .") == pytest.approx(2.718281828**-1)


@pytest.mark.parametrize("reference", ["高血压是心血管疾病。", "用 aspirin 治疗 高血压"])
def test_bleu_segments_chinese_by_its_reference(score: Score, reference: str) -> None:
    answer = "高血压是一种心血管疾病。"
    expected = sacrebleu.BLEU(effective_order=True, tokenize="zh").sentence_score(answer, [reference]).score / 100
    assert score("bleu", answer, reference) == expected
    assert expected > score("bleu", answer, reference, options={"tokenize": "13a"})
    assert score("bleu", "Hypertension", reference) == 0


def test_chrf_reads_chinese_as_sacrebleu_does_and_takes_its_characters_for_words(score: Score) -> None:
    pair = ("高血压是一种病", "高血压是常见病")
    assert score("chrf", *pair) == sacrebleu.sentence_chrf(pair[0], [pair[1]]).score / 100
    by_word = sacrebleu.CHRF(word_order=2).sentence_score(" ".join(pair[0]), [" ".join(pair[1])]).score / 100
    assert score("chrf", *pair, options={"word_order": 2}) == by_word


def test_chrf_can_ignore_case(score: Score) -> None:
    assert score("chrf", "ASPIRIN", "aspirin") == 0
    assert score("chrf", "ASPIRIN", "aspirin", options={"lowercase": True}) == 1
    assert score("bleu", "ASPIRIN", "aspirin", options={"lowercase": True}) == 1
