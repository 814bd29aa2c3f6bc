"""`locum train` as a user runs it, over the tiny base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from locum.adapters.base import Base, load_base
from locum.adapters.registry import Registry
from locum.cli import app
from locum.errors import BadInputError, OutOfMemoryError, UnavailableError
from locum.settings import Settings

QUICK = ["--set", "max_steps=2", "--set", "evaluations=1", "--set", "rank=4"]


@pytest.fixture
def runner(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("home", "domains", "base", "user"):
        monkeypatch.setenv(f"LOCUM_{name.upper()}", str(getattr(settings, name)))
    return CliRunner()


def test_train_registers_once(runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings) -> None:
    card = domain_folder / "card.yaml"
    enforced = "notices: {texts: [This is a test.], enforce: append}"
    card.write_text(card.read_text().replace("notices: [This is a test.]", enforced))
    first = json.loads(runner.invoke(app, ["train", "legal", "--json", *QUICK], catch_exceptions=False).stdout)
    assert (first["version"], first["new"], first["reused"]) == ("legal@1", True, False)
    again = json.loads(runner.invoke(app, ["train", "legal", "--json", *QUICK], catch_exceptions=False).stdout)
    assert (again["version"], again["new"], again["reused"]) == ("legal@1", False, True)
    manifest = Registry.open(settings).resolve("legal@candidate")
    assert manifest.recipe["max_steps"] == 2
    assert manifest.data is not None and set(manifest.data.splits) == {"train", "validation", "test"}
    assert manifest.training["validation_loss"] > 0
    assert len(manifest.probes) > 1
    assert manifest.enforced_notices == [["This is a test."]]


@pytest.mark.parametrize("method", ["dora", "prefix", "prompt"])
def test_what_no_server_holds_is_refused_before_anything_is_trained(
    runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings, method: str
) -> None:
    shape = [] if method != "dora" else ["--set", "rank=4"]
    asked = ["train", "legal", "--set", "max_steps=2", "--set", "evaluations=1", "--set", f"method={method}", *shape]
    result = runner.invoke(app, asked)
    assert isinstance(result.exception, BadInputError)
    assert "so the adapter could not be registered" in str(result.exception)
    assert "--no-register" in str(result.exception.hint)
    assert not settings.runs.exists()
    said = runner.invoke(app, [*asked, "--no-register"], catch_exceptions=False).stdout
    [adapter] = settings.runs.glob("*/adapter")
    assert f"Not registered: it is in {adapter}" in said


def test_full_makes_a_base_model_of_its_own(
    runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings
) -> None:
    from transformers import AutoModelForCausalLM

    asked = ["train", "legal", "--set", "method=full", "--set", "max_steps=4", "--set", "learning_rate=1e-3"]
    ran = runner.invoke(app, [*asked, "--json"], catch_exceptions=False)
    steps = [line.partition(" loss")[0] for line in ran.stderr.splitlines() if line.startswith("legal step")]
    assert steps == [f"legal step {step}/4" for step in range(1, 5)], "a log has a line for each tenth of a training"
    made = json.loads(ran.stdout)
    assert made["version"] is None
    assert made["training"]["validation_loss"] < made["training"]["validation_loss_before"]
    base = load_base(settings.bases, made["base"]["name"])
    assert base.name.startswith("tiny-llama-legal-")
    assert base.fingerprint != base_record.fingerprint
    assert (base.parameters, base.dtype) == (base_record.parameters, base_record.dtype)
    changed, before = (AutoModelForCausalLM.from_pretrained(each.path) for each in (base, base_record))
    assert not changed.model.norm.weight.equal(before.model.norm.weight)
    again = json.loads(runner.invoke(app, [*asked, "--json"], catch_exceptions=False).stdout)
    assert (again["base"], again["reused"]) == (made["base"], True)
    assert not Registry.open(settings).versions()


PAIRS = [{"prompt": f"Is {n} a number?", "chosen": "Yes, it is.", "rejected": "Who knows."} for n in range(60)]


@pytest.fixture
def preferring(domain_folder: Path) -> Path:
    """The domain with sixty preference pairs."""
    (domain_folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text() + "preferences: {files: [pairs.jsonl], licence: ours}\n")
    return domain_folder


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_alignment_starts_from_a_version_and_prefers_what_people_chose(
    runner: CliRunner, preferring: Path, base_record: Base, settings: Settings, method: str
) -> None:
    runner.invoke(app, ["train", "legal", *QUICK], catch_exceptions=False)
    asked = ["train", "legal", "--json", "--set", f"method={method}", "--set", "start=legal@candidate"]
    asked += ["--set", "max_steps=8", "--set", "learning_rate=1e-2"]
    made = json.loads(runner.invoke(app, asked, catch_exceptions=False).stdout)
    assert made["version"] == "legal@2"
    training = made["training"]
    assert training["validation_loss"] < training["validation_loss_before"]
    assert training["agreement"]["margin"] > 0
    assert training["agreement"]["accuracy"] == (None if method == "kto" else 1)
    first, second = Registry.open(settings).versions("legal")
    assert second.recipe["start"] == "legal@1"
    assert "rank" not in second.recipe
    assert (second.rank, second.target_modules) == (first.rank, first.target_modules)
    assert second.digest != first.digest
    again = json.loads(runner.invoke(app, [*asked, "--fresh"], catch_exceptions=False).stdout)
    # The candidate is now what was made of it: another start, another run.
    assert (again["version"], again["run"] != made["run"]) == ("legal@3", True)
    same = [each if each != "start=legal@candidate" else "start=legal@1" for each in asked]
    repeated = json.loads(runner.invoke(app, [*same, "--fresh"], catch_exceptions=False).stdout)
    assert (repeated["version"], repeated["new"]) == ("legal@2", False)


def test_alignment_without_a_start_begins_with_the_base_model(
    runner: CliRunner, preferring: Path, base_record: Base
) -> None:
    asked = ["train", "legal", "--json", *QUICK, "--set", "method=dpo"]
    made = json.loads(runner.invoke(app, asked, catch_exceptions=False).stdout)
    assert made["version"] == "legal@1"
    assert made["training"]["validation_loss_before"] == pytest.approx(0.6931, abs=1e-4)  # ln 2: no preference


def test_alignment_without_pairs_is_refused(
    runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings
) -> None:
    result = runner.invoke(app, ["train", "legal", "--set", "method=dpo"])
    assert isinstance(result.exception, BadInputError)
    assert "the card of legal names none" in str(result.exception)
    assert not settings.data_path("legal").exists()


def test_a_start_over_another_base_model_is_refused(
    runner: CliRunner, preferring: Path, base_record: Base, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.invoke(app, ["train", "legal", *QUICK], catch_exceptions=False)
    full = ["train", "legal", "--json", "--set", "method=full", "--set", "max_steps=1", "--set", "evaluations=1"]
    other = json.loads(runner.invoke(app, full, catch_exceptions=False).stdout)["base"]["name"]
    monkeypatch.setenv("LOCUM_BASE", other)
    result = runner.invoke(app, ["train", "legal", "--set", "start=legal@1"])
    assert isinstance(result.exception, BadInputError)
    assert "start legal@1 was made for the base model tiny-llama" in str(result.exception)


def test_an_unknown_recipe_key_is_refused(runner: CliRunner, domain_folder: Path, base_record: Base) -> None:
    result = runner.invoke(app, ["train", "legal", "--set", "steps=2"])
    assert isinstance(result.exception, BadInputError)
    assert "max_steps" in str(result.exception)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (["--host-rank", "1"], "--rendezvous and --host-rank mean nothing on one host"),
        (["--rendezvous", "here:1"], "--rendezvous and --host-rank mean nothing on one host"),
        (["--hosts", "2"], "expected --rendezvous HOST:PORT, found None"),
        (["--processes", "1", "--accelerate-config", "nonesuch.yaml"], "nonesuch.yaml: there is no such file"),
    ],
)
def test_what_cannot_be_spread_is_refused_before_data_are_built(
    runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings, asked: list[str], complaint: str
) -> None:
    result = runner.invoke(app, ["train", "legal", *asked])
    assert isinstance(result.exception, BadInputError)
    assert complaint in str(result.exception)
    assert not settings.data_path("legal").exists()


def test_a_plan_loads_no_model_trains_nothing_and_says_what_would_be(
    runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("a model was loaded"))
    plan = json.loads(runner.invoke(app, ["train", "legal", "--plan", "--json", *QUICK], catch_exceptions=False).stdout)
    assert (plan["steps"], plan["recipe"]["rank"]) == (2, {"value": 4, "origin": "--set"})
    assert plan["splits"]["train"]["rows"] > 0
    assert plan["memory"]["needed"] < plan["memory"]["available"]
    assert not settings.runs.exists()
    said = runner.invoke(app, ["train", "legal", "--plan", *QUICK], catch_exceptions=False).stdout
    assert "2 steps" in said
    assert "Memory: about" in said


def test_what_does_not_fit_is_planned_and_refused(
    runner: CliRunner, domain_folder: Path, base_record: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    from locum.train import memory

    monkeypatch.setattr(memory, "memory_for_training", lambda: 1)
    refused = runner.invoke(app, ["train", "legal", "--plan", *QUICK])
    assert "Memory: about" in refused.stdout
    assert isinstance(refused.exception, OutOfMemoryError)
    assert isinstance(runner.invoke(app, ["train", "legal", *QUICK]).exception, OutOfMemoryError)
    assert runner.invoke(app, ["train", "legal", "--plan", "--force", *QUICK]).exit_code == 0


def test_alignment_is_planned_with_the_weights_of_its_start_and_answers_before_and_after(
    runner: CliRunner, preferring: Path, base_record: Base
) -> None:
    runner.invoke(app, ["train", "legal", *QUICK], catch_exceptions=False)
    asked = ["train", "legal", "--json", "--set", "method=dpo", "--set", "start=legal@1", "--set", "max_steps=2"]
    plan = json.loads(runner.invoke(app, [*asked, "--plan"], catch_exceptions=False).stdout)
    made = json.loads(runner.invoke(app, asked, catch_exceptions=False).stdout)
    result = json.loads((Path(made["run"]) / "training.json").read_text())
    assert (plan["parameters"], plan["steps"], plan["run"]) == (result["parameters"], result["steps"], made["run"])
    assert "rank" not in plan["recipe"]
    assert [sample["expected"] for sample in made["samples"]] == ["Yes, it is."] * 3
    assert made["samples"] == result["samples"]


def test_only_the_best_of_a_sweep_is_registered_and_its_manifest_says_so(
    runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings
) -> None:
    asked = ["train", "legal", "--sweep", "2", "--set", "max_steps=2", "--set", "evaluations=1"]
    made = json.loads(runner.invoke(app, [*asked, "--json"], catch_exceptions=False).stdout)
    [version] = Registry.open(settings).versions("legal")
    assert made["version"] == version.name == "legal@1"
    assert version.training["sweep"]["trials"] == 2
    assert (made["new"], made["reused"]) == (True, False)
    assert version.rank == version.training["sweep"]["values"]["rank"]
    said = runner.invoke(app, asked, catch_exceptions=False).stdout
    assert "legal: 2 trials" in said
    assert "legal@1 is this very adapter already" in said


def test_a_training_shows_questions_with_the_answers_before_and_after(
    runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings
) -> None:
    said = runner.invoke(app, ["train", "legal", *QUICK], catch_exceptions=False).stdout
    assert all(column in said for column in ("question", "expected", "before", "after"))
    assert "What is number" in said and "It is" in said
    [events] = settings.runs.glob("*/tensorboard/events*")  # by default, and nowhere else
    assert events.stat().st_size > 0


def test_a_tracker_that_is_not_installed_is_refused_before_the_data_are_built(
    runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings
) -> None:
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text() + "tracking: [mlflow]\n")
    result = runner.invoke(app, ["train", "legal", *QUICK])
    assert isinstance(result.exception, UnavailableError)
    assert "tracking: mlflow is not installed" in str(result.exception)
    assert not settings.data_path("legal").exists()
