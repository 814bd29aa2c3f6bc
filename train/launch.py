"""Starts the processes of a training with accelerate's launcher, shows their progress, and ends with them.

The processes end with this one too, however it ends: their standard input is a pipe from here.
"""

from __future__ import annotations

import codecs
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from locum.errors import UnavailableError
from locum.train.job import JOB_FILE, PROGRESS_FILE, Failure, Job
from locum.train.spread import Spread, cores

_WORKER = "locum.train.worker"
# What accelerate's launcher starts from when no configuration is given: else it reads the user's own, whatever it says.
_PLAIN = "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\n"


def launch(job: Job, spread: Spread, log: Path) -> None:
    """Train in `spread.processes` processes of this host, until all have ended.

    Args:
        log: what the processes write; it stays only when one ended without a known reason.

    Raises:
        LocumError: the error of the process that failed first.
    """
    notes = Path(tempfile.mkdtemp(prefix="locum-"))
    try:
        (notes / JOB_FILE).write_text(job.model_dump_json(), encoding="utf-8")
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(spread, notes),
                env=_environment(spread),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the command alone, which then ends them in order
            )
        if spread.hosts > 1:
            others = "host 0" if spread.host_rank else f"{spread.hosts - 1} more"
            sys.stderr.write(f"Host {spread.host_rank} of {spread.hosts} waits for {others} at {spread.rendezvous}.\n")
        try:
            _show(notes / PROGRESS_FILE, process)
        except KeyboardInterrupt:
            log.unlink()
            raise
        finally:
            _end(process)
            Console(stderr=True).show_cursor()  # which the progress bar hides, and an end in its midst does not show
        if process.returncode:
            raise _why(notes, log, process.returncode)
        log.unlink()
    finally:
        shutil.rmtree(notes, ignore_errors=True)


def _command(spread: Spread, notes: Path) -> list[str]:
    config = spread.config
    if config is None:
        config = notes / "accelerate.yaml"
        config.write_text(_PLAIN, encoding="utf-8")
    host, _, port = (spread.rendezvous or "127.0.0.1:0").rpartition(":")
    options = {
        "config_file": config,
        "num_processes": spread.world,
        "num_machines": spread.hosts,
        "machine_rank": spread.host_rank,
        "main_process_ip": host,
        "main_process_port": port,
        "max_restarts": 0,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "accelerate.commands.launch", *words, "--module", _WORKER, str(notes)]


def _environment(spread: Spread) -> dict[str, str]:
    """Each process has its share of the cores, and knows how wide the terminal is."""
    environment = {"OMP_NUM_THREADS": str(max(1, cores() // spread.processes)), **os.environ}
    if sys.stderr.isatty():
        columns = str(shutil.get_terminal_size().columns)
        environment |= {"FORCE_COLOR": "1", "COLUMNS": columns}
    return environment


def _show(progress: Path, process: subprocess.Popen[bytes]) -> None:
    """Pass on what rank 0 writes, until the launcher has ended."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    place = 0
    ended = False
    while not ended:
        ended = process.poll() is not None
        if progress.exists():
            with progress.open("rb") as file:
                file.seek(place)
                new = file.read()
            place += len(new)
            sys.stderr.write(decode(new))
            sys.stderr.flush()
        if not ended:
            time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """See that the launcher and its processes are no more."""
    assert process.stdin is not None
    process.stdin.close()
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _why(notes: Path, log: Path, code: int) -> Exception:
    """The first failure with a known reason; else the first that does not only tell of another's end."""
    failures = [Failure.model_validate_json(file.read_text(encoding="utf-8")) for file in notes.glob("failure-*.json")]
    text = log.read_text(encoding="utf-8", errors="replace")
    whole = f"the whole of it is in {log}"
    causes = [failure for failure in failures if not failure.tells_of_another]
    if causes:
        first = min(causes, key=lambda failure: (not failure.foreseen, failure.at))
        if first.foreseen:
            log.unlink()
        return first.as_error(log)
    if "SIGKILL" in text:
        return UnavailableError(
            "a process was killed; where nobody did that, the machine's memory ran out",
            hint=f"fewer processes need less memory; {whole}",
        )
    if died := re.search(r"\((SIG[A-Z]+)\)", text):
        return UnavailableError(f"a process died of {died[1]}, as a fault in a library makes it", hint=whole)
    if failures:
        return UnavailableError("the processes of another host ended", hint=f"that host says why; {whole}")
    if "timed out" in text or "Timeout" in text:
        return UnavailableError(
            "the hosts did not all meet within ten minutes",
            hint=f"start the command on every host, and let them reach the rendezvous; {whole}",
        )
    last = ([line.strip() for line in text.splitlines() if line.strip()] or ["nothing was said"])[-1]
    return UnavailableError(f"the launcher ended with exit code {code}: {last}", hint=whole)
