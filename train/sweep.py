"""A search for the rank, learning rate and epochs with the lowest validation loss.

Each trial is an ordinary run. Which values a trial gets depends on the recipe's seed and on what came of the trials
before it, and on nothing else (TPE: Bergstra et al., 2011, https://papers.nips.cc/paper/4443): so a search that was
interrupted is taken up by its record, and one with more trials goes on from one with fewer.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from locum.adapters.base import Base
from locum.adapters.manifest import DataRecord
from locum.adapters.recipe import TrainingRecipe
from locum.adapters.suites import SuiteCard
from locum.errors import CheckFailedError, UnavailableError
from locum.train.curve import draw_trials
from locum.train.memory import Footprint, require_room
from locum.train.methods import Start
from locum.train.result import TrainingResult
from locum.train.rows import load_splits
from locum.train.run import run_digest, run_folder, run_name, write
from locum.train.trainer import fit

if TYPE_CHECKING:
    import optuna

SWEEP_FILE = "sweep.json"
RANKS = (8, 64, 8)  # lowest, highest, step
RATES = 5.0  # times the recipe's learning rate, up and down
EPOCHS = (0.5, 2.0, 0.5)  # times the recipe's
FIRST = 4  # trials with values by chance, before the search knows anything; none of them is given up


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trial(_Record):
    """One run of a sweep."""

    number: int
    values: dict[str, float] = Field(description="of the fields that are searched")
    state: Literal["complete", "pruned", "failed"] = Field(
        description="pruned: given up, since at that part of the training most others were better"
    )
    losses: list[float] = Field(description="validation loss at each measurement after the first step")
    run: str = Field(description="name of the run's folder")
    found: bool = Field(False, description="whether the run was there already: then all of it is kept")
    reason: str | None = Field(None, description="why it failed")

    @property
    def loss(self) -> float | None:
        """The lowest validation loss of a trial that ended."""
        return min(self.losses) if self.state == "complete" else None


class Sweep(_Record):
    """sweep.json: what was tried, and what came of it."""

    domain: str
    recipe: TrainingRecipe = Field(description="what the trials have in common, and the values that they begin with")
    trials: list[Trial] = []
    folder: Path = Field(Path(), exclude=True)

    @property
    def best(self) -> Trial | None:
        """The trial with the lowest validation loss; of two such, the first."""
        ended = [(trial.loss, trial.number, trial) for trial in self.trials if trial.loss is not None]
        return min(ended)[2] if ended else None

    @property
    def picture(self) -> Path:
        """The plot of the values against validation loss."""
        return self.folder / "sweep.png"

    def summary(self) -> dict[str, Any]:
        """What a manifest records of it."""
        counts = {state: sum(trial.state == state for trial in self.trials) for state in ("pruned", "failed")}
        best = {"best": self.best.number, "values": self.best.values} if self.best else {}
        return {"trials": len(self.trials), **counts, **best}

    def with_trial(self, trial: Trial) -> Sweep:
        """With the trial in its place; later ones, if they were there, were asked for something else."""
        return self.model_copy(update={"trials": [*self.trials[: trial.number], trial]})


@dataclass(frozen=True)
class _Fit:
    """`fit`, with all that the trials have in common."""

    domain: str
    base: Base
    data_path: Path
    data: DataRecord
    recipe: TrainingRecipe
    runs: Path
    start: Start | None
    options: dict[str, Any]

    def with_values(self, values: dict[str, float]) -> TrainingRecipe:
        """The recipe with a trial's values; alpha is twice the rank, so that the rank is all that it changes."""
        alpha = {"alpha": 2 * values["rank"]} if "rank" in values else {}
        return TrainingRecipe.model_validate({**self.recipe.model_dump(), **values, **alpha})

    def run(self, values: dict[str, float]) -> str:
        """Name of the folder of a trial's run."""
        start = self.start.digest if self.start else None
        return run_name(self.domain, run_digest(self.with_values(values), self.data, self.base, start))

    def __call__(self, values: dict[str, float], **options: Any) -> TrainingResult:
        recipe, options = self.with_values(values), {**self.options, **options}
        return fit(self.domain, self.base, self.data_path, self.data, recipe, self.runs, start=self.start, **options)


def sweep(
    domain: str,
    base: Base,
    data_path: Path,
    data: DataRecord,
    recipe: TrainingRecipe,
    runs: Path,
    *,
    trials: int,
    fresh: bool,
    start: Start | None = None,
    suites: Sequence[SuiteCard] = (),
    tracking: Sequence[str] = (),
    force: bool = False,
) -> tuple[Sweep, TrainingResult]:
    """Fit so many trials and keep the adapter of the best; of the others, what is known of them.

    The rank is searched where the method has one, the epochs where the recipe has no `max_steps`. The other arguments
    are those of `fit`.

    Raises:
        LocumError: as `fit` raises them; a loss that is not finite is a trial that failed.
        CheckFailedError: no trial ended.
        ConflictError: another process is at this very sweep.
        UnavailableError: Optuna is not installed.
    """
    study = _study(recipe)
    # Other trackers keep one run open for all trainings of a process.
    options = {"suites": suites, "tracking": [name for name in tracking if name == "tensorboard"], "force": force}
    one = _Fit(domain, base, data_path, data, recipe, runs, start, options)
    if not force:
        splits = load_splits(base, data_path, recipe)
        largest = one.with_values({name: ends[1] for name, ends in _space(recipe).items() if name == "rank"})
        require_room(Footprint.of(base, largest, start, splits.template, splits.train), runs)
    same = [run_digest(recipe, data, base, start.digest if start else None), RANKS, RATES, EPOCHS, FIRST]
    digest = hashlib.sha256(json.dumps(same).encode()).hexdigest()
    with run_folder(runs, run_name(f"{domain}-sweep", digest), fresh=fresh) as folder:
        done, trained = _read(folder, domain, recipe), set[int]()
        for number in range(trials):
            asked = study.ask()
            values = _values(asked, recipe)
            if number < len(done.trials) and done.trials[number].values == values:
                trial = done.trials[number]
                _report(asked, trial.losses)
            else:
                Console(stderr=True).print(f"Trial {number + 1} of {trials}: {written(values)}", highlight=False)
                trial = _try(number, values, asked, one, fresh=fresh)
                done = done.with_trial(trial)
                trained.add(number)
                write(folder / SWEEP_FILE, done.model_dump_json(indent=2))
                _drop_losers(done, trained, runs)
            _tell(study, asked, trial)
        done = done.model_copy(update={"trials": done.trials[:trials], "folder": folder})
        if done.best is None:
            raise CheckFailedError(
                f"none of the {trials} trials ended; the last: {done.trials[-1].reason}",
                hint="start from a lower learning rate, for example --set learning_rate=1e-4",
            )
        draw_trials(
            [(trial.values, min(trial.losses), trial == done.best) for trial in done.trials if trial.losses],
            f"{domain} on {base.name}: {trials} trials",
            done.picture,
        )
        best = one(done.best.values, fresh=False)
        now = done.best.number in trained and not done.best.found
        return done, best.model_copy(update={"reused": best.reused and not now})


def written(values: dict[str, float]) -> str:
    """A trial's values, for people."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())


def _study(recipe: TrainingRecipe) -> optuna.Study:
    try:
        import optuna
    except ModuleNotFoundError:
        raise UnavailableError(
            "a sweep needs optuna, which is not installed", hint="pip install 'locum[train]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=recipe.seed, n_startup_trials=FIRST),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST),
    )
    # What is nearest to the recipe itself comes first.
    inside = {name: getattr(recipe, name) for name in _space(recipe)}
    if "rank" in inside and inside["rank"] not in range(RANKS[0], RANKS[1] + 1, RANKS[2]):
        del inside["rank"]
    study.enqueue_trial(inside)
    return study


def _space(recipe: TrainingRecipe) -> dict[str, tuple[float, float]]:
    """The fields that are searched, with their lowest and highest values."""
    space: dict[str, tuple[float, float]] = {} if "rank" in recipe.idle else {"rank": RANKS[:2]}
    space["learning_rate"] = (recipe.learning_rate / RATES, min(1.0, recipe.learning_rate * RATES))
    if recipe.max_steps is None:
        space["epochs"] = (recipe.epochs * EPOCHS[0], recipe.epochs * EPOCHS[1])
    return space


def _values(asked: optuna.Trial, recipe: TrainingRecipe) -> dict[str, float]:
    """The values that a trial gets, the learning rate in three digits, as one would type it."""
    values: dict[str, float] = {}
    for name, (low, high) in _space(recipe).items():
        if name == "rank":
            values[name] = asked.suggest_int(name, int(low), int(high), step=RANKS[2])
        elif name == "epochs":
            values[name] = asked.suggest_float(name, low, high, step=recipe.epochs * EPOCHS[2])
        else:
            values[name] = float(f"{asked.suggest_float(name, low, high, log=True):.3g}")
    return values


def _try(number: int, values: dict[str, float], asked: optuna.Trial, one: _Fit, *, fresh: bool) -> Trial:
    """Fit one trial, unless it falls behind."""
    import optuna

    losses: list[float] = []
    measurements = min(one.recipe.evaluations, one.recipe.max_steps or one.recipe.evaluations)
    there = (one.runs / one.run(values) / "checkpoint").is_dir()  # a base model may lie in it

    def measured(loss: float) -> None:
        losses.append(loss)
        asked.report(loss, len(losses))
        if len(losses) < measurements and asked.should_prune():
            raise optuna.TrialPruned

    def trial(state: Literal["complete", "pruned", "failed"], **more: Any) -> Trial:
        return Trial(number=number, values=values, state=state, losses=losses, run=one.run(values), **more)

    try:
        result = one(values, fresh=fresh, measured=measured)
    except optuna.TrialPruned:
        return trial("pruned")
    except CheckFailedError as error:
        return trial("failed", reason=str(error))
    if result.reused:  # nothing was measured now
        losses = [loss for step, loss in result.losses.validation.items() if step]
        _report(asked, losses)
    return trial("complete", found=result.reused or there)


def _report(asked: optuna.Trial, losses: Sequence[float]) -> None:
    for place, loss in enumerate(losses, start=1):
        asked.report(loss, place)


def _tell(study: optuna.Study, asked: optuna.Trial, trial: Trial) -> None:
    from optuna.trial import TrialState

    if trial.loss is not None:
        study.tell(asked, trial.loss)
    else:
        study.tell(asked, state=TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL)


def _read(folder: Path, domain: str, recipe: TrainingRecipe) -> Sweep:
    try:
        return Sweep.model_validate_json((folder / SWEEP_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return Sweep(domain=domain, recipe=recipe)


def _drop_losers(done: Sweep, trained: set[int], runs: Path) -> None:
    """Remove the weights of trials that were trained now and are not the best.

    Those of earlier calls stay: the best of them is registered, and others may have been trained again since.
    """
    kept = {trial.run for trial in done.trials if trial.found} | ({done.best.run} if done.best else set())
    for trial in done.trials:
        if trial.number not in trained or trial.run in kept:  # two trials may have the same values
            continue
        for name in ("adapter", "checkpoint", "checkpoints"):
            shutil.rmtree(runs / trial.run / name, ignore_errors=True)
