"""Domain cards: what is let in, and what a person is told about a card that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from locum.adapters.card import load_card
from locum.adapters.conversations import read_conversations
from locum.adapters.domains import domain_names, load_domain, new_domain
from locum.errors import BadInputError, ConflictError, NotFoundError

SHIPPED = sorted((Path(__file__).parents[2] / "domains").glob("*/card.yaml"))
GOOD = """\
name: legal
description: Licences.
system_prompt: You answer questions on licences.
source:
  files: [conversations.jsonl]
  licence: ours
recipe:
  rank: 4
elsewhere:
  margin: 0.2
notices: [Not legal advice.]
example: Is it permissive?
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_card_loads_and_what_it_leaves_out_has_a_default(tmp_path: Path) -> None:
    card = load_card(write(tmp_path, GOOD))
    assert (card.name, card.recipe.rank, card.elsewhere.margin) == ("legal", 4, 0.2)
    assert (card.recipe.alpha, card.elsewhere.suites, card.tracking) == (32, [], ["tensorboard"])
    assert card.system == "default"


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "expectation"),
    [
        ("  rank: 4", "  ranke: 4", 8, "recipe.ranke", "there is no such field"),
        ("  rank: 4", "  rank: many", 8, "recipe.rank", r"should be a valid integer.*\(found 'many'\)"),
        ("  rank: 4", "  rank: 0", 8, "recipe.rank", r"greater than or equal to 1 \(found 0\)"),
        ("  rank: 4", "  schedule: sine", 8, "recipe.schedule", r"'cosine', 'linear' or 'constant'.*\(found 'sine'\)"),
        ("  rank: 4", "  target_modules: []", 8, "recipe.target_modules", "at least 1 item"),
        ("description: Licences.\n", "", 1, "description", "Field required"),
        ("description: Licences.", "description: ''", 2, "description", r"at least 1 character \(found ''\)"),
        ("name: legal", "name: Legal", 1, "name", r"should match pattern.*\(found 'Legal'\)"),
        ("name: legal", "name: base", 1, "name", "`base` always means the base model"),
        ("  licence: ours", "  recipe: data.py", 4, "source", "either `recipe` or `files`, not both"),
        ("  files: [conversations.jsonl]\n", "", 4, "source", "either `recipe` or `files`.*not neither"),
        ("  margin: 0.2", "  margin: 2", 10, "elsewhere.margin", r"less than or equal to 1 \(found 2\)"),
        ("example:", "system: off\nexample:", 12, "system", r"'default', 'always' or 'never' \(found False\)"),
        ("elsewhere:", "gate:", 1, "file", "`gate` is no field of a card: a suite is a folder suites/NAME"),
        ("notices: [Not legal advice.]", "notices: []", 11, "notices.texts", "at least 1 item"),
        ("notices: [Not legal advice.]", "notices: {texts: [A.], enforce: off}", 11, "notices.enforce", "'never' or"),
    ],
)
def test_a_wrong_field_is_refused_with_its_line_its_name_and_what_was_expected(
    tmp_path: Path, old: str, new: str, line: int, field: str, expectation: str
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(BadInputError) as caught:
        load_card(path)
    assert caught.value.exit_code == 2
    start = re.escape(f"{path}:{line}: {field}: ")
    assert re.match(f"^{start}.*{expectation}", str(caught.value)), str(caught.value)


ENFORCED = "notices: {texts: [Not legal advice., 不构成法律意见。], enforce: append}"


def test_notices_are_a_list_or_say_that_the_server_sees_to_them(tmp_path: Path) -> None:
    listed = load_card(write(tmp_path, GOOD))
    assert (listed.notices.shown, listed.notices.enforce) == (["Not legal advice."], "never")
    assert listed.enforced_notices == []
    assert listed.metric_options() == {"notice": {"notices": [["Not legal advice."]]}}
    enforced = load_card(write(tmp_path, GOOD.replace("notices: [Not legal advice.]", ENFORCED)))
    assert enforced.enforced_notices == [["Not legal advice."], ["不构成法律意见。"]]
    assert enforced.metric_options() == {"notice": {"notices": enforced.enforced_notices}}


def test_a_notice_has_several_wordings_and_is_shown_enforced_and_measured_by_the_same(tmp_path: Path) -> None:
    worded = "notices: {texts: [[No advice, 非建议, '/not .* advice/'], Ask.], enforce: append}"
    card = load_card(write(tmp_path, GOOD.replace("notices: [Not legal advice.]", worded)))
    assert card.notices.shown == ["No advice", "Ask."]
    assert card.enforced_notices == [["No advice", "非建议", "/not .* advice/"], ["Ask."]]
    assert card.metric_options()["notice"] == {"notices": card.enforced_notices}
    written = card.model_dump(mode="json")["notices"]["texts"]
    assert written == [["No advice", "非建议", "/not .* advice/"], "Ask."]
    assert type(card).model_validate(card.model_dump(mode="json")) == card


def test_a_notice_of_before_says_where_it_has_gone(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"card\.yaml:12: compliance: `notice` is no field .* under `notices`"):
        load_card(write(tmp_path, GOOD.replace("example:", "compliance: {notice: [No advice.]}\nexample:")))


@pytest.mark.parametrize(
    ("notices", "complaint"),
    [
        ("notices: ['/not .* advice/']", "expected a phrase before the pattern /not"),
        ("notices: {texts: ['…'], enforce: append}", "expected a phrase with a letter or a digit"),
        (f"notices: {{texts: [{'告' * 223}], enforce: append}}", "expected at most 2000 bytes.*found 2007"),
    ],
    ids=["pattern", "no word", "too long"],
)
def test_what_cannot_be_shown_or_appended_is_refused(tmp_path: Path, notices: str, complaint: str) -> None:
    with pytest.raises(BadInputError, match=complaint):
        load_card(write(tmp_path, GOOD.replace("notices: [Not legal advice.]", notices)))


def test_every_wrong_field_has_a_line_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("rank: 4", "rank: 0").replace("margin: 0.2", "margin: 2"))
    with pytest.raises(BadInputError) as caught:
        load_card(path)
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [f"{path}:8", f"{path}:10"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [legal\nsource: x\n", r"card\.yaml:2: not valid YAML"),
        ("name: legal\n\tdescription: x\n", r"card\.yaml:2: not valid YAML"),
        ("- legal\n", r"card\.yaml: a domain card is a mapping of fields, found list"),
        ("", r"card\.yaml is empty: expected a domain card"),
        ("# name: legal\n\n", r"card\.yaml is empty: expected a domain card"),
        ("name: legal\nexample: 2024-99-99\n", r"card\.yaml.*not valid YAML"),
        ("name: legal\nname: finance\n", r"card\.yaml:2: not valid YAML: name is given twice"),
    ],
    ids=["bracket", "tab", "list", "empty", "comments alone", "impossible date", "the same field twice"],
)
def test_what_is_no_yaml_mapping_is_refused_with_the_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadInputError, match=complaint):
        load_card(write(tmp_path, text))


def test_a_card_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_bytes(GOOD.encode().replace(b"Licences", b"Licen\xe7as"))
    with pytest.raises(BadInputError, match=r"card\.yaml:2: not UTF-8"):
        load_card(path)


def test_a_missing_card_says_which_command_writes_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no domain card at .*card\.yaml") as caught:
        load_card(tmp_path / "card.yaml")
    assert caught.value.hint == "locum domain new NAME writes one"


def test_a_card_that_names_another_domain_than_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "medical").mkdir()
    path = write(tmp_path / "medical", GOOD)
    with pytest.raises(BadInputError, match=rf"{path}: name: expected 'medical'.*found 'legal'"):
        load_domain(tmp_path, "medical")


def test_an_unknown_domain_lists_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "legal").mkdir()
    write(tmp_path / "legal", GOOD)
    with pytest.raises(NotFoundError, match=r"no domain 'medical' .*\(there are: legal\)") as caught:
        load_domain(tmp_path, "medical")
    assert caught.value.hint == "locum domain new medical starts one"
    assert domain_names(tmp_path / "nowhere") == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_the_cards_that_come_with_locum_load_and_name_their_licence(path: Path) -> None:
    card = load_domain(path.parents[1], path.parent.name).card
    assert card.source.licence
    assert not card.source.recipe or (path.parent / card.source.recipe).is_file()


def test_a_new_domain_loads_and_its_example_rows_do_too(tmp_path: Path) -> None:
    path = new_domain(tmp_path / "domains", "cardiology")
    domain = load_domain(tmp_path / "domains", "cardiology")
    assert path == domain.folder / "card.yaml"
    rows = [row for file in domain.card.source.files for row in read_conversations(domain.folder / file)]
    assert len(rows) == 2
    assert "NAME" not in domain.card.model_dump_json()


def test_a_new_domain_does_not_overwrite_a_folder(tmp_path: Path) -> None:
    (tmp_path / "legal").mkdir()
    with pytest.raises(ConflictError, match=r"legal is there already"):
        new_domain(tmp_path, "legal")
    assert list((tmp_path / "legal").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "Legal", "base", "1st", "a b", "../escape", "a/b", "a@1", "legal\n", "a" * 64], ids=repr
)
def test_a_new_domain_needs_a_name_that_a_domain_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInputError, match="is not a domain's name"):
        new_domain(tmp_path / "domains", name)
    assert not (tmp_path / "domains").exists()
