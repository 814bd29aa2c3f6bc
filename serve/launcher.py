"""Start vLLM as a Locum server, say what it waits for, and stop it gently."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx

from locum.adapters.base import Base
from locum.errors import BadInputError, UnavailableError
from locum.serve.api_server import LISTENER, STANDBY
from locum.serve.host import HostPlan
from locum.serve.plugin import DOOR
from locum.serve.standby import NAME, Standby
from locum.settings import Settings

SERVER_MODULE = "locum.serve.api_server"
BACKLOG = 2048
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
DRAIN_SECONDS = 30
CPU_BLOCK = 32
START_SECONDS = 900
# What vLLM's log says, and what it means to somebody who waits.
STAGES = (
    (re.compile(r"Application startup complete"), "opening the port"),
    (re.compile(r"Starting vLLM server on|Supported tasks"), "setting up the routes"),
    (re.compile(r"init engine|KV cache size|CPU KV cache"), "making room for keys and values"),
    (re.compile(r"Warming up model for the compilation"), "compiling the model for this CPU"),
    (re.compile(r"Loading weights took|Model loading took"), "preparing the adapter slots"),
    (re.compile(r"Starting to load model|Loading safetensors"), "loading the base model"),
    (re.compile(r"Initializing a V1 LLM engine|EngineCore"), "starting the engine"),
    (re.compile(r"compiling Locum's CPU kernels"), "compiling Locum's kernels for this CPU (later starts reuse them)"),
)

LOG_PREFIX = re.compile(r"^(\([\w-]+ pid=\d+\) )?(ERROR [\d-]+ [\d:]+ \[[^]]*\] )?")
EXCEPTION = re.compile(r"[\w.]*(Error|Exception)\b: ")


@dataclass
class Server:
    """A server that this process started. The port is this process' own, and open from the beginning to `stop`."""

    command: list[str]
    environment: dict[str, str]
    listener: socket.socket
    standby: Standby
    process: subprocess.Popen[bytes]
    url: str
    log: Path | None
    admin_token: str

    @property
    def endpoint(self) -> str:
        return f"{self.url}/v1"


def start(
    settings: Settings,
    base: Base,
    plan: HostPlan,
    *,
    max_rank: int = 16,
    vllm_args: list[str] | None = None,
    verbose: bool = False,
) -> Server:
    """Start the server process; returns at once. `wait_until_ready` says when it answers.

    `max_rank` is the highest LoRA rank it must hold. `vllm_args` go to vLLM as they are and win over Locum's.

    Raises:
        BadInputError: an argument that Locum must decide itself.
        UnavailableError: the port is taken, or vLLM is not installed.
    """
    _refuse(vllm_args or [])
    _require_vllm()
    listener = _listen(settings.host, settings.port)
    token = settings.admin_token.get_secret_value() or secrets.token_urlsafe(32)
    log = None if verbose else settings.logs / f"serve-{settings.port}.log"
    command = [sys.executable, "-m", SERVER_MODULE, *arguments(settings, base, plan, max_rank), *(vllm_args or [])]
    environment = {**os.environ, **variables(settings, plan, token)}
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host
    url = f"http://{host}:{settings.port}"
    standby = Standby(listener)
    process = _spawn(command, environment, listener, standby.start("starting"), log)
    return Server(command, environment, listener, standby, process, url, log, token)


def restart(server: Server) -> None:
    """Start a server again that ended; returns at once."""
    _kill_rest(server)
    line = server.standby.start("starting again")
    server.process = _spawn(server.command, server.environment, server.listener, line, server.log)


def _spawn(
    command: list[str], environment: dict[str, str], listener: socket.socket, line: socket.socket, log: Path | None
) -> subprocess.Popen[bytes]:
    passed = {LISTENER: listener.fileno(), STANDBY: line.fileno()}
    with line, _output(log) as output:
        return subprocess.Popen(
            command,
            env={**environment, **{name: str(descriptor) for name, descriptor in passed.items()}},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=list(passed.values()),
        )


def arguments(settings: Settings, base: Base, plan: HostPlan, max_rank: int) -> list[str]:
    """vLLM's arguments for this base model on this host."""
    rank = next((allowed for allowed in LORA_RANKS if allowed >= max_rank), None)
    if rank is None:
        raise BadInputError(f"vLLM holds LoRA ranks up to {LORA_RANKS[-1]}, found {max_rank}")
    found = ["--model", str(base.path), "--served-model-name", base.name, "--dtype", plan.dtype]
    found += ["--host", settings.host, "--port", str(settings.port)]
    found += ["--enable-lora", "--max-loras", "8", "--max-cpu-loras", "64", "--max-lora-rank", str(rank)]
    found += ["--middleware", DOOR, "--scheduler-cls", "locum.serve.scheduler.fair_scheduler"]
    found += ["--shutdown-timeout", str(DRAIN_SECONDS)]
    # lm-evaluation-harness asks for the tokenizer of a name that is no checkpoint, such as `medical`.
    found += ["--enable-tokenizer-info-endpoint"]
    if plan.device == "cpu":
        # vLLM's 128 tokens a block on CPUs leave a short system prompt outside the prefix cache.
        found += ["--block-size", str(CPU_BLOCK)]
    if plan.cache_bytes is not None:
        found += ["--kv-cache-memory-bytes", str(plan.cache_bytes)]
    return found


def variables(settings: Settings, plan: HostPlan, admin_token: str) -> dict[str, str]:
    """Environment of the server process: Locum's settings as they are in force, and what vLLM reads."""
    found = {
        "VLLM_PLUGINS": "locum",
        "VLLM_NO_USAGE_STATS": "1",
        # else vLLM stops to accept connections when the engine has died, some time before the process ends
        "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "1",
        "LOCUM_HOME": str(settings.home.absolute()),
        "LOCUM_DOMAINS": str(settings.domains.absolute()),
        "LOCUM_BASE": settings.base,
        "LOCUM_REGISTRY": settings.registry_url,
        "LOCUM_ARTIFACTS": settings.artifacts_url,
        "LOCUM_HOST": settings.host,
        "LOCUM_PORT": str(settings.port),
        "LOCUM_ADMIN_TOKEN": admin_token,
        "LOCUM_API_KEY": settings.api_key.get_secret_value(),
        "LOCUM_USER": settings.user,
    }
    if plan.cores:
        # vLLM would leave a core to its scheduler, which is idle while the engine computes.
        found["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(str(core) for core in plan.cores)
    if plan.preload:
        found["LD_PRELOAD"] = ":".join([*map(str, plan.preload), *filter(None, [os.environ.get("LD_PRELOAD")])])
    return found


def wait_until_ready(server: Server, say: Callable[[str], None], *, timeout: float = START_SECONDS) -> None:
    """Wait until `/ready` says so; calls `say` with the reason whenever it changes.

    Raises:
        UnavailableError: the server ended, or is not ready in time; names the log and its last complaint.
    """
    deadline = time.monotonic() + timeout
    reason = ""
    while time.monotonic() < deadline:
        code = server.process.poll()
        if code is not None:
            raise UnavailableError(f"the server ended with code {code} while starting: {last_complaint(server)}")
        found = _waiting_for(server)
        if found is None:
            return
        if found != reason:
            reason = server.standby.reason = found
            say(reason)
        time.sleep(0.2)
    _kill_rest(server)
    raise UnavailableError(f"the server was not ready after {timeout:.0f} s; it was {reason}", hint=f"see {server.log}")


def stop(server: Server, *, timeout: float = DRAIN_SECONDS + 15) -> None:
    """Ask the server to end, let running requests finish, and end it if it takes longer than `timeout` seconds."""
    server.standby.stop()
    server.listener.close()
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(timeout)
    _kill_rest(server)


def _kill_rest(server: Server) -> None:
    """End what is left of the server: the engine outlives an HTTP server that was killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that one path ends the server for both.

    SIGINT is set too: a shell starts what runs in its background with SIGINT ignored.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _waiting_for(server: Server) -> str | None:
    try:
        answer = httpx.get(f"{server.url}/ready", timeout=5)
    except httpx.HTTPError:
        return _stage(server.log)
    if answer.headers.get("server", "").startswith(NAME):
        return _stage(server.log)
    if answer.status_code == 200:
        return None
    try:
        return str(answer.json()["waiting_for"])
    except (ValueError, KeyError):
        return f"the server answers {answer.status_code}"


def _stage(log: Path | None) -> str:
    text = log.read_text(errors="replace") if log and log.is_file() else ""
    return next((stage for pattern, stage in STAGES if pattern.search(text)), "importing vLLM")


def last_complaint(server: Server) -> str:
    """What the server's log says of its end."""
    log = server.log
    if log is None or not log.is_file():
        return "see its output above"
    lines = [LOG_PREFIX.sub("", line).strip() for line in _plain(log.read_text(errors="replace")).splitlines()]
    errors = [line for line in lines if EXCEPTION.match(line)]
    # the first exception is the cause; each process that depends on the one that failed adds its own after it
    said = errors[0] if errors else next(filter(None, reversed(lines)), "it said nothing")
    return f"{said} (all of it is in {log})"


def _plain(log: str) -> str:
    """A log as text: with `--log-format json` its messages, and the exceptions that they are about."""

    def plain(line: str) -> str:
        try:
            entry = json.loads(line) if line.startswith("{") else None
        except ValueError:
            entry = None
        return f"{entry.get('message', '')}\n{entry.get('exc_info', '')}" if isinstance(entry, dict) else line

    return "\n".join(plain(line) for line in log.splitlines())


@contextlib.contextmanager
def _output(log: Path | None) -> Iterator[int | None]:
    if log is None:
        yield None
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():  # starting again must not destroy what the last start says about its end
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("wb") as file:
        yield file.fileno()


def _refuse(vllm_args: list[str]) -> None:
    decided = {
        "--api-key": "set LOCUM_API_KEY: the admin routes need a token of their own beside it",
        "--model": "use `locum serve --base NAME`, so that adapters and base model fit",
        "--served-model-name": "the base model is served under the name that it was pulled with",
        "--host": "use `locum serve --host`",
        "--port": "use `locum serve --port`",
    }
    for argument in vllm_args:
        name = argument.split("=", 1)[0]
        if name in decided:
            raise BadInputError(f"{name} is not passed on to vLLM", hint=decided[name])
    if os.environ.get("VLLM_API_KEY"):
        raise BadInputError("VLLM_API_KEY is set", hint=decided["--api-key"])


def _require_vllm() -> None:
    from importlib.util import find_spec

    if find_spec("vllm") is None:
        raise UnavailableError(
            "vLLM is not installed", hint="pip install 'locum[cpu]' or 'locum[gpu]'; see docs/install.md"
        )


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="choose another with --port or LOCUM_PORT, or stop what has it",
        ) from None
    listener.setblocking(False)  # two processes wait for connections, and one of them gets each
    return listener
