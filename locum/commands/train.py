"""`locum train`: an adapter from a domain's data, registered as its next version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locum.commands.common import JsonOption, out, print_json, say, settings, spin_less, table
from locum.commands.tables import columns_of

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.domains import Domain
    from locum.settings import Settings
    from locum.train.pipeline import TrainOutcome
    from locum.train.plan import Plan
    from locum.train.result import Sample
    from locum.train.sweep import Sweep


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
    processes: Annotated[
        int, typer.Option(min=1, help="Share each step among so many processes of this host, on GPUs or CPUs.")
    ] = 1,
    accelerate_config: Annotated[
        Path | None,
        typer.Option(help="Configuration of accelerate that parts the model among them, by FSDP or DeepSpeed."),
    ] = None,
    hosts: Annotated[int, typer.Option(min=1, help="Hosts that share the training; run the command on each.")] = 1,
    host_rank: Annotated[int, typer.Option(min=0, help="Which of them this is; host 0 builds and registers.")] = 0,
    rendezvous: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the hosts meet: address and free port of host 0.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the training would do and need on this machine, and stop.")
    ] = False,
    trials: Annotated[
        int | None,
        typer.Option(
            "--sweep",
            min=2,
            metavar="N",
            help="Search rank, learning rate and epochs in N trials; only the best adapter is registered.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train even if the estimate says that memory or disk will not do.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a domain's adapter on its data, and register it as the candidate.

    A run with the same recipe, data and base model is reused; an interrupted run or sweep is taken up.
    What does not fit into memory or on the disk is refused before anything is loaded.

    Example: locum train medical --set method=dpo --set start=medical@3
    """
    spin_less()

    from locum.adapters.base import load_base
    from locum.adapters.domains import load_domain
    from locum.errors import BadInputError
    from locum.train.pipeline import plan_domain, sweep_domain, train_domain
    from locum.train.spread import ALONE, Spread

    if plan and fresh:
        raise BadInputError("--plan and --fresh: expected one of them", hint="--plan trains nothing")
    if plan and trials is not None:
        raise BadInputError("--plan and --sweep: expected one of them", hint="--plan tells what one trial needs")
    in_force = settings()
    spread = Spread(processes, hosts, host_rank, rendezvous, accelerate_config)
    if spread != ALONE and (plan or trials is not None):
        raise BadInputError(
            f"{'--plan' if plan else '--sweep'} is for one process", hint="leave out what spreads the training"
        )
    card, base = load_domain(in_force.domains, domain), load_base(in_force.bases, in_force.base)
    overrides, register = changes or [], not no_register
    if register and not host_rank:
        _warn_of_server(in_force, card, base, overrides, trials)
    if plan:
        planned, footprint = plan_domain(in_force, card, base, overrides=overrides, register=register)
        if as_json:
            print_json(planned.model_dump(mode="json"))
        else:
            _tell_plan(planned)
        if not force and planned.state != "finished":  # a finished run is reused
            from locum.train.memory import require_room

            require_room(footprint, in_force.runs)
        return
    found = None
    if trials is None:
        outcome = train_domain(
            in_force, card, base, overrides=overrides, fresh=fresh, register=register, spread=spread, force=force
        )
    else:
        outcome, found = sweep_domain(
            in_force, card, base, overrides=overrides, trials=trials, fresh=fresh, register=register, force=force
        )
    if outcome.new and outcome.manifest is not None:
        from locum.commands.convergence import warn_if_not_held

        warn_if_not_held(in_force, base, outcome.manifest)
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
                "sweep": None if found is None else _sweep_json(found),
            }
        )
        return
    if found is not None:
        _tell_sweep(found)
    tell_training(outcome)
    if host_rank:
        out.print("What comes of it, host 0 tells.")
        return
    _tell_next(outcome)


def _warn_of_server(in_force: Settings, card: Domain, base: Base, overrides: list[str], trials: int | None) -> None:
    """Say before the training that the running server could not hold what comes of it."""
    from locum.commands.convergence import rank_of, warn, why_not_held
    from locum.train.recipe import with_overrides
    from locum.train.sweep import RANKS

    rank = rank_of(with_overrides(card.card.recipe, overrides), highest=RANKS[1] if trials else 0)
    if rank:
        warn(why_not_held(in_force, base, rank=rank, name="what this trains"))


def _tell_plan(plan: Plan) -> None:
    from locum.train.memory import gigabytes

    def say(text: str) -> None:
        out.print(text, highlight=False, soft_wrap=True)

    fields = [(name, _short(field.value), field.origin) for name, field in plan.recipe.items()]
    out.print(table(f"{plan.domain} on {plan.base}", ("recipe", "value", "from"), fields, first_to_go=["from"]))
    out.print()
    splits = [(name, each.rows, each.tokens, each.longest) for name, each in plan.splits.items()]
    out.print(table(None, ("split", "rows", "tokens", "longest"), splits))
    out.print()
    for sentence in plan.refused:
        say(sentence)
    of = f"{plan.parameters:,} trained weights beside {plan.of_parameters:,} of the base model"
    say(f"{of}; {plan.steps:,} steps, {plan.epochs:g} epochs.")
    memory = plan.memory
    parts = ("libraries", "weights", "files", "gradients", "optimizer", "activations", "logits")
    each = ", ".join(f"{part} {gigabytes(getattr(memory, part))}" for part in parts)
    say(f"Memory: about {gigabytes(memory.needed)} of {gigabytes(memory.available)} that are free ({each}; estimated).")
    say(f"Disk: about {gigabytes(plan.disk.needed)} of {gigabytes(plan.disk.available)} that are free.")
    speed = f"{plan.time.tokens_per_second:,.0f} tokens/s, from {plan.time.source}"
    say(f"Time: about {_duration(plan.time.seconds)} on {plan.device} ({speed}).")
    taken_up = f" It was interrupted, and would go on after step {plan.resumes_at:,}: the time is that of the rest."
    there = {"new": "", "interrupted": taken_up, "finished": " It is finished, and would be reused."}
    say(f"Run: {plan.run}.{there[plan.state]}")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return "none" if value in (None, {}) else str(value).lower() if isinstance(value, bool) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _sweep_json(found: Sweep) -> dict[str, Any]:
    summary = {**found.summary(), "picture": str(found.picture)}
    return {**summary, "runs": [trial.model_dump(mode="json") for trial in found.trials]}


def _tell_sweep(found: Sweep) -> None:
    best = found.best
    names = list(found.trials[0].values)
    rows = [
        (
            trial.number + 1,
            *(f"{trial.values[name]:g}" for name in names),
            "" if trial.loss is None else f"{trial.loss:.4f}",
            "best" if trial == best else trial.state,
        )
        for trial in found.trials
    ]
    columns = ("trial", *(name.replace("_", " ") for name in names), "validation loss", "")
    out.print(table(f"{found.domain}: {len(rows)} trials", columns, rows))
    if "epochs" not in names:
        out.print("max_steps is set, so that epochs were not searched; --set max_steps=null does.", highlight=False)
    out.print(f"Plotted in {found.picture}", highlight=False, soft_wrap=True)


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
        out.print(table(None, ("question", "expected", "before", "after"), _in_lines(result.samples)))
        out.print()
    for sentence in result.advice:
        out.print(f"[yellow]→[/] {sentence}", highlight=False, soft_wrap=True)


def _in_lines(samples: Iterable[Sample]) -> Iterator[list[str]]:
    """Rows of a table, each text in a line and cut to its share of the width."""
    share = max(10, (columns_of(out) or 200) // 4 - 2)
    for each in samples:
        texts = (" ".join(text.split()) for text in (each.question, each.expected, each.before, each.after))
        yield [text if len(text) <= share else f"{text[: share - 1].rstrip('…')}…" for text in texts]


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
        say(f"Not registered. To do so: locum adapters register {result.adapter} --domain {result.domain}")
        return
    name = outcome.manifest.name
    if not outcome.new:
        say(f"{name} is this very adapter already. Next: locum eval {result.domain} --model {name}")
        return
    out.print(
        f"[bold green]{name}[/] is registered as the candidate. Next: locum serve, and locum eval {result.domain}"
    )
