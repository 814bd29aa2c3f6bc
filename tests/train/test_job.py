"""What a process tells when it fails is what the command says."""

from __future__ import annotations

from pathlib import Path

from locum.errors import BadInputError, UnavailableError
from locum.train.job import Failure

LOG = Path("processes.log")


def told(error: BaseException) -> Failure:
    return Failure.model_validate_json(Failure.of(error).model_dump_json())


def test_an_error_of_locum_comes_back_as_it_was() -> None:
    failure = told(BadInputError("rows are too long", hint="shorten them"))
    found = failure.as_error(LOG)
    assert (type(found), str(found), found.hint) == (BadInputError, "rows are too long", "shorten them")
    assert failure.foreseen
    assert not failure.tells_of_another


def test_what_nobody_foresaw_names_the_log() -> None:
    found = told(KeyError("nonesuch")).as_error(LOG)
    assert isinstance(found, UnavailableError)
    assert "KeyError" in str(found)
    assert "nonesuch" in str(found)
    assert "processes.log" in str(found.hint)


def test_a_lost_connection_is_known_as_the_end_of_another() -> None:
    assert told(RuntimeError("Read error [127.0.0.1]:18348: Connection reset by peer.")).tells_of_another
    assert not told(RuntimeError("expected scalar type Float but found Half")).tells_of_another
