"""Only what people accepted enters a build, and no split parts a row from its variants."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from locum.adapters.base import Base
from locum.adapters.card import DomainCard, Source
from locum.adapters.cleaning import CleaningCard
from locum.adapters.conversations import Conversation, read_conversations
from locum.adapters.dealing import DuplicatesCard
from locum.adapters.documents import DocumentsCard
from locum.adapters.domains import Domain, load_domain
from locum.errors import BadInputError
from locum.settings import Settings
from locum.train.data.build import build_data, load_build, split_file
from locum.train.data.report import write_report
from locum.train.data.reviews import Draft, Reviews, Verdict
from locum.train.data.split import NAMES
from locum.train.pipeline import train_domain


@pytest.fixture
def legal(settings: Settings, domain_folder: Path) -> Domain:
    return load_domain(settings.domains, "legal")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return tmp_path / "reviews" / "legal.db"


def with_card(domain: Domain, **fields: Any) -> Domain:
    card: DomainCard = domain.card.model_copy(update=fields)
    return Domain(card, domain.folder)


def put(path: Path, drafts: Sequence[Draft], *, accepted: int | None = None, by: str = "anna") -> None:
    """Put drafts into the queue and accept the first of them, all when it is not said how many."""
    with closing(Reviews(path)) as queue:
        queue.add(str(drafts), drafts, teacher="teacher-7b", prompt="1")
        pending = queue.items("pending")[:accepted]
        queue.decide([Verdict(i, "accepted", i.question, i.answer) for i in pending], by=by, how="one by one")


def drafts(count: int, *, file: str = "a.md") -> list[Draft]:
    return [
        Draft("passage", f"What does {file} say of {n}?", f"It is {n}.", file=file, heading=f"Top › S {n // 2}")
        for n in range(count)
    ]


def rows_of(out: Path) -> Iterator[tuple[str, Conversation]]:
    for name in NAMES:
        for row in read_conversations(split_file(out, name)):
            yield name, row


def test_accepted_items_are_one_more_origin_and_the_record_says_who_wrote_and_accepted_them(
    legal: Domain, reviews: Path, tmp_path: Path
) -> None:
    put(reviews, drafts(6), accepted=4)
    with closing(Reviews(reviews)) as queue:
        one, other = queue.items("pending")
        queue.decide([Verdict(one, "accepted", "Edited?", one.answer)], by="ben", how="all at once")
        queue.decide([Verdict(other, "rejected", other.question, other.answer, "wrong")], by="ben", how="one by one")
        queue.add("more", drafts(3, file="b.md"), teacher="other", prompt="1")
    built = build_data(legal, tmp_path / "out", reviews=reviews)
    assert built.rows_read == 45
    assert built.origins[-1] == "reviewed: 5 accepted items"
    assert str(built.reviews) == (
        "5 accepted items (1 edited, 1 accepted all at once), written by teacher-7b (5), accepted by anna (4), "
        "ben (1); 3 pending and 1 rejected are left out"
    )
    assert load_build(tmp_path / "out").reviews == built.reviews
    learnt = [row for _, row in rows_of(tmp_path / "out") if row.group]
    assert {row.question for row in learnt} == {each.question for each in drafts(4)} | {"Edited?"}
    assert {row.conversations[0].content for row in learnt} == {"You answer questions of legal."}
    _, card = write_report(legal, tmp_path / "out", None)
    assert "- Written by models: 5 accepted items" in card.read_text()


def test_a_build_notices_that_other_items_are_accepted(legal: Domain, reviews: Path, tmp_path: Path) -> None:
    without = build_data(legal, tmp_path / "out", reviews=reviews)
    assert without.reviews is None
    assert not reviews.exists()
    put(reviews, [])
    assert build_data(legal, tmp_path / "out", reviews=reviews) == without
    put(reviews, drafts(1))
    first = build_data(legal, tmp_path / "out", reviews=reviews)
    with closing(Reviews(reviews)) as queue:
        [item] = queue.items()
        queue.decide([Verdict(item, "accepted", item.question, "Edited.")], by="ben", how="one by one")
    second = build_data(legal, tmp_path / "out", reviews=reviews)
    with closing(Reviews(reviews)) as queue:
        [item] = queue.items()
        queue.decide([Verdict(item, "rejected", item.question, item.answer, "x")], by="ben", how="one by one")
    third = build_data(legal, tmp_path / "out", reviews=reviews)
    assert len({each.record.digest for each in (without, first, second)}) == 3
    assert third.record == without.record


def test_a_build_that_was_interrupted_does_not_go_on_with_items_that_were_rejected_since(
    legal: Domain, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(reviews, drafts(2))

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("locum.train.data.build._check_filled", fail)
        build_data(legal, tmp_path / "out", reviews=reviews)
    with closing(Reviews(reviews)) as queue:
        item = queue.items()[0]
        queue.decide([Verdict(item, "rejected", item.question, item.answer, "x")], by="ben", how="one by one")
    assert build_data(legal, tmp_path / "out", reviews=reviews).rows_read == 41


def test_a_domain_of_documents_alone_learns_from_accepted_items(legal: Domain, reviews: Path, tmp_path: Path) -> None:
    domain = with_card(legal, source=None, documents=DocumentsCard(files=["a.md"], licence="ours too"))
    with pytest.raises(BadInputError, match="its card has no `source`, and no item is accepted yet") as caught:
        build_data(domain, tmp_path / "out", reviews=reviews)
    assert caught.value.hint == "locum data generate legal, then locum data review legal"
    put(reviews, drafts(80))
    built = build_data(domain, tmp_path / "out", reviews=reviews)
    assert sum(split.rows for split in built.record.splits.values()) == 80
    assert (built.source, built.licence) == ("what people accepted", "ours too")


def test_a_training_learns_from_accepted_items(legal: Domain, settings: Settings, base_record: Base) -> None:
    domain = with_card(legal, source=None, documents=DocumentsCard(files=["a.md"]))
    put(settings.reviews_path("legal"), drafts(80))
    overrides = ["max_steps=1", "rank=4", "evaluations=1"]
    outcome = train_domain(settings, domain, base_record, overrides=overrides, fresh=False, register=False)
    assert outcome.data.reviews is not None
    assert outcome.data.reviews.accepted == 80
    assert outcome.result.data == outcome.data.record


@pytest.mark.parametrize("group", ["section", "document"])
def test_rows_of_one_section_or_one_document_are_never_parted(
    legal: Domain, reviews: Path, tmp_path: Path, group: str
) -> None:
    documents = DocumentsCard.model_validate({"files": ["*.md"], "group": group})
    domain = with_card(legal, source=None, documents=documents, duplicates=DuplicatesCard(near="off"))
    put(reviews, [draft for file in range(40) for draft in drafts(6, file=f"{file}.md")])
    build_data(domain, tmp_path / "out", reviews=reviews)
    splits: dict[str, set[str]] = {}
    for name, row in rows_of(tmp_path / "out"):
        splits.setdefault(row.group or "", set()).add(name)
    assert len(splits) == (120 if group == "section" else 40)
    assert {len(found) for found in splits.values()} == {1}


def test_an_item_that_is_edited_stays_in_its_split_and_so_do_its_variants(
    legal: Domain, reviews: Path, tmp_path: Path
) -> None:
    put(reviews, [Draft("synthetic", f"Who pays for {n}?", "You.", topic="costs") for n in range(30)])
    put(reviews, [Draft("question", f"Pays who for {n}?", "You.", parent=n + 1) for n in range(30)])
    with closing(Reviews(reviews)) as queue:
        edited = [Verdict(i, "accepted", f"{i.question} Now?", i.answer) for i in queue.items()[:30]]
    before = {}
    for turn in (False, True):
        if turn:
            with closing(Reviews(reviews)) as queue:
                queue.decide(edited, by="ben", how="one by one")
        build_data(legal, tmp_path / "out", reviews=reviews)
        found: dict[str, set[str]] = {}
        for name, row in rows_of(tmp_path / "out"):
            if row.answer == "You.":
                found.setdefault(row.group or "", set()).add(name)
        assert {len(splits) for splits in found.values()} == {1}
        before.setdefault("groups", found)
        assert before["groups"] == found


TELLING = (
    "The tenant of the house at the corner asks whether the deposit that was paid three years ago must be returned"
)
PHONE = "+44 20 7946 0958"

rows = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from([TELLING, f"{TELLING} {PHONE}", "Short", f"Call {PHONE}", "Other words"]),
            "case": st.integers(0, 3),
            "group": st.sampled_from([None, None, "A", "B", "C"]),
            "topic": st.sampled_from([None, "x", "y"]),
        }
    ),
    min_size=1,
    max_size=8,
)


def conversation(question: str, answer: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"conversations": turns, **{name: value for name, value in more.items() if value}}


@given(
    rows,
    st.integers(1, 3),
    st.sampled_from(["drop", "together", "off"]),
    st.permutations(["mask", "keep"]),
    st.booleans(),
)
@example(  # the same row in two groups, of which one is held out
    [{"text": TELLING, "case": 1, "group": group, "topic": "x"} for group in (None, "A")], 1, "drop", ["keep"], False
)
@hypothesis_settings(max_examples=30, deadline=None)
def test_no_split_parts_a_row_from_its_variants_whatever_is_cleaned_near_or_grouped_and_in_no_rebuild(
    given_rows: list[dict[str, Any]], count: int, near: Any, personal: list[Any], regrouped: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        card = json.loads((CARD_WITHOUT_SOURCE).model_dump_json())
        fillers = [conversation(f"What is {n} in law?", f"It is {n}.") for n in range(80)]
        own = [conversation(f"{row['text']} case{row['case']}?", f"Answer {row['case']}.") for row in given_rows]
        digests = [Conversation.model_validate(row).digest for row in own]
        texts = [row["conversations"][0]["content"] for row in own]
        kinds = {
            text: [
                Draft("question", f"{digest[:8]} in other words {n}?", "Yes.", row=digest)
                for n in range(count)
            ]
            for text, digest in zip(texts, digests, strict=True)
        }  # fmt: skip
        put(folder / "reviews.db", [draft for found in kinds.values() for draft in found])
        family = {draft.question: text for text, found in kinds.items() for draft in found}
        # first as they are; then, with another cleaning, also after somebody has added or taken away groups
        for turn, cleaning in enumerate(personal):
            groups = [None if turn and regrouped else row["group"] for row in given_rows]
            grouped = [
                {**row, **{k: v for k, v in {"group": group, "topic": each["topic"]}.items() if v}}
                for row, group, each in zip(own, groups, given_rows, strict=True)
            ]
            lines = [json.dumps(row) + "\n" for row in fillers + grouped]
            (folder / "rows.jsonl").write_text("".join(lines))
            domain = Domain(
                DomainCard.model_validate(
                    {
                        **card,
                        "source": Source(files=["rows.jsonl"], format="conversations").model_dump(),
                        "cleaning": CleaningCard(personal=cleaning).model_dump(),
                        "duplicates": DuplicatesCard(near=near).model_dump(),
                    }
                ),
                folder,
            )
            build_data(domain, folder / "out", reviews=folder / "reviews.db")
            splits: dict[str, set[str]] = {}
            for split, row in rows_of(folder / "out"):
                of = family.get(row.question, row.question.replace("<PHONE>", PHONE))
                splits.setdefault(of, set()).add(split)
            assert {text: found for text, found in splits.items() if len(found) > 1} == {}
            assert set(family.values()) <= set(splits)
            if near != "drop" or any(groups):
                continue
            # a row that was dropped because it is like another has its variants where that other is
            for line in (folder / "out" / "near-duplicates.jsonl").read_text().splitlines():
                pair = json.loads(line)
                one, other = (pair[side].split("\n")[0].replace("<PHONE>", PHONE) for side in ("row", "is_like"))
                assert splits[one] == splits[other]


CARD_WITHOUT_SOURCE = DomainCard.model_validate(
    {
        "name": "legal",
        "description": "Law.",
        "system_prompt": "You answer.",
        "documents": {"files": ["none.md"]},
        "notices": ["A test."],
        "example": "Who pays?",
    }
)


def test_variants_keep_the_system_message_of_their_row_and_its_topic(
    legal: Domain, reviews: Path, tmp_path: Path
) -> None:
    own = {"role": "system", "content": "Answer in rhyme."}
    row = conversation("Who pays?", "You.", topic="costs")
    row["conversations"].insert(0, own)
    with (legal.folder / "conversations.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    digest = Conversation.model_validate(row).digest
    draft = Draft("question", "Pays who?", "You.", system=own["content"], row=digest)
    put(reviews, [draft, replace(draft, question="And here?", row="0" * 64, topic="gone")])
    build_data(legal, tmp_path / "out", reviews=reviews)
    found = {row.question: row for _, row in rows_of(tmp_path / "out")}
    assert found["Pays who?"].conversations[0].content == "Answer in rhyme."
    assert found["Pays who?"].topic == "costs"
    assert found["And here?"].topic == "gone"  # its row is in the source no more
