"""Sources, built data, files that are checked, and recipes with changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.adapters.card import TrainingRecipe
from locum.adapters.conversations import read_conversations
from locum.adapters.domains import Domain, load_domain
from locum.errors import BadInputError, NotFoundError, UnavailableError
from locum.settings import Settings
from locum.train.data.build import build_data, load_data, split_file
from locum.train.data.check import check_file
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
        ("def rows(): return [{'conversations': []}]", BadInputError, "row 1: conversations: "),
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
        ("ranks=3", "there is no recipe key 'ranks' .*rank, alpha"),
        ("rank=0", "--set rank: .*greater than or equal to 1"),
    ],
)
def test_wrong_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        with_overrides(TrainingRecipe(), [override])
