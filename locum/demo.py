"""`make demo`: the whole loop on three real domains, each step by the function behind the command for it.

What is already converted, trained, registered and answered is reused, so a second run takes a fraction of the first.
"""

from __future__ import annotations

import socket
import sys
import time
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.panel import Panel

from locum.adapters.domains import Domain, load_domain
from locum.commands.common import err, heading, no_bars_in_logs, out, spin_less, table, waiting
from locum.commands.verdict import show_checks
from locum.errors import LocumError, UnavailableError
from locum.settings import Settings, load_settings

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.manifest import Manifest
    from locum.evaluate.page import Asked
    from locum.evaluate.result import EvaluationResult
    from locum.serve.launcher import Server

DOMAINS = ("medical", "legal", "finance")
REPORT = "demo.html"


def main() -> None:
    """Run the demo; exits 0 when every domain passed its gate, 1 when one did not, 3 for the environment."""
    parser = ArgumentParser(prog="make demo", description=main.__doc__)
    parser.add_argument("--fresh", action="store_true", help="put the old state aside and start over")
    fresh = parser.parse_args().fresh
    no_bars_in_logs()
    spin_less()
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
    domains = [load_domain(settings.domains, name) for name in DOMAINS]
    versions = [ready_version(settings, domain, base) for domain in domains]

    settings = load_settings(port=free_port(settings.port))
    server = start_server(settings, base, versions)
    try:
        evaluations = [evaluate(settings, version) for version in versions]
        released = [domain for domain, results in zip(domains, evaluations, strict=True) if release(settings, results)]
        asked = [ask_both(settings, domain, base) for domain in released]
    finally:
        stop_server(server)
    report = write_report(settings, [result for results in evaluations for result in results], asked)
    show(evaluations, report, minutes=(time.monotonic() - started) / 60)
    return 0 if len(released) == len(domains) else 1


def put_aside(home: Path) -> None:
    """Start over without losing anything: the old state is renamed."""
    if home.exists():
        aside = home.with_name(f"{home.name}-{datetime.now():%Y%m%d-%H%M%S}")
        home.rename(aside)
        out.print(f"The earlier state is kept in {aside}; remove it when you do not need it.")


def ready_base(settings: Settings) -> Base:
    """The base model, converted once."""
    from locum.adapters.base import pull

    heading("Base model")
    with waiting("looking") as tell:
        base = pull(settings.base, settings.bases, say=tell)
    out.print(f"{base.name}: {base.parameters:,} weights, fingerprint {base.fingerprint[:12]}", highlight=False)
    return base


def ready_version(settings: Settings, domain: Domain, base: Base) -> Manifest:
    """The domain's data, and the adapter that was trained on it, registered."""
    from locum.commands.train import tell_training
    from locum.train.pipeline import train_domain

    heading(f"{domain.name}: {domain.card.description}")
    outcome = train_domain(settings, domain, base, overrides=[], fresh=False, register=True)
    tell_training(outcome)
    assert outcome.manifest is not None
    out.print(f"{outcome.manifest.name} is registered (digest {outcome.manifest.digest[:12]})", highlight=False)
    return outcome.manifest


def free_port(wanted: int) -> int:
    """The wanted port if nobody has it, else any that is free: the demo's server disturbs no other."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise UnavailableError("no port is free on 127.0.0.1")


def start_server(settings: Settings, base: Base, versions: list[Manifest]) -> Server:
    """A server of the demo's own, ready to answer."""
    from locum.serve import launcher
    from locum.serve.host import plan_for_this_host

    heading("Server")
    plan = plan_for_this_host()
    for line in plan.lines():
        out.print(line, style="dim", highlight=False, soft_wrap=True)
    rank = max(version.rank for version in versions)
    # compiling the model takes longer than it would save in the few minutes that this server lives
    server = launcher.start(settings, base, plan, max_rank=rank, vllm_args=["--enforce-eager"])
    try:
        with waiting("waiting: importing vLLM") as tell:
            launcher.wait_until_ready(server, lambda reason: tell(f"waiting: {reason}"))
    except BaseException:
        launcher.stop(server, timeout=10)
        raise
    out.print(f"Ready at {server.endpoint}", highlight=False)
    return server


def stop_server(server: Server) -> None:
    from locum.serve import launcher

    with err.status("stopping the server"):
        launcher.stop(server)


def evaluate(settings: Settings, version: Manifest) -> list[EvaluationResult]:
    """The version on its domain's suites against the live endpoint."""
    from locum.evaluate.evaluation import evaluate_version

    heading(f"Evaluating {version.name}")
    results = evaluate_version(settings, version.name, console=err)
    for result in results:
        out.print(f"[bold]{result.suite}[/]", highlight=False)
        show_checks(result.checks)
    return results


def release(settings: Settings, results: list[EvaluationResult]) -> bool:
    """Release a version that passed, if it is not in production already; says whether it is now."""
    from locum.adapters.registry import Registry

    if not all(result.passed for result in results):
        return False
    result = results[0]
    registry = Registry.open(settings)
    if registry.snapshot().aliases.get(result.domain) == result.version:
        out.print(f"{result.version} is in production already.", highlight=False)
    else:
        registry.release(result.version, by=settings.user)
        out.print(f"Released {result.version}.", highlight=False)
    return True


def ask_both(settings: Settings, domain: Domain, base: Base) -> Asked:
    """The card's example question, put to the base model and to the domain by its name."""
    from locum.evaluate.chat import stream_answer
    from locum.evaluate.page import Asked

    card = domain.card
    said = {}
    speaker = domain.name
    wait_for_production(settings, domain.name)
    for model in (base.name, domain.name):
        parts = list(
            stream_answer(
                settings.endpoint_url,
                settings.api_key.get_secret_value(),
                model=model,
                system=card.system_prompt,
                question=card.example,
                max_tokens=domain.suites[0].generation.max_tokens,
                system_role=card.recipe.system_role if model == base.name else "system",
            )
        )
        said[model] = "".join(part.text for part in parts)
        speaker = parts[-1].model if parts else model
    heading(f"{domain.name}: {card.example}")
    panels = [Panel(said[base.name], title=base.name), Panel(said[domain.name], title=speaker)]
    out.print(Columns(panels, equal=True, expand=True), soft_wrap=False)
    out.print(" ".join(card.notices.shown), style="dim", highlight=False)
    return Asked(
        domain=domain.name,
        version=speaker,
        question=card.example,
        answer=said[domain.name],
        base_answer=said[base.name],
        notices=card.notices.shown,
    )


def wait_for_production(settings: Settings, domain: str, *, seconds: float = 10) -> None:
    """A release reaches the server within its poll interval; the first release of a domain makes its name known."""
    from locum.adapters.registry import Registry
    from locum.evaluate.endpoint import read_endpoint

    released = Registry.open(settings).snapshot().aliases[domain]
    deadline = time.monotonic() + seconds
    while read_endpoint(settings.endpoint_url).aliases.get(domain) != released:
        if time.monotonic() > deadline:
            raise UnavailableError(f"the server did not take over {released} within {seconds:.0f} s")
        time.sleep(0.1)


def write_report(settings: Settings, results: list[EvaluationResult], asked: list[Asked]) -> Path:
    """One page over all domains."""
    from locum.evaluate.page import summary_report

    report = settings.evaluations / REPORT
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(summary_report(results, asked), encoding="utf-8")
    return report


def show(evaluations: list[list[EvaluationResult]], report: Path, *, minutes: float) -> None:
    """The table that says it all."""
    from locum.evaluate.figures import Figures

    heading("Result")
    rows = [
        (
            result.version,
            result.suite,
            f"{result.base_score.mean:.3f}",
            f"{result.score.mean:.3f}",
            Figures(result.metrics[result.metric]).difference(result.gain),
            result.status,
        )
        for results in evaluations
        for result in results
    ]
    columns = ["version", "suite", "base", "score", "difference, 95 % CI", "gate"]
    out.print(table(None, columns, rows))
    out.print(f"Report: {report}", highlight=False, soft_wrap=True)
    example = '.venv/bin/locum chat medical "Pre-eclampsia"'
    out.print(f"Took {minutes:.1f} minutes. To go on: make serve, and in another terminal: {example}", soft_wrap=True)


if __name__ == "__main__":
    main()
