"""What `make` does before there is an environment, how `pip` is heard, and the other scripts of a machine."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder that comes first on the PATH of what is run."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


@pytest.fixture
def run(programs: Path) -> Run:
    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **variables}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return run


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def python_without(folder: Path, module: str) -> Path:
    """A Python that lacks a module, as Debian's lacks ensurepip until python3-venv is installed."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n", encoding="utf-8")
    return program(folder / "python-without", f'PYTHONPATH={folder} exec {sys.executable} "$@"')


@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_a_python_without_venv_is_told_the_one_command_that_mends_it_and_leaves_nothing(
    run: Run, programs: Path, tmp_path: Path, module: str
) -> None:
    program(programs / "apt-get", "exit 1")
    python = python_without(programs, module)
    done = run("make", "setup", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert "its module venv or ensurepip is missing" in done.stderr
    assert f"apt install {package}\n" in done.stderr
    assert done.stderr.count("To mend it") == 1
    assert not (tmp_path / "venv").exists()


def test_who_is_not_root_is_told_to_use_sudo(run: Run, programs: Path, tmp_path: Path) -> None:
    program(programs / "apt-get", "exit 1")
    program(programs / "id", "echo 1000")
    done = run("requirements/venv", str(python_without(programs, "ensurepip")), f"{tmp_path}/venv")
    assert (done.returncode, "sudo apt install python3" in done.stderr) == (3, True)
    program(programs / "id", "echo 0")
    done = run("requirements/venv", str(python_without(programs, "ensurepip")), f"{tmp_path}/venv")
    assert (done.returncode, "sudo" in done.stderr) == (3, False)


@pytest.mark.parametrize("found", ["Python 3.9.2", "Python 3.14.0"])
def test_a_python_of_another_version_is_refused_and_one_that_fits_is_named(
    run: Run, programs: Path, tmp_path: Path, found: str
) -> None:
    other = program(programs / "other", f'[ "$1" != -V ] || echo {found}; [ "$1" = -V ]')
    program(programs / "python3.13", "exit 0")
    done = run("requirements/venv", str(other), f"{tmp_path}/venv")
    assert done.returncode == 3
    assert done.stderr == (
        f"Locum needs Python 3.11 to 3.13, found {found}. This machine has another: make PYTHON=python3.13\n"
    )


def test_an_environment_without_pip_is_made_anew_and_one_with_pip_is_left_alone(run: Run, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (venv / "left over").touch()
    made = run("requirements/venv", sys.executable, str(venv))
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout == f"{venv} was left unfinished, or is another Python's: made anew.\n"
    assert not (venv / "left over").exists()
    (venv / "installed").touch()
    again = run("requirements/venv", "no-such-python", str(venv))
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert (venv / "installed").exists()


FLOOD = "".join(
    f"WARNING: Location 'file:///somewhere/{n}/' is ignored: it is neither a file nor a directory.\n"
    for n in range(200)
)


@pytest.fixture
def pip(tmp_path: Path) -> Callable[..., Path]:
    """Makes an environment whose pip prints three packages, complains, and ends with a code."""

    def make(code: int, complaint: str = "") -> Path:
        venv = tmp_path / "venv"
        (venv / "bin").mkdir(parents=True)
        (tmp_path / "complaint").write_text(FLOOD + complaint, encoding="utf-8")
        said = "Collecting a==1\\nCollecting b==2\\n  Downloading b\\nRequirement already satisfied: c\\n"
        said += "Installing collected packages: a, b\\n"
        program(venv / "bin" / "python", f"printf '{said}'; cat {tmp_path}/complaint >&2; exit {code}")
        return venv

    return make


def test_warnings_of_pip_are_kept_in_a_file_and_an_output_that_is_no_terminal_gets_one_line(
    run: Run, pip: Callable[..., Path]
) -> None:
    venv = pip(0)
    done = run("requirements/install", str(venv), "-r", "some.txt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "  3 packages are installed\n", "")
    log = (venv / "pip.log").read_text()
    assert "Collecting b==2" in log
    assert FLOOD in log


def test_when_pip_fails_its_errors_are_shown_whole_and_of_warnings_that_begin_alike_the_first(
    run: Run, pip: Callable[..., Path]
) -> None:
    errors = (
        "WARNING: Retrying (Retry(total=4)) after connection broken\n"
        "WARNING: Retrying (Retry(total=3)) after connection broken\n"
        "ERROR: Could not find a version that satisfies\nERROR: No matching distribution\n  detail of it\n"
    )
    venv = pip(1, errors)
    done = run("requirements/install", str(venv), "a")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert sum("is ignored" in line for line in lines) == 1
    assert sum("Retrying" in line for line in lines) == 1
    assert lines[-4:] == [
        "ERROR: Could not find a version that satisfies",
        "ERROR: No matching distribution",
        "  detail of it",
        f"pip failed. All that it said is in {venv}/pip.log",
    ]
    assert FLOOD + errors in (venv / "pip.log").read_text()


def test_a_terminal_gets_a_line_that_counts(pip: Callable[..., Path]) -> None:
    ours, theirs = pty.openpty()
    subprocess.run([ROOT / "requirements" / "install", pip(0), "a"], stdout=theirs, check=True)
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    for each in ("  packages fetched: 1", "  packages fetched: 3; installing them", "  3 packages are installed"):
        assert each in said
    assert said.count("\n") == 1
