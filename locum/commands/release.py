"""`locum release`, `rollback` and `history`: what is in production, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from locum.commands.common import JsonOption, err, out, print_json, require_known, say, settings

if TYPE_CHECKING:
    from locum.adapters.records import Release, RequiredSuite
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

    Running servers take it over by themselves, without a restart.

    Example: locum release medical@1
    """
    from locum.adapters.registry import Registry

    in_force = settings()
    registry = Registry.open(in_force)
    manifest = registry.resolve(version)
    suites = required_suites(in_force, manifest.domain)
    released = registry.release(manifest.name, by=in_force.user, reason=reason, force=force, suites=suites)
    _tell(released, as_json)


def rollback(
    domain: Annotated[str, typer.Argument(help="The domain to roll back.")],
    to: Annotated[
        str | None, typer.Option(help="An earlier version, such as medical@1, that was in production once.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put the version back into production that was there before, or an earlier one.

    A second rollback takes the first one back; --to goes further back than that.

    Example: locum rollback medical --reason "answers too long"
    """
    from locum.adapters.registry import Registry

    in_force = settings()
    registry = Registry.open(in_force)
    require_known(in_force, registry, domain)
    _tell(registry.rollback(domain, by=in_force.user, to=to, reason=reason), as_json)


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


def _tell(released: Release, as_json: bool) -> None:
    if as_json:
        print_json(released.model_dump(mode="json"))
        return
    from rich.markup import escape

    replaced = f" in place of {released.replaced}" if released.replaced else ""
    how = escape(f"{released.action} by {released.by}")
    out.print(f"[bold green]{released.version}[/] is in production{replaced} ({how}).")
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
