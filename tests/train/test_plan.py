"""A plan is held against what a real training then does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.base import Base, load_base, pull
from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError, DiskFullError, OutOfMemoryError
from locum.settings import Settings
from locum.train import machine, memory
from locum.train.data.build import DataBuild
from locum.train.measured import Measured
from locum.train.memory import LIBRARIES, Footprint, require_room
from locum.train.methods import Start
from locum.train.plan import Plan, make_plan
from locum.train.recipe import origins, with_overrides
from locum.train.result import TrainingResult
from locum.train.rows import load_splits
from locum.train.trainer import stopped
from tests.train.conftest import RECIPE

Fit = Callable[..., TrainingResult]
PlanOf = Callable[..., tuple[Plan, Footprint]]


@pytest.fixture
def plan_legal(settings: Settings, base_record: Base, built: DataBuild) -> PlanOf:
    """The plan of what `fit_legal` would do with the same fields."""

    def plan(*, start: Start | None = None, **fields: Any) -> tuple[Plan, Footprint]:
        recipe = TrainingRecipe.model_validate({**RECIPE.model_dump(), **fields})
        sources = origins(recipe, [])
        data = settings.data_path("legal")
        return make_plan("legal", base_record, data, built.record, recipe, settings.runs, origins=sources, start=start)

    return plan


WIDE = {"rank": 16, "alpha": 32}  # what a method without matrices has to leave as it is


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ranks": {"down_proj": 8, "0.self_attn.q_proj": 2}},
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "mlp.up_proj"], "rslora": True},
        {"method": "qlora"},
        {"method": "dora"},
        {"method": "prefix", "virtual_tokens": 4, **WIDE},
        {"method": "prompt", "virtual_tokens": 4, **WIDE},
        {"method": "full", **WIDE},
    ],
    ids=str,
)
def test_a_fit_does_what_the_plan_says(fit_legal: Fit, plan_legal: PlanOf, fields: dict[str, Any]) -> None:
    plan, _ = plan_legal(**fields, max_steps=3)
    assert plan.state == "new"
    result = fit_legal(**fields, max_steps=3)
    assert (plan.parameters, plan.steps) == (result.parameters, result.steps)
    assert max(split.longest for split in plan.splits.values()) == result.longest
    assert plan.splits["train"].rows == result.train_rows
    assert Path(plan.run) == result.folder
    assert plan_legal(**fields, max_steps=3)[0].state == "finished"


def test_epochs_and_accumulation_make_the_steps_that_are_trained(fit_legal: Fit, plan_legal: PlanOf) -> None:
    fields = {"max_steps": None, "epochs": 2, "batch_size": 4, "gradient_accumulation": 2}
    plan, _ = plan_legal(**fields)
    assert plan.steps == fit_legal(**fields).steps
    assert plan.recipe["epochs"].value == 2
    assert "epochs" not in plan_legal()[0].recipe  # max_steps decides


def test_rows_that_are_too_long_are_refused_as_by_fit(fit_legal: Fit, plan_legal: PlanOf) -> None:
    for of in (plan_legal, fit_legal):
        with pytest.raises(BadInputError, match=r"of \d+ rows are longer than 10 tokens"):
            of(max_length=10)


def test_target_modules_that_are_not_there_are_refused_with_those_that_are(plan_legal: PlanOf) -> None:
    with pytest.raises(BadInputError, match=r"recipe\.target_modules: the base model has none of nonesuch") as caught:
        plan_legal(target_modules=["nonesuch"])
    assert "down_proj, gate_proj" in str(caught.value.hint)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Lets other programs keep so many cores busy, and leave a training that part of its full speed."""

    def set_load(busy: float, share: float) -> None:
        for module in ("plan", "trainer"):
            monkeypatch.setattr(f"locum.train.{module}.present_share", lambda: (busy, share))

    set_load(0.0, 1.0)
    return set_load


def test_time_is_that_of_a_machine_as_busy_as_it_is_now(
    fit_legal: Fit, plan_legal: PlanOf, load: Callable[[float, float], None]
) -> None:
    past = fit_legal()
    free = plan_legal(rank=8)[0].time
    load(2.0, 0.5)
    beside = plan_legal(rank=8)[0].time
    assert (past.share_of_cores, free.tokens_per_second) == (1.0, past.tokens_per_second)
    assert beside.tokens_per_second == pytest.approx(free.tokens_per_second / 2, abs=0.1)
    assert beside.seconds == pytest.approx(2 * free.seconds, abs=0.2)
    assert "; other programs keep 2.0 of" in beside.source
    busy = fit_legal(seed=1)  # the newest run was as slow as the machine then was
    assert plan_legal(rank=8)[0].time.tokens_per_second == busy.tokens_per_second
    load(0.0, 1.0)
    assert plan_legal(rank=8)[0].time.tokens_per_second == pytest.approx(2 * busy.tokens_per_second, abs=0.1)


@given(threads=st.integers(1, 64), cores=st.integers(1, 64), busy=st.floats(0, 64))
def test_a_program_gets_its_full_speed_until_cores_are_short_and_then_its_part(
    threads: int, cores: int, busy: float
) -> None:
    share = machine.share_of_cores(threads, cores, busy)
    assert 0 < share <= 1
    assert (share == 1) == (threads + busy <= cores)
    assert machine.share_of_cores(threads, cores, busy + 1) <= share


def test_an_interrupted_training_says_what_is_kept_and_where_it_goes_on(
    fit_legal: Fit,
    plan_legal: PlanOf,
    load: Callable[[float, float], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("locum.train.plan.operations_per_second", lambda: 1e6)
    whole = plan_legal(max_steps=8, evaluations=2)[0]
    step, steps = Measured.training_step, iter(range(1, 100))

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(steps) == 7:
            raise KeyboardInterrupt
        return step(*arguments, **options)

    monkeypatch.setattr(Measured, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_legal(max_steps=8, evaluations=2)
    said = capsys.readouterr().err
    assert f"Stopped after step 6. Step 4 is kept in {whole.run}: the same command goes on from there" in said
    assert "trains 2 of them again" in said
    left = plan_legal(max_steps=8, evaluations=2)[0]
    assert (whole.resumes_at, left.state, left.resumes_at) == (0, "interrupted", 4)
    assert left.time.seconds < whole.time.seconds
    assert fit_legal(max_steps=8, evaluations=2).resumed_at == 4
    assert "Going on after step 4 of 8" in capsys.readouterr().err


def test_a_training_that_is_stopped_before_its_first_checkpoint_begins_anew() -> None:
    assert stopped(3, 0, Path("runs/x")) == (
        "Stopped after step 3, before the first checkpoint: the same command begins anew."
    )


def test_time_is_told_by_a_past_run_of_the_same_base_and_method(
    fit_legal: Fit, plan_legal: PlanOf, load: Callable[[float, float], None]
) -> None:
    assert "matrix product" in plan_legal()[0].time.source
    past = fit_legal()
    plan, _ = plan_legal(rank=8)
    assert plan.time.source == f"the run {past.folder.name}"
    assert plan.time.tokens_per_second == past.tokens_per_second
    longer, _ = plan_legal(rank=8, max_steps=800)
    assert longer.time.seconds > plan.time.seconds
    assert "matrix product" in plan_legal(method="dora")[0].time.source


def test_disk_is_what_checkpoints_take(
    fit_legal: Fit, plan_legal: PlanOf, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Two checkpoints are left at the end, and a third is there while it is written."""
    plan, _ = plan_legal(rank=64)

    def interrupted(*_: object) -> None:
        raise RuntimeError("interrupted")

    monkeypatch.setattr("locum.train.trainer.draw_losses", interrupted)
    with pytest.raises(RuntimeError, match="interrupted"):
        fit_legal(rank=64)
    [folder] = settings.runs.glob("legal-*")
    assert plan_legal(rank=64)[0].state == "interrupted"
    sizes = [sum(file.stat().st_size for file in each.iterdir()) for each in folder.glob("checkpoints/checkpoint-*")]
    left = sum(file.stat().st_size for file in (folder / "adapter").iterdir())
    assert len(sizes) == 2
    assert plan.disk.needed == pytest.approx(3 * max(sizes) + left, rel=0.1)


def test_what_does_not_fit_is_refused_with_settings_that_do(
    fit_legal: Fit, plan_legal: PlanOf, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, footprint = plan_legal(batch_size=32)
    smaller = memory.replace_recipe(footprint, {"batch_size": 8}).memory().needed
    monkeypatch.setattr(memory, "memory_for_training", lambda: smaller + 1)
    with pytest.raises(OutOfMemoryError, match=r"needs about .* of memory") as caught:
        require_room(footprint, settings.runs)
    assert str(caught.value.hint).startswith("--set batch_size=8 --set gradient_accumulation=4 needs about")
    with pytest.raises(OutOfMemoryError):
        fit_legal(batch_size=32, max_steps=1)
    assert not list(settings.runs.glob("*/checkpoints"))
    fit_legal(batch_size=8, max_steps=1)
    assert not fit_legal(batch_size=32, max_steps=1, force=True).reused
    monkeypatch.setattr(memory, "memory_for_training", lambda: 1)
    with pytest.raises(OutOfMemoryError) as caught:
        require_room(footprint, settings.runs)
    assert "no batch size fits" in str(caught.value.hint)


def test_too_little_disk_is_refused(plan_legal: PlanOf, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    _, footprint = plan_legal()
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda _: memory.shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DiskFullError, match="of disk for checkpoints"):
        require_room(footprint, settings.runs)


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    import psutil

    held = psutil.Process().memory_info().rss
    assert machine.memory_for_training() == pytest.approx(held + 1_500_000, rel=0.05)


def test_each_value_says_where_it_comes_from() -> None:
    card = TrainingRecipe.model_validate({"rank": 8, "learning_rate": 3e-4})
    assert with_overrides(card, ["method=dora"]).rank == 8
    changed = origins(card, ["method=dora", "epochs=2"])
    assert (changed["rank"], changed["method"], changed["epochs"]) == ("card", "--set", "--set")
    assert changed["learning_rate"] == "default"  # another method's own
    assert origins(card, [])["learning_rate"] == "card"
    assert origins(TrainingRecipe(), [])["learning_rate"] == "default"
    assert origins(card, [])["schedule"] == "default"


@pytest.fixture(scope="module")
def bases(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base models with a random Llama, whose activations are more than what the libraries take."""
    import shutil

    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("wider") / "wider-llama"
    shutil.copytree(tiny_base, folder)
    config = AutoConfig.from_pretrained(tiny_base)
    changes = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "head_dim": 64}
    config.update({**changes, "num_attention_heads": 8, "num_key_value_heads": 4})
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    bases = tmp_path_factory.mktemp("bases")
    pull(str(folder), bases)
    return bases


MEASURED = """
import json, sys
from pathlib import Path
from locum.adapters.base import load_base
from locum.adapters.manifest import DataRecord
from locum.adapters.recipe import TrainingRecipe
from locum.train.trainer import fit
bases, data, runs, recipe = sys.argv[1:]
base = load_base(Path(bases), "wider-llama")
record = DataRecord(digest="0", splits={})
result = fit("legal", base, Path(data), record, TrainingRecipe.model_validate_json(recipe), Path(runs), fresh=True)
print(json.dumps({"peak": result.peak_memory, "parameters": result.parameters}))
"""


def test_memory_is_within_a_third_of_what_a_training_takes(bases: Path, tmp_path: Path) -> None:
    """All in all; without what the libraries take, by less than twice."""
    asked = "What is permissive about the licence of number " + " ".join(map(str, range(60)))
    rows = [
        {"conversations": [{"role": "user", "content": f"{n} {asked}"}, {"role": "assistant", "content": "Yes."}]}
        for n in range(8)
    ]
    for name in ("train", "validation"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = TrainingRecipe(max_steps=1, evaluations=1)
    base = load_base(bases, "wider-llama")
    splits = load_splits(base, tmp_path, recipe)
    footprint = Footprint.of(base, recipe, None, splits.template, splits.train)
    given = [str(bases), str(tmp_path), str(tmp_path / "runs"), recipe.model_dump_json(exclude=set(recipe.idle))]
    command = [sys.executable, "-c", MEASURED, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    needed = footprint.memory().needed
    assert footprint.parameters == measured["parameters"]
    assert needed == pytest.approx(measured["peak"], rel=1 / 3)
    assert 1 / 2 < (needed - LIBRARIES) / (measured["peak"] - LIBRARIES) < 2
