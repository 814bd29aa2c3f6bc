"""`make demo`: the whole loop on three real domains, each step through the command that a user would type.

What is already converted, trained, registered and answered is reused, so a second run takes a fraction of the first.
"""

from __future__ import annotations

import socket
import sys
import time
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table

from locum.adapters.domains import Domain, domain_names, load_domain
from locum.commands.common import err, out
from locum.errors import GateError, LocumError, UnavailableError
from locum.settings import Settings, load_settings

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.manifest import Manifest
    from locum.evaluate.result import EvaluationResult
    from locum.serve.launcher import Server


@dataclass(frozen=True)
class Answer:
    """One question, as the base model and the released version answer it."""

    domain: str
    question: str
    base: str
    version: str
    adapter: str


def main() -> None:
    """Run the demo; exits 0 when every domain passed its gate, 1 when one did not, 3 for the environment."""
    parser = ArgumentParser(prog="make demo", description=main.__doc__)
    parser.add_argument("--fresh", action="store_true", help="put the old state aside and start over")
    fresh = parser.parse_args().fresh
    try:
        sys.exit(run(load_settings(), fresh=fresh))
    except LocumError as error:
        err.print(f"[bold red]Error:[/] {error}", highlight=False, soft_wrap=True)
        if error.hint:
            err.print(error.hint, style="dim", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("Stopped. What is done is kept: make demo goes on from here.")
        sys.exit(130)


def run(settings: Settings, *, fresh: bool = False) -> int:
    """The loop: base model, data, training, registration, server, evaluation, release, answers."""
    started = time.monotonic()
    if fresh:
        put_aside(settings.home)
    base = ready_base(settings)
    domains = [load_domain(settings.domains, name) for name in domain_names(settings.domains)]
    candidates = [ready_version(settings, domain, base) for domain in domains]

    settings = load_settings(port=free_port(settings))
    server = start_server(settings, base, candidates)
    try:
        results = [evaluate_and_release(settings, server, domain) for domain in domains]
        answers = [ask(settings, server, base, domain) for domain in domains if in_production(settings, domain)]
    finally:
        with err.status("stopping the server: running requests may finish"):
            from locum.serve import launcher

            launcher.stop(server)
    report = write_report(settings, results, answers)
    show(results, answers, report, minutes=(time.monotonic() - started) / 60)
    return 0 if all(result.verdict.passed for result in results) else 1
