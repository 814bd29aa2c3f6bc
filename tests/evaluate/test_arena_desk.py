"""A reviewer's desk behind its link: votes are kept at once, undone, and gone on with."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from locum.adapters.registry import Registry
from locum.adapters.votes import votes
from locum.evaluate.arena.app import make_app
from locum.evaluate.arena.serving import open_desks
from locum.settings import Settings
from tests.arena import make_match


class Reviewer:
    """One browser at one link."""

    def __init__(self, client: TestClient, token: str) -> None:
        self.client, self.path = client, f"/r/{token}"

    def state(self) -> Any:
        return self.client.get(f"{self.path}/state").json()

    def vote(self, **ballot: Any) -> Any:
        given = {"place": self.state()["question"]["place"], "preferred": "tie", **ballot}
        return self.client.post(f"{self.path}/votes", json=given)

    def undo(self, **asked: Any) -> Any:
        return self.client.post(f"{self.path}/undo", json={"done": self.state()["done"], **asked})


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry.open(settings)


def sit_down(registry: Registry, *, pause_every: int = 10) -> list[Reviewer]:
    desks = open_desks(registry, make_match(registry, 5), ["ada", "bob"], pause_every=pause_every)
    client = TestClient(make_app(desks, domain="hearts"))
    return [Reviewer(client, token) for token in desks]


def test_a_reviewer_goes_through_all_questions_once_and_then_there_is_none(registry: Registry) -> None:
    ada, bob = sit_down(registry)
    seen = []
    while question := ada.state()["question"]:
        seen.append(question["turns"][-1]["text"])
        assert ada.vote().status_code == 200
    assert sorted(seen) == [f"What does finding {number} mean?" for number in range(5)]
    assert (ada.state()["done"], bob.state()["done"]) == (5, 0)


def test_who_comes_back_later_goes_on_where_they_stopped(registry: Registry) -> None:
    ada, _ = sit_down(registry)
    ada.vote()
    before = ada.state()
    again, bob = sit_down(registry)
    assert again.state() == before
    assert again.path == ada.path
    assert bob.state()["done"] == 0


def test_undo_shows_the_question_again_with_all_that_was_said(registry: Registry) -> None:
    ada, bob = sit_down(registry)
    first = ada.state()["question"]
    ada.vote(preferred="b", a={"accuracy": 2}, b={"accuracy": 5, "safety": 4}, comment=" 剂量错了 ", seconds=12.5)
    bob.vote()
    undone = ada.undo().json()
    assert undone["done"] == 0
    assert undone["question"]["ballot"] == {
        "place": 0,
        "preferred": "b",
        "a": {"accuracy": 2},
        "b": {"accuracy": 5, "safety": 4},
        "comment": "剂量错了",
        "seconds": 12.5,
    }
    assert {**undone["question"], "ballot": None} == first
    assert (ada.undo().status_code, ada.undo().json()) == (409, {"error": "conflict"})  # nothing is left to take back
    assert [vote.reviewer for vote in votes(registry, 1)] == ["bob"]


def test_a_break_is_suggested_after_every_so_many_votes_but_not_at_the_end(registry: Registry) -> None:
    ada, _ = sit_down(registry, pause_every=2)
    assert [ada.vote().json()["pause"] for _ in range(5)] == [False, True, False, True, False]
    assert ada.state()["pause"] is False
    every, _ = sit_down(registry, pause_every=5)
    every.undo()
    assert every.vote().json()["pause"] is False


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"preferred": "model"}, 400, "invalid"),
        ({"preferred": None}, 400, "invalid"),
        ({"a": {"accuracy": 6}}, 400, "invalid"),
        ({"a": {"beauty": 3}}, 400, "invalid"),
        ({"reviewer": "bob"}, 400, "invalid"),
        ({"comment": "x" * 4001}, 400, "invalid"),
        ({"comment": "x" * 70_000}, 413, "refused"),
        ({"place": 5}, 404, "not_found"),
        ({"place": -1}, 400, "invalid"),
    ],
)
def test_what_is_no_ballot_is_refused_by_a_code_and_kept_nowhere(
    registry: Registry, change: dict[str, Any], status: int, code: str
) -> None:
    ada, _ = sit_down(registry)
    refused = ada.vote(**change)
    assert (refused.status_code, refused.json()) == (status, {"error": code})
    assert votes(registry, 1) == []


def test_a_second_vote_from_another_window_is_refused(registry: Registry) -> None:
    ada, _ = sit_down(registry)
    assert ada.vote(place=0, preferred="a").status_code == 200
    refused = ada.vote(place=0, preferred="b")
    assert (refused.status_code, refused.json()) == (409, {"error": "conflict"})


def test_taking_back_twice_from_one_state_takes_one_vote_back(registry: Registry) -> None:
    ada, _ = sit_down(registry)
    for _ in range(3):
        ada.vote()
    assert [ada.undo(done=3).status_code for _ in range(2)] == [200, 409]
    assert ada.state()["done"] == 2
    for wrong in ({"done": -1}, {"done": 2, "reviewer": "bob"}, {"done": "two"}):
        assert ada.undo(**wrong).json() == {"error": "invalid"}
    assert len(votes(registry, 1)) == 2


def test_a_link_with_a_slash_behind_it_works_and_is_never_sent_to_another_host(registry: Registry) -> None:
    ada, _ = sit_down(registry)
    for path in (ada.path, f"{ada.path}/"):
        page = ada.client.get(path, headers={"host": "evil.example"}, follow_redirects=False)
        assert page.status_code == 200
    assert (
        ada.client.get(f"{ada.path}/state/", headers={"host": "evil.example"}, follow_redirects=False).status_code
        == 404
    )


def test_nobody_comes_in_without_a_link(registry: Registry) -> None:
    ada, _ = sit_down(registry)
    for path in ("/", "/r/", "/r/ada", f"{ada.path[:-1]}", "/votes"):
        page = ada.client.get(path)
        assert page.status_code == 404
        assert "This link leads nowhere" in page.text
    assert ada.client.post("/r/ada/votes", json={}).json() == {"error": "not_found"}


def test_pages_are_not_kept_framed_or_told_to_other_sites(registry: Registry) -> None:
    ada, _ = sit_down(registry)
    one, other = (ada.client.get(ada.path) for _ in range(2))
    assert one.headers["cache-control"] == "no-store"
    assert one.headers["referrer-policy"] == "no-referrer"
    policy = one.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert policy != other.headers["content-security-policy"]
    assert "http://" not in one.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in one.text
