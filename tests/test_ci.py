"""The workflows in deploy/ci: every command in them exists, and they keep one comment up to date."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import typer.main
import yaml

from locum.cli import app

CI = Path(__file__).parent.parent / "deploy" / "ci"


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CI / name).read_text(encoding="utf-8"))
    return found


def github_steps() -> list[dict[str, Any]]:
    return list(workflow("github.yaml")["jobs"]["evaluate"]["steps"])


def gitlab_scripts(*names: str) -> list[str]:
    job = workflow("gitlab.yaml")["evaluate-candidate"]
    return [script for name in names for script in job[name]]


def scripts() -> list[str]:
    """All that the workflows have a shell do."""
    steps = [step["run"] for step in github_steps() if "run" in step]
    return steps + gitlab_scripts("before_script", "script", "after_script")


def commands() -> list[str]:
    """Every `locum …` in them, with the shell's variables filled in."""
    lines = [line for script in scripts() for line in script.replace("\\\n", " ").splitlines()]
    found = [re.split(r"\s[0-9]*[>|&]", line.strip())[0] for line in lines if re.match(r"\s*locum\s", line)]
    return [re.sub(r"\$\{?\w+\}?", "medical", line) for line in found]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_in_a_workflow_is_one_that_there_is(command: str) -> None:
    words = shlex.split(command)[1:]
    parsed: Any = typer.main.get_command(app)
    context = parsed.make_context("locum", words)
    while hasattr(parsed, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, parsed, rest = parsed.resolve_command(context, rest)
        context = parsed.make_context(name, rest, parent=context)
    assert context.args == []


def test_the_workflows_make_ready_train_or_take_in_serve_and_evaluate() -> None:
    for said in (
        [step["run"] for step in github_steps() if "run" in step],
        gitlab_scripts("before_script", "script"),
    ):
        text = "\n".join(said)
        wanted = ["locum base pull", "locum data build", "locum train", "locum adapters import", "locum serve"]
        assert all(each in text for each in [*wanted, "locum eval"])
        assert "--junit report/junit.xml --markdown report/comment.md" in text


@pytest.mark.parametrize("script", scripts())
def test_a_script_is_one_that_bash_can_read(script: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_nothing_that_others_write_is_pasted_into_a_script() -> None:
    """What a pull request says could otherwise run as a command: it comes in by the environment only."""
    assert not any("${{" in step.get("run", "") for step in github_steps())
    assert not any("${{" in step["with"]["script"] for step in github_steps() if "script" in step.get("with", {}))


def test_the_gates_exit_code_fails_the_job_and_the_reports_come_all_the_same() -> None:
    steps = {step.get("name"): step for step in github_steps()}
    assert "if" not in steps["Evaluate"]
    assert "continue-on-error" not in steps["Evaluate"]
    for name in ("Keep the reports", "Comment on the pull request"):
        assert "!cancelled()" in steps[name]["if"]
    job = workflow("gitlab.yaml")["evaluate-candidate"]
    assert "allow_failure" not in job
    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["reports"]["junit"] == "report/junit.xml"
    assert job["script"][-1].strip().startswith("locum eval")


@pytest.fixture
def comment(tmp_path: Path) -> Path:
    path = tmp_path / "report" / "comment.md"
    path.parent.mkdir()
    path.write_text("<!-- locum-eval:medical -->\n### ✅ passed: medical@3 & more\n", encoding="utf-8")
    return path


GITHUB = """
const comments = %s, asked = [];
const issues = {
  listComments: 'list',
  updateComment: async what => asked.push(['update', what]),
  createComment: async what => asked.push(['create', what]),
};
const github = { rest: { issues }, paginate: async () => comments };
const context = { repo: { owner: 'us', repo: 'ours' }, issue: { number: 7 } };
(async () => { %s })().then(() => console.log(JSON.stringify(asked)));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("before", [[], ["Looks good"], ["Looks good", "<!-- locum-eval:medical -->\nold", "Thanks"]])
def test_github_gets_one_comment_that_is_rewritten(comment: Path, before: list[str]) -> None:
    [script] = [step["with"]["script"] for step in github_steps() if "github-script" in step.get("uses", "")]
    comments = json.dumps([{"id": number, "body": body} for number, body in enumerate(before)])
    done = subprocess.run(
        ["node", "-e", GITHUB % (comments, script)],
        cwd=comment.parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    [[action, what]] = json.loads(done.stdout)
    assert what["body"] == comment.read_text(encoding="utf-8")
    if len(before) == 3:
        assert (action, what["comment_id"]) == ("update", 1)
    else:
        assert (action, what["issue_number"]) == ("create", 7)


class _GitLab(ThreadingHTTPServer):
    """The notes of one merge request, as GitLab's REST interface has them."""

    def __init__(self, before: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Notes)
        self.notes = dict(enumerate(before))
        self.changed: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/v4"


class _Notes(BaseHTTPRequestHandler):
    server: _GitLab

    def do_GET(self) -> None:  # the name that http.server calls
        self._answer([{"id": number, "body": body} for number, body in self.server.notes.items()])

    def do_PUT(self) -> None:
        self._change(int(self.path.rpartition("/")[2]))

    def do_POST(self) -> None:
        self._change(len(self.server.notes))

    def _change(self, number: int) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.notes[number] = parse_qs(body, strict_parsing=True)["body"][0]
        self.server.changed.append((self.path, self.headers["private-token"]))
        self._answer({"id": number})

    def _answer(self, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def gitlab(request: pytest.FixtureRequest) -> Iterator[_GitLab]:
    server = _GitLab(request.param)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl or jq is not installed")
@pytest.mark.parametrize("gitlab", [[], ["Thanks", "<!-- locum-eval:medical -->\nold"]], indirect=True)
def test_gitlab_gets_one_comment_that_is_rewritten(comment: Path, gitlab: _GitLab) -> None:
    [script] = gitlab_scripts("after_script")
    variables = {
        "CI_API_V4_URL": gitlab.url,
        "CI_PROJECT_ID": "5",
        "CI_MERGE_REQUEST_IID": "7",
        "LOCUM_BOT_TOKEN": "token",
    }
    others = len([body for body in gitlab.notes.values() if not body.startswith("<!--")])
    for _ in range(2):
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=comment.parent.parent,
            env={"PATH": "/usr/bin:/bin", "no_proxy": "*", **variables},
            check=True,
        )
    assert len(gitlab.notes) == others + 1
    assert comment.read_text(encoding="utf-8").strip() in [body.strip() for body in gitlab.notes.values()]
    assert {token for _, token in gitlab.changed} == {"token"}
    assert all(path.startswith("/api/v4/projects/5/merge_requests/7/notes") for path, _ in gitlab.changed)
