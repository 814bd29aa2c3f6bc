"""Several processes learn what one process learns. Real processes, started by accelerate's launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from locum.adapters.base import Base
from locum.adapters.domains import load_domain
from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError, ConflictError, UnavailableError
from locum.settings import Settings
from locum.train.data.build import PREFERENCES, build_data, load_data
from locum.train.launch import _why
from locum.train.result import TrainingResult
from locum.train.spread import ALONE, Spread, cores
from tests.conftest import environment_of

Fit = Callable[..., TrainingResult]
FSDP2 = Path(__file__).parents[2] / "deploy" / "train" / "fsdp2.yaml"
TWO = Spread(processes=2)

two_cores = pytest.mark.skipif(cores() < 2, reason="`locum train` starts no more processes than there are cores")


def assert_the_same(one: TrainingResult, two: TrainingResult, rel: float = 1e-4) -> None:
    assert two.run == one.run
    assert (two.steps, two.best_step, two.tokens) == (one.steps, one.best_step, one.tokens)
    assert two.losses.train == pytest.approx(one.losses.train, rel=rel)
    assert two.losses.validation == pytest.approx(one.losses.validation, rel=rel)
    weights, others = (load_file(result.adapter / "adapter_model.safetensors") for result in (one, two))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert others[name].allclose(weight, rtol=10 * rel, atol=rel), name


def test_two_processes_learn_what_one_does(fit_legal: Fit, tmp_path: Path) -> None:
    # neither the training rows nor those of the validation can be dealt out evenly
    fields = {"dropout": 0, "batch_size": 4, "gradient_accumulation": 3}
    one, two = fit_legal(**fields), fit_legal(**fields, runs=tmp_path / "two", spread=TWO)
    assert one.train_rows % 4
    assert one.validation_rows % 4
    assert (one.processes, two.processes) == (1, 2)
    assert sorted(path.name for path in two.folder.iterdir()) == ["adapter", "loss.png", "training.json"]
    assert_the_same(one, two)


def test_a_model_that_is_parted_learns_the_same_and_is_saved_whole(
    fit_legal: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"dropout": 0, "learning_rate": 0.1, "max_steps": 4, "evaluations": 4, "schedule": "constant"}
    one = fit_legal(**fields)
    assert one.best_step < one.steps  # so that it comes from a checkpoint
    monkeypatch.setattr("locum.train.launch._WORKER", "tests.train.fsdp_on_cpu")
    parted = Spread(processes=2, config=FSDP2)
    try:
        two = fit_legal(**fields, gradient_checkpointing=True, runs=tmp_path / "two", spread=parted)
    except UnavailableError as error:
        if "SIGSEGV" not in str(error):  # torch 2.13 dies of that at times where it gathers parts on CPUs, by Gloo
            raise
        two = fit_legal(**fields, gradient_checkpointing=True, runs=tmp_path / "again", spread=parted)
    assert_the_same(one, two.model_copy(update={"run": one.run}), rel=1e-3)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Signal 11 (SIGSEGV) received by PID 15848", "a process died of SIGSEGV, as a fault in a library makes it"),
        (
            "Signal 9 (SIGKILL) received by PID 15848",
            "a process was killed; where nobody did that, the",
        ),
        ("something new", "the launcher ended with exit code 1: something new"),
    ],
)
def test_a_process_that_left_no_word_is_explained_by_what_the_launcher_says(
    tmp_path: Path, said: str, why: str
) -> None:
    log = tmp_path / "processes.log"
    log.write_text(f"Connection closed by peer\n{said}\n")
    error = _why(tmp_path, log, 1)
    assert str(error).startswith(why)
    assert str(log) in str(error.hint)


def test_the_processes_end_with_one_message(
    fit_legal: Fit, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInputError, match=r"of \d+ rows are longer than 10 tokens") as caught:
        fit_legal(max_length=10, spread=TWO)
    assert "raise the limit" in str(caught.value.hint)
    assert "Traceback" not in capfd.readouterr().err
    assert not list(settings.runs.glob("*/processes.log"))


@pytest.fixture
def pairs(domain_folder: Path) -> None:
    """Preference pairs of different lengths for the domain."""
    rows = [
        {"prompt": f"Is {n} it?", "chosen": f"Yes, {n**3}.", "rejected": "Who knows." * (n % 3 + 1)}
        for n in range(1, 60)
    ]
    (domain_folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text() + "preferences: {files: [pairs.jsonl], licence: ours}\n")


def locum(*words: str) -> list[str]:
    """A command line that trains for the domain of the tests."""
    return [sys.executable, "-m", "locum", "train", "legal", "--json", "--no-register", *words]


def fields(**changes: Any) -> list[str]:
    return [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]


def result_of(said: str) -> TrainingResult:
    folder = Path(json.loads(said)["run"])
    found = TrainingResult.model_validate_json((folder / "training.json").read_text())
    return found.model_copy(update={"folder": folder})


def test_two_processes_prefer_what_one_does(pairs: None, settings: Settings, base_record: Base, tmp_path: Path) -> None:
    from locum.train.trainer import fit

    build_data(load_domain(settings.domains, "legal"), settings.data_path("legal"))
    learnt = settings.data_path("legal") / PREFERENCES
    recipe = TrainingRecipe(method="dpo", rank=4, max_steps=4, evaluations=2, batch_size=4, learning_rate=1e-2)
    one, two = (
        fit("legal", base_record, learnt, load_data(learnt), recipe, tmp_path / name, fresh=False, spread=spread)
        for name, spread in (("one", ALONE), ("two", TWO))
    )
    assert two.processes == 2
    assert_the_same(one, two)
    assert one.agreement is not None
    assert two.agreement is not None
    assert two.agreement.margin == pytest.approx(one.agreement.margin, rel=1e-3)


@two_cores
def test_ctrl_c_ends_all_and_one_process_takes_the_run_up(
    fit_legal: Fit, domain_folder: Path, settings: Settings, base_record: Base, tmp_path: Path
) -> None:
    recipe = {"rank": 4, "alpha": 8, "learning_rate": 2e-2, "dropout": 0, "max_steps": 60, "evaluations": 20}
    command = locum(*fields(**recipe), "--processes", "2")
    process = subprocess.Popen(command, env=environment_of(settings, ""))
    deadline = time.monotonic() + 300
    while not list(settings.runs.glob("*/checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) >= 3  # the launcher and two
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert psutil.wait_procs(started, timeout=60)[1] == []
    assert not list(settings.runs.glob("*/processes.log"))
    resumed = fit_legal(**recipe)
    assert 0 < resumed.resumed_at < 60
    whole = fit_legal(**recipe, runs=tmp_path / "whole")
    assert resumed.losses.train == pytest.approx(whole.losses.train, rel=1e-2)
    assert resumed.losses.validation == pytest.approx(whole.losses.validation, rel=1e-2)


def test_a_run_of_a_whole_model_is_not_taken_up_with_a_parted_one(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from locum.train.parted import check_parted_alike

    (tmp_path / "optimizer.pt").touch()
    whole, parted = (SimpleNamespace(is_fsdp_enabled=fsdp, is_deepspeed_enabled=False) for fsdp in (False, True))
    check_parted_alike(tmp_path, whole)
    with pytest.raises(ConflictError, match="begun without --accelerate-config and cannot be taken up with it"):
        check_parted_alike(tmp_path, parted)
    (tmp_path / "optimizer.pt").unlink()
    check_parted_alike(tmp_path, parted)
    with pytest.raises(ConflictError, match="begun with --accelerate-config"):
        check_parted_alike(tmp_path, whole)


def _ip(*words: str) -> bool:
    try:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces with a cable between them; for Gloo they are two hosts."""
    names = [f"locum-{os.getpid()}-{rank}" for rank in range(2)]
    try:
        made = [_ip("netns", "add", name) for name in names]
        if not all(made) or not _ip(
            "link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1]
        ):
            pytest.skip("network namespaces cannot be made here: that takes root and iproute2")
        for rank, name in enumerate(names):
            assert _ip("-n", name, "address", "add", f"10.213.7.{rank + 1}/24", "dev", "eth0")
            assert _ip("-n", name, "link", "set", "eth0", "up")
            assert _ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            _ip("netns", "del", name)


def on_hosts(hosts: list[str], settings: Settings, *each: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """`locum train` on both hosts at once, with each host's own words."""
    environment = {**environment_of(settings, ""), "GLOO_SOCKET_IFNAME": "eth0"}
    running = []
    for rank, (host, words) in enumerate(zip(hosts, each, strict=True)):
        where = ["--hosts", "2", "--host-rank", str(rank), "--rendezvous", "10.213.7.1:29541"]
        command = ["ip", "netns", "exec", host, *locum(*words, *where)]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
    ended = []
    for process in running:
        said, complaint = process.communicate(timeout=400)
        ended.append(subprocess.CompletedProcess(process.args, process.returncode, said, complaint))
    return ended


def test_two_hosts_learn_what_one_process_does(
    hosts: list[str], fit_legal: Fit, settings: Settings, tmp_path: Path
) -> None:
    recipe = {"rank": 4, "alpha": 8, "learning_rate": 2e-2, "dropout": 0, "max_steps": 4, "evaluations": 2}
    first, second = on_hosts(hosts, settings, fields(**recipe), fields(**recipe))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert json.loads(second.stdout)["run"] == json.loads(first.stdout)["run"]
    two = result_of(first.stdout)
    assert two.processes == 2
    assert_the_same(fit_legal(**recipe, runs=tmp_path / "one"), two)


def test_hosts_that_do_not_train_the_same_are_refused(
    hosts: list[str], domain_folder: Path, base_record: Base, settings: Settings
) -> None:
    ended = on_hosts(hosts, settings, fields(max_steps=4), fields(max_steps=5))
    for each in ended:
        assert each.returncode == 2, each.stderr
        assert "the hosts do not train the same: recipe.max_steps is" in each.stderr
        assert "Traceback" not in each.stderr
