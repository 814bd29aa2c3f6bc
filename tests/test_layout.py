"""How the parts lie and who knows whom."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_hugging_faces_evaluate_and_ours_live_side_by_side_at_the_root() -> None:
    code = "import evaluate, locum.evaluate.gate; print(evaluate.__file__); print(evaluate.Metric.__name__)"
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert "site-packages" in done.stdout


def test_python_m_locum_works_from_the_root() -> None:
    assert run("-m", "locum", "--version").stdout.startswith("locum 0.")


@pytest.mark.parametrize("part", ["adapters", "train", "serve", "evaluate"])
def test_the_four_parts_are_links_inside_the_package(part: str) -> None:
    link = ROOT / "locum" / part
    assert link.is_symlink()
    assert link.readlink() == Path("..") / part


def test_evaluate_has_no_init_so_that_it_shadows_nobody() -> None:
    assert not (ROOT / "evaluate" / "__init__.py").exists()


MAY_KNOW = {
    "adapters": set(),
    "train": {"adapters"},
    "serve": {"adapters"},
    "evaluate": {"adapters"},
}


@pytest.mark.parametrize("part", MAY_KNOW)
def test_the_parts_know_only_whom_they_may(part: str) -> None:
    """By the imports in the source, those inside functions too. settings, errors, network and text are for all."""
    allowed = {part, "settings", "errors", "network", "text", "__version__", *MAY_KNOW[part]}
    known = set()
    for path in (ROOT / part).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "locum":
                known |= {(path.name, alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("locum."):
                known.add((path.name, (node.module or "").split(".")[1]))
            elif isinstance(node, ast.Import):
                known |= {
                    (path.name, alias.name.split(".")[1]) for alias in node.names if alias.name.startswith("locum.")
                }
    assert {(file, name) for file, name in known if name not in allowed} == set()


def test_a_wheel_holds_all_four_parts_and_their_data(tmp_path: Path) -> None:
    source = tmp_path / "source"
    leave = shutil.ignore_patterns(".venv*", ".lock-venv", ".git", ".locum*", "build", "*.egg-info", ".*_cache")
    shutil.copytree(ROOT, source, symlinks=True, ignore=leave)
    built = run("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(source))
    assert built.returncode == 0, built.stderr
    import zipfile

    names = set(zipfile.ZipFile(next(tmp_path.glob("locum-*.whl"))).namelist())
    for wanted in (
        "locum/cli.py",
        "locum/py.typed",
        "locum/adapters/registry.py",
        "locum/adapters/migrations/versions/0001_first_tables.py",
        "locum/adapters/templates/card.yaml",
        "locum/train/trainer.py",
        "locum/serve/door.py",
        "locum/evaluate/gate.py",
        "locum/evaluate/judge/rubric.yaml",
        "locum/evaluate/suites/general/suite.yaml",
        "locum/evaluate/suites/general/samples.jsonl",
    ):
        assert wanted in names
    assert any(name.startswith("locum/evaluate/templates/") for name in names)
    assert not any(".part" in name or name.startswith("tests/") for name in names)
