"""Base models that differ as those of the field do are trained, and stop where their chat template ends a turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from locum.adapters.base import pull
from locum.adapters.conversations import Message
from locum.adapters.probes import make_probes
from locum.errors import BadInputError
from locum.settings import Settings
from locum.train.result import TrainingResult
from tests.bases import chatml_base, gemma_like, no_system

Fit = Callable[..., TrainingResult]
Make = Callable[[Path, Path], Path]
QUESTION = [Message(role="system", content="You answer questions of legal."), Message(role="user", content="Well?")]


@pytest.mark.parametrize("make", [chatml_base, gemma_like])
def test_what_is_trained_stops_at_the_end_of_its_turn(
    fit_legal: Fit, settings: Settings, tiny_base: Path, tmp_path: Path, make: Make
) -> None:
    base = pull(str(make(tiny_base, tmp_path / "variant")), settings.bases)
    result = fit_legal(base=base, max_steps=40, rank=8)
    assert result.best_loss < result.first_loss
    assert not any(sample.after.endswith("…") for sample in result.samples)  # each ended by itself
    [probe] = make_probes(base.path, result.adapter, [QUESTION], max_tokens=32)
    assert probe.token_ids[-1] == 2 and len(probe.token_ids) < 32  # <|im_end|>


def test_without_a_system_role_the_prompt_can_stand_before_the_first_question(
    fit_legal: Fit, settings: Settings, tiny_base: Path, tmp_path: Path
) -> None:
    base = pull(str(no_system(tiny_base, tmp_path / "variant")), settings.bases)
    with pytest.raises(BadInputError, match=r"refuses a system message \(System role not supported\)") as refused:
        fit_legal(base=base)
    assert "system_role: user" in str(refused.value.hint)
    result = fit_legal(base=base, system_role="user")
    [folded] = make_probes(base.path, result.adapter, [QUESTION], system_role="user")
    asked = Message(role="user", content="You answer questions of legal.\n\nWell?")
    assert folded.prompt_ids == make_probes(tiny_base, result.adapter, [[asked]])[0].prompt_ids
