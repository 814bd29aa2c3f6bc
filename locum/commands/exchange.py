"""`locum adapters export`: versions given to others. `locum adapters import` is in importing.py."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locum.commands import importing
from locum.commands.common import JsonOption, err, out, print_json, settings
from locum.commands.scratch import scratch_folder

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.manifest import Manifest
    from locum.adapters.model_card import Facts, Form
    from locum.adapters.registry import Registry
    from locum.settings import Settings

DATA_CARD = "data-card.md"  # what `locum data report` writes beside the splits


def add_to(app: typer.Typer) -> None:
    app.command("export")(export)
    app.command("import")(importing.import_)


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
            with scratch_folder(in_force) as folder:
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


def _form(name: str) -> Form:
    from typing import cast, get_args

    from locum.adapters.model_card import Form
    from locum.errors import BadInputError
    from locum.text import expected_one_of

    if name not in get_args(Form):
        raise BadInputError(f"--as {name}{expected_one_of(name, get_args(Form))}")
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
