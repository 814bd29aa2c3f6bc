"""A sample as a request: what it asks with, and nothing that a checkpoint would fill in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from locum.adapters.conversations import Message
from locum.adapters.suites import SuiteCard
from locum.errors import BadInputError
from locum.evaluate.answers import Contender
from locum.evaluate.asking import NEUTRAL, chat_fields
from locum.evaluate.runner import request_body
from locum.evaluate.samples import Sample, read_samples
from locum.evaluate.suite import assemble
from locum.settings import Settings

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"town": "Ulm"}}]}
ASKED = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "The weather in Ulm?"}]
TALK = [*ASKED, CALL, {"role": "tool", "content": "12"}, {"role": "assistant", "content": "12 degrees."}]


def written(folder: Path, *conversations: list[dict[str, object]], **fields: object) -> Path:
    file = folder / "test.jsonl"
    file.write_text("".join(json.dumps({"conversations": each, **fields}) + "\n" for each in conversations))
    return file


def test_a_request_leaves_nothing_to_the_checkpoint(tmp_path: Path) -> None:
    [sample] = read_samples(written(tmp_path, [*ASKED, {"role": "assistant", "content": "12."}]))
    suite = assemble("legal", SuiteCard(name="held-out"), [sample])
    body = request_body(suite, sample, Contender("legal@1", "version", "d"))
    assert {name: body[name] for name in NEUTRAL} == NEUTRAL
    assert body["messages"] == ASKED  # no field that is empty
    base = request_body(suite, sample, Contender("base", "base", "f", "user"))
    assert base["messages"] == [{"role": "user", "content": "Be short.\n\nThe weather in Ulm?"}]


def test_an_answer_after_calls_of_tools_is_asked_with_them(tmp_path: Path) -> None:
    [sample] = read_samples(written(tmp_path, TALK, tools=TOOLS))
    fields = chat_fields(sample, "system")
    assert (fields["tools"], fields["tool_choice"]) == (TOOLS, "none")
    [call] = fields["messages"][2]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"town": "Ulm"}
    assert fields["messages"][3] == {"role": "tool", "content": "12", "tool_call_id": call["id"]}
    assert sample.reference == "12 degrees."


def test_what_is_asked_with_other_tools_or_calls_is_another_question(tmp_path: Path) -> None:
    [plain] = read_samples(written(tmp_path, [*ASKED, {"role": "assistant", "content": "12."}]))
    [with_tools] = read_samples(written(tmp_path, [*ASKED, {"role": "assistant", "content": "12."}], tools=TOOLS))
    assert plain.asked != with_tools.asked and plain.digest != with_tools.digest
    before = Sample(id="", messages=tuple(map(Message.model_validate, ASKED)), reference="", group="")
    assert (
        before.asked == "c39ee85b2eda091a1340e9782b9f25fa8616af61fc37b7d095ef21e400904438"
        and before.digest == "4e70c789cc4300b966d35f880d29a19af0ec6b9c32901ed6cd9d3c626c093ee9"
    )


def test_an_expected_call_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the expected answer calls a tool, and a suite expects text"):
        list(read_samples(written(tmp_path, [*ASKED, CALL], tools=TOOLS)))


def test_the_harness_is_refused_where_it_could_not_ask_as_was_trained(domain_folder: Path, settings: Settings) -> None:
    from locum.adapters.domains import load_domain
    from locum.evaluate.suite import require_system_role

    card = SuiteCard.model_validate({"name": "arc", "lm_eval": {"task": "arc_easy"}})
    require_system_role(load_domain(settings.domains, "legal"), card)
    with (domain_folder / "card.yaml").open("a", encoding="utf-8") as file:
        file.write("recipe: {system_role: user}\n")
    with pytest.raises(BadInputError, match="cannot put the system prompt before the first question"):
        require_system_role(load_domain(settings.domains, "legal"), card)
