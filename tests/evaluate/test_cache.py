"""Answers that are kept: nothing that arrived is lost, nothing that is someone else's is taken over."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.conversations import Message
from locum.evaluate.answers import Answer, read_answers, write_answers
from locum.evaluate.cache import AnswerCache, cache_key


def test_what_was_put_is_there_for_whoever_opens_the_file_next(tmp_path: Path) -> None:
    AnswerCache(tmp_path / "answers.db").put("a", "one")
    assert AnswerCache(tmp_path / "answers.db").get(["a", "b"]) == {"a": "one"}


def test_any_number_of_keys_can_be_asked_at_once(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers.db")
    for number in range(0, 3000, 2):
        cache.put(str(number), f"answer {number}")
    assert len(cache.get(str(number) for number in range(3000))) == 1500


def test_evaluations_at_the_same_time_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    AnswerCache(path).close()

    def fill(part: int) -> None:
        cache = AnswerCache(path)
        for number in range(50):
            cache.put(f"{part}-{number}", "kept")
        cache.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(4)))
    keys = [f"{part}-{number}" for part in range(4) for number in range(50)]
    assert len(AnswerCache(path).get(keys)) == 200


def test_a_process_that_is_killed_leaves_every_answer_that_it_had_kept(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from locum.evaluate.cache import AnswerCache\n"
        "cache = AnswerCache(Path(sys.argv[1]))\n"
        "for number in range(20): cache.put(str(number), 'kept')\n"
        "os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "answers.db"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert len(AnswerCache(path).get(str(number) for number in range(20))) == 20


@given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
def test_a_key_depends_on_every_part_and_on_where_one_ends(parts: list[str]) -> None:
    first, second = parts
    assert cache_key(first) != cache_key(second)
    assert cache_key(first, second + "x") != cache_key(first + second, "x")
    assert cache_key(first, second) != cache_key(second, first)


def test_a_file_of_answers_is_read_as_it_was_written(tmp_path: Path) -> None:
    answers = [
        Answer(
            sample="s1",
            model="medical@1",
            digest="d",
            messages=[Message(role="user", content="Q 高")],
            reference="A",
            answer=text,
            scores={"exact_match": 1.0},
        )
        for text in ("A", "第二", "with\nlines\u2028and more")
    ]
    write_answers(tmp_path / "samples.jsonl", answers)
    assert list(read_answers(tmp_path / "samples.jsonl")) == answers
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]
