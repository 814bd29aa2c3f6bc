"""What serve/engine.py leans on beyond vLLM's documented interfaces. A failure here means: look at engine.py."""

from __future__ import annotations

import inspect

from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.models.serving import OpenAIServingModels
from vllm.lora.request import LoRARequest
from vllm.plugins.endpoint_plugins.interface import EndpointPlugin

from locum.serve.plugin import LocumEndpoints, platform


def test_request_handlers_look_adapters_up_in_lora_requests() -> None:
    assert "self.lora_requests: dict[str, LoRARequest] = {}" in inspect.getsource(OpenAIServingModels.__init__)
    assert list(inspect.signature(OpenAIServingModels.__init__).parameters)[:3] == [
        "self",
        "engine_client",
        "base_model_paths",
    ]


def test_the_engine_client_loads_adapters_and_generates_with_them() -> None:
    assert list(inspect.signature(EngineClient.add_lora).parameters) == ["self", "lora_request"]
    parameters = inspect.signature(EngineClient.generate).parameters
    assert {"prompt", "sampling_params", "request_id", "lora_request"} <= set(parameters)


def test_a_lora_request_is_a_name_an_id_and_a_path() -> None:
    request = LoRARequest(lora_name="medical@1", lora_int_id=7, lora_path="/somewhere")
    assert (request.lora_name, request.lora_int_id, request.lora_path) == ("medical@1", 7, "/somewhere")


def test_our_plugin_is_what_vllm_calls_an_endpoint_plugin() -> None:
    assert isinstance(LocumEndpoints(), EndpointPlugin)


def test_vllm_picks_our_platform_on_a_cpu_build() -> None:
    from vllm.platforms import cpu_platform_plugin, current_platform

    if cpu_platform_plugin() is None:
        assert platform() is None
    else:
        assert type(current_platform).__name__ == "LocumCpuPlatform"
