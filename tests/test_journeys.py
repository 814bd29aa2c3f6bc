"""Three domains as teams bring them, each from its raw file to a released version by the command line alone."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from locum.adapters.base import Base, pull
from locum.settings import Settings
from tests.conftest import environment_of, free_port, serving
from tests.teacher import MODEL, FakeTeacher, teaching

CARD = """
name: {name}
description: {description}
system_prompt: {prompt}
{source}
recipe: {{rank: 16, learning_rate: 0.006, max_steps: 300, batch_size: 8, evaluations: 2, dropout: 0}}
notices: [Written by a model.]
example: {example}
"""
SUITE = """
name: held-out
samples: test
generation: {{choices: [{choices}], max_tokens: 24}}
thresholds: {{min_samples: 8, min_score: 0.6}}
"""
WARDS = {
    "胸痛 心悸": "心内科",
    "头痛 眩晕": "神经科",
    "咳嗽 喘息": "呼吸科",
    "腹泻 呕吐": "消化科",
}
NOTICES = {"lease": "three months", "loan": "two weeks", "supply contract": "six weeks", "tenancy": "one month"}
SPENDING = {
    "bakery pizzeria": "meals",
    "airline taxi": "travel",
    "printer laptop": "equipment",
    "dentist pharmacy": "health",
}
WORDS = ("mill", "garden", "bridge", "harbour", "orchard", "tower", "meadow", "quarry", "chapel", "forge", "castle")


@dataclass(frozen=True)
class Desk:
    """Where a team sits: a home, a folder of domains, and the command."""

    settings: Settings
    base: Base
    environment: dict[str, str]

    def locum(self, *arguments: str, said: str = "", code: int = 0) -> str:
        """What a command prints; `said` is typed into it."""
        done = subprocess.run(
            [sys.executable, "-m", "locum", *arguments],
            env=self.environment, input=said, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def domain(self, name: str, description: str, prompt: str, source: str, choices: list[str], example: str) -> Path:
        folder = self.settings.domains / name
        folder.mkdir(parents=True)
        card = CARD.format(
            name=name,
            description=description,
            prompt=prompt,
            source=source,
            example=example,
        )
        (folder / "card.yaml").write_text(card, encoding="utf-8")
        suite = folder / "suites" / "held-out"
        suite.mkdir(parents=True)
        (suite / "suite.yaml").write_text(SUITE.format(choices=", ".join(choices)), encoding="utf-8")
        return folder


@pytest.fixture(scope="module")
def teacher() -> Iterator[FakeTeacher]:
    with teaching() as teacher:
        teacher.reply = questions_about
        yield teacher


@pytest.fixture(scope="module")
def desk(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory, teacher: FakeTeacher) -> Desk:
    root = tmp_path_factory.mktemp("journeys")
    settings = Settings(home=root / "home", domains=root / "domains", user="anna", base="tiny-llama", port=free_port())
    base = pull(str(tiny_base), settings.bases)
    return Desk(
        settings,
        base,
        environment_of(settings, "token") | {"LOCUM_TEACHER": teacher.url, "LOCUM_TEACHER_MODEL": MODEL},
    )


def questions_about(system: str, user: str) -> str:
    """What a teacher would write from a passage of the knowledge base below."""
    found = re.search(
        r"The (?P<kind>[a-z ]+) of the (?P<place>[\w ]+) can be ended with (?P<notice>[a-z ]+) notice", user
    )
    assert found is not None, user
    asked = (
        "How much notice ends the {kind} of the {place}?",
        "We want out of our {kind}, the one of the {place}. When?",
    )
    return json.dumps(
        {"items": [{"question": each.format(**found.groupdict()), "answer": found["notice"]} for each in asked]}
    )


def medical(desk: Desk) -> None:
    """A Chinese set in JSON Lines called `.json`, as a Windows program writes it: in GB 18030, its lines ended by CR
    and LF, with fields that say nothing, an empty system message, ids and a line that is cut off."""
    folder = desk.domain(
        "medical",
        "分诊",
        "你是分诊护士，只回答科室名称。",
        "source: {files: [wards.json], licence: ours}",
        list(WARDS.values()),
        "胸痛两天",
    )
    chance = random.Random(1)
    lines = []
    for number in range(240):
        signs, ward = chance.choice(list(WARDS.items()))
        sign = chance.choice(signs.split())
        text = chance.choice(
            [
                "{n}号患者，{a}岁，{s}{d}天。",
                "我{s}已经{d}天了，今年{a}岁，排{n}号。",
                "{a}岁，{s}，{d}天前开始，号码{n}。",
            ]
        )
        asked = text.format(n=number, a=chance.randrange(18, 90), s=sign, d=chance.randrange(1, 30))
        turns = [
            {"role": "system", "content": ""},
            {"role": "user", "content": asked, "tools": None, "tool_calls": None},
            {"role": "assistant", "content": ward, "reasoning_content": "", "tool_calls": []},
        ]
        row = {"id": f"desk-{number}", "conversations": turns, "topic": ward, "tools": ""}
        lines.append(json.dumps(row, ensure_ascii=False) + "\r\n")
    lines[7] = lines[7][:40] + "\r\n"
    (folder / "wards.json").write_bytes("".join(lines).encode("gb18030"))
    checked = desk.locum("data", "check", str(folder / "wards.json"), code=1)
    assert "read as GB 18030" in checked
    assert "wards.json:8: row: " in checked


def legal(desk: Desk) -> None:
    """An English knowledge base in Markdown from a Windows editor, from which a teacher writes and a person accepts."""
    folder = desk.domain(
        "legal", "Notice periods", "You answer with the notice period.", "documents: {files: ['*.md'], questions: 2}",
        list(NOTICES.values()), "How much notice ends the lease of the mill?",
    )  # fmt: skip
    chance = random.Random(2)
    sections = []
    for number in range(100):
        kind, notice = chance.choice(list(NOTICES.items()))
        place = f"{chance.choice(WORDS)} at {chance.choice(WORDS)} {number}"
        sections.append(
            f"## File {number}\n\nThe {kind} of the {place} can be ended with {notice} notice, in writing.\n"
        )
    text = "# Notice periods – the firm’s\n\n" + "\n".join(sections)
    (folder / "notice.md").write_bytes(text.replace("\n", "\r\n").encode("windows-1252"))
    assert "200 items are pending" in desk.locum("data", "generate", "legal")
    assert "is empty" in subprocess.run(
        [sys.executable, "-m", "locum", "data", "build", "legal"],
        env=desk.environment, capture_output=True, text=True, check=False,
    ).stderr  # fmt: skip
    assert "2 pending, 197 accepted, 1 rejected" in desk.locum(
        "data", "review", "legal", said="a\n" * 197 + "r\nno such file\n" + "s\ns\n"
    )


def finance(desk: Desk) -> None:
    """A workbook with columns of its own on its second sheet, a title above them, a hidden row, answers that nobody
    has filled in, and a cell with an error."""
    import openpyxl

    folder = desk.domain(
        "finance", "Kinds of spending", "You answer with the kind of spending.",
        "source: {files: [card.xlsx], columns: {question: Text, answer: Account, topic: Account}, blank_answers: skip, "
        "licence: ours}",
        list(SPENDING.values()), "taxi to the harbour",
    )  # fmt: skip
    book = openpyxl.Workbook()
    book.active.title = "Read me"
    book.active.append(["The card's statements, from the accounting department"])
    sheet = book.create_sheet("Statements")
    sheet.append(["Statements of the year"])
    sheet.append([])
    sheet.append(["Text", "Account", "Amount"])
    chance = random.Random(3)
    for number in range(240):
        shops, account = chance.choice(list(SPENDING.items()))
        text = f"{chance.choice(WORDS)} {chance.choice(shops.split())} {chance.choice(WORDS)} {number}"
        sheet.append([text, account, round(chance.uniform(1, 500), 2)])
    sheet.row_dimensions[20].hidden = True
    sheet["B30"] = "#N/A"
    for row in (40, 50, 60):
        sheet[f"B{row}"] = None
    book.save(folder / "card.xlsx")


JOURNEYS: dict[str, Callable[[Desk], None]] = {"medical": medical, "legal": legal, "finance": finance}


@pytest.mark.timeout(1800)
def test_three_teams_go_from_a_raw_file_to_a_released_version(desk: Desk) -> None:
    for name, prepare in JOURNEYS.items():
        prepare(desk)
        assert json.loads(desk.locum("train", name, "--json"))["version"] == f"{name}@1"
    with serving(desk.settings, desk.base, "--", "--enforce-eager", "--dtype", "float32") as server:
        for name in JOURNEYS:
            desk.locum("eval", name)
            desk.locum("release", f"{name}@1")
        for name in JOURNEYS:
            server.until(lambda name=name: server.chat(name).status_code == 200)  # type: ignore[misc]
            assert server.who_answers(name) == f"{name}@1"
            [entry] = json.loads(desk.locum("history", name, "--json"))
            assert (entry["action"], entry["by"]) == ("release", "anna")
