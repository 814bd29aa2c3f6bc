"""`locum data generate` and `augment` as a user runs them, to the adapter's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from locum.settings import Settings
from tests.commands.conftest import Ran
from tests.documents import write_guidelines, write_pdf
from tests.teacher import MODEL, FakeTeacher, items_for, teaching


@pytest.fixture
def fake(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTeacher]:
    with teaching() as teacher:
        monkeypatch.setenv("LOCUM_TEACHER", teacher.url)
        monkeypatch.setenv("LOCUM_TEACHER_MODEL", MODEL)
        yield teacher


@pytest.fixture
def documents(domain_folder: Path) -> Path:
    """The folder of a domain that has documents and no source."""
    card = domain_folder / "card.yaml"
    text = card.read_text().replace(
        "source: {files: [conversations.jsonl], licence: ours}", "documents: {files: ['*.md', '*.pdf']}"
    )
    card.write_text(text)
    write_guidelines(domain_folder, 60)
    return domain_folder


def test_from_documents_to_built_data(
    locum: Callable[..., Ran], documents: Path, fake: FakeTeacher, settings: Settings
) -> None:
    write_pdf(documents / "scan.pdf", [""])
    ran = locum("data", "generate", "legal")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "60 requests. 180 new items.",
        "Notes on documents, 1:",
        "  scan.pdf: holds no text on its 1 pages: scanned? recognise its text (OCR) first",
        "180 items are pending. Next: locum data review legal",
    ]
    assert "teacher-7b writes for legal" in ran.err
    early = locum("data", "build", "legal")
    assert (early.code, "no item is accepted yet" in early.err) == (2, True)
    assert locum("data", "review", "legal", "--accept-all", "--reason", "a test").code == 0
    built = locum("data", "build", "legal")
    assert built.code == 0, built.err
    assert "reviewed: 180 accepted items." in built.out
    assert "Reviewed: 180 accepted items (0 edited, 180 accepted all at once), written by teacher-7b (180)" in built.out
    again = locum("data", "generate", "legal", "--json").json
    assert (again["asked"], again["done_before"], again["queue"]["accepted"]) == (0, 60, 180)


def test_without_documents_and_from_rows_there_are(
    locum: Callable[..., Ran], domain_folder: Path, fake: FakeTeacher
) -> None:
    ran = locum("data", "generate", "legal", "--synthetic", "12", "--topic", "leases", "--json")
    assert (ran.code, ran.json["items"], ran.json["queue"]["pending"]) == (0, 12, 12)
    ran = locum("data", "augment", "legal", "--kind", "harder", "--kind", "outside", "--rows", "10", "--count", "1")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "20 requests. 20 new items.")


def test_what_could_not_be_used_is_told(locum: Callable[..., Ran], domain_folder: Path, fake: FakeTeacher) -> None:
    fake.next = ["Certainly!"]
    fake.reply = items_for
    ran = locum("data", "augment", "legal", "--rows", "3")
    assert ran.code == 0
    assert "Could not be used, 1:\n  question of Question: What is number" in ran.out
    assert "found 'Certainly!'" in ran.out
    fake.reply = lambda system, user: "Certainly!"
    ran = locum("data", "generate", "legal", "--synthetic", "3")
    assert (ran.code, "nothing that teacher-7b said to 1 requests could be used" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["generate", "legal", "--topic", "x"], "--topic is for --synthetic"),
        (["generate", "legal"], "the card of legal names no documents"),
        (["generate", "nowhere"], "there is no domain 'nowhere'"),
        (["augment", "legal", "--kind", "funnier"], "--kind funnier: expected one of question, answer, easier"),
        (["augment", "legal", "--rows", "0"], "--rows"),
    ],
)
def test_wrong_use_exits_2_and_asks_nobody(
    locum: Callable[..., Ran], domain_folder: Path, fake: FakeTeacher, arguments: list[str], complaint: str
) -> None:
    ran = locum("data", *arguments)
    assert (ran.code, complaint in ran.err) == (2, True), ran.err
    assert fake.requests == []


def test_without_a_teacher_the_error_says_how_to_set_one(locum: Callable[..., Ran], domain_folder: Path) -> None:
    ran = locum("data", "augment", "legal")
    assert ran.code == 2
    assert "no teacher is set" in ran.err
    assert "LOCUM_TEACHER=http://HOST:PORT/v1" in ran.err


def test_a_card_without_source_and_documents_is_refused(locum: Callable[..., Ran], documents: Path) -> None:
    card = documents / "card.yaml"
    card.write_text("".join(line for line in card.open() if not line.startswith("documents")))
    ran = locum("domain", "show", "legal")
    assert (ran.code, "give `source`, `documents` or both" in ran.err) == (2, True)
    card.write_text(card.read_text() + "documents: {files: ['https://example.org/a.pdf']}\n")
    ran = locum("domain", "show", "legal")
    assert ran.code == 2
    assert "documents.files: expected files, found the URL https://example.org/a.pdf" in ran.err
