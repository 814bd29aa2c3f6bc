"""`locum adapters`: the versions in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locum.commands import exchange
from locum.commands.common import (
    EndpointOption,
    JsonOption,
    err,
    out,
    print_json,
    require_known,
    say,
    settings,
    spin_less,
    table,
    waiting,
)
from locum.commands.convergence import warn_if_not_held
from locum.commands.ownership import held_by, owners_of, why_artifact_stays

if TYPE_CHECKING:
    from locum.adapters.manifest import Manifest
    from locum.adapters.registry import Registry
    from locum.settings import Settings

app = typer.Typer(help="Adapter versions: list, show, register, verify, delete, export, import.", no_args_is_help=True)

Ref = Annotated[str, typer.Argument(metavar="VERSION", help="medical@1, medical (in production) or medical@candidate.")]


@app.command("list")
def list_versions(
    domain: Annotated[str | None, typer.Argument(help="Only this domain's versions.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List versions and what they are to their domain.

    Example: locum adapters list medical
    """
    in_force = settings()
    registry = _registry(in_force)
    snapshot = registry.snapshot()
    called: dict[str, list[str]] = {}
    for alias, name in snapshot.aliases.items():
        called.setdefault(name, []).append(alias.partition("@")[2] or "production")
    found = [
        entry.manifest for entry in snapshot.versions.values() if domain is None or entry.manifest.domain == domain
    ]
    if as_json:
        print_json([{**_summary(manifest), "aliases": called.get(manifest.name, [])} for manifest in found])
        return
    if not found:
        if domain is not None:
            require_known(in_force, registry, domain)
        of, name = (f" of {domain}", domain) if domain else ("", "DOMAIN")
        make = f"locum train {name}, or locum adapters import SOURCE --domain {name}"
        say(f"There is no version{of} yet. Make one: {make}")
        return
    rows = [
        (
            manifest.name,
            ", ".join(sorted(called.get(manifest.name, []))),
            manifest.rank,
            manifest.base,
            manifest.digest[:12],
            f"{manifest.created_at:%Y-%m-%d %H:%M}",
            manifest.created_by,
        )
        for manifest in found
    ]
    columns = ["version", "is", "rank", "base model", "digest", "made (UTC)", "by"]
    out.print(table(None, columns, rows, first_to_go=["by", "base model", "made (UTC)", "rank"]))


@app.command("show")
def show(ref: Ref, as_json: JsonOption = False) -> None:
    """Show everything that is recorded about a version, its evaluations and the registries that hold it included.

    Example: locum adapters show medical@1
    """
    registry = _registry(settings())
    manifest = registry.resolve(ref)
    evaluations = registry.evaluations(manifest.name)
    owners = owners_of(registry, manifest)
    if as_json:
        records = [record.model_dump(mode="json") for record in evaluations]
        holders = None if owners is None else sorted(owners)
        print_json({"manifest": manifest.model_dump(mode="json"), "evaluations": records, "held_by": holders})
        return
    rows = [(key, str(value)) for key, value in _summary(manifest).items()]
    rows.append(("held by", held_by(registry, owners)))
    if manifest.system_prompt is not None:
        rows.append(("system prompt", manifest.system_prompt.strip()))
    rows += [(f"recipe: {key}", str(value)) for key, value in manifest.recipe.items()]
    if manifest.origin:
        rows += [(f"origin: {key}", str(value)) for key, value in manifest.origin.model_dump(exclude_none=True).items()]
    rows += [("enforced notice", " / ".join(wordings)) for wordings in manifest.enforced_notices]
    if manifest.data:
        rows += [
            (f"data: {name}", f"{split.rows} rows, digest {split.digest[:12]}")
            for name, split in manifest.data.splits.items()
        ]
    out.print(table(manifest.name, ["field", "value"], rows))
    for record in evaluations:
        status = record.status or ("passed" if record.passed else "failed")
        colour = {"passed": "green", "failed": "red"}.get(status, "yellow")
        told = f"[{colour}]{status}[/], {record.metric} {record.score:.3f}"
        out.print(f"{record.suite} ({record.created_at:%Y-%m-%d %H:%M}): {told}", highlight=False)


@app.command("register")
def register(
    path: Annotated[Path, typer.Argument(help="Folder with adapter_config.json and adapter_model.safetensors.")],
    domain: Annotated[str, typer.Option(help="The domain that it is a version of.")],
    base: Annotated[
        str | None, typer.Option(help="The base model that it was made for; else the setting `base`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Register an adapter's folder as it is; it becomes the domain's candidate.

    It asks nothing: for programs, and for what `locum train --no-register` left.
    Adapters that others made: `locum adapters import`, which records where they came from.

    Example: locum adapters register ./my-adapter --domain medical
    """
    spin_less()
    from locum.adapters.artifact import inspect_artifact
    from locum.adapters.base import load_base
    from locum.adapters.domains import load_domain
    from locum.adapters.probes import make_probes, probe_prompts

    in_force = settings(base=base)
    card = load_domain(in_force.domains, domain)
    model = load_base(in_force.bases, in_force.base)
    with waiting("checking the adapter", quiet=as_json) as tell:
        inspect_artifact(path, model.path)
        prompts = probe_prompts(card, in_force.data_path(domain))
        probes = make_probes(model.path, path, prompts, system_role=card.card.recipe.system_role, say=tell)
        tell("registering")
        manifest = _registry(in_force).register(
            domain,
            path,
            base=model,
            recipe={},
            data=None,
            training={},
            probes=probes,
            enforced_notices=card.card.enforced_notices,
            created_by=in_force.user,
            system_prompt=card.card.system_prompt,
            system=card.card.system,
            system_role=card.card.recipe.system_role,
        )
    warn_if_not_held(in_force, model, manifest)
    if as_json:
        print_json(_summary(manifest))
        return
    say(f"Registered {manifest.name}, now the candidate of {domain}. Next: locum eval {domain}")


@app.command("verify")
def verify(
    ref: Ref,
    endpoint: EndpointOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Check the files only, ask no server.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that a version's files are whole, and that a running server answers as it was trained to.

    Example: locum adapters verify medical@1 --endpoint http://127.0.0.1:8000/v1
    """
    from locum.errors import CheckFailedError

    in_force = settings(endpoint=endpoint)
    registry = _registry(in_force)
    manifest = registry.resolve(ref)
    registry.artifact_path(manifest)
    result: dict[str, Any] = {"version": manifest.name, "digest": manifest.digest, "files": "whole"}
    if not offline:
        result |= _ask_probes(manifest, in_force)
    if as_json:
        print_json(result)
    else:
        out.print(f"{manifest.name}: its files are whole (digest {manifest.digest[:12]})", highlight=False)
        if not offline:
            said = f"{result['summary']}; {result['greedy']} of {len(manifest.probes)} greedy answers are the same"
            out.print(f"{manifest.name} at {in_force.endpoint_url}: {said}", highlight=False)
    if not result.get("passed", True):
        raise CheckFailedError(
            f"what answers as {manifest.name} at {in_force.endpoint_url} is not what was trained",
            hint="restart the server; if it stays so, roll back: locum rollback " + manifest.domain,
        )


@app.command("delete")
def delete(
    ref: Ref, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, as_json: JsonOption = False
) -> None:
    """Delete a version. What is in production, or would be rolled back to, is not deleted.

    Its artifact goes with the last version that has it, in whichever registry of the store; until then it says why.

    Example: locum adapters delete medical@1 --yes
    """
    registry = _registry(settings())
    manifest = registry.resolve(ref)
    if not yes:
        typer.confirm(f"Delete {manifest.name} (digest {manifest.digest[:12]}) for good?", abort=True, err=True)
    registry.delete(manifest.name)
    stays = why_artifact_stays(registry, manifest)
    if as_json:
        print_json({"deleted": manifest.name, "artifact_stays": stays})
        return
    say(f"Deleted {manifest.name}. Its number is not used again.")
    if stays:
        say(f"Its artifact {manifest.digest[:12]} stays in {registry.store.root}: {stays}.")


exchange.add_to(app)


def _registry(in_force: Settings) -> Registry:
    from locum.adapters.registry import Registry

    return Registry.open(in_force)


def _summary(manifest: Manifest) -> dict[str, Any]:
    kept = {"name", "domain", "number", "digest", "base", "base_fingerprint", "rank", "alpha", "target_modules"}
    kept |= {"parameters", "size", "system", "code_version", "created_at", "created_by"}
    return {"name": manifest.name, **manifest.model_dump(mode="json", include=kept), "probes": len(manifest.probes)}


def _ask_probes(manifest: Manifest, in_force: Settings) -> dict[str, Any]:
    from dataclasses import asdict

    from locum.adapters.probes import ask_endpoint, compare_probe_logprobs, served_dtype, tolerance_for

    key = in_force.api_key.get_secret_value()
    with err.status(f"asking {in_force.endpoint_url}"):
        tolerance = tolerance_for(served_dtype(in_force.endpoint_url, api_key=key))
        served = [ask_endpoint(in_force.endpoint_url, manifest.name, probe, api_key=key) for probe in manifest.probes]
    report = compare_probe_logprobs(manifest.probes, [answer.logprobs for answer in served], tolerance=tolerance)
    return {**asdict(report), "greedy": sum(answer.greedy for answer in served)}
