"""`locum adapters export` and `import`, as typed: out of one registry and into another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from locum.adapters.base import Base, pull
from locum.adapters.manifest import EvaluationRecord, Manifest
from locum.adapters.registry import Registry
from locum.settings import Settings
from tests.commands.conftest import Ran
from tests.conftest import write_domain

QUICK = ["--set", "max_steps=2", "--set", "evaluations=1", "--set", "rank=4"]
SAID = ["--licence", "mit", "--trained-on", "Forty questions of the tests."]


@pytest.fixture
def trained(locum: Callable[..., Ran], domain_folder: Path, base_record: Base) -> Manifest:
    """legal@1, trained on the domain's own data, with a data card."""
    assert locum("train", "legal", *QUICK).code == 0
    assert locum("data", "report", "legal").code == 0
    return Manifest.model_validate(locum("adapters", "show", "legal@1", "--json").json["manifest"])


@pytest.fixture
def elsewhere(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Settings]:
    """Makes commands use another home, with an empty registry and the base model by another name."""

    def enter() -> Settings:
        there = Settings(home=tmp_path / "there", domains=tmp_path / "domains", user="other", base="tiny-llama")
        pull(str(tiny_base), there.bases, name="their-llama")
        monkeypatch.setenv("LOCUM_HOME", str(there.home))
        monkeypatch.setenv("LOCUM_BASE", "their-llama")
        return there

    return enter


def test_a_trained_version_goes_out_and_into_another_registry_with_the_same_digest(
    locum: Callable[..., Ran], trained: Manifest, elsewhere: Callable[[], Settings], tmp_path: Path
) -> None:
    ran = locum("adapters", "export", "legal@1", "--to", "out/legal", "--licence", "mit", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["files"] == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    elsewhere()
    ran = locum("adapters", "import", "out/legal", "--domain", "legal", "--json")
    assert ran.code == 0, ran.err
    there = Registry.open(elsewhere()).resolve("legal@1")
    assert there.digest == trained.digest
    assert (there.recipe, there.data, there.training) == (trained.recipe, trained.data, trained.training)
    assert there.base == "their-llama"
    assert there.base_fingerprint == trained.base_fingerprint
    assert there.origin is not None and there.origin.changes == []
    assert (there.origin.licence, there.origin.source) == ("mit", str(tmp_path / "out/legal"))
    again = locum("adapters", "import", "out/legal", "--domain", "legal", "--json").json
    assert (again["version"], again["new"]) == ("legal@1", False)
