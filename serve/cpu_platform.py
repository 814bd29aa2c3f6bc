"""vLLM's CPU platform with adapter layers that are right when base and adapter requests share a batch."""

from __future__ import annotations

from vllm.platforms.cpu import CpuPlatform


class LocumCpuPlatform(CpuPlatform):  # type: ignore[misc]  # vLLM is not typed for us
    """The CPU platform as vLLM has it, with Locum's adapter layers in place of its own."""

    @classmethod
    def get_punica_wrapper(cls) -> str:
        return "locum.serve.cpu_lora.SegmentedPunica"
