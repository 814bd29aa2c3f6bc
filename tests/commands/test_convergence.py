"""What commands say of the server beside them: what it can hold, and whether it has taken a release over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.recipe import TrainingRecipe
from locum.adapters.records import Release
from locum.commands import convergence
from locum.commands.convergence import Convergence, judge, rank_of, wait_for, why_not_held
from locum.commands.serve import ranks_of_cards
from locum.errors import UnavailableError, UnservableError
from locum.evaluate.endpoint import Endpoint, ServedVersion
from locum.serve.launcher import held_rank
from locum.settings import Settings
from tests.conftest import write_domain

RELEASED = Release(
    domain="legal",
    action="release",
    version="legal@2",
    replaced="legal@1",
    by="tester",
    at=datetime.now(UTC),
    reason=None,
    evidence=[],
)
OLD = Endpoint(
    url="http://there/v1",
    base="tiny-llama",
    fingerprint="f",
    versions={"legal@1": ServedVersion("d1", "f"), "legal@2": ServedVersion("d2", "f")},
    aliases={"legal": "legal@1"},
    max_rank=16,
)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the server answer these, one after the other, and the last for good."""

    def set_answers(*given: Endpoint | UnavailableError) -> None:
        left = list(given)

        def ask(_: Settings) -> Endpoint:
            found = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(found, UnavailableError):
                raise found
            return found

        monkeypatch.setattr(convergence, "_ask", ask)

    return set_answers


def manifest_of(**changes: Any) -> Manifest:
    given = {
        "domain": "legal", "number": 2, "digest": "d", "base": "tiny-llama", "base_fingerprint": "f", "rank": 32,
        "alpha": 64, "target_modules": [], "parameters": 1, "size": 1, "recipe": {}, "data": None, "training": {},
        "probes": [], "code_version": "1", "created_at": datetime.now(UTC), "created_by": "tester",
    }  # fmt: skip
    return Manifest.model_validate({**given, **changes})


def test_a_server_that_loads_the_version_first_is_waited_for(settings: Settings, answers: Callable[..., None]) -> None:
    answers(OLD, OLD, replace(OLD, aliases={"legal": "legal@2"}))
    told: list[str] = []
    found = wait_for(settings, RELEASED, told.append)
    assert found == Convergence(True, "legal@2")
    assert found.summary() == {"converged": True, "serving": "legal@2"}
    assert told == ["waiting: http://there/v1 still means legal@1 by legal"]


def test_a_server_that_says_nothing_is_not_waited_for_without_end(
    settings: Settings, answers: Callable[..., None]
) -> None:
    answers(OLD)
    found = wait_for(settings, RELEASED, lambda text: None, seconds=0)
    assert found == Convergence(False, "legal@1", "it has not taken legal@2 over within 0 seconds")


def test_without_a_server_it_is_unknown_and_why(settings: Settings, answers: Callable[..., None]) -> None:
    answers(UnavailableError("no server answers at http://there/v1"))
    found = wait_for(settings, RELEASED, lambda text: None)
    assert found.summary() == {
        "converged": None,
        "serving": None,
        "problem": "no server answers at http://there/v1",
    }


def test_a_server_that_cannot_hold_the_version_has_not_converged_and_says_why() -> None:
    served = {**OLD.versions, "legal@2": ServedVersion("d2", "f", "its rank is 32, this server holds up to 16")}
    found = judge(replace(OLD, versions=served), RELEASED)
    assert found == Convergence(False, "legal@1", "its rank is 32, this server holds up to 16")


def test_what_went_wrong_with_an_earlier_release_is_not_said_of_this_one() -> None:
    assert judge(replace(OLD, problems={"legal": "legal@3 cannot be served: it is damaged"}), RELEASED) is None
    found = judge(replace(OLD, problems={"legal": "legal@2 cannot be served: it is damaged"}), RELEASED)
    assert found == Convergence(False, "legal@1", "legal@2 cannot be served: it is damaged")


def test_a_server_that_does_not_know_the_version_tells_nothing_of_it() -> None:
    found = judge(replace(OLD, versions={}, aliases={}, base="other"), RELEASED)
    assert found is not None
    assert found.converged is None
    assert "which serves the base model other, does not know legal@2" in str(found.problem)


def test_a_rank_beyond_the_servers_is_said_with_the_ways_out(
    settings: Settings, base_record: Base, answers: Callable[..., None]
) -> None:
    here = replace(OLD, fingerprint=base_record.fingerprint)
    answers(here)
    assert why_not_held(settings, base_record, rank=16, name="legal@3") is None
    reason = str(why_not_held(settings, base_record, rank=32, name="legal@3"))
    assert "legal@3 has the rank 32, and the server at http://there/v1 holds up to 16" in reason
    assert "restarted" in reason
    assert "--set rank=16" in reason
    answers(OLD)
    assert "serves the base model tiny-llama and not" in str(why_not_held(settings, base_record, rank=1, name="x"))
    answers(replace(here, max_rank=None))
    assert why_not_held(settings, base_record, rank=512, name="legal@3") is None
    answers(UnavailableError("gone"))
    assert why_not_held(settings, base_record, rank=512, name="legal@3") is None


def test_the_rank_that_a_recipe_needs_is_its_highest() -> None:
    assert rank_of(TrainingRecipe(rank=8, ranks={"down_proj": 32})) == 32
    assert rank_of(TrainingRecipe(rank=8), highest=64) == 64
    assert rank_of(TrainingRecipe(method="prefix")) == 0


def test_a_server_has_room_for_what_the_cards_would_train_and_starts_with_wrong_cards_too(settings: Settings) -> None:
    for name in ("legal", "tax"):
        write_domain(settings.domains, name)
    card = settings.domains / "legal" / "card.yaml"
    card.write_text(card.read_text(encoding="utf-8") + "recipe: {rank: 96}\n", encoding="utf-8")
    (settings.domains / "tax" / "card.yaml").write_text("name: [", encoding="utf-8")
    assert ranks_of_cards(settings) == [96]
    assert held_rank([32, *ranks_of_cards(settings)]) == 128


def test_an_endpoint_of_another_base_model_is_named_with_the_way_out() -> None:
    made = manifest_of(base="other-base", base_fingerprint="o" * 64)
    with pytest.raises(
        UnavailableError, match=r"serves the base model tiny-llama .* was made for other-base"
    ) as caught:
        replace(OLD, versions={}).check(made)
    assert "`locum serve --base other-base`" in str(caught.value.hint)


def test_a_version_that_the_endpoint_cannot_hold_is_not_asked() -> None:
    versions = {"legal@2": ServedVersion("d" * 64, "f", "its rank is 32, this server holds up to 16")}
    with pytest.raises(UnservableError, match="cannot serve legal@2: its rank is 32"):
        replace(OLD, versions=versions).check(manifest_of(base_fingerprint="f", digest="d" * 64))
