"""`locum adapters export` and `locum adapters import`: versions given to others, and adapters taken from them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locum.commands.common import JsonOption, err, out, print_json, say, settings
from locum.commands.convergence import warn_if_not_held

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.domains import Domain
    from locum.adapters.incoming import Incoming
    from locum.adapters.manifest import Manifest
    from locum.adapters.model_card import Facts, Form
    from locum.adapters.registry import Registry
    from locum.settings import Settings

DATA_CARD = "data-card.md"  # what `locum data report` writes beside the splits


def add_to(app: typer.Typer) -> None:
    app.command("export")(export)
    app.command("import")(import_)


def export(
    ref: Annotated[
        str, typer.Argument(metavar="VERSION", help="medical@1, medical (in production) or medical@candidate.")
    ],
    to: Annotated[str, typer.Option(help="A new folder, or a hub repository: hf://ORG/NAME.")],
    form: Annotated[
        str,
        typer.Option(
            "--as",
            help="peft: the adapter; merged: a whole checkpoint, base model and adapter in one; "
            "gguf: the adapter for llama.cpp.",
        ),
    ] = "peft",
    licence: Annotated[
        str | None, typer.Option(help="What you give it under, such as apache-2.0; else what it came under.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the hub repository private, if it is new.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give a version to others, with a model card: as PEFT's adapter, merged, or for llama.cpp.

    Example: locum adapters export medical@3 --to ./medical-3 --as merged
    """
    from locum.adapters.export import export_version
    from locum.adapters.hub import create_repository, parse_repository, upload
    from locum.adapters.model_card import model_card
    from locum.adapters.registry import Registry
    from locum.errors import BadInputError

    kind = _form(form)
    in_force = settings()
    repository = parse_repository(to) if to.startswith("hf://") else None
    if repository is not None and repository.revision is not None:
        raise BadInputError(f"{to}: expected hf://ORG/NAME, an export goes to the main branch")
    if private and repository is None:
        raise BadInputError(f"--private is for hub repositories, found the folder {to}")
    registry = Registry.open(in_force)
    manifest = _version(registry, in_force, ref)
    with err.status("checking the files of " + manifest.name) as status:
        artifact = registry.artifact_path(manifest)
        base = _base_of(manifest, in_force, required=kind != "peft")
        card = model_card(_facts(registry, manifest, base, in_force, licence), form=kind)
        said: dict[str, Any] = {"version": manifest.name, "digest": manifest.digest, "as": kind, "to": to}
        write = partial(export_version, manifest, artifact, form=kind, base=base, card=card, say=status.update)
        if repository is None:
            said["files"] = write(Path(to))
        else:
            status.update(f"asking for {repository}")
            create_repository(repository, private=private)
            with _scratch(in_force) as folder:
                said["files"] = write(folder / "export")
                status.update(f"uploading to {repository}")
                message = f"{manifest.name}, digest {manifest.digest[:12]}"
                said["commit"] = upload(repository, folder / "export", message=message)
    if as_json:
        print_json(said)
        return
    place = said.get("commit", to)
    out.print(
        f"{manifest.name} as {kind} is in {place}: {', '.join(said['files'])}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def import_(
    source: Annotated[
        str,
        typer.Argument(help="A folder that PEFT wrote, or a hub repository: hf://ORG/NAME or hf://ORG/NAME@REVISION."),
    ],
    domain: Annotated[str, typer.Option(help="The domain that it becomes a version of.")],
    base: Annotated[
        str | None, typer.Option(help="The base model that it was made for; else the one that it names itself.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="What its makers give it under, such as apache-2.0.")] = None,
    trained_on: Annotated[str | None, typer.Option(help="What it learned from, in a sentence.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A YAML file with how it was trained: rank, learning_rate and so on.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take in an adapter that others made, with where it came from; it becomes the domain's candidate.

    Asks for what it does not say itself. What was exported by Locum says all, and keeps its digest.

    Example: locum adapters import hf://acme/medical-lora --domain medical --licence apache-2.0
    """
    from locum.adapters.artifact import inspect_artifact
    from locum.adapters.domains import load_domain
    from locum.adapters.incoming import fetch, mend
    from locum.adapters.manifest import Origin
    from locum.adapters.probes import make_probes, probe_prompts
    from locum.adapters.registry import Registry

    in_force = settings(base=base)
    card = load_domain(in_force.domains, domain)
    steps = _recipe(recipe) if recipe is not None else None
    with _scratch(in_force) as folder:
        with err.status("getting the adapter"):
            incoming = fetch(source, folder / "adapter")
        model, licence, trained_on = _ask(incoming, in_force, base, licence, trained_on, quiet=as_json)
        with err.status("checking the adapter") as status:
            changes = mend(incoming, model)
            artifact = inspect_artifact(incoming.folder, model.path)
            registry = Registry.open(in_force)
            manifest = registry.find(domain, artifact.digest, model.fingerprint)
            new = manifest is None
            if manifest is None:
                status.update("computing the known answers of its probes")
                probes = make_probes(model.path, incoming.folder, probe_prompts(card, in_force.data_path(domain)))
                status.update("registering")
                known = incoming.manifest
                manifest = registry.register(
                    domain,
                    incoming.folder,
                    base=model,
                    recipe=steps if steps is not None else known.recipe if known else {},
                    data=known.data if known else None,
                    training=known.training if known else {},
                    probes=probes,
                    enforced_notices=card.card.enforced_notices,
                    created_by=in_force.user,
                    system_prompt=card.card.system_prompt,
                    system=card.card.system,
                    origin=Origin(
                        source=incoming.source,
                        revision=incoming.revision,
                        base=incoming.base,
                        licence=licence,
                        trained_on=trained_on,
                        changes=changes,
                    ),
                )
    _tell_other_prompt(incoming, card)
    warn_if_not_held(in_force, model, manifest)
    if as_json:
        print_json({"version": manifest.name, "new": new, **manifest.model_dump(mode="json", exclude={"probes"})})
        return
    for change in changes:
        say(f"→ {change}")
    if not new:
        say(f"{manifest.name} is this very adapter already. Next: locum eval {domain}")
        return
    say(f"Imported as {manifest.name}, now the candidate of {domain}. Next: locum eval {domain}")


def _tell_other_prompt(incoming: Incoming, domain: Domain) -> None:
    """The card here decides what a version is evaluated with and given; say so where it learned from another one."""
    trained_with = incoming.manifest.system_prompt if incoming.manifest else None
    if trained_with is not None and trained_with != domain.card.system_prompt:
        err.print(
            f"It was trained with another system prompt than that of {domain.name}'s card, which it gets here: "
            f"{trained_with!r}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _form(name: str) -> Form:
    from typing import cast, get_args

    from locum.adapters.model_card import Form
    from locum.errors import BadInputError

    if name not in get_args(Form):
        raise BadInputError(f"--as {name}: expected one of {', '.join(get_args(Form))}")
    return cast("Form", name)


def _version(registry: Registry, in_force: Settings, ref: str) -> Manifest:
    """The version that is meant; a base model, such as a training with the method `full` makes, is told apart."""
    from locum.adapters.base import base_names, load_base
    from locum.errors import BadInputError

    try:
        return registry.resolve(ref)
    except BadInputError:
        if ref not in base_names(in_force.bases):
            raise
    path = load_base(in_force.bases, ref).path
    raise BadInputError(
        f"{ref} is a base model, expected a version of a domain",
        hint=f"its checkpoint is whole as it is: copy {path}, or `hf upload ORG/NAME {path}`",
    )


def _base_of(manifest: Manifest, in_force: Settings, *, required: bool) -> Base | None:
    """The base model that a version was made for, if it is here."""
    from locum.adapters.base import load_base
    from locum.errors import BadInputError, UnavailableError

    try:
        base = load_base(in_force.bases, manifest.base)
    except UnavailableError:
        if required:
            raise
        return None
    if base.fingerprint == manifest.base_fingerprint:
        return base
    if required:
        raise BadInputError(
            f"{manifest.name} was made for {manifest.base} with fingerprint {manifest.base_fingerprint[:12]}, "
            f"found {base.fingerprint[:12]}",
            hint="--as peft gives the adapter without its base model",
        )
    return None


def _facts(registry: Registry, manifest: Manifest, base: Base | None, in_force: Settings, licence: str | None) -> Facts:
    """What there is on this machine to write a model card from."""
    from locum.adapters.domains import load_domain
    from locum.adapters.model_card import Facts
    from locum.errors import NotFoundError

    domain, data_card = None, None
    with suppress(NotFoundError):
        domain = load_domain(in_force.domains, manifest.domain)
    with suppress(FileNotFoundError):
        data_card = (in_force.data_path(manifest.domain) / DATA_CARD).read_text(encoding="utf-8")
    return Facts(manifest, base, domain, registry.evaluations(manifest.name), data_card, licence)


@contextmanager
def _scratch(in_force: Settings) -> Iterator[Path]:
    """A folder in the home for what is not kept."""
    import tempfile

    in_force.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=in_force.home) as folder:
        yield Path(folder)


def _ask(
    incoming: Incoming,
    in_force: Settings,
    given: str | None,
    licence: str | None,
    trained_on: str | None,
    *,
    quiet: bool,
) -> tuple[Base, str, str]:
    """The base model, the licence and what it learned from: as given, as the adapter says, or as the user answers.

    Raises:
        BadInputError: something is not known, and there is nobody to ask; says what.
    """
    from locum.adapters.base import load_base
    from locum.adapters.manifest import NOT_STATED
    from locum.errors import BadInputError

    terminal = sys.stdin.isatty() and not quiet
    base = load_base(in_force.bases, in_force.base) if given else _base_it_names(incoming, in_force)
    licence = licence or incoming.licence
    trained_on = trained_on or incoming.trained_on
    if terminal:
        if base is None:
            question = f"It was made for {incoming.base}, which is not here. Was that {in_force.base}?"
            typer.confirm(question, abort=True, err=True)
            base = load_base(in_force.bases, in_force.base)
        licence = licence or typer.prompt("Its licence", default=NOT_STATED, err=True)
        trained_on = trained_on or typer.prompt("What it learned from, in a sentence", default=NOT_STATED, err=True)
    if base is None or not licence or not trained_on:
        missing = {
            f"which base model here is {incoming.base} (--base)": base,
            "its licence (--licence)": licence,
            "what it learned from (--trained-on)": trained_on,
        }
        hub = incoming.base if str(incoming.base).count("/") == 1 else "MODEL"
        raise BadInputError(
            f"{incoming.source} does not say " + ", ".join(name for name, value in missing.items() if not value),
            hint=f"`locum base pull {hub}` gets its base model" if base is None else f"{NOT_STATED!r} if nobody knows",
        )
    known = incoming.manifest
    if known is not None and known.base_fingerprint != base.fingerprint:
        raise BadInputError(
            f"{known.name} was made for the base model {known.base} with fingerprint {known.base_fingerprint[:12]}, "
            f"found {base.name} with {base.fingerprint[:12]}"
        )
    return base, licence, trained_on


def _base_it_names(incoming: Incoming, in_force: Settings) -> Base | None:
    """The base model that an adapter was made for, if it is here; the one in force where it names none."""
    from locum.adapters.base import base_names, load_base
    from locum.adapters.incoming import made_for
    from locum.errors import LocumError

    names = base_names(in_force.bases)
    if incoming.base is None or not names:  # the latter says what is missing, and how to get it
        return load_base(in_force.bases, in_force.base)
    bases = []
    for name in names:
        with suppress(LocumError):  # its folder is gone
            bases.append(load_base(in_force.bases, name))
    found = made_for(incoming, bases)
    return next((base for base in found if base.name == in_force.base), found[0] if found else None)


def _recipe(file: Path) -> dict[str, Any]:
    import yaml

    from locum.errors import BadInputError

    try:
        steps = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"--recipe {file}: expected a YAML file: {error}") from None
    if not isinstance(steps, dict) or not all(isinstance(name, str) for name in steps):
        raise BadInputError(f"--recipe {file}: expected names of fields and their values, found {steps!r:.100}")
    return steps
