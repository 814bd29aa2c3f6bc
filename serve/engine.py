"""The one place that leans on vLLM's internals: how a version gets into the engine and how it is asked.

What is used beyond vLLM's documented interfaces: `EngineClient.add_lora`, `EngineClient.generate`,
`EngineClient.errored`, `EngineClient.is_sleeping`, the processes that its core client manages, `AsyncLLM.add_request`,
by which every request reaches the engine, the fields of a checkpoint's generation_config.json that its input processor
gives to every request, and the mapping `OpenAIServingModels.lora_requests`, which vLLM's request
handlers look an adapter's name up in.
tests/serve/test_vllm_internals.py says so when one of them changes.
"""

from __future__ import annotations

import contextlib
import inspect
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from locum.errors import UnavailableError
from locum.serve.requests import probing

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient
    from vllm.entrypoints.openai.models.serving import OpenAIServingModels
    from vllm.lora.request import LoRARequest

ENGINE_DEAD = "the engine has died, and the server is started again"


class Engine:
    """A running vLLM engine, as far as the adapter life cycle needs it."""

    def __init__(self, client: EngineClient, models: OpenAIServingModels) -> None:
        self._client = client
        self._models = models
        self._killed = False

    @property
    def base_name(self) -> str:
        return str(self._models.base_model_paths[0].name)

    @property
    def max_rank(self) -> int:
        """The highest rank that a version may have here; 0 when the server was started without LoRA."""
        lora = self._client.vllm_config.lora_config
        return int(lora.max_lora_rank) if lora else 0

    @property
    def capacity(self) -> int:
        """How many versions stay in memory; beyond them, vLLM drops the one that was used longest ago."""
        lora = self._client.vllm_config.lora_config
        return int(lora.max_cpu_loras) if lora else 0

    @property
    def dead(self) -> bool:
        """Whether the engine's process has ended. Nothing brings it back but a new server."""
        return self._killed or bool(self._client.errored)

    @property
    def shutdown_seconds(self) -> int:
        """How long running requests may take when the server stops (`--shutdown-timeout`)."""
        return int(self._client.vllm_config.shutdown_timeout)

    async def answers(self) -> None:
        """Returns when the engine has answered a question that changes nothing, or it is known that it cannot."""
        with contextlib.suppress(Exception):
            await self._client.is_sleeping()

    def processes(self) -> list[psutil.Process]:
        """The engine's processes and their children; none where another server process has started them."""
        manager: Any = self._client.engine_core.resources.engine_manager
        found = []
        for process in getattr(manager, "processes", []):
            with contextlib.suppress(psutil.NoSuchProcess):
                own = psutil.Process(process.pid)
                found += [own, *own.children(recursive=True)]
        return found

    def kill(self) -> None:
        """End the engine's processes at once, even those that are stopped. Requests that run end with an error."""
        self._killed = True
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    @property
    def dtype(self) -> str:
        return str(self._client.model_config.dtype).removeprefix("torch.")

    @property
    def max_model_len(self) -> int:
        return int(self._client.model_config.max_model_len)

    def ask_first(self, admit: Callable[..., None]) -> None:
        """From now on, call `admit(engine_id, name, sequences=…)` before anything is asked of the engine.

        `name` is that of the adapter that the engine would use, or of the base model. What `admit` raises goes to who
        asked, and the engine does not hear of the request.
        """
        add_request = self._client.add_request
        signature = inspect.signature(add_request)

        async def admitted(*args: Any, **options: Any) -> Any:
            given = signature.bind(*args, **options).arguments
            lora = given.get("lora_request") or getattr(given["prompt"], "lora_request", None)
            admit(
                given["request_id"],
                lora.lora_name if lora else self.base_name,
                sequences=getattr(given["params"], "n", 1),
            )
            return await add_request(*args, **options)

        self._client.add_request = admitted

    def end_answers_at(self, stops: Sequence[int]) -> None:
        """From now on, end every answer at these tokens too, but for requests that say `ignore_eos`."""
        fields = self._client.input_processor.generation_config_fields
        declared = fields.get("eos_token_id")
        before = [declared] if isinstance(declared, int) else list(declared or [])
        fields["eos_token_id"] = sorted({*before, *stops})

    async def load(self, name: str, *, version_id: int, path: Path) -> None:
        """Load a version's weights into the engine. It answers no request before `publish`.

        Raises:
            UnavailableError: the engine refuses the adapter; says why.
        """
        try:
            await self._client.add_lora(_request(name, version_id, path))
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise UnavailableError(
                f"vLLM could not load {name}: {reason[-1] if reason else type(error).__name__}"
            ) from error

    def publish(self, name: str, *, version_id: int, path: Path) -> None:
        """Let requests name the version."""
        self._models.lora_requests[name] = _request(name, version_id, path)

    def withdraw(self, name: str) -> None:
        """Let no new request name the version. Those that run end as they began."""
        self._models.lora_requests.pop(name, None)

    async def token_logprobs(self, token_ids: list[int], *, name: str, version_id: int, path: Path) -> list[float]:
        """Log-probability of each token but the first, given those before it, by the named version."""
        from vllm import SamplingParams

        final: Any = None
        with probing():
            async for output in self._client.generate(
                {"prompt_token_ids": token_ids},
                SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0),
                f"locum-probe-{uuid.uuid4()}",
                lora_request=_request(name, version_id, path),
            ):
                final = output
        positions = final.prompt_logprobs[1:]
        return [position[token].logprob for position, token in zip(positions, token_ids[1:], strict=True)]


def _request(name: str, version_id: int, path: Path) -> LoRARequest:
    from vllm.lora.request import LoRARequest

    return LoRARequest(lora_name=name, lora_int_id=version_id, lora_path=str(path))
