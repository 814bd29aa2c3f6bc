from pathlib import Path
from locum.train.spread import Spread
from tests.train.test_processes import assert_the_same
def test_x(fit_legal, tmp_path, monkeypatch):
    F = dict(dropout=0, max_steps=4, evaluations=2)
    monkeypatch.setattr("locum.train.launch._WORKER", "tests.train.fsdp_on_cpu")
    two = fit_legal(**F, runs=tmp_path/"two", spread=Spread(processes=2, config=Path("deploy/train/fsdp2.yaml")))
    one = fit_legal(**F)
    print(one.losses, two.losses)
    assert_the_same(one, two)
