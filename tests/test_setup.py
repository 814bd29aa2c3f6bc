"""What `make` does before there is an environment, how `pip` is heard, and the other scripts of a machine."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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
    assert not path.is_symlink(), "what it leads to would be written"
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


def test_what_else_is_lacking_is_mended_by_the_same_command(run: Run, programs: Path, tmp_path: Path) -> None:
    program(programs / "apt-get", "exit 1")
    python = str(python_without(programs, "ensurepip"))
    done = run("requirements/venv", python, f"{tmp_path}/venv", "libc.so.6=libc6", "libnone.so.7=libnone7")
    assert done.returncode == 3
    assert "The library libnone.so.7 is missing.\n" in done.stderr
    assert re.search(r"^To mend it: .*apt install python3\.\d+-venv libnone7$", done.stderr, re.MULTILINE)


def test_a_library_that_is_gone_is_missed_though_the_environment_works(run: Run, tmp_path: Path) -> None:
    folder = Path(sys.prefix)
    done = run("requirements/venv", "no-such-python", str(folder), "libnone.so.7=libnone7")
    assert (done.returncode, "libnone7" in done.stderr) == (3, True)


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


def only(folder: Path, *names: str) -> dict[str, str]:
    """A PATH on which there are no other programs."""
    for name in names:
        program(folder / name, f'exec {sys.executable if name == "python3" else shutil.which(name)} "$@"')
    return {"PATH": str(folder)}


def test_where_packages_cannot_be_installed_ci_names_them_and_fails(programs: Path) -> None:
    path = only(programs, "bash", "id", "env", "python3", "make")
    done = subprocess.run([".ci/install-packages"], cwd=ROOT, env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert re.search(r"apt install .*chromium g\+\+ nodejs jq iproute2 curl", done.stderr)


def test_ci_installs_only_what_is_missing_and_is_quiet(programs: Path) -> None:
    path = only(programs, "bash", "env", "python3", "make", "mktemp", "rm", "ln", "node", "jq", "curl", "ip", "c++")
    program(programs / "id", "echo 0")
    program(
        programs / "apt-get",
        f'echo "$@" >>{programs}/asked; echo noise; [ $1 = update ] || ln -s apt-get {programs}/chromium',
    )
    done = subprocess.run([".ci/install-packages"], cwd=ROOT, env=path, capture_output=True, text=True, check=False)
    asked = (programs / "asked").read_text().splitlines()
    assert asked[0] == "update"
    assert asked[1].startswith("install --yes --no-install-recommends")
    assert "chromium" in asked[1].split()
    assert not {"jq", "nodejs", "g++"} & set(asked[1].split())
    assert "noise" not in done.stdout + done.stderr


def test_a_test_that_is_skipped_fails_in_ci_but_for_want_of_a_gpu(tmp_path: Path) -> None:
    tests = tmp_path / "test_some.py"
    tests.write_text(
        "import pytest\n"
        "@pytest.mark.skip(reason='no chromium')\ndef test_marked(): ...\n"
        "def test_inside(): pytest.skip('no database')\n"
        "@pytest.mark.skip(reason='needs a GPU')\ndef test_gpu(): ...\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q", str(tests)]
    outcomes = {}
    for value in ("", "1"):
        environment = {**os.environ, "LOCUM_TESTS_SKIP_NOTHING": value}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        outcomes[value] = done.returncode, done.stdout
    assert outcomes[""][0] == 0
    assert outcomes["1"][0] == 1
    assert "no chromium: skipped, and LOCUM_TESTS_SKIP_NOTHING" in outcomes["1"][1]
    assert "no database: skipped, and LOCUM_TESTS_SKIP_NOTHING" in outcomes["1"][1]
    assert "1 failed, 1 skipped, 1 error" in outcomes["1"][1]


@pytest.fixture
def dockerfile() -> Any:
    spec = importlib.util.spec_from_file_location("dockerfile", ROOT / ".ci" / "dockerfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dockerfile"] = module  # where its dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


def test_the_dockerfiles_steps_are_read_with_their_user_folder_and_environment(dockerfile: Any) -> None:
    steps = dockerfile.read((ROOT / "Dockerfile").read_text(encoding="utf-8"), path="/usr/bin")
    setup = next(step for step in steps if step.value.startswith("make setup"))
    assert (setup.user, setup.folder, setup.environment["PLATFORM"]) == ("root", "/opt/locum", "cpu")
    assert steps[-1].environment["PATH"] == "/opt/locum/.venv/bin:/usr/bin"
    assert "PLATFORM" not in steps[-1].environment
    assert (steps[-1].user, steps[-1].folder) == ("1000", "/var/lib/locum")
    assert (steps[-2].words(), steps[-1].words()) == (["locum"], ["serve"])


def test_an_instruction_that_the_reader_does_not_know_is_refused(dockerfile: Any) -> None:
    with pytest.raises(ValueError, match="ONBUILD"):
        dockerfile.read("FROM x\nONBUILD RUN y\n", path="/usr/bin")


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that http.server calls
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_the_image_asks_after_its_health_past_a_proxy_and_at_its_own_port(dockerfile: Any) -> None:
    """Docker hands a proxy's variables to containers, and LOCUM_PORT moves the server."""
    steps = dockerfile.read((ROOT / "Dockerfile").read_text(encoding="utf-8"), path="/usr/bin")
    health = next(step.value for step in steps if step.instruction == "HEALTHCHECK")
    command = json.loads(health[health.index("[") :])
    with ThreadingHTTPServer(("127.0.0.1", 0), _Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        variables = {"http_proxy": "http://127.0.0.1:9", "LOCUM_PORT": str(server.server_address[1])}
        done = subprocess.run([sys.executable, *command[1:]], env={**os.environ, **variables}, check=False)
        server.shutdown()
    assert done.returncode == 0
