"""`locum adapters import`: adapters that others made, with where they came from."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locum.commands.common import JsonOption, err, print_json, say, settings, spin_less, waiting
from locum.commands.convergence import warn_if_not_held
from locum.commands.scratch import scratch_folder

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.domains import Domain
    from locum.adapters.incoming import Incoming
    from locum.settings import Settings


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
    spin_less()
    from locum.adapters.artifact import inspect_artifact
    from locum.adapters.domains import load_domain
    from locum.adapters.incoming import fetch, mend
    from locum.adapters.manifest import Origin
    from locum.adapters.probes import make_probes, probe_prompts
    from locum.adapters.registry import Registry

    in_force = settings(base=base)
    card = load_domain(in_force.domains, domain)
    steps = _recipe(recipe) if recipe is not None else None
    with scratch_folder(in_force) as folder:
        with waiting("getting the adapter", quiet=as_json):
            incoming = fetch(source, folder / "adapter")
        model, licence, trained_on = _ask(incoming, in_force, base, licence, trained_on, quiet=as_json)
        with waiting("checking the adapter", quiet=as_json) as tell:
            changes = mend(incoming, model)
            notes = _notes(incoming, model, card)
            artifact = inspect_artifact(incoming.folder, model.path)
            registry = Registry.open(in_force)
            manifest = registry.find(domain, artifact.digest, model.fingerprint)
            new = manifest is None
            if manifest is None:
                prompts = probe_prompts(card, in_force.data_path(domain))
                role = card.card.recipe.system_role
                probes = make_probes(model.path, incoming.folder, prompts, system_role=role, say=tell)
                tell("registering")
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
                    system_role=role,
                    origin=Origin(
                        source=incoming.source,
                        revision=incoming.revision,
                        base=incoming.base,
                        licence=licence,
                        trained_on=trained_on,
                        changes=[*changes, *notes],
                    ),
                )
    _tell_other_prompt(incoming, card)
    warn_if_not_held(in_force, model, manifest)
    for note in notes:
        err.print(f"Note: {note}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json({"version": manifest.name, "new": new, **manifest.model_dump(mode="json", exclude={"probes"})})
        return
    for change in changes:
        say(f"→ {change}")
    if not new:
        say(f"{manifest.name} is this very adapter already. Next: locum eval {domain}")
        return
    say(f"Imported as {manifest.name}, now the candidate of {domain}. Next: locum eval {domain}")


def _notes(incoming: Incoming, base: Base, card: Domain) -> list[str]:
    """What was chosen, what the adapter's folder says of how it is to be asked, and what stays behind."""
    from locum.adapters.beside import look_beside
    from locum.adapters.incoming import last_name

    notes = list(incoming.notes)
    if incoming.manifest is not None:
        return notes
    named = incoming.base
    if named is not None and named not in (base.name, base.source) and last_name(named) == base.name:
        notes.append(f"its base model {named} is taken for {base.name} by its name")
    prompt = card.card.system_prompt
    return notes + look_beside(incoming.beside, base, named_base=named, system_prompt=prompt, names=incoming.names)


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
            suitable = _fitting(incoming, in_force)
            likely = in_force.base if in_force.base in suitable or not suitable else suitable[0]
            question = f"It was made for {incoming.base}, which is not here. Was that {likely}?"
            typer.confirm(question, abort=True, err=True)
            base = load_base(in_force.bases, likely)
        licence = licence or typer.prompt("Its licence", default=NOT_STATED, err=True)
        trained_on = trained_on or typer.prompt("What it learned from, in a sentence", default=NOT_STATED, err=True)
    if base is None or not licence or not trained_on:
        missing = {
            f"which base model here is {incoming.base} (--base)": base,
            "its licence (--licence)": licence,
            "what it learned from (--trained-on)": trained_on,
        }
        raise BadInputError(
            f"{incoming.source} does not say " + ", ".join(name for name, value in missing.items() if not value),
            hint=_base_hint(incoming, in_force) if base is None else f"{NOT_STATED!r} if nobody knows",
        )
    known = incoming.manifest
    if known is not None and known.base_fingerprint != base.fingerprint:
        raise BadInputError(
            f"{known.name} was made for the base model {known.base} with fingerprint {known.base_fingerprint[:12]}, "
            f"found {base.name} with {base.fingerprint[:12]}"
        )
    return base, licence, trained_on


def _base_hint(incoming: Incoming, in_force: Settings) -> str:
    """How to name the base model: one of those here that fit, and how to get the one that is meant."""
    named = str(incoming.base)
    hub = named if named.count("/") == 1 and not named.startswith(("/", ".", "~")) and "\\" not in named else None
    if hub is not None:
        get = f"`locum base pull {hub}` gets its base model"
    elif Path(named).is_dir():
        get = f"`locum base pull {named}` makes that folder a base model"
    else:
        get = "`locum base pull MODEL` gets its base model"
    suitable = _fitting(incoming, in_force)
    if not suitable:
        return f"{get}; its matrices fit none of those here"
    return f"{get}; by its matrices it could be --base {' or --base '.join(suitable)}"


def _fitting(incoming: Incoming, in_force: Settings) -> list[str]:
    """Names of the base models here whose modules have the shapes of the adapter's."""
    from locum.adapters.incoming import fitting

    return [base.name for base in fitting(incoming, _bases(in_force))]


def _bases(in_force: Settings) -> list[Base]:
    from locum.adapters.base import base_names, load_base
    from locum.errors import LocumError

    bases = []
    for name in base_names(in_force.bases):
        with suppress(LocumError):  # its folder is gone
            bases.append(load_base(in_force.bases, name))
    return bases


def _base_it_names(incoming: Incoming, in_force: Settings) -> Base | None:
    """The base model that an adapter was made for, if it is here; the one in force where it names none."""
    from locum.adapters.base import base_names, load_base
    from locum.adapters.incoming import made_for

    if incoming.base is None or not base_names(in_force.bases):  # the latter says what is missing, and how to get it
        return load_base(in_force.bases, in_force.base)
    found = made_for(incoming, _bases(in_force))
    return next((base for base in found if base.name == in_force.base), found[0] if found else None)


def _recipe(file: Path) -> dict[str, Any]:
    import yaml

    from locum.errors import BadInputError

    try:
        steps = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"--recipe {file}: expected a YAML file: {error}") from None
    if steps is None:
        raise BadInputError(f"--recipe {file}: it is empty, expected names of fields and their values")
    if not isinstance(steps, dict) or not all(isinstance(name, str) for name in steps):
        raise BadInputError(f"--recipe {file}: expected names of fields and their values, found {steps!r:.100}")
    return steps
