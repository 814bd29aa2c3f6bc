"""Nothing that a row carries is lost without a word: it is used, or mentioned with its count, or refuses the row."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.card import Format
from locum.adapters.conversations import Conversation, Preference
from locum.train.data.check import check_file
from locum.train.data.fields import LEVELS, Remark, Remarks, RowError, UnwantedRowError, looks_like_judgement
from locum.train.data.formats import to_row
from locum.train.data.judging import truth

USER, ANSWER = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALLED = [
    USER,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "12"},
    ANSWER,
]
GOOD = ("messages", "conversations", "instruction", "output", "prompt", "completion")
ROWS: dict[Format, dict[str, Any]] = {
    "conversations": {"conversations": [USER, ANSWER]},
    "messages": {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "A"}]}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
    "alpaca": {"instruction": "Q", "input": "", "output": "A"},
    "completion": {"prompt": "Q", "completion": "A"},
    "kto": {"prompt": "Q", "completion": "A", "label": True},
    "preference": {"prompt": [USER], "chosen": [ANSWER], "rejected": "B"},
    "interview": {"question": "Q", "answer": "A", "expert": "E"},
}
BLOCKS = [
    {"role": "user", "content": [{"type": "text", "text": "Q"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "T"},
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "12"}]}],
    },
    ANSWER,
]
GEMINI = [
    {"role": "user", "parts": [{"text": "Q"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {}}}]},
    {"role": "model", "parts": [{"text": "A"}]},
]
RICH: list[tuple[Format, dict[str, Any]]] = [
    ("messages", {"messages": CALLED, "tools": [TOOL]}),
    ("messages", {"messages": BLOCKS, "tools": [{"name": "weather", "input_schema": {}}]}),
    ("messages", {"contents": GEMINI, "tools": [{"functionDeclarations": [{"name": "weather"}]}]}),
    ("completion", {"prompt": CALLED[:-1], "completion": [ANSWER]}),
    ("kto", {"messages": [USER, ANSWER], "label": True}),
    ("preference", {"messages": [USER, ANSWER], "rejected_response": "B"}),
    ("preference", {"prompt": [USER], "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "B"}]}),
]
KNOWN = sorted({name for table in LEVELS.values() for known in table for name in known.names} | {"required", "answer"})


def read(row: dict[str, Any], format: Format, **columns: str) -> tuple[Any, set[Remark]]:
    remarks = Remarks()
    return to_row(row, format, columns, remarks=remarks), remarks.made


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every object in a row, by the way to it."""
    found = [path] if isinstance(value, dict) else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [place for key, each in inner for place in places(each, (*path, key))]


VALUES = st.one_of(
    st.text(min_size=1, alphabet="abcxyz"), st.booleans(), st.integers(1, 9), st.lists(st.integers(1, 3), min_size=1)
)


@given(st.data())
def test_a_field_at_any_level_is_mentioned_by_name_or_refuses_the_row(data: st.DataObject) -> None:
    format = data.draw(st.sampled_from(sorted(ROWS)))
    row = copy.deepcopy(ROWS[format])
    place = data.draw(st.sampled_from(places(row)))
    name = data.draw(
        st.sampled_from(["mood", "quality", "images", "x_id", "refusal", "loss_scale", "annotations", "seed", "label2"])
    )
    target: Any = row
    for key in place:
        target = target[key]
    target[name] = data.draw(VALUES)
    try:
        _, remarks = read(row, format)
    except RowError as error:
        assert name in error.field or name in str(error)
    else:
        assert any(name in remark.field for remark in remarks), remarks


@given(st.data())
def test_a_known_field_where_it_means_nothing_is_mentioned_or_refuses_the_row(data: st.DataObject) -> None:
    format, row = data.draw(st.sampled_from(RICH))
    row = copy.deepcopy(row)
    target: Any = row
    for key in data.draw(st.sampled_from(places(row))):
        target = target[key]
    name = data.draw(st.sampled_from(KNOWN))
    if name in target:
        return
    value = data.draw(st.sampled_from(["Zug", ["Zug"], {"name": "Zug"}, [{"type": "text", "text": "Zug"}]]))
    target[name] = value
    try:
        made, remarks = read(row, format)
    except RowError:
        return
    assert "Zug" in made.model_dump_json() or any(remark.field.endswith(name) for remark in remarks), (name, remarks)


@pytest.mark.parametrize("row", [row for _, row in [*RICH]])
def test_the_rows_of_that_test_are_right(row: dict[str, Any], tmp_path: Path) -> None:
    assert "left out" not in check_file(write(tmp_path / "rows.jsonl", row, row)).summary


@pytest.mark.parametrize(
    ("field", "value"), [("Deleted", "TRUE"), ("isDeleted", True), ("Is accepted", "no"), ("is-spam", 1)]
)
def test_marks_are_known_in_every_spelling(field: str, value: Any) -> None:
    with pytest.raises(UnwantedRowError):
        read({"prompt": "Q", "completion": "A", field: value}, "completion")


def test_two_labels_that_contradict_each_other_refuse_the_row() -> None:
    with pytest.raises(RowError, match="expected what `label` says"):
        read({"prompt": "Q", "completion": "A", "label": True, "kto_tag": False}, "kto")


def test_a_call_in_the_chosen_answer_of_a_pair_refuses_the_row() -> None:
    turns = [USER, {**ANSWER, "tool_calls": [CALL]}]
    with pytest.raises(RowError, match="calls of tools cannot be learnt from preferences"):
        read({"messages": turns, "rejected_response": "B"}, "preference")


def test_all_that_a_bare_definition_of_a_tool_says_is_kept() -> None:
    bare = {"name": "weather", "parameters": {"city": {}}, "required": ["city"], "returns": {"type": "number"}}
    row, _ = read({"messages": CALLED, "tools": [bare]}, "messages")
    assert row.tools == [{"type": "function", "function": bare}]


def test_an_empty_thought_in_the_answer_gives_way_to_the_one_in_a_field() -> None:
    answer = {"role": "assistant", "content": "<think>\n\n</think>\n\nA", "reasoning_content": "T"}
    row, _ = read({"messages": [USER, answer]}, "messages")
    assert row.answer == "<think>\nT\n</think>\n\nA"


@pytest.mark.parametrize("format", sorted(ROWS))
def test_of_a_row_without_other_fields_nothing_is_to_be_mentioned(format: Format) -> None:
    assert read(ROWS[format], format)[1] == set()


@pytest.mark.parametrize("nothing", [None, "", " ", [], {}, "[]", "null"])
def test_what_says_nothing_is_as_if_it_were_not_there(nothing: Any) -> None:
    message = {**ANSWER, "tools": nothing, "tool_calls": nothing, "reasoning_content": nothing, "images": nothing}
    row, remarks = read({"conversations": [USER, message], "tools": nothing, "images": nothing}, "conversations")
    assert row == to_row({"conversations": [USER, ANSWER]}, "conversations", {})
    assert {remark.action for remark in remarks} == {"empty"}


def test_a_message_of_weight_0_is_context_and_not_learnt() -> None:
    turns = [USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}]
    row, remarks = read({"messages": turns}, "messages")
    assert [message.learnt for message in row.conversations] == [False, False, False, True]
    assert row.conversations[3].weight is None  # as learnt as an answer without a weight, and of the same digest
    assert [(remark.action, remark.field) for remark in remarks] == [("not learnt", "messages[].weight")]


@pytest.mark.parametrize(
    "mark", [{"train": False}, {"loss": False}, {"weight": 0.0}, {"weight": "0"}, {"loss": "false"}, {"masked": True}]
)
def test_other_marks_of_trainers_mean_the_same(mark: dict[str, Any]) -> None:
    row, _ = read({"messages": [USER, {**ANSWER, **mark}, USER, ANSWER]}, "messages")
    assert [message.learnt for message in row.conversations] == [False, False, False, True]


@pytest.mark.parametrize("mark", [{"weight": 0.5}, {"weight": 2}, {"train": "maybe"}, {"loss_scale": 0.3}])
def test_marks_between_yes_and_no_refuse_the_row(mark: dict[str, Any]) -> None:
    with pytest.raises(RowError) as refused:
        read({"messages": [USER, {**ANSWER, **mark}]}, "messages")
    assert next(iter(mark)) in refused.value.field


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, {**ANSWER, "weight": 0}]},
        {"messages": [USER, ANSWER], "weight": 0},
        {"messages": [USER, ANSWER], "label": False},
        {"conversations": [USER, ANSWER], "kto_tag": False},
        {"instruction": "Q", "output": "A", "kto_tag": False},
        {"prompt": "Q", "completion": "A", "train": False},
        {"prompt": "Q", "completion": "A", "deleted": True},
        {"prompt": "Q", "completion": "A", "approved": "no"},
        {"prompt": "Q", "completion": "A", "是否采用": "否"},
        {"prompt": "Q", "completion": "A", "Gelöscht": "ja"},
    ],
)
def test_a_row_that_is_marked_as_not_wanted_is_never_learnt(row: dict[str, Any], tmp_path: Path) -> None:
    good = {
        key: value
        for key, value in row.items()
        if key in ("messages", "conversations", "instruction", "output", "prompt", "completion")
    }
    if "messages" in row and "weight" in row["messages"][1]:
        good = {"messages": [USER, ANSWER]}
    checked = check_file(write(tmp_path / "rows.jsonl", good, row, good), format=None)
    assert (checked.rows, checked.wrong, checked.turns, sum(checked.unwanted.values())) == (3, 0, 2, 1)
    assert checked.summary.startswith("2 of 3 rows read") and "not to be learnt" in checked.summary


def test_a_column_that_says_whether_a_row_is_wanted_is_named() -> None:
    row = {"prompt": "Q", "completion": "A", "评分": "差"}
    assert [remark.action for remark in read(row, "completion")[1]] == ["judgement"]
    with pytest.raises(UnwantedRowError, match="`评分` is 差"):
        read(row, "completion", wanted="评分")
    assert read({**row, "评分": "好"}, "completion", wanted="评分")[1] == set()
    with pytest.raises(RowError, match="expected yes or no"):
        read({**row, "评分": "später"}, "completion", wanted="评分")


@pytest.mark.parametrize("name", ["score", "is_correct", "thumbsUp", "human_rating", "评分", "Bewertung", "quality"])
def test_names_that_judge_are_known(name: str) -> None:
    assert looks_like_judgement(name)


@pytest.mark.parametrize("name", ["id", "source", "context", "title", "author", "部门", "goodwill", "classification"])
def test_other_names_are_not_taken_for_judgements(name: str) -> None:
    assert not looks_like_judgement(name)


@pytest.mark.parametrize(("value", "meant"), [(True, True), ("True", True), (1.0, True), ("0.0", False), ("否", False)])
def test_yes_and_no_are_read_however_they_are_written(value: Any, meant: bool) -> None:
    assert truth(value) is meant
    assert truth("perhaps") is None


@pytest.mark.parametrize("format", ["messages", "conversations", "sharegpt"])
def test_a_system_field_beside_the_messages_is_the_rows_own_system_message(format: Format) -> None:
    [name, turns] = next(iter(ROWS[format].items()))
    row, _ = read({name: turns, "system": "Be short."}, format)
    assert (row.conversations[0].role, row.conversations[0].content) == ("system", "Be short.")


def test_two_different_system_prompts_refuse_the_row() -> None:
    system = {"role": "system", "content": "One."}
    assert (
        read({"messages": [system, USER, ANSWER], "system": "One."}, "messages")[0].conversations[0].content == "One."
    )
    with pytest.raises(RowError, match="found one in this field and another") as refused:
        read({"messages": [system, USER, ANSWER], "system": "Two."}, "messages")
    assert refused.value.field == "system"


@pytest.mark.parametrize("format", ["messages", "sharegpt"])
def test_an_empty_system_message_is_as_if_it_were_not_there(format: Format) -> None:
    plain = ROWS["messages"]["messages"] if format == "messages" else ROWS["sharegpt"]["conversations"]
    empty = {"role": "system", "content": " "} if format == "messages" else {"from": "system", "value": ""}
    name = "messages" if format == "messages" else "conversations"
    row, remarks = read({name: [empty, *plain]}, format)
    assert row == read({name: plain}, format)[0]
    assert [(remark.action, remark.reason) for remark in remarks] == [("empty", "of system messages")]


def test_text_parts_are_joined_by_line_breaks_as_the_server_joins_them() -> None:
    parts = [{"type": "text", "text": "Read this:"}, {"type": "text", "text": "Form A-12"}]
    row, remarks = read({"messages": [{"role": "user", "content": parts}, ANSWER]}, "messages")
    assert row.conversations[0].content == "Read this:\nForm A-12"
    assert [remark.action for remark in remarks] == ["used"]


@pytest.mark.parametrize(
    "turns",
    [
        CALLED,
        [USER, {"role": "assistant", "function_call": CALL["function"]}, {"role": "function", "content": "12"}, ANSWER],
        [
            {"from": "human", "value": "Q"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Ulm"}}'},
            {"from": "observation", "value": "12"},
            {"from": "gpt", "value": "A"},
        ],
        [
            {"role": "user", "content": [{"type": "text", "text": "Q"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "name": "weather", "input": {"city": "Ulm"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "12"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
        ],
        [
            {"role": "user", "parts": [{"text": "Q"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Ulm"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": "12"}}]},
            {"role": "model", "parts": [{"text": "A"}]},
        ],
    ],
    ids=["openai", "functions", "sharegpt", "anthropic", "gemini"],
)  # fmt: skip
def test_calls_of_tools_are_read_in_every_spelling(turns: list[dict[str, Any]]) -> None:
    name = "contents" if "parts" in turns[0] else "conversations" if "from" in turns[0] else "messages"
    format: Format = "sharegpt" if "from" in turns[0] else "messages"
    row, _ = read({name: turns, "tools": json.dumps([TOOL])}, format)
    roles = [message.role for message in row.conversations]
    assert roles == ["user", "assistant", "tool", "assistant"]
    [call] = row.conversations[1].tool_calls
    assert (call.name, call.arguments) == ("weather", {"city": "Ulm"})
    assert row.conversations[2].content == "12"
    assert row.tools == [TOOL]


@pytest.mark.parametrize(
    "tools",
    [
        [TOOL],
        json.dumps([TOOL]),
        [TOOL["function"]],
        [{"name": "weather", "input_schema": {"type": "object"}}],
        [{"functionDeclarations": [TOOL["function"]]}],
    ],
    ids=["openai", "json", "bare", "anthropic", "gemini"],
)
def test_definitions_of_tools_are_read_in_every_spelling(tools: Any) -> None:
    assert read({"messages": CALLED, "tools": tools}, "messages")[0].tools == [TOOL]


def test_definitions_at_the_system_message_are_the_rows() -> None:
    system = {"role": "system", "content": "S", "tools": json.dumps([TOOL])}
    assert read({"conversations": [system, *CALLED]}, "conversations")[0].tools == [TOOL]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking", "thought"])
def test_a_thought_in_a_field_of_its_own_stands_before_the_answer(name: str) -> None:
    row, remarks = read({"messages": [USER, {**ANSWER, name: "Hm."}]}, "messages")
    assert row.answer == "<think>\nHm.\n</think>\n\nA"
    assert [remark.action for remark in remarks] == ["used"]
    with pytest.raises(RowError, match="different"):
        read({"messages": [USER, {"role": "assistant", "content": "<think>No.</think>A", name: "Hm."}]}, "messages")


def test_unwanted_answers_become_single_answers_of_preferences() -> None:
    row = {"prompt": "Q", "completion": "A", "label": False}
    made = to_row(row, "kto", {}, kind=Preference)
    assert isinstance(made, Preference)
    assert (made.chosen, made.rejected) == (None, "A")
    with pytest.raises(UnwantedRowError):
        to_row(row, "kto", {})
    wanted = to_row({**row, "label": "desirable"}, "kto", {})
    assert isinstance(wanted, Conversation)


PAIR = Preference.model_validate({"prompt": [USER], "chosen": "A", "rejected": "B"})


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "A", "rejected": "B"},
        {"chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "B"}]},
        {
            "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [ANSWER],
            "non_preferred_output": [{**ANSWER, "content": "B"}],
        },
        {"instruction": "Q", "input": "", "chosen": "A", "rejected": "B"},
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "A"},
            "rejected": {"from": "gpt", "value": "B"},
        },
        {"messages": [USER, ANSWER], "rejected_response": "B"},
        {"query": "Q", "response": "A", "rejected_response": "B"},
        {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"},
        {"question": "Q", "chosen": "A", "rejected": "B"},
        {
            "prompt": "Q",
            "messages": [USER, ANSWER],
            "chosen": [USER, ANSWER],
            "rejected": [USER, {**ANSWER, "content": "B"}],
        },
    ],
    ids=["trl", "implicit", "openai", "alpaca", "sharegpt", "ms-swift", "query", "hh-rlhf", "orca", "ultrafeedback"],
)
def test_pairs_are_read_as_the_fields_tools_write_them(row: dict[str, Any], tmp_path: Path) -> None:
    location = write(tmp_path / "pairs.jsonl", row)
    checked = check_file(location)
    assert (checked.format, checked.problems) == ("preference", [])
    assert read(row, "preference")[0] == PAIR


@pytest.mark.parametrize(
    ("row", "format", "last"),
    [
        ({"prompt": [USER], "completion": [ANSWER]}, "completion", "2 rows, all right"),
        ({"instruction": "Q", "context": "C", "response": "A", "category": "qa"}, "alpaca", "2 rows, all right"),
        ({"query": "Q", "response": "A", "history": [["P", "R"]]}, "completion", "2 rows, all right: 4 answers"),
        ({"conversation": [USER, ANSWER], "model": "m"}, "messages", "2 of 2 rows read: 2 answers"),
        ({"messages": [USER, ANSWER], "tool_choice": "auto"}, "messages", "2 of 2 rows read: 2 answers"),
        ({"Question": "Q", "Answer": "A"}, "completion", "2 rows, all right"),
        ({"messages": json.dumps([USER, ANSWER])}, "messages", "2 rows, all right"),
        ({"conversation": [{"system": "S", "input": "Q", "output": "A"}]}, "messages", "2 rows, all right"),
        ({"conversation": [{"human": "Q", "assistant": "A"}] * 2}, "messages", "2 rows, all right: 4 answers"),
        (
            {
                "system": [{"text": "S"}],
                "messages": [
                    {"role": "user", "content": [{"text": "Q"}]},
                    {"role": "assistant", "content": [{"text": "A"}]},
                ],
            },
            "messages",
            "2 rows, all right: 2 answers",
        ),
    ],
)
def test_other_shapes_are_read_and_the_last_line_says_what_is_right(
    tmp_path: Path, row: dict[str, Any], format: Format, last: str
) -> None:
    checked = check_file(write(tmp_path / "rows.jsonl", row, row))
    assert (checked.format, checked.summary[: len(last)]) == (format, last)


def test_what_dolly_gives_as_context_is_part_of_the_question() -> None:
    row, _ = read({"instruction": "Q", "context": "C", "response": "A", "category": "qa"}, "alpaca")
    assert (row.question, row.answer, row.topic) == ("Q\n\nC", "A", "qa")


def test_fields_that_appear_late_and_columns_of_logs_are_counted(tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{number}", "completion": "A"} for number in range(40)]
    rows[35]["mood"] = "bad"
    [use] = check_file(write(tmp_path / "rows.jsonl", *rows)).fields
    assert (use.field, use.rows) == ("mood", 1)
    log = [{"session": "1", "role": role, "text": "T", "channel": "mail"} for role in ("user", "assistant") * 3]
    [use] = check_file(write(tmp_path / "log.jsonl", *log)).fields
    assert (use.action, use.field) == ("passed over", "channel")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"prompt": "Q", "completion": ""}, "completion"),
        ({"instruction": "Q", "output": " "}, "output"),
        ({"messages": [USER, {**ANSWER, "content": ""}]}, "messages.1"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": ""}]}, "conversations.1"),
    ],
)
def test_blank_answers_are_refused_by_a_message_that_names_the_setting_which_passes_them_over(
    tmp_path: Path, row: dict[str, Any], field: str
) -> None:
    good = json.loads(json.dumps(row).replace('""', '"A"').replace('" "', '"A"'))
    location = write(tmp_path / "rows.jsonl", good, row)
    [problem] = check_file(location).problems
    assert field in problem and "`blank_answers: skip`" in problem
    skipped = check_file(location, blank_answers="skip")
    assert (skipped.problems, skipped.unanswered) == ([], 1)
    assert skipped.summary.endswith("left out: 1 without an answer.")


def test_a_message_of_a_log_that_is_not_wanted_leaves_its_conversation_out(tmp_path: Path) -> None:
    log = [{"session": n, "role": role, "text": "T", "deleted": n == "2"} for n in "123" for role in ("user", "bot")]
    location = write(tmp_path / "log.jsonl", *log)
    checked = check_file(location)
    assert (checked.rows, checked.wrong, checked.turns) == (3, 0, 2)
    assert checked.unwanted == {"`deleted` is true": 1}
    checked = check_file(location, columns={"wanted": "deleted"})
    assert (checked.rows, checked.wrong, checked.turns) == (3, 0, 1)
    assert checked.unwanted == {"`deleted` is false": 2}


def test_marks_and_fields_of_turns_in_pairs_are_those_of_the_answer() -> None:
    pairs = [{"human": "Q", "assistant": "A", "weight": 0}, {"human": "Q", "assistant": "B", "mood": "good"}]
    row, remarks = read({"conversation": pairs}, "messages")
    assert [message.learnt for message in row.conversations] == [False, False, False, True]
    assert {remark.field for remark in remarks} == {"conversation[].assistant.weight", "conversation[].assistant.mood"}


@pytest.mark.parametrize("name", ["loss", "use", "train"])
def test_numbers_in_columns_that_mean_something_else_are_mentioned_and_leave_nothing_out(name: str) -> None:
    _, remarks = read({"prompt": "Q", "completion": "A", name: 0}, "completion")
    assert [(remark.action, remark.field) for remark in remarks] == [("judgement", name)]


def test_one_of_two_system_fields_is_read_and_the_other_mentioned() -> None:
    row, remarks = read({"messages": [USER, ANSWER], "system": "One.", "system_prompt": "Two."}, "messages")
    assert row.conversations[0].content == "One."
    assert [(remark.action, remark.field) for remark in remarks] == [("passed over", "system_prompt")]


def test_the_system_prompt_of_openais_pairs_is_read() -> None:
    row = {"input": {"messages": [USER], "system": "S"}, "preferred_output": [ANSWER], "non_preferred_output": "B"}
    assert [message.content for message in read(row, "preference")[0].prompt] == ["S", "Q"]


def test_thoughts_of_others_than_the_assistant_refuse_the_row() -> None:
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Q"}]
    with pytest.raises(RowError, match="thoughts in what the assistant says alone"):
        read({"messages": [{"role": "user", "content": parts}, ANSWER]}, "messages")


def test_an_instruction_that_is_no_text_refuses_the_row() -> None:
    with pytest.raises(RowError, match="expected text, found list") as refused:
        read({"instruction": ["Q"], "output": "A"}, "alpaca")
    assert refused.value.field == "instruction"


def test_marks_for_single_messages_in_one_field_of_the_row_refuse_it() -> None:
    with pytest.raises(RowError, match="marks of single messages belong to the messages"):
        read({"messages": [USER, ANSWER, USER, ANSWER], "loss_mask": [0, 0, 0, 1]}, "messages")


def test_what_people_say_of_an_answer_with_their_thumb_can_decide() -> None:
    row = {"question": "Q", "answer": "A", "thumb": "down"}
    with pytest.raises(UnwantedRowError, match="`thumb` is down"):
        read(row, "completion", wanted="thumb")
    assert read({**row, "thumb": "👍"}, "completion", wanted="thumb")[1] == set()


def test_a_file_of_one_row_of_gemini_is_that_row(tmp_path: Path) -> None:
    contents = [{"role": "user", "parts": [{"text": "Q"}]}, {"role": "model", "parts": [{"text": "A"}]}]
    checked = check_file(write(tmp_path / "rows.jsonl", {"contents": contents, "systemInstruction": "S"}))
    assert checked.summary.startswith("1 row, all right: 1 answer")


@pytest.mark.parametrize(
    ("row", "format"),
    [
        ({"Question": "Q", "Complex_CoT": "Hm.", "Response": "A"}, "completion"),
        ({"instruction": "Q", "output": "A", "reasoning": "Hm."}, "alpaca"),
        ({"问题": "Q", "答案": "A", "思考": "Hm."}, "completion"),
    ],
)
def test_a_thought_in_a_column_stands_before_the_answer(row: dict[str, Any], format: Format) -> None:
    made, remarks = read(row, format)
    assert made.answer == "<think>\nHm.\n</think>\n\nA"
    assert [remark.action for remark in remarks] == ["used"]


@pytest.mark.parametrize("name", ["conversations", "data", "dialog"])
def test_texts_in_turn_are_user_and_assistant(tmp_path: Path, name: str) -> None:
    row = {"id": 1, name: ["Q", "A", "Q2", "A2"]}
    checked = check_file(write(tmp_path / "rows.jsonl", row, row))
    assert checked.roles == {"assistant": 4, "user": 4}
