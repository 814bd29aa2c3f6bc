"""Logs of past conversations: messages, one a row, become conversations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.conversations import Conversation
from locum.adapters.domains import Domain, load_domain
from locum.settings import Settings
from locum.train.data.build import build_data
from locum.train.data.check import check_file
from locum.train.data.files import RawRow
from locum.train.data.logs import Logged, conversations
from locum.train.data.reading import Read, Reject, read_file, recognise
from locum.train.data.work import Work
from tests.train.test_formats import write_csv, write_excel, write_json_lines, write_parquet

Row = dict[str, Any]


def said(conversation: str, role: str, text: str, **more: Any) -> Row:
    return {"conversation_id": conversation, "role": role, "text": text, **more}


def put_together(rows: Sequence[Row], **options: Any) -> list[Logged]:
    raw = [RawRow(number, row) for number, row in enumerate(rows, start=1)]
    return list(conversations(raw, options.get("columns", {}), options.get("roles", {}), lambda row: str(row.fields)))


def turns(logged: Logged) -> list[tuple[str, str]]:
    assert logged.row is not None, logged.reason
    return [(message.role, message.content) for message in logged.row.conversations]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("log.csv", write_csv),
        ("log.jsonl", write_json_lines),
        ("log.parquet", write_parquet),
        ("log.xlsx", write_excel),
    ],
)
def test_every_kind_of_file_gives_the_same_conversations(tmp_path: Path, name: str, write: Any) -> None:
    noon = datetime(2026, 3, 31, 12)
    rows = [
        said("a", "customer", "Hello", time=noon),
        said("b", "客户", "你好", time=noon),
        said("a", "agent", "Good day", time=noon + timedelta(minutes=2)),
        said("b", "客服", "您好", time=noon + timedelta(minutes=1)),
        said("a", "customer", "Are you there?", time=noon + timedelta(minutes=1)),
    ]
    if name.endswith(".jsonl"):
        rows = [{**row, "time": row["time"].isoformat()} for row in rows]
    write(tmp_path / name, rows)
    location = str(tmp_path / name)
    recognised = recognise(location, columns={})
    assert (recognised.format, recognised.why) == ("log", "the columns `conversation_id`, `role`, `text`")
    items = list(read_file(location, format="log", columns={}))
    assert [item.row.group for item in items if isinstance(item, Read)] == ["a", "b"]
    wanted = [[("user", "Hello\nAre you there?"), ("assistant", "Good day")], [("user", "你好"), ("assistant", "您好")]]
    assert [turns(Logged(0, item.row)) for item in items] == wanted  # type: ignore[union-attr,arg-type]
    [rest] = read_file(location, format="log", columns={}, start=1)
    assert rest == items[1]


def test_a_greeting_and_an_unanswered_end_are_left_out_and_what_one_says_in_a_row_is_one_message() -> None:
    rows = [
        said("a", "system", "You are polite."),
        said("a", "bot", "Welcome!"),
        said("a", "user", "One"),
        said("a", "user", "Two"),
        said("a", "user", ""),
        said("a", "agent", "Three"),
        said("a", "assistant", "Four"),
        said("a", "user", "Thanks"),
    ]
    [found] = put_together(rows)
    assert turns(found) == [("system", "You are polite."), ("user", "One\nTwo"), ("assistant", "Three\nFour")]


def test_other_speakers_are_named_by_the_card_and_those_that_do_not_matter_are_passed_over() -> None:
    rows = [
        said("a", "Kundin", "Q"),
        said("a", "System", "Frau Wu joined"),
        said("a", "Frau Wu", "A"),
    ]
    [found] = put_together(rows, roles={"Kundin": "user", "frau wu": "assistant", "system": "skip"})
    assert turns(found) == [("user", "Q"), ("assistant", "A")]
    [refused] = put_together(rows, roles={"Kundin": "user"})
    assert (refused.number, refused.field) == (3, "role")
    assert refused.reason.startswith("conversation a: 'Frau Wu' is no speaker that is known; say who it is by `roles`")
    [notice] = put_together(rows, roles={"Kundin": "user", "Frau Wu": "assistant"})
    assert notice.reason.endswith("; `roles: {system: skip}` passes over notices of the system")


@pytest.mark.parametrize(
    ("rows", "number", "reason"),
    [
        ([said("a", "user", "Q")], 1, "conversation a: no question in it is answered"),
        ([said("a", "agent", "Hello"), said("a", "user", "Q")], 1, "conversation a: no question in it is answered"),
        ([said("", "user", "Q")], 1, "expected the id of a conversation, found nothing"),
        ([said("a", "user", "Q"), said("a", "agent", "A", time="noon")], 2, "conversation a: expected a time such as"),
        ([said("a", "user", "Q"), said("a", "", "A")], 2, "conversation a: 'nothing' is no speaker"),
        (
            [said("a", "user", "\ud800"), said("a", "agent", "A")],
            1,
            "conversation a: expected text in Unicode, found half",
        ),
        ([said("\ud800", "user", "Q")], 1, "expected text in Unicode, found half"),
        ([said("a", "user", "Q"), said("a", "agent", ["A"])], 2, "conversation a: expected text, found list"),
    ],
)
def test_what_does_not_fit_is_told_with_its_row_and_reason(rows: list[Row], number: int, reason: str) -> None:
    [found] = put_together(rows)
    assert (found.row, found.number) == (None, number)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    "times",
    [
        ("2026-03-31T12:00:00Z", "2026-03-31T12:00:01Z"),
        ("2026/3/1 9:05", "2026/3/1 10:01"),
        ("2026-03-31 23:59:59.9", "2026-04-01"),
        (1774958400, 1774958401.5),
        ("1774958400000", "1774958400001"),
    ],
)
def test_messages_are_in_the_order_of_their_times_however_these_are_written(times: tuple[Any, Any]) -> None:
    rows = [said("a", "agent", "A", time=times[1]), said("a", "user", "Q", time=times[0])]
    [found] = put_together(rows)
    assert turns(found) == [("user", "Q"), ("assistant", "A")]


def test_half_a_character_in_a_row_neither_stops_a_build_nor_is_learnt(logged: Domain, tmp_path: Path) -> None:
    with (logged.folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(said("half", "user", "\ud800")) + "\n")
    built = build_data(logged, tmp_path / "legal")
    assert (built.rows_read, built.rejects) == (3501, 1)
    [reject] = (tmp_path / "legal" / "rejects.jsonl").read_text().splitlines()
    assert json.loads(reject)["number"] == 14001


def test_the_group_is_the_conversation_or_what_the_card_names() -> None:
    rows = [said("7", "user", "Q", customer="Wu", topic="billing"), said("7", "agent", "A")]
    [found] = put_together(rows)
    assert found.row is not None
    assert (found.row.group, found.row.topic) == ("7", "billing")
    [found] = put_together(rows, columns={"group": "customer"})
    assert found.row is not None
    assert found.row.group == "Wu"


messages = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["user", "agent", "skip"]), st.sampled_from(["x", "y", ""])),
    max_size=12,
)


@given(messages, st.randoms(use_true_random=False))
def test_conversations_that_lie_between_one_another_are_those_that_lie_one_after_the_other(
    log: list[tuple[str, str, str]], chance: Any
) -> None:
    rows = [said(name, role, f"{text}{n}" if text else "", time=n + 1) for n, (name, role, text) in enumerate(log)]
    apart = sorted(rows, key=lambda row: row["conversation_id"])
    chance.shuffle(rows)

    def found(rows: list[Row]) -> dict[str | None, Conversation]:
        return {each.row.group: each.row for each in put_together(rows, roles={"skip": "skip"}) if each.row is not None}

    assert found(rows) == found(apart)
    for name, conversation in found(rows).items():
        roles = [message.role for message in conversation.conversations]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        spoken = [row["text"] for row in apart if row["conversation_id"] == name and row["role"] != "skip"]
        heard = "\n".join(message.content for message in conversation.conversations)
        assert heard in "\n".join(filter(None, spoken)), "nothing is added, lost between or put in another order"


def many(path: Path, count: int) -> None:
    """So many conversations of two questions each; the second halves of all come after the first."""
    rows = [said(str(n), who, f"{who} {half} {n}") for half in "ab" for n in range(count) for who in ("user", "agent")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def logged(settings: Settings, domain_folder: Path) -> Domain:
    domain = load_domain(settings.domains, "legal")
    many(domain_folder / "log.jsonl", 3500)
    source = domain.card.source.model_copy(update={"files": ["log.jsonl"]})
    return Domain(domain.card.model_copy(update={"source": source}), domain.folder)


def test_an_interrupted_build_of_a_log_goes_on_where_it_stopped(
    logged: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_data(logged, tmp_path / "whole")
    assert whole.rows_read == 3500
    taken: list[str] = []
    add = Work.add

    def interrupted(work: Work, row: Any, final: Any) -> None:
        taken.append(row.group)
        if len(taken) == 2500:
            raise KeyboardInterrupt
        add(work, row, final)

    monkeypatch.setattr(Work, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_data(logged, tmp_path / "part")
    taken.clear()
    assert build_data(logged, tmp_path / "part") == whole
    assert taken == [str(n) for n in range(2000, 3500)]


def test_a_log_is_checked_and_the_speakers_can_be_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", [said("1", "Frau Wu", "Q"), said("1", "Herr Li", "A"), said("2", "Frau Wu", "Q")])
    location = str(tmp_path / "log.csv")
    assert check_file(location).wrong == 2
    found = check_file(location, roles={"Frau Wu": "user", "Herr Li": "assistant"})
    assert (found.format, found.rows, found.wrong, found.turns) == ("log", 2, 1, 1)
    [reject] = found.rejects
    assert isinstance(reject, Reject)
    assert reject.raw == "user: Q"


def test_neighbours_in_the_file_are_no_reason_to_be_one_conversation() -> None:
    rows = [said(str(n // 2), ("user", "agent")[n % 2], str(n)) for n in range(8)]
    assert [[each[1] for each in turns(found)] for found in put_together(rows)] == [
        list(pair) for _, pair in groupby(map(str, range(8)), lambda n: int(n) // 2)
    ]
