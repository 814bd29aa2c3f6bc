"""`locum release`, `rollback` and `history`: what is in production, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from locum.commands.common import JsonOption, err, out, print_json, require_known, say, settings, waiting
from locum.errors import UnavailableError

if TYPE_CHECKING:
    from locum.adapters.records import Release, RequiredSuite
    from locum.commands.convergence import Convergence
    from locum.settings import Settings


def add_to(app: typer.Typer) -> None:
    app.command("release")(release)
    app.command("rollback")(rollback)
    app.command("history")(history)


def release(
    version: Annotated[str, typer.Argument(help="medical@1 or medical@candidate.")],
    force: Annotated[bool, typer.Option("--force", help="Release without passing evidence; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put a version into production, on the evidence of its evaluations.

    Running servers take it over by themselves, without a restart. The command waits for the one at the setting
    `endpoint`, and says whether it answers with the version.

    Exits 3 if that server does not, 0 if no server is there to ask, 1 if the evidence does not do.

    Example: locum release medical@1
    """
    from locum.adapters.registry import Registry

    in_force = settings()
    registry = Registry.open(in_force)
    manifest = registry.resolve(version)
    suites = required_suites(in_force, manifest.domain)
    released = registry.release(manifest.name, by=in_force.user, reason=reason, force=force, suites=suites)
    _finish(in_force, released, as_json)


def rollback(
    domain: Annotated[str, typer.Argument(help="The domain to roll back.")],
    to: Annotated[
        str | None, typer.Option(help="An earlier version, such as medical@1, that was in production once.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put the version back into production that was there before, or an earlier one.

    A second rollback takes the first one back; --to goes further back than that. Whether the server at the setting
    `endpoint` answers with it is said as `locum release` says it, by the same exit codes.

    Example: locum rollback medical --reason "answers too long"
    """
    from locum.adapters.registry import Registry

    in_force = settings()
    registry = Registry.open(in_force)
    require_known(in_force, registry, domain)
    _finish(in_force, registry.rollback(domain, by=in_force.user, to=to, reason=reason), as_json)


def history(
    domain: Annotated[str, typer.Argument(help="The domain whose history is shown.")], as_json: JsonOption = False
) -> None:
    """Show who released what, when, and on which evidence.

    Example: locum history medical
    """
    from locum.adapters.registry import Registry

    in_force = settings()
    registry = Registry.open(in_force)
    releases = registry.history(domain)
    if not releases:
        require_known(in_force, registry, domain)
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in releases])
        return
    if not releases:
        steps = f"locum train {domain}, locum eval {domain}, then locum release {domain}@candidate"
        say(f"Nothing of {domain} was ever released. Next: {steps}")
        return
    for entry in releases:
        _tell_entry(entry)


def required_suites(in_force: Settings, domain: str) -> dict[str, RequiredSuite] | None:
    """The suites that the domain's card asks for now, by name; none where its folder or its data is not here. Then
    those decide that the last evaluation or release required.

    Raises:
        NotFoundError: the domain's folder has no suite.
        BadInputError: a card or a row is wrong.
    """
    from locum.adapters.domains import domain_names, load_domain
    from locum.adapters.records import RequiredSuite
    from locum.errors import NotFoundError
    from locum.evaluate.evaluation import all_suites

    if domain not in domain_names(in_force.domains):
        return None
    try:
        suites = all_suites(in_force, domain)
    except NotFoundError as error:
        if not load_domain(in_force.domains, domain).suite_names:
            raise
        told = f"{error}. So what the last evaluation or release of {domain} required decides."
        err.print(told, style="dim", markup=False, highlight=False, soft_wrap=True)
        return None
    return {suite.name: RequiredSuite(digest=suite.digest, parts=dict(suite.parts)) for suite in suites}


def _finish(in_force: Settings, released: Release, as_json: bool) -> None:
    """Say what was released, and what the running server makes of it; exits 3 where it answers with another version."""
    from locum.commands.convergence import wait_for

    with waiting(f"waiting for the server at {in_force.endpoint_url}") as tell:
        found = wait_for(in_force, released, tell)
    if as_json:
        print_json({**released.model_dump(mode="json"), **found.summary()})
    else:
        _tell(released, found)
        _tell_convergence(in_force, released, found)
    if found.converged is False:
        raise typer.Exit(UnavailableError.exit_code)


def _tell_convergence(in_force: Settings, released: Release, found: Convergence) -> None:
    url = in_force.endpoint_url
    if found.converged:
        message, style = f"The server at {url} answers with it.", "dim"
    elif found.converged is None:
        message, style = f"Not known whether a server answers with it: {found.problem}", "dim"
    else:
        still = f"still answers with {found.serving}" if found.serving else "answers with nothing"
        message, style = f"Not converged: the server at {url} {still} by {released.domain}. {found.problem}", "yellow"
    err.print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def _tell(released: Release, found: Convergence) -> None:
    from rich.markup import escape

    replaced = f" in place of {released.replaced}" if released.replaced else ""
    how = escape(f"{released.action} by {released.by}")
    where = "released in the registry" if found.converged is False else "in production"
    out.print(f"[bold green]{released.version}[/] is {where}{replaced} ({how}).")
    for sentence in released.missing:
        say(f"Lacking: {sentence}")
    if released.replaced:
        say(f"To undo it: locum rollback {released.domain}")


def _tell_entry(entry: Release) -> None:
    """One release: who, what and when; below it the evidence, a line for each suite, and the reason."""
    from locum.evaluate.visible import visible

    replaced = f" in place of {entry.replaced}" if entry.replaced else ""
    lines = [f"{entry.at:%Y-%m-%d %H:%M} UTC  {entry.action}: {entry.version}{replaced}, by {entry.by}"]
    for item in entry.evidence:
        gain = ""
        if item.gain is not None and item.gain_interval is not None:
            gain = f", {item.gain:+.3f} over base [{item.gain_interval[0]:+.3f}, {item.gain_interval[1]:+.3f}]"
        lines.append(f"  {item.suite}: {item.metric} {item.score:.3f}{gain} ({'passed' if item.passed else 'failed'})")
    lines += [f"  {line}" for sentence in entry.missing for line in f"lacking: {sentence}".splitlines()]
    if entry.reason:
        lines.append(f"  reason: {entry.reason}")
    for line in lines:
        say(visible(line))
