"""What Locum leans on beyond vLLM's documented interfaces.

A failure here means: look at serve/engine.py, for the start at serve/api_server.py, for the order of requests at
serve/scheduler.py, or for the CPU at serve/cpu_platform.py and serve/cpu_worker.py.
"""

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


def test_every_request_reaches_the_engine_by_add_request_with_its_adapter() -> None:
    from vllm.v1.engine.async_llm import AsyncLLM

    parameters = inspect.signature(AsyncLLM.add_request).parameters
    assert {"request_id", "prompt", "params", "lora_request"} <= set(parameters)
    for way in (AsyncLLM.generate, AsyncLLM.encode):
        assert "await self.add_request(" in inspect.getsource(way)
        assert "engine_core.add_request" not in inspect.getsource(way)


def test_a_lora_request_is_a_name_an_id_and_a_path() -> None:
    request = LoRARequest(lora_name="medical@1", lora_int_id=7, lora_path="/somewhere")
    assert (request.lora_name, request.lora_int_id, request.lora_path) == ("medical@1", 7, "/somewhere")


def test_vllms_own_entry_point_is_what_ours_repeats_with_another_socket() -> None:
    from vllm.entrypoints.launchers.api_server import entry
    from vllm.entrypoints.launchers.launcher import setup_server, terminate_if_errored

    for step in (
        "cli_env_setup()",
        "make_arg_parser(",
        "configure_logging_from_args(args)",
        "validate_parsed_serve_args",
    ):
        assert step in inspect.getsource(entry.main)
    assert "run_server_worker(listen_address, sock, args" in inspect.getsource(entry.run_server)
    assert list(inspect.signature(entry.run_server_worker).parameters)[:3] == ["listen_address", "sock", "args"]
    for step in ("validate_api_server_args(args)", "create_server_socket(", "set_ulimit()"):
        assert step in inspect.getsource(setup_server)
    assert "server.should_exit = True" in inspect.getsource(terminate_if_errored)
    assert "KEEP_ALIVE_ON_ENGINE_DEATH" in inspect.getsource(terminate_if_errored)


def test_our_plugin_is_what_vllm_calls_an_endpoint_plugin() -> None:
    assert isinstance(LocumEndpoints(), EndpointPlugin)


def test_vllm_picks_our_platform_on_a_cpu_build() -> None:
    from vllm.platforms import cpu_platform_plugin, current_platform

    if cpu_platform_plugin() is None:
        assert platform() is None
    else:
        assert type(current_platform).__name__ == "LocumCpuPlatform"


def test_the_cpu_platform_asks_for_adapters_only_to_turn_compilation_off() -> None:
    from vllm.platforms.cpu import CpuPlatform

    source = inspect.getsource(CpuPlatform.check_and_update_config)
    assert source.count("lora_config") == 1
    assert "lora_config is not None:\n            compilation_config.mode = CompilationMode.NONE\n" in source


def test_linear_layers_hold_their_adapters_in_tuples_that_they_write_to_in_place() -> None:
    from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA
    from vllm.lora.layers.column_parallel_linear import MergedColumnParallelLinearWithLoRA

    for layer in (BaseLinearLayerWithLoRA, MergedColumnParallelLinearWithLoRA):
        source = inspect.getsource(layer.set_lora)
        assert ".copy_(" in source and "self.lora_a_stacked =" not in source
    assert "self.lora_a_stacked, self.lora_b_stacked, 1.0, self.output_slices" in inspect.getsource(
        BaseLinearLayerWithLoRA._apply_lora_to_output
    )


def test_the_scheduler_asks_of_each_waiting_request_whether_it_may_begin_and_passes_over_it_if_not() -> None:
    from vllm.v1.core.sched.scheduler import Scheduler

    source = inspect.getsource(Scheduler.schedule)
    asked = source.index("ready_to_schedule = self._handle_blocked_waiting_request(request)")
    passed_over = source.index("if not ready_to_schedule:\n                    skip_request(request_queue)")
    assert (
        asked < passed_over < source.index("# Check that adding the request still respects the max_loras constraint.")
    )
    assert list(inspect.signature(Scheduler._handle_blocked_waiting_request).parameters) == ["self", "request"]


def test_vllm_takes_a_scheduler_for_each_way_to_schedule() -> None:
    from vllm.config import SchedulerConfig

    from locum.serve.scheduler import FairAsyncScheduler, FairScheduler

    for ahead, ours in ((False, FairScheduler), (True, FairAsyncScheduler)):
        plain = SchedulerConfig(max_model_len=8, is_encoder_decoder=False, async_scheduling=ahead)
        assert plain.get_scheduler_cls() in ours.__bases__
