"""`locum domain`: the cards that describe what there are experts for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from locum.commands.common import JsonOption, out, print_json, say, settings, table, tell_wrong

if TYPE_CHECKING:
    from locum.adapters.domains import Domain

app = typer.Typer(help="Domains and their cards.", no_args_is_help=True)


@app.command("list")
def list_domains(as_json: JsonOption = False) -> None:
    """List the domains and the version of each that is in production.

    Example: locum domain list
    """
    from locum.adapters.domains import domain_names, load_domain
    from locum.adapters.registry import Registry
    from locum.errors import BadInputError

    in_force = settings()
    aliases = Registry.open(in_force).snapshot().aliases
    rows, told = [], []
    wrong: list[BadInputError] = []
    for name in domain_names(in_force.domains):
        suites: list[str] = []
        try:
            loaded = load_domain(in_force.domains, name)
            description = loaded.card.description
            suites = loaded.suite_names
            wrong += loaded.wrong_suites.values()
        except BadInputError as error:
            description = "its card is wrong"
            wrong.append(error)
        production, candidate = aliases.get(name), aliases.get(f"{name}@candidate")
        row = {"name": name, "production": production, "candidate": candidate, "suites": suites}
        rows.append({**row, "description": description})
        told.append((name, production, candidate, ", ".join(suites), description))
    if as_json:
        print_json(rows)
    elif not rows:
        say(f"There is no domain in {in_force.domains}. Start one: locum domain new NAME")
    else:
        columns = ["domain", "in production", "candidate", "suites", "what it is for"]
        out.print(table(None, columns, told, first_to_go=["what it is for", "suites"]))
    tell_wrong(wrong)


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="The domain's name.")], as_json: JsonOption = False) -> None:
    """Check a domain's card and show it with all its defaults, and what suites it has.

    Example: locum domain show medical
    """
    from locum.adapters.domains import load_domain

    domain = load_domain(settings().domains, name)
    if as_json:
        suites = [suite.model_dump(mode="json") for suite in domain.suites]
        print_json({"card": domain.card.model_dump(mode="json"), "suites": suites})
    else:
        _show_card(domain)
    tell_wrong(domain.wrong_suites.values())


def _show_card(domain: Domain) -> None:
    import yaml
    from rich.syntax import Syntax

    text = yaml.safe_dump(domain.card.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
    told = [f"{suite.name}, version {suite.version}: {suite.description}" for suite in domain.suites]
    told += [f"{name}: its card is wrong" for name in domain.wrong_suites]
    heading = f"Suites (locum suite show {domain.name}):"
    text += "".join(f"# {line}\n" for line in (heading, *(f"- {each}" for each in told or ["none"])))
    if out.is_terminal:
        out.print(Syntax(text, "yaml", background_color="default", word_wrap=True), soft_wrap=False)
    else:
        sys.stdout.write(text)  # YAML for whoever reads it, whatever the width


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="For a domain that sorts texts: its labels, set apart by commas, or @FILE with one a line.",
        ),
    ] = None,
) -> None:
    """Write a commented card and a suite for a new domain.

    Example: locum domain new tickets --labels "billing,delivery,complaint"
    """
    from locum.adapters.domains import FIRST_SUITE, new_domain
    from locum.evaluate.labels import read_labels

    path = new_domain(settings().domains, name, labels=read_labels(labels) if labels is not None else ())
    rows = "an example row for each label" if labels is not None else "two example rows"
    say(
        f"Wrote {path} and {rows} beside it. Put your conversations there, then: locum data build {name}\n"
        f"What a version must show before a release is in {path.parent / 'suites' / FIRST_SUITE / 'suite.yaml'}; "
        f"locum suite check {name} checks it."
    )
