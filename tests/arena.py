"""A small arena with names that would show: whatever a reviewer gets can be searched for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from locum.adapters.conversations import Message
from locum.adapters.registry import Registry
from locum.adapters.votes import Arena, ArenaQuestion, Preferred, Rating, Vote, open_arena, record_vote
from locum.evaluate.arena.matches import Match
from tests.records import arena_of

MODEL, AGAINST = "cardiology@7", "llama-base-of-the-tests"
NAMES = (MODEL, AGAINST, "cardiology@", "digest-of-model", "digest-of-against", "fingerprint", "held-out", "sample-")
AT = datetime(2026, 3, 1, tzinfo=UTC)
PREFERRED: dict[str, Preferred] = {"+": "model", "=": "tie", "-": "against"}
ARENA = arena_of(
    domain="cardiology",
    suite_digest="suite-digest",
    model=MODEL,
    model_digest="digest-of-model",
    against=AGAINST,
    against_digest="digest-of-against",
    base_fingerprint="fingerprint",
)


def question(number: int, *, ours: str = "", theirs: str = "") -> ArenaQuestion:
    return ArenaQuestion(
        number=number,
        sample=f"sample-{number}",
        messages=[
            Message(role="system", content="Answer as a physician."),
            Message(role="user", content=f"What does finding {number} mean?"),
        ],
        model_answer=ours or f"Finding {number} is harmless.\nSee a physician if it lasts.",
        against_answer=theirs or f"I cannot say what {number} means.",
        group=f"finding-{number}",
        topic="findings",
    )


def make_match(
    registry: Registry,
    count: int = 6,
    *,
    digest: str = "arena",
    arena: Arena = ARENA,
    asked: Sequence[ArenaQuestion] = (),
) -> Match:
    """`count` questions of the same kind, unless `asked` says which."""
    asked = tuple(asked or (question(number) for number in range(count)))
    arena_id, kept = open_arena(registry, digest, arena, asked)
    return Match(arena_id, digest, kept, asked, same=0, unanswered=0)


def say(
    registry: Registry,
    arena: int,
    votes: Mapping[str, str],
    *,
    ours: Rating | None = None,
    theirs: Rating | None = None,
) -> None:
    """Votes as strings, one sign a question: + for the model, = for neither, - for the other, blank for no vote."""
    for reviewer, signs in votes.items():
        for number, sign in enumerate(signs):
            if sign != " ":
                vote = Vote(
                    number=number,
                    reviewer=reviewer,
                    preferred=PREFERRED[sign],
                    left="model" if number % 2 else "against",
                    model_rating=ours or {},
                    against_rating=theirs or {},
                    at=AT,
                )
                record_vote(registry, arena, vote)
