"""A few validation questions, answered before and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from locum.adapters.artifact import inspect_artifact
from locum.adapters.base import Base
from locum.adapters.conversations import read_conversations
from locum.adapters.probes import make_probes
from locum.settings import Settings
from locum.train import trainer
from locum.train.result import TrainingResult

Fit = Callable[..., TrainingResult]


def test_before_and_after_are_what_base_and_adapter_say(
    fit_legal: Fit, settings: Settings, base_record: Base, built: object
) -> None:
    from transformers import AutoTokenizer

    result = fit_legal()
    rows = list(read_conversations(settings.data_path("legal") / "validation.jsonl"))
    chosen = sorted(rows, key=lambda row: row.digest)[:3]
    assert [sample.question for sample in result.samples] == [row.conversations[-2].content for row in chosen]
    assert [sample.expected for sample in result.samples] == [row.answer for row in chosen]
    probes = make_probes(base_record.path, result.adapter, [row.prompt for row in chosen], max_tokens=32)
    tokenizer = AutoTokenizer.from_pretrained(base_record.path)

    def text(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()

    assert [sample.before.rstrip("…") for sample in result.samples] == [text(each.base_token_ids) for each in probes]
    assert [sample.after.rstrip("…") for sample in result.samples] == [text(each.token_ids) for each in probes]
    assert any(sample.before != sample.after for sample in result.samples)
    assert fit_legal().samples == result.samples  # kept in training.json


@pytest.mark.parametrize("fields", [{}, {"dropout": 0.3, "neftune": 5}, {"gradient_checkpointing": True}], ids=str)
def test_asking_changes_nothing_of_what_is_trained(
    fit_legal: Fit, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object]
) -> None:
    asked = inspect_artifact(fit_legal(**fields).adapter, tiny_base).digest
    monkeypatch.setattr(trainer, "answers", lambda model, template, questions: ["" for _ in questions])
    assert inspect_artifact(fit_legal(**fields, fresh=True).adapter, tiny_base).digest == asked


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_are_not_there_before(fit_legal: Fit, method: str) -> None:
    result = fit_legal(method=method, rank=16, alpha=32, virtual_tokens=4, learning_rate=0.05)
    assert [each.before for each in result.samples] == [each.before for each in fit_legal().samples]
    assert [each.after for each in result.samples] != [each.before for each in result.samples]


def test_full_and_qlora_answer_too(fit_legal: Fit) -> None:
    for fields in ({"method": "full", "rank": 16, "alpha": 32, "learning_rate": 1e-3}, {"method": "qlora"}):
        assert any(each.before != each.after for each in fit_legal(**fields).samples)
