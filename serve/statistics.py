"""vLLM's own statistics of each request, counted by domain and version (`vllm.stat_logger_plugins`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.v1.metrics.loggers import StatLoggerBase

from locum.serve import metrics
from locum.serve.requests import count_finished

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.metrics.stats import IterationStats, MultiModalCacheStats, SchedulerStats


class EngineStatistics(StatLoggerBase):  # type: ignore[misc]  # vLLM is not typed for us
    """vLLM calls `record` in the API server's process after each step. Probes are not requests, and not counted."""

    def __init__(self, vllm_config: VllmConfig, engine_index: int = 0) -> None:
        lora = vllm_config.lora_config
        metrics.SLOTS.set(lora.max_loras if lora else 0)

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: MultiModalCacheStats | None = None,
        engine_idx: int = 0,
    ) -> None:
        if scheduler_stats is not None:
            metrics.SLOTS_IN_USE.set(len(scheduler_stats.running_lora_adapters))
        for done in iteration_stats.finished_requests if iteration_stats is not None else ():
            tokens = {"prompt": done.num_prompt_tokens, "completion": done.num_generation_tokens}
            if (request := count_finished(done.request_id, **tokens)) is None:
                continue
            metrics.count_tokens(
                request.name,
                **tokens,
                first_seconds=done.queued_time + done.prefill_time,
                each_seconds=done.mean_time_per_output_token,
            )

    def log_engine_initialized(self) -> None:
        """Nothing to say."""
