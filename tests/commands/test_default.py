"""`locum eval` is a group, and yet takes a domain as its first word."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.commands.conftest import Ran


def test_an_unknown_first_word_is_a_domain_and_options_may_come_before_it(locum: Callable[..., Ran]) -> None:
    for arguments in (["insurance"], ["--limit", "3", "insurance"], ["run", "insurance"]):
        ran = locum("eval", *arguments)
        assert ran.code == 2
        assert "there is no domain 'insurance'" in ran.err


def test_a_domain_that_is_called_like_a_command_is_reached_by_run(locum: Callable[..., Ran]) -> None:
    assert "there is no domain 'schema'" in locum("eval", "run", "schema").err
    assert locum("eval", "schema").json["title"] == "EvaluationResult"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_the_main_options_and_the_commands_on_one_page(locum: Callable[..., Ran], flag: str) -> None:
    ran = locum("eval", flag)
    assert ran.code == 0
    for needed in ("{domain} | COMMAND [ARGS]", "--against", "--limit", "run ", "schema "):
        assert needed in ran.out


def test_the_help_after_a_domain_is_that_of_the_main_command(locum: Callable[..., Ran]) -> None:
    ran = locum("eval", "medical", "--help")
    assert "Usage: locum eval run" in ran.out
    assert "COMMAND" not in ran.out


def test_a_mistyped_option_is_told_with_what_there_is(locum: Callable[..., Ran]) -> None:
    ran = locum("eval", "medical", "--limt", "3")
    assert ran.code == 2
    assert "--limit" in ran.err
