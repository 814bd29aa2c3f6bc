"""`locum eval arena` against the live server: prepared, served, voted on, told and exported."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from locum.adapters.conversations import read_preferences
from locum.adapters.registry import Registry
from locum.adapters.votes import Vote, record_vote, votes
from locum.errors import BadInputError, UnavailableError
from locum.evaluate.arena.matches import prepare_match
from locum.evaluate.arena.serving import listen
from locum.settings import Settings
from tests.arena import AT, make_match, question, say
from tests.commands.conftest import Ran
from tests.conftest import LiveServer, free_port


@pytest.fixture
def voted(registry: Registry) -> Registry:
    """Three questions on which ada and bob have voted; they disagree on the last."""
    say(registry, make_match(registry, 3).id, {"ada": "+++", "bob": "++-"}, ours={"accuracy": 5})
    return registry


def test_results_tell_who_is_preferred_how_surely_and_where_reviewers_disagree(
    locum: Callable[..., Ran], voted: Registry
) -> None:
    shown = locum("eval", "arena", "cardiology", "--results").out
    assert "6 votes of 2 reviewers" in shown
    assert re.search(r"cardiology@7 +llama-base-of-the-tests +3 +6 +5 · 0 · 1 +0\.833 \[", shown)
    assert "these votes do not decide" in shown
    assert "Krippendorff's alpha 0.00, low" in shown
    assert "What does finding 2 mean?" in shown
    assert "ada: cardiology@7, bob: llama-base-of-the-tests" in shown


def test_results_as_json_and_pairs_that_a_card_can_name(
    locum: Callable[..., Ran], voted: Registry, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    found = locum("eval", "arena", "cardiology", "--export", str(pairs), "--json").json
    assert found["meetings"][0]["wins"] == 5
    assert found["pairs"] == {"file": str(pairs), "written": 2}
    assert len(list(read_preferences(pairs))) == 2
    again = locum("eval", "arena", "cardiology", "--export", str(pairs))
    assert again.code == 2
    assert "is there already" in again.err


def test_pairs_are_built_into_a_domains_preferences(
    locum: Callable[..., Ran], registry: Registry, domain_folder: Path, settings: Settings
) -> None:
    say(registry, make_match(registry, 120).id, {"ada": "+" * 120})
    locum("eval", "arena", "cardiology", "--export", str(domain_folder / "pairs.jsonl"))
    with (domain_folder / "card.yaml").open("a") as card:
        card.write("preferences: {files: [pairs.jsonl], licence: ours}\n")
    built = locum("data", "build", "legal")
    assert built.code == 0, built.err
    rows = [
        row
        for split in ("train", "validation", "test")
        for row in read_preferences(settings.data_path("legal") / "preferences" / f"{split}.jsonl")
    ]
    assert {row.chosen for row in rows} == {question(number).model_answer for number in range(120)}


def test_comments_are_shown_to_those_who_decide_and_command_no_terminal(
    locum: Callable[..., Ran], registry: Registry
) -> None:
    arena = make_match(registry, 1).id
    vote = Vote(number=0, reviewer="ada", preferred="against", left="model", comment="dose\x1b[2J is wrong", at=AT)
    record_vote(registry, arena, vote)
    shown = locum("eval", "arena", "cardiology", "--results").out
    assert re.search(
        r"ada +What does finding 0 mean\? +llama-base-of-the-tests +cardiology@7 +dose␛\[2J is wrong", shown
    )
    found = locum("eval", "arena", "cardiology", "--results", "--json").json
    assert [each["comment"] for each in found["comments"]] == [vote.comment]


def test_a_reviewer_is_forgotten_after_a_question(locum: Callable[..., Ran], voted: Registry) -> None:
    unknown = locum("eval", "arena", "cardiology", "--forget", "eve")
    assert unknown.code == 2
    assert "no reviewer 'eve' has voted on cardiology (who has: ada, bob)" in unknown.err
    asked = locum("eval", "arena", "cardiology", "--forget", "ada", typed="n\n")
    assert asked.code == 1
    assert "Delete 3 votes of ada on cardiology, with grades and comments, for good?" in asked.err
    assert len(votes(voted, 1)) == 6
    assert locum("eval", "arena", "cardiology", "--forget", "ada", "--yes", "--json").json["deleted"] == 3
    assert {vote.reviewer for vote in votes(voted, 1)} == {"bob"}


def test_without_votes_results_say_how_to_get_some(
    locum: Callable[..., Ran], domain_folder: Path, voted: Registry
) -> None:
    for arguments, problem in (
        (["legal"], "nobody has voted on legal yet"),
        (["lgeal"], "there is no domain 'lgeal'"),
        (["cardiology", "--suite", "general"], "nobody has voted on suite 'general' of cardiology (voted on: "),
    ):
        refused = locum("eval", "arena", *arguments, "--results")
        assert (refused.code, problem in refused.err) == (2, True), refused.err


def test_a_port_that_is_taken_is_a_matter_of_the_environment(taken_port: int) -> None:
    with pytest.raises(UnavailableError, match=f"cannot listen at 127.0.0.1:{taken_port}"):
        listen("127.0.0.1", taken_port)


def test_a_match_is_asked_once_and_holds_only_what_differs(server: LiveServer, tmp_path: Path) -> None:
    in_force = laboratory(server, tmp_path)
    registry = Registry.open(in_force)
    match = prepare_match(in_force, registry, "legal@2", against="legal@1", count=6)
    assert (match.arena.model, match.arena.against, match.arena.suite) == ("legal@2", "legal@1", "held-out")
    assert len(match.questions) + match.same == 6
    for each in match.questions:
        assert each.model_answer != each.against_answer
        assert [message.role for message in each.messages] == ["system", "user"]
    assert prepare_match(in_force, registry, "legal@2", against="legal@1", count=6) == match
    with_base = prepare_match(in_force, registry, "legal@2", count=6)
    assert (with_base.arena.against, with_base.id == match.id) == ("tiny-llama", False)
    with pytest.raises(BadInputError, match="cannot be compared with itself"):
        prepare_match(in_force, registry, "legal@1", against="legal")


def test_the_command_serves_links_that_take_votes_until_it_is_stopped(server: LiveServer, tmp_path: Path) -> None:
    in_force = laboratory(server, tmp_path)
    with started(server, in_force, tmp_path, "legal", "--model", "legal@2", "--reviewer", "ana", "--json") as told:
        assert list(told["links"]) == ["ana"]
        assert "seed" not in told
        link = told["links"]["ana"]
        assert httpx.get(link, timeout=60).status_code == 200
        state = httpx.get(f"{link}/state", timeout=60).json()
        assert state["total"] == told["questions"]
        httpx.post(f"{link}/votes", json={"place": 0, "preferred": "tie"}, timeout=60).raise_for_status()
    with started(server, in_force, tmp_path, "legal", "--model", "legal@2", "--reviewer", "ana", "--json") as again:
        assert again["links"]["ana"].rpartition("/")[2] == link.rpartition("/")[2]
        assert again["done"] == {"ana": 1}
    assert [vote.reviewer for vote in votes(Registry.open(in_force), told["arena"])] == ["ana"]


def laboratory(server: LiveServer, folder: Path) -> Settings:
    """The server's settings with a copy of its registry, so that what is kept here meets no other test."""
    import sqlite3

    copy = folder / "registry.db"
    with (
        sqlite3.connect(server.settings.registry_url.removeprefix("sqlite:///")) as source,
        sqlite3.connect(copy) as target,
    ):
        source.backup(target)
    return server.settings.model_copy(
        update={
            "home": folder / "home",
            "registry": f"sqlite:///{copy}",
            "artifacts": server.settings.artifacts_url,
            "endpoint": server.endpoint,
        }
    )


@contextlib.contextmanager
def started(server: LiveServer, in_force: Settings, folder: Path, *arguments: str) -> Iterator[Any]:
    """The command as a process of its own; gives what it printed, and stops it as Ctrl + C does."""
    port = str(free_port())
    command = [sys.executable, "-m", "locum", "eval", "arena", *arguments, "--questions", "4", "--port", port]
    variables = {name: str(getattr(in_force, name)) for name in ("home", "registry", "artifacts", "endpoint")}
    environment = {**server.environment, **{f"LOCUM_{name.upper()}": value for name, value in variables.items()}}
    output = folder / "arena.out"
    errors = folder / "arena.err"  # that its registry is a copy, among others
    with output.open("w") as file, errors.open("w") as error_file:
        process = subprocess.Popen(command, stdout=file, stderr=error_file, env=environment)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, output.read_text() + errors.read_text()
            with contextlib.suppress(ValueError, httpx.TransportError):
                told = json.loads(output.read_text())
                httpx.get(f"http://127.0.0.1:{port}/", timeout=60)
                break
            time.sleep(0.1)
        yield told
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
