"""Sources, built data, files that are checked, and recipes with changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.card import Source
from locum.adapters.conversations import Preference, read_conversations
from locum.adapters.domains import Domain, load_domain
from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError, ConflictError, NotFoundError, UnavailableError
from locum.settings import Settings
from locum.train.data.build import build_data, load_build, load_data, split_file
from locum.train.data.check import check_file
from locum.train.data.work import Work
from locum.train.recipe import with_overrides

ROW = '{"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'


@pytest.fixture
def legal(settings: Settings, domain_folder: Path) -> Domain:
    return load_domain(settings.domains, "legal")


def with_recipe(domain: Domain, code: str) -> Domain:
    (domain.folder / "data.py").write_text(code)
    source = domain.card.source.model_copy(update={"recipe": "data.py", "files": [], "packages": ["nonesuch==1.2"]})
    return Domain(domain.card.model_copy(update={"source": source}), domain.folder)


def test_built_data_is_whole_and_every_row_has_the_system_prompt(legal: Domain, tmp_path: Path) -> None:
    built = build_data(legal, tmp_path / "legal")
    assert sum(split.rows for split in built.record.splits.values()) == built.rows_read == 40
    assert load_data(tmp_path / "legal") == built.record == build_data(legal, tmp_path / "legal").record
    for name in built.record.splits:
        rows = list(read_conversations(split_file(tmp_path / "legal", name)))
        assert len(rows) == built.record.splits[name].rows
        assert {row.conversations[0].content for row in rows} == {"You answer questions of legal."}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_another_system_prompt_moves_no_row(legal: Domain, tmp_path: Path) -> None:
    one = build_data(legal, tmp_path / "one")
    other = build_data(
        Domain(legal.card.model_copy(update={"system_prompt": "Other."}), legal.folder), tmp_path / "two"
    )
    assert one.record.digest != other.record.digest
    for name in one.record.splits:
        answers = [
            sorted(row.answer for row in read_conversations(split_file(tmp_path / folder, name)))
            for folder in ("one", "two")
        ]
        assert answers[0] == answers[1]


def test_a_recipe_is_run(legal: Domain, tmp_path: Path) -> None:
    code = (
        "def rows():\n    for n in range(50):\n        yield {'conversations': [{'role': 'user', 'content': f'q{n}'}, "
        "{'role': 'assistant', 'content': 'a'}], 'group': str(n // 2)}\n"
    )
    assert build_data(with_recipe(legal, code), tmp_path / "legal").rows_read == 50


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("import nonesuch", UnavailableError, "needs the package nonesuch"),
        ("x = 1", BadInputError, "no function rows"),
        ("def rows(): return [{'conversations': []}]", BadInputError, r"data\.py:1: conversations: "),
        ("def rows(): return [1 / 0]", BadInputError, "ZeroDivisionError"),
        ("def rows(): return []", BadInputError, "is empty"),
    ],
)
def test_a_recipe_that_fails_is_explained(
    legal: Domain, tmp_path: Path, code: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        build_data(with_recipe(legal, code), tmp_path / "legal")
    if error is UnavailableError:
        assert "nonesuch==1.2" in str(getattr(caught.value, "hint", ""))
    assert not (tmp_path / "legal").exists()


def test_too_few_rows_are_refused_with_the_counts(legal: Domain, tmp_path: Path) -> None:
    (legal.folder / "conversations.jsonl").write_text(ROW)
    with pytest.raises(BadInputError, match=r"split empty \(.*train \d"):
        build_data(legal, tmp_path / "legal")
    with pytest.raises(NotFoundError, match="no built data"):
        load_data(tmp_path / "legal")


def test_every_wrong_row_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(
        ROW.encode() + b"\nnot json\n" + b'{"conversations": [{"role": "bot"}]}\n\xff\xfe\n' + ROW.encode()
    )
    found = check_file(str(file))
    assert (found.rows, found.wrong) == (5, 3)
    assert [problem.split(": ")[0] for problem in found.problems] == [f"{file}:{line}" for line in (3, 4, 5)]


def test_overrides_are_read_as_in_a_card() -> None:
    changed = with_overrides(
        TrainingRecipe(), ["rank=8", "learning_rate=1e-4", "target_modules=[q_proj]", "max_steps=null"]
    )
    assert (changed.rank, changed.learning_rate, changed.target_modules) == (8, 1e-4, ["q_proj"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rank", "expected key=value"),
        ("ranke=3", "there is no recipe key 'ranke': did you mean rank\\? .*rank, alpha"),
        ("rank=0", "--set rank: .*greater than or equal to 1"),
    ],
)
def test_wrong_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        with_overrides(TrainingRecipe(), [override])


def many(path: Path, count: int, *, wrong: int = 0) -> None:
    lines = [ROW.replace('"q"', f'"question {number}"') for number in range(count)] + ["nonsense\n"] * wrong
    path.write_text("".join(lines))


def test_a_few_rows_that_do_not_fit_are_written_down_and_too_many_fail_the_build(legal: Domain, tmp_path: Path) -> None:
    many(legal.folder / "conversations.jsonl", 300, wrong=2)
    built = build_data(legal, tmp_path / "legal")
    assert (built.rows_read, built.rejects) == (302, 2)
    rejects = [json.loads(line) for line in (tmp_path / "legal" / "rejects.jsonl").read_text().splitlines()]
    assert [(each["number"], each["raw"]) for each in rejects] == [(301, "nonsense\n"), (302, "nonsense\n")]
    many(legal.folder / "conversations.jsonl", 300, wrong=4)
    with pytest.raises(
        BadInputError, match=r"(?s)4 of 304 rows do not fit, at most 1% may .*:301: row: not valid JSON"
    ) as caught:
        build_data(legal, tmp_path / "legal")
    assert caught.value.hint is not None
    assert len((tmp_path / "legal-rejects.jsonl").read_text().splitlines()) == 4
    assert load_data(tmp_path / "legal") == built.record, "what was built before stays"
    many(legal.folder / "conversations.jsonl", 300)
    build_data(legal, tmp_path / "legal")
    assert not (tmp_path / "legal-rejects.jsonl").exists()


def test_an_interrupted_build_goes_on_where_it_stopped(
    legal: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(legal.folder / "conversations.jsonl", 3500)
    whole = build_data(legal, tmp_path / "whole")
    read: list[int] = []
    added = Work.add

    def add(work: Work, row: Any, final: Any) -> None:
        read.append(1)
        if len(read) == 2500:
            raise KeyboardInterrupt
        added(work, row, final)

    monkeypatch.setattr(Work, "add", add)
    with pytest.raises(KeyboardInterrupt):
        build_data(legal, tmp_path / "part")
    assert not (tmp_path / "part").exists()
    read.clear()
    again = build_data(legal, tmp_path / "part")
    assert len(read) == 1500, "two thousand rows were kept"
    assert again == whole


def test_a_build_that_another_process_is_doing_is_not_done_twice(legal: Domain, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / ".legal.work").mkdir()
    with FileLock(tmp_path / ".legal.work" / "lock"), pytest.raises(ConflictError, match="another process is building"):
        build_data(legal, tmp_path / "legal")


def test_files_of_several_formats_make_one_domain(legal: Domain, tmp_path: Path) -> None:
    many(legal.folder / "logs.jsonl", 100)
    (legal.folder / "sheet.csv").write_text(
        "Frage;Antwort;Akte\n" + "".join(f"Was ist {n}?;Nummer {n};A{n}\n" for n in range(100))
    )
    files = {"files": ["logs.jsonl", "*.csv"], "columns": {"question": "Frage", "answer": "Antwort", "group": "Akte"}}
    source = legal.card.source.model_copy(update=files)
    built = build_data(Domain(legal.card.model_copy(update={"source": source}), legal.folder), tmp_path / "legal")
    assert built.origins == [
        "logs.jsonl: conversations, by `conversations` with `role` and `content`",
        "sheet.csv: completion, by `Frage` and `Antwort`",
    ]
    assert built.rows_read == sum(split.rows for split in built.record.splits.values()) == 200


def test_preferences_are_built_beside_and_none_asks_what_the_test_split_asks(legal: Domain, tmp_path: Path) -> None:
    many(legal.folder / "conversations.jsonl", 300)
    pairs = [{"prompt": f"Question {n}?", "chosen": "yes", "rejected": "no"} for n in range(300)]
    (legal.folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    card = legal.card.model_copy(update={"preferences": Source(files=["pairs.jsonl"])})
    build_data(Domain(card, legal.folder), tmp_path / "legal")
    tested = {row.question for row in read_conversations(split_file(tmp_path / "legal", "test"))}
    built = load_build(tmp_path / "legal" / "preferences")
    rows = [
        Preference.model_validate_json(line)
        for name in built.record.splits
        for line in split_file(tmp_path / "legal" / "preferences", name).read_text().splitlines()
        if name != "test"
    ]
    assert len(rows) > 200
    assert not tested & {row.question.lower().rstrip("?") for row in rows}
    assert {row.prompt[0].role for row in rows} == {"system"}
    with pytest.raises(BadInputError, match="rows of the format preference, expected conversations"):
        build_data(Domain(legal.card.model_copy(update={"source": card.preferences}), legal.folder), tmp_path / "x")


def test_a_build_says_how_a_file_was_read_and_takes_its_encoding_from_the_card(legal: Domain, tmp_path: Path) -> None:
    rows = "".join(f"Wie prüfe ich Antrag {n}?;Für {n} in Köln.\n" for n in range(100))
    (legal.folder / "sheet.csv").write_bytes(f"Stand: Mai\nquestion;answer\n{rows}".encode("cp1252"))
    source = legal.card.source.model_copy(update={"files": ["sheet.csv"]})
    [origin] = build_data(
        Domain(legal.card.model_copy(update={"source": source}), legal.folder), tmp_path / "a"
    ).origins
    assert "read as Windows-1252 (cp1252): 'prüfe', 'Für', 'Köln'" in origin
    assert "1 line above the column names passed over ('Stand: Mai')" in origin
    source = source.model_copy(update={"encoding": "cp1252", "format": "completion"})
    built = build_data(Domain(legal.card.model_copy(update={"source": source}), legal.folder), tmp_path / "b")
    assert "read as" not in built.origins[0]
    assert built.rows_read == 100
