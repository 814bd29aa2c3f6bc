"""Answers that are kept: nothing that arrived is lost, nothing that is someone else's is taken over."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.conversations import Message
from locum.errors import DiskFullError, UnavailableError
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


def test_evaluations_that_begin_at_the_same_moment_make_one_file(tmp_path: Path) -> None:
    """Six processes come to each of sixty new files at about the same time."""
    code = (
        "import sys; from pathlib import Path; from locum.evaluate.cache import AnswerCache\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for number in range(60): AnswerCache(Path(sys.argv[1]) / f'{number}.db').put(sys.argv[2], 'kept')"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), key], text=True, **pipes) for key in "abcdef"
    ]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in processes] == [""] * 6
    for number in range(60):
        assert len(AnswerCache(tmp_path / f"{number}.db").get("abcdef")) == 6


def test_a_full_disk_is_told_and_what_was_kept_before_stays(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers.db")
    cache.put("a", "one")
    cache._db.execute("PRAGMA max_page_count=3")
    with pytest.raises(DiskFullError, match=r"^there is no room for answers in .*answers\.db$") as caught:
        cache.put("b", "x" * 100_000)
    assert caught.value.hint and "type the same command again" in caught.value.hint
    assert cache.get("ab") == {"a": "one"}


def test_a_file_that_is_none_of_answers_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers.db").write_bytes(b"no database " * 1000)
    with pytest.raises(
        UnavailableError, match=r"answers\.db, which keeps answers, cannot be used: file is not a database"
    ):
        AnswerCache(tmp_path / "answers.db")


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
