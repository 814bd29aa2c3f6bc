"""What a teacher is asked to write, what becomes of its answers, and how an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from locum.adapters.card import DomainCard, Source
from locum.adapters.documents import DocumentsCard
from locum.adapters.domains import Domain, load_domain
from locum.errors import BadInputError, CheckFailedError, ConflictError, UnavailableError
from locum.settings import Settings
from locum.train.data import prompts
from locum.train.data.reviews import Item, Reviews, Verdict
from locum.train.data.teacher import Teacher
from locum.train.data.writing import write_from_card, write_from_documents, write_variants
from tests.documents import write_guidelines
from tests.teacher import MODEL, FakeTeacher, items_for, teaching


@pytest.fixture
def fake() -> Iterator[FakeTeacher]:
    with teaching() as teacher:
        yield teacher


@pytest.fixture
def teacher(fake: FakeTeacher) -> Teacher:
    return Teacher(Settings(teacher=fake.url, teacher_model=MODEL))


@pytest.fixture
def legal(settings: Settings, domain_folder: Path) -> Domain:
    """A domain with a document of twelve sections beside its forty conversations."""
    write_guidelines(domain_folder, 12)
    domain = load_domain(settings.domains, "legal")
    return with_card(domain, documents=DocumentsCard(files=["*.md"], questions=2))


def with_card(domain: Domain, **fields: Any) -> Domain:
    card: DomainCard = domain.card.model_copy(update=fields)
    return Domain(card, domain.folder)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return tmp_path / "reviews" / "legal.db"


def ignore(done: int, total: int) -> None:
    pass


def items(reviews: Path) -> list[Item]:
    with closing(Reviews(reviews)) as queue:
        return queue.items()


def decide(reviews: Path, which: Callable[[Item], bool], state: Any) -> None:
    with closing(Reviews(reviews)) as queue:
        verdicts = [Verdict(item, state, item.question, item.answer, "x") for item in queue.items() if which(item)]
        queue.decide(verdicts, by="anna", how="one by one")


def test_each_passage_gets_its_questions_with_all_that_says_where_they_come_from(
    legal: Domain, teacher: Teacher, fake: FakeTeacher, reviews: Path
) -> None:
    seen: list[tuple[int, int]] = []
    written = write_from_documents(legal, teacher, reviews, lambda done, total: seen.append((done, total)))
    assert (written.asked, written.items, written.problems) == (12, 24, [])
    assert (seen[0], seen[-1]) == ((0, 12), (12, 12))
    found = items(reviews)
    drafts = {item.draft.heading: item.draft for item in found}
    assert set(drafts) == {f"Storage › Drug {n}" for n in range(12)}
    draft = drafts["Storage › Drug 3"]
    assert (draft.kind, draft.file, draft.topic) == ("passage", "guideline.md", "Storage")
    assert "Store drug 3 below" in draft.passage
    assert len(draft.digest) == 64
    assert {(item.teacher, item.prompt, item.state) for item in found} == {(MODEL, prompts.VERSION, "pending")}
    told = fake.requests[0]["messages"][0]["content"]
    assert "You answer questions of legal." in told
    assert "A domain of the tests." in told


def test_a_run_that_was_interrupted_asks_only_for_what_is_missing(
    legal: Domain, teacher: Teacher, fake: FakeTeacher, reviews: Path
) -> None:
    fake.reply = lambda system, user: 401 if len(fake.requests) > 5 else items_for(system, user)
    with pytest.raises(Exception, match="out of order"):
        write_from_documents(legal, teacher, reviews, ignore)
    kept = len(items(reviews))
    assert 0 < kept < 24
    done = {item.draft.heading for item in items(reviews)}
    fake.reply, fake.requests = items_for, []
    written = write_from_documents(legal, teacher, reviews, ignore)
    assert (written.done_before, written.asked) == (len(done), 12 - len(done))
    assert len(items(reviews)) == 24
    fake.requests = []
    assert write_from_documents(legal, teacher, reviews, ignore).asked == 0
    assert fake.requests == []


def test_another_text_prompt_or_teacher_is_asked_again(
    legal: Domain, teacher: Teacher, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_from_documents(legal, teacher, reviews, ignore)
    file = legal.folder / "guideline.md"
    file.write_text(file.read_text().replace("drug 3 below 8", "drug 3 below 9"))
    assert write_from_documents(legal, teacher, reviews, ignore).asked == 1
    monkeypatch.setattr(prompts, "VERSION", "other")
    assert write_from_documents(legal, teacher, reviews, ignore).asked == 12


def test_what_is_garbage_is_told_with_its_passage_and_asked_again(
    legal: Domain, teacher: Teacher, fake: FakeTeacher, reviews: Path
) -> None:
    (legal.folder / "empty.md").touch()
    fake.reply = lambda system, user: "I am sorry." if "Drug 7" in user else items_for(system, user)
    written = write_from_documents(legal, teacher, reviews, ignore)
    assert written.problems == [
        "guideline.md § Storage › Drug 7: expected JSON with question and answer, found 'I am sorry.'"
    ]
    assert written.passed_over == ["empty.md: is empty"]
    fake.reply = items_for
    assert (again := write_from_documents(legal, teacher, reviews, ignore)).asked == 1
    assert again.items == 2
    file = legal.folder / "guideline.md"
    file.write_text(file.read_text().replace("drug 3 below 8", "drug 3 below 9"))
    fake.reply = lambda system, user: "Never."
    assert len(write_from_documents(legal, teacher, reviews, ignore).problems) == 1  # one passage of many
    with pytest.raises(CheckFailedError, match=r"nothing that teacher-7b said to 12 requests could be used"):
        write_from_documents(with_card(legal, description="Other."), teacher, reviews, ignore)


def test_two_processes_do_not_ask_the_same(legal: Domain, teacher: Teacher, reviews: Path) -> None:
    reviews.parent.mkdir()
    with FileLock(reviews.with_suffix(".lock")), pytest.raises(ConflictError, match="another process is writing"):
        write_from_documents(legal, teacher, reviews, ignore)


def test_synthetic_questions_are_written_until_there_are_so_many_and_rejected_ones_do_not_count(
    legal: Domain, teacher: Teacher, fake: FakeTeacher, reviews: Path
) -> None:
    seen: list[tuple[int, int]] = []
    topics = ["leases", "wills"]
    written = write_from_card(legal, teacher, reviews, lambda *said: seen.append(said), count=13, topics=topics)
    assert (written.items, seen[0], seen[-1]) == (13, (0, 13), (13, 13))
    assert [sum(item.draft.topic == topic for item in items(reviews)) for topic in ("leases", "wills")] == [7, 6]
    assert {item.source for item in items(reviews)} == {"the card alone"}
    assert all("What does the court say?" in told for told in fake.asked)  # the card's example
    assert any(items(reviews)[0].question in told for told in fake.asked)  # not to be asked again
    assert write_from_card(legal, teacher, reviews, ignore, count=13).asked == 0
    decide(reviews, lambda item: item.id <= 4, "rejected")
    assert write_from_card(legal, teacher, reviews, ignore, count=13).items == 4
    assert write_from_card(legal, teacher, reviews, ignore, count=15).items == 2


def test_a_teacher_that_repeats_itself_is_not_asked_for_ever(
    legal: Domain, teacher: Teacher, fake: FakeTeacher, reviews: Path
) -> None:
    same = json.dumps(
        {"items": [{"question": "Who pays?", "answer": "You."}, {"question": "who pays", "answer": "I."}]}
    )
    fake.reply = lambda system, user: same
    written = write_from_card(legal, teacher, reviews, ignore, count=10)
    assert (written.items, written.repeated) == (1, 7)
    assert written.passed_over == ["9 questions: the teacher had no new ones"]


def test_variants_of_each_kind_keep_what_they_must_not_change(
    legal: Domain, teacher: Teacher, fake: FakeTeacher, reviews: Path
) -> None:
    kinds: list[prompts.Variant] = ["question", "answer", "easier", "harder", "outside"]
    written = write_variants(legal, teacher, reviews, ignore, kinds=kinds, rows=4, count=3)
    assert (written.asked, written.items) == (20, 60)
    found = items(reviews)
    assert {kind: sum(item.draft.kind == kind for item in found) for kind in kinds} == dict.fromkeys(kinds, 12)
    for item in found:
        given_question, _, given_answer = item.draft.passage.removeprefix("Question: ").partition("\n\nAnswer: ")
        assert (item.answer == given_answer) == (item.draft.kind == "question")
        assert (item.question == given_question) == (item.draft.kind == "answer")
        assert item.draft.row
    more = write_variants(legal, teacher, reviews, ignore, kinds=kinds, rows=5, count=3)
    assert (more.done_before, more.asked) == (20, 5)


def test_a_variant_that_says_the_same_again_is_left_out(
    legal: Domain, teacher: Teacher, fake: FakeTeacher, reviews: Path
) -> None:
    def parrot(system: str, user: str) -> str:
        question = user.split("\n")[1].upper()
        return json.dumps({"items": [{"question": question}, {"question": "Other: " + question}]})

    fake.reply = parrot
    written = write_variants(legal, teacher, reviews, ignore, kinds=["question"], rows=4, count=2)
    assert (written.items, written.repeated) == (4, 4)


def test_rows_that_cannot_be_varied_are_told_and_none_at_all_is_refused(
    legal: Domain, teacher: Teacher, fake: FakeTeacher, reviews: Path
) -> None:
    two_turns = [{"role": role, "content": "Well, well."} for role in ("user", "assistant") * 2]
    kept = [{"role": "user", "content": "Who is anna.muster@example.org?"}, {"role": "assistant", "content": "Anna."}]
    call = {"role": "assistant", "tool_calls": [{"name": "look_up", "arguments": {"name": "Muster"}}]}
    calling = [kept[0], call, {"role": "tool", "content": "a clerk"}, kept[1]]
    rows = [{"conversations": turns} for turns in (two_turns, [], kept, calling)]
    (legal.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    domain = with_card(legal, source=Source(files=["rows.jsonl"]))
    written = write_variants(domain, teacher, reviews, ignore, kinds=["question"], rows=9, count=1)
    assert written.passed_over == [
        "1 rows of several turns",
        "1 rows with calls of tools",
        "1 rows that do not fit, or that cleaning drops",
    ]
    assert "anna.muster" not in fake.asked[0]  # masked before it leaves
    (legal.folder / "rows.jsonl").write_text(json.dumps(rows[0]))
    with pytest.raises(BadInputError, match=r"(?s)no row to vary.*1 rows of several turns"):
        write_variants(domain, teacher, reviews, ignore, kinds=["question"], rows=9, count=1)


def test_accepted_items_are_varied_too_but_pending_ones_and_variants_are_not(
    legal: Domain, teacher: Teacher, reviews: Path
) -> None:
    domain = with_card(legal, source=None)
    write_from_documents(domain, teacher, reviews, ignore)
    with pytest.raises(BadInputError, match="no row to vary"):
        write_variants(domain, teacher, reviews, ignore, kinds=["harder"], rows=9, count=1)
    decide(reviews, lambda item: item.id <= 3, "accepted")
    assert write_variants(domain, teacher, reviews, ignore, kinds=["harder"], rows=9, count=1).items == 3
    decide(reviews, lambda item: item.draft.kind == "harder", "accepted")
    assert {item.draft.parent for item in items(reviews) if item.draft.kind == "harder"} == {1, 2, 3}
    assert write_variants(domain, teacher, reviews, ignore, kinds=["harder"], rows=9, count=1).asked == 0


def test_a_teacher_that_is_away_leaves_the_queue_as_it_was(legal: Domain, fake: FakeTeacher, reviews: Path) -> None:
    away = Teacher(Settings(teacher="http://127.0.0.1:1/v1", teacher_model=MODEL))
    with pytest.raises(UnavailableError, match="no teacher answers"):
        write_from_documents(legal, away, reviews, ignore)
    assert items(reviews) == []
