"""vLLM's CPU worker, with the adapter weights of each layer laid out for Locum's kernels."""

from __future__ import annotations

from typing import Any

from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA
from vllm.v1.worker.cpu_worker import CPUWorker

from locum.serve.cpu_lora import pack


class LocumCPUWorker(CPUWorker):  # type: ignore[misc]  # vLLM is not typed for us
    """Loads the model as vLLM does, and packs its adapter slots before the first of them is filled."""

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        super().load_model(*args, **kwargs)
        for module in self.model_runner.get_model().modules():
            if isinstance(module, BaseLinearLayerWithLoRA):
                module.lora_a_stacked, module.lora_b_stacked = pack(module.lora_a_stacked, module.lora_b_stacked)
