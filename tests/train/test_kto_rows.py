"""Single answers, wanted or not, from their file to what is trained: read as they are, and told apart from pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from locum.adapters.base import Base
from locum.adapters.card import DomainCard, Source
from locum.adapters.conversations import read_preferences
from locum.adapters.domains import Domain
from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError
from locum.train.data.build import PREFERENCES, build_data, split_file
from locum.train.data.report import write_report
from locum.train.rows import load_splits


def domain(folder: Path, *, labels: tuple[bool, ...]) -> Domain:
    folder.mkdir(parents=True)
    rows = [
        {
            "prompt": f"May I stop medicine {n}?",
            "completion": f"Ask your doctor, {n}.",
            "label": labels[n % len(labels)],
        }
        for n in range(60)
    ]
    (folder / "kto.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    card = DomainCard(
        name="ward",
        description="Questions of patients.",
        system_prompt="Be careful.",
        source=Source(files=["kto.jsonl"], licence="Invented."),
        preferences=Source(files=["kto.jsonl"], licence="Invented."),
        notices=["Written by a model."],
        example="May I stop?",
    )
    return Domain(card, folder)


def test_as_source_wanted_answers_alone_are_learnt_and_as_preferences_both(tmp_path: Path) -> None:
    ward = domain(tmp_path / "domains" / "ward", labels=(True, False))
    built = build_data(ward, tmp_path / "data" / "ward")
    assert sum(split.rows for split in built.record.splits.values()) == 30
    [step] = [step for step in built.steps if step.step == "fields"]
    assert (step.action, step.reason, step.rows) == ("dropped", "not to be learnt: `label` is false", 30)
    pairs = [
        pair
        for name in built.record.splits
        for pair in read_preferences(split_file(tmp_path / "data" / "ward" / PREFERENCES, name))
    ]
    wanted = sum(pair.rejected is None for pair in pairs)
    assert len(pairs) > 50 and 25 < wanted < len(pairs) - 25  # less what is nearly the same, or held out
    html, data_card = write_report(ward, tmp_path / "data" / "ward", None)
    for page in (html.read_text(encoding="utf-8"), data_card.read_text(encoding="utf-8")):
        assert f"{len(pairs)} single answers, {wanted} of them wanted: the method kto alone learns from these" in page
        assert "not to be learnt: `label` is false" in page


def test_answers_of_one_kind_alone_are_refused_before_training(tmp_path: Path, base_record: Base) -> None:
    ward = domain(tmp_path / "domains" / "ward", labels=(True,))
    build_data(ward, tmp_path / "data" / "ward")
    with pytest.raises(BadInputError, match="no answer that is unwanted") as refused:
        load_splits(base_record, tmp_path / "data" / "ward" / PREFERENCES, TrainingRecipe(method="kto"))
    assert "`source`" in str(refused.value.hint)
