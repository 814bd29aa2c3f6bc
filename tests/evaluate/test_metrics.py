"""Metrics against published numbers, against `rouge_score` itself, and in what they must always hold."""

from __future__ import annotations

import string
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import NotFoundError
from locum.evaluate.metrics.registry import Metric, load_metric
from locum.evaluate.metrics.text import normalise, tokens

NAMES = ["exact_match", "token_f1", "rouge_l"]
ROOT = Path(__file__).parents[2]

# Loads the libraries once, before Hypothesis looks at the clock.
pytestmark = pytest.mark.usefixtures("metrics")


@pytest.fixture(scope="module")
def metrics() -> dict[str, Metric]:
    return {name: load_metric(name) for name in NAMES}


@pytest.fixture(scope="module")
def token_f1(metrics: dict[str, Metric]) -> Metric:
    return metrics["token_f1"]


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("  Respiratory. ", "respiratory"),
        ("**Respiratory**", "Respiratory"),
        ('"External  causes"!', "External causes"),
        ("ＩＣＤ－10", "icd-10"),
        ("呼吸系统疾病。", "呼吸系统疾病"),
        ("「肿瘤」", "肿瘤"),
        ("Cafe\u0301", "café"),
        ("STRASSE", "straße"),
    ],
)
def test_what_does_not_change_an_answer_is_normalised_away(answer: str, reference: str) -> None:
    assert normalise(answer) == normalise(reference)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("-5", "5"),
        ("(5)", "5"),
        ("5 %", "5"),
        (".5", "5"),
        ("3.5", "35"),
        ("$5", "5"),
        ("the eye", "eye"),
        ("Health-status", "Health status"),
    ],
)
def test_what_changes_an_answer_stays(answer: str, reference: str) -> None:
    assert normalise(answer) != normalise(reference)


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_chinese_characters_and_kana_are_tokens_by_themselves() -> None:
    assert tokens("高血压 (type 2)、カゼ") == ["高", "血", "压", "type", "2", "カ", "ゼ"]
    assert tokens("हिन्दी café_2") == ["हिन्दी", "café", "2"]


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_a_text_with_tokens_scores_one_against_itself(texts: list[str]) -> None:
    texts = [text for text in texts if tokens(text)] or ["a"]
    for name in NAMES:
        assert load_metric(name).score(texts, texts) == pytest.approx([1.0] * len(texts))


@given(st.text(), st.text())
def test_scores_lie_between_zero_and_one_and_f_measures_are_symmetric(answer: str, reference: str) -> None:
    for name in NAMES:
        metric = load_metric(name)
        [score] = metric.score([answer], [reference])
        assert 0 <= score <= 1
        assert metric.score([reference], [answer]) == pytest.approx([score])


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
def test_token_f1_is_squads_where_both_mean_the_same(prediction: str, reference: str) -> None:
    assert load_metric("token_f1").score([prediction], [reference]) == pytest.approx([squad_f1(prediction, reference)])


def test_token_f1_decides_about_texts_without_tokens(token_f1: Metric) -> None:
    assert token_f1.score(["", "...", "word"], ["...", "word", ""]) == [1.0, 0.0, 0.0]


def test_rouge_l_gives_the_numbers_of_lins_paper(metrics: dict[str, Metric]) -> None:
    """Lin (2004), section 3.1: reference S1, candidates S2, S3 and S4 with ROUGE-L of 3/4, 2/4 and 2/4."""
    answers = ["police kill the gunman", "the gunman kill police", "the gunman police killed"]
    assert metrics["rouge_l"].score(answers, ["police killed the gunman"] * 3) == [0.75, 0.5, 0.5]


@given(st.text(alphabet=string.printable), st.text(alphabet=string.printable))
def test_rouge_l_is_rouge_scores_own_on_ascii(answer: str, reference: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rougeL"]).score(target=reference, prediction=answer)["rougeL"].fmeasure
    assert load_metric("rouge_l").score([answer], [reference]) == [expected]


def test_rouge_l_reads_chinese(metrics: dict[str, Metric]) -> None:
    assert metrics["rouge_l"].score(["呼吸病"], ["呼吸系统病"]) == pytest.approx([0.75])


def test_metrics_are_modules_of_hugging_faces_evaluate_with_a_citation(metrics: dict[str, Metric]) -> None:
    import evaluate

    for name, metric in metrics.items():
        assert isinstance(metric.module, evaluate.Metric)
        assert metric.module.info.citation
        found = metric.module.compute(predictions=["a b", "c"], references=["a b", "d"])
        assert found == {name: 0.5, "scores": [1.0, 0.0]}


def test_many_evaluations_at_once_do_not_collide_and_leave_nothing(tmp_path: Path) -> None:
    def score(_: int) -> dict[str, object]:
        return dict(load_metric("exact_match").module.compute(predictions=["a"], references=["A"]))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(score, range(32))) == [{"exact_match": 1.0, "scores": [1.0]}] * 32
    assert not Path(load_metric("exact_match").module.data_dir).exists()


def test_an_unknown_metric_lists_those_there_are() -> None:
    with pytest.raises(NotFoundError, match=r"'bleu'.*exact_match, token_f1, rouge_l"):
        load_metric("bleu")


def test_hugging_faces_evaluate_is_imported_from_the_repository_root() -> None:
    """The folder evaluate/ there has no __init__.py, so that it cannot shadow the package."""
    code = "from importlib.util import find_spec; print(find_spec('evaluate').origin)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("site-packages/evaluate/__init__.py")
