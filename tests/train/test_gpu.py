"""What a GPU changes: the number type, four bits by its own kernels, and memory as the device counts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from locum.adapters.artifact import inspect_artifact
from locum.train.result import TrainingResult

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA's, and there is none here")


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_gpu_trains_in_bfloat16_and_its_adapter_is_let_in(
    fit_legal: Callable[..., TrainingResult], tiny_base: Path, method: str
) -> None:
    result = fit_legal(method=method)
    assert result.best_loss < result.first_loss
    assert result.dtype == "bfloat16"
    assert result.device == torch.cuda.get_device_name()
    assert 0 < result.peak_memory <= torch.cuda.get_device_properties(0).total_memory
    assert inspect_artifact(result.adapter, tiny_base).parameters == result.parameters
