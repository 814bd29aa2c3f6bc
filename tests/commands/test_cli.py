"""The command itself, in a process of its own: what it imports, how it ends, and what it says of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from locum import __version__
from locum.cli import app

HEAVY = {"torch", "transformers", "vllm", "pydantic", "sqlalchemy", "datasets", "peft", "httpx", "yaml"}


def locum(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUM_")}
    command = [sys.executable, "-m", "locum", *arguments]
    environment = {**kept, "COLUMNS": "200", **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what one types."""
    remaining: list[tuple[str, Any]] = [("", get_command(app))]
    while remaining:
        name, command = remaining.pop()
        if isinstance(command, TyperGroup):
            remaining += [(f"{name} {child}".strip(), found) for child, found in command.commands.items()]
        else:
            yield name, command


COMMANDS = dict(sorted(commands()))


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, json; from locum.cli import main; sys.argv = ['locum', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    help_text, _, loaded = output.rstrip().rpartition("\n")
    assert "Usage: locum" in help_text
    assert HEAVY & set(json.loads(loaded)) == set()


def test_the_commands_are_those_that_are_documented() -> None:
    wanted = {
        "base pull",
        "base show",
        "domain list",
        "domain show",
        "domain new",
        "data build",
        "data check",
        "data report",
        "data generate",
        "data augment",
        "data review",
    }
    wanted |= {"adapters list", "adapters show", "adapters register", "adapters verify", "adapters delete"}
    wanted |= {"adapters export", "adapters import"}
    wanted |= {"eval run", "eval show", "eval compare", "eval trend", "eval schema", "eval arena", "feedback"}
    wanted |= {"suite new", "suite check", "suite show", "suite split", "suite power"}
    wanted |= {"serve", "chat", "release", "rollback", "history", "config"}
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_of_itself_and_a_sentence_for_each_option(name: str) -> None:
    command = COMMANDS[name]
    text = command.help or ""
    assert text.splitlines()[0].endswith(".")
    [example] = [line for line in text.splitlines() if line.startswith("Example:")]
    assert f"locum {name.removesuffix(' run')}" in example
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None), parameter.name


def test_the_version_is_printed(tmp_path: Path) -> None:
    done = locum("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"locum {__version__}\n")


def test_wrong_use_exits_2_with_one_or_two_lines_and_no_traceback(tmp_path: Path) -> None:
    done = locum("domain", "show", "cardiology", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Error: there is no domain 'cardiology' in domains (there are: none)",
        "locum domain new cardiology starts one",
    ]


def test_what_an_error_quotes_is_no_command_to_the_terminal(tmp_path: Path) -> None:
    done = locum("domain", "show", "x\x1b[2Jy", cwd=tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


def test_a_missing_base_model_exits_3_and_says_the_command(tmp_path: Path) -> None:
    done = locum("base", "show", cwd=tmp_path)
    assert done.returncode == 3
    assert "the base model 'smollm2-135m-instruct' is not there" in done.stderr
    assert done.stderr.endswith("\nlocum base pull\n")
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback_and_keeps_the_exit_code(tmp_path: Path) -> None:
    done = locum("--debug", "domain", "show", "cardiology", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback")
    assert "NotFoundError: there is no domain 'cardiology'" in done.stderr


def test_a_home_that_cannot_be_used_exits_3_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    done = locum("adapters", "list", cwd=tmp_path, LOCUM_HOME=str(tmp_path / "home"))
    assert done.returncode == 3
    assert str(tmp_path / "home") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["domain", "show"], ["release", "x", "--nonsense"]])
def test_what_the_command_line_does_not_know_exits_2(tmp_path: Path, arguments: list[str]) -> None:
    done = locum(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Usage: locum" in done.stderr
