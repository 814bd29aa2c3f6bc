"""vLLM's CPU platform with adapter layers that are right when base and adapter requests share a batch, and fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.platforms.cpu import CpuPlatform

from locum.serve import cpu_kernels
from locum.serve.host import find_compiler

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class LocumCpuPlatform(CpuPlatform):  # type: ignore[misc]  # vLLM is not typed for us
    """The CPU platform as vLLM has it, with Locum's adapter layers in place of its own."""

    # for what vLLM compiles whether the model is compiled or not, such as counting log-probabilities
    simple_compile_backend = "inductor" if find_compiler() else "eager"

    @classmethod
    def get_punica_wrapper(cls) -> str:
        return "locum.serve.cpu_lora.SegmentedPunica"

    @classmethod
    def check_and_update_config(cls, vllm_config: VllmConfig) -> None:
        """As vLLM's, but the model stays compiled with adapters, where Locum's kernels can be.

        vLLM turns `torch.compile` off for them, because its own adapter layers cannot be traced; Locum's are one
        operation. That is all that its method looks at `lora_config` for.
        """
        if vllm_config.parallel_config.worker_cls == "auto":
            vllm_config.parallel_config.worker_cls = "locum.serve.cpu_worker.LocumCPUWorker"
        lora_config = vllm_config.lora_config
        if cpu_kernels.load():
            vllm_config.lora_config = None
        try:
            super().check_and_update_config(vllm_config)
        finally:
            vllm_config.lora_config = lora_config
