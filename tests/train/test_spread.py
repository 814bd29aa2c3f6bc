"""What cannot be spread is refused before anything starts; what can is dealt out fairly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError, LocumError, UnavailableError
from locum.train.order import Order
from locum.train.spread import Spread, check_spread

DEPLOY = Path(__file__).parents[2] / "deploy" / "train"


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locum.train.spread.cores", lambda: 8)


@pytest.mark.parametrize(
    ("spread", "fields", "complaint"),
    [
        ({"processes": 9}, {}, "--processes 9: this machine has 8 cores"),
        ({"processes": 3}, {}, "batch_size 8 cannot be dealt out evenly to 3 processes"),
        ({"processes": 8}, {"batch_size": 4}, "batch_size 4 cannot be dealt out evenly to 8 processes"),
        ({"processes": 2}, {"method": "orpo"}, "method orpo averages over the tokens that one process sees"),
        ({"processes": 4}, {"method": "kto", "batch_size": 4}, "leaves each of 4 processes with one"),
        ({"rendezvous": "a:1"}, {}, "--rendezvous and --host-rank mean nothing on one host"),
        ({"hosts": 2, "host_rank": 2}, {}, "--host-rank 2: expected 0 to 1 with --hosts 2"),
        ({"hosts": 2}, {}, "expected --rendezvous HOST:PORT, found None"),
        ({"hosts": 2, "rendezvous": "here"}, {}, "expected --rendezvous HOST:PORT, found here"),
        ({"config": Path("none.yaml")}, {}, "--accelerate-config none.yaml: there is no such file"),
        ({"config": DEPLOY / "fsdp2.yaml"}, {"method": "qlora"}, "weights of 4 bits cannot be parted"),
        ({"config": DEPLOY / "fsdp2.yaml"}, {"method": "dpo"}, "method dpo with FSDP: only lora has been shown"),
        ({"config": DEPLOY / "fsdp2.yaml"}, {}, "parts models among GPUs only, and there is none here"),
    ],
)  # fmt: skip
def test_what_cannot_be_spread_is_refused(
    spread: dict[str, Any], fields: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(LocumError) as caught:
        check_spread(Spread(**spread), TrainingRecipe.model_validate(fields))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("distributed_type: MULTI_GPU", "distributed_type: expected FSDP or DEEPSPEED, found MULTI_GPU"),
        ("distributed_type: FSDP\nnonesuch: 1", "not a configuration of accelerate"),
        ("just words", "not a configuration of accelerate"),
        ("{", "not a configuration of accelerate"),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 1}", "fsdp_version: expected 2, found 1"),
    ],
)
def test_a_configuration_that_would_lose_the_adapter_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "accelerate.yaml"
    file.write_text(text)
    with pytest.raises(BadInputError, match=complaint):
        check_spread(Spread(config=file), TrainingRecipe())


@pytest.mark.parametrize("name", ["fsdp2.yaml", "deepspeed-zero3.yaml"])
def test_the_configurations_that_ship_are_read_by_accelerate(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    check_spread(Spread(processes=4, config=DEPLOY / name), TrainingRecipe())


def test_without_deepspeed_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "deepspeed" else object())
    with pytest.raises(UnavailableError) as caught:
        check_spread(Spread(config=DEPLOY / "deepspeed-zero3.yaml"), TrainingRecipe())
    assert caught.value.hint == "pip install deepspeed"


rows = st.lists(st.integers(1, 50), min_size=1, max_size=60)


def orders(lengths: list[int], share: int, world: int, **given: Any) -> list[Order]:
    return [Order(lengths, share * world, seed=3, rank=rank, world=world, **given) for rank in range(world)]


@given(rows, st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_processes_learn_from_the_same_full_batches_as_one(
    lengths: list[int], share: int, world: int, epoch: int
) -> None:
    alone = Order(lengths, share * world, seed=3, learning=True)
    together = orders(lengths, share, world, learning=True)
    for order in (alone, *together):
        order.set_epoch(epoch)
    for batch, *shares in zip(alone, *together, strict=True):
        assert len(batch) == share * world
        assert [len(each) for each in shares] == [share] * world
        assert sorted(row for each in shares for row in each) == sorted(batch)
    assert {row for batch in alone for row in batch} == set(range(len(lengths)))
    assert len(list(alone)) == len(alone) == len(together[0])


@given(rows, st.integers(1, 5), st.integers(1, 4))
def test_each_validation_row_is_measured_once_or_by_all(lengths: list[int], share: int, world: int) -> None:
    alone = Order(lengths, share * world, seed=3, learning=False)
    assert sorted(row for batch in alone for row in batch) == list(range(len(lengths)))
    assert sum(alone.sizes) == len(lengths)
    for batch, *shares in zip(alone, *orders(lengths, share, world, learning=False), strict=True):
        dealt = sorted(row for each in shares for row in each) == sorted(batch)
        assert dealt or shares == [batch] * world
        assert len({len(each) for each in shares}) == 1


def test_an_epoch_that_is_taken_up_goes_on_as_it_began() -> None:
    order, again = (Order([1] * 30, 4, seed=3, learning=True) for _ in range(2))
    order.set_epoch(2)
    again.set_epoch(1)
    other = list(again)
    again.set_epoch(2)
    assert list(again) == list(order) != other
