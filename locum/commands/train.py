"""`locum train`: an adapter from a domain's data, registered as its next version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from locum.commands.common import JsonOption, out, print_json, settings, table

if TYPE_CHECKING:
    from locum.train.pipeline import TrainOutcome
    from locum.train.result import Sample


def add_to(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    domain: Annotated[str, typer.Argument(help="The domain's name.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe for this run; repeatable."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train anew even if this very run is finished or was interrupted.")
    ] = False,
    no_register: Annotated[
        bool, typer.Option("--no-register", help="Leave the adapter in its run folder; register no version.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a domain's adapter on its data, and register it as the candidate.

    A run with the same recipe, data and base model is reused; an interrupted one is taken up where it stopped.

    Example: locum train medical --set method=dpo --set start=medical@3
    """
    from locum.adapters.base import load_base
    from locum.adapters.domains import load_domain
    from locum.train.pipeline import train_domain

    in_force = settings()
    outcome = train_domain(
        in_force,
        load_domain(in_force.domains, domain),
        load_base(in_force.bases, in_force.base),
        overrides=changes or [],
        fresh=fresh,
        register=not no_register,
    )
    if as_json:
        print_json(
            {
                "version": outcome.manifest.name if outcome.manifest else None,
                "new": outcome.new,
                "reused": outcome.result.reused,
                "base": outcome.base.model_dump(mode="json") if outcome.base else None,
                "run": str(outcome.result.folder),
                "training": outcome.result.summary(),
                "samples": [each.model_dump() for each in outcome.result.samples],
                "data": outcome.data.model_dump(mode="json"),
            }
        )
        return
    tell_training(outcome)
    _tell_next(outcome)


def tell_training(outcome: TrainOutcome) -> None:
    """What the data were, and how the training went."""
    result = outcome.result
    out.print(f"{outcome.data.leak}.", highlight=False)
    done = "Finished before" if result.reused else f"Trained {result.steps} steps in {result.seconds:.0f} s"
    out.print(
        f"{done}: validation loss {result.first_loss:.3f} → {result.best_loss:.3f} (step {result.best_step}), "
        f"{result.tokens_per_second:,.0f} tokens/s, {result.peak_memory / 1e9:.1f} GB. In {result.folder}",
        highlight=False,
        soft_wrap=True,
    )
    if result.agreement is not None:
        share = "" if result.agreement.accuracy is None else f" {result.agreement.accuracy:.0%} of"
        out.print(
            f"It prefers the chosen answers of{share} {result.validation_rows:,} validation pairs, by a margin of "
            f"{result.agreement.margin:+.3f} on average.",
            highlight=False,
            soft_wrap=True,
        )
    if result.samples:
        out.print()
        out.print(table(None, ("question", "expected", "before", "after"), _in_lines(result.samples), cut=True))
        out.print()
    for sentence in result.advice:
        out.print(f"[yellow]→[/] {sentence}", highlight=False, soft_wrap=True)


def _in_lines(samples: Iterable[Sample]) -> Iterator[list[str]]:
    for each in samples:
        yield [" ".join(text.split()) for text in (each.question, each.expected, each.before, each.after)]


def _tell_next(outcome: TrainOutcome) -> None:
    from locum.adapters.recipe import UNSERVABLE

    result = outcome.result
    if outcome.base is not None:
        name = outcome.base.name
        out.print(
            f"[bold green]{name}[/] is a base model of its own, fingerprint {outcome.base.fingerprint[:12]}, in "
            f'{outcome.base.path}. To use it, put base = "{name}" into locum.toml, or set LOCUM_BASE={name}.',
            highlight=False,
            soft_wrap=True,
        )
        return
    if outcome.manifest is None and result.recipe.method in UNSERVABLE | {"full"}:
        out.print(f"Not registered: it is in {result.adapter}", highlight=False, soft_wrap=True)
        return
    if outcome.manifest is None:
        out.print(f"Not registered. To do so: locum adapters register {result.adapter} --domain {result.domain}")
        return
    name = outcome.manifest.name
    if not outcome.new:
        out.print(f"[bold]{name}[/] is this very adapter already. Next: locum eval {result.domain} --model {name}")
        return
    out.print(
        f"[bold green]{name}[/] is registered as the candidate. Next: locum serve, and locum eval {result.domain}"
    )
