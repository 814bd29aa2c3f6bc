"""Nothing in the environment or behind `--` opens a way past the door, and a new vLLM cannot bring one unnoticed."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import State

from locum.adapters.base import Base
from locum.errors import BadInputError
from locum.serve import launcher
from locum.serve.host import plan_for_this_host
from locum.serve.plugin import LocumEndpoints
from locum.serve.switches import (
    DECIDED,
    DOOR,
    REFUSED,
    ROUTES,
    SCHEDULER,
    VARIABLES,
    WHOLE_NAMES,
    check_arguments,
    check_environment,
    check_names,
    check_server,
    option,
)
from locum.settings import Settings

# Words in the name of a switch that somebody must look at before it is let through.
SUSPICIOUS = """
    access address api auth allow allowed class cls code config connector credentials custom debug dev docs elastic
    embeds endpoint events extension fault frontend grpc headless host id insecure key keys log lora loras
    middleware model module modules name nodes origins outputs path plugin plugins port processor processors
    profiler redirect remote replay requests resolver root route routes scale serialization server served sleep ssl
    store tag template token tokenizer tokens tool transfer trust uds validation
"""
# Those that somebody has looked at: they change how fast or how exactly an answer comes, or say what this machine is.
HARMLESS_ARGUMENTS = """
    --additional-config --allow-credentials --allow-deprecated-quantization --allowed-headers
    --allowed-media-domains --allowed-methods --allowed-origins --api-server-count --attention-config
    --aux-output-config --chat-template --chat-template-content-format --code-revision --cohere-is-reasoning-model
    --compilation-config --config-format --custom-histogram-buckets --data-parallel-address --data-parallel-rpc-port
    --data-parallel-supervisor-port --dbo-decode-token-threshold --dbo-prefill-token-threshold
    --default-chat-template-kwargs --diffusion-config --disable-access-log-for-endpoints --disable-custom-all-reduce
    --disable-fastapi-docs --disable-log-stats --disable-uvicorn-access-log --enable-auto-tool-choice
    --enable-log-deltas --enable-lora --enable-mixed-moe-lora-format --enable-moe-shared-loras --enable-offline-docs
    --enable-prompt-tokens-details --enable-server-load-tracking --enable-sleep-mode
    --enable-tokenizer-info-endpoint --enable-tower-connector-lora --engram-config --eplb-config
    --exclude-tools-when-tool-choice-none --fail-on-environ-validation --fault-tolerance-config
    --fully-sharded-loras --generation-config --hf-token --kernel-config --language-model-only --log-config-file
    --log-error-stack --log-level --logging-config --long-prefill-token-threshold
    --long-prefill-token-threshold-adaptive --lora-dtype --lora-target-modules --master-port --max-cpu-loras
    --max-log-len --max-lora-cls-labels --max-lora-rank --max-loras --max-model-len --max-num-batched-tokens
    --max-num-queued-tokens --max-num-scheduled-tokens --mm-encoder-fp8-scale-path
    --mm-encoder-fp8-scale-save-margin --mm-encoder-fp8-scale-save-path --mm-processor-cache-gb
    --mm-processor-cache-type --mm-processor-device --mm-processor-kwargs --model-impl --model-loader-extra-config
    --numa-bind-nodes --otlp-traces-endpoint --override-generation-config --pooler-config --quantization-config
    --reasoning-config --return-tokens-as-token-ids --skip-tokenizer-init --sleep-mode-offload-cudagraph
    --sleep-preserve-parameter-names --spec-model --spec-tokens --specialize-active-lora --speculative-config
    --structured-outputs-config --swa-bounded-replay --tokenizer-mode --tokenizer-revision --tool-call-parser
    --tool-strict-level --uvicorn-log-level --watermark-config
"""
HARMLESS_VARIABLES = """
    LD_LIBRARY_PATH S3_ACCESS_KEY_ID S3_ENDPOINT_URL S3_SECRET_ACCESS_KEY
    VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE VLLM_ALLOW_LONG_MAX_MODEL_LEN VLLM_ASSETS_CACHE_MODEL_CLEAN
    VLLM_CACHE_ROOT VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT VLLM_CONFIG_ROOT VLLM_CUDART_SO_PATH
    VLLM_CUDA_COMPATIBILITY_PATH VLLM_CUSTOM_SCOPES_FOR_PROFILING VLLM_DEBUG_DUMP_PATH VLLM_DEBUG_MFU_METRICS
    VLLM_DEBUG_WORKSPACE VLLM_DEEPEP_V2_ALLOW_HYBRID_MODE VLLM_DEEPEP_V2_ALLOW_MULTIPLE_REDUCTION
    VLLM_DISABLE_LOG_LOGO VLLM_DP_MASTER_PORT VLLM_EC_SIDE_CHANNEL_HOST VLLM_EC_SIDE_CHANNEL_PORT
    VLLM_ENFORCE_STRICT_TOOL_CALLING VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS VLLM_GC_DEBUG
    VLLM_GPT_OSS_SYSTEM_TOOL_MCP_LABELS VLLM_HOST_IP VLLM_HUMMING_INPUT_QUANT_CONFIG
    VLLM_HUMMING_ONLINE_QUANT_CONFIG VLLM_IMAGE_TAG VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES VLLM_LOGGING_CONFIG_PATH
    VLLM_LOG_BATCHSIZE_INTERVAL VLLM_LOG_MODEL_INSPECTION VLLM_LOG_STATS_INTERVAL VLLM_LORA_DISABLE_PDL
    VLLM_LORA_ENABLE_DUAL_STREAM VLLM_MAX_BAD_WORDS_TOTAL_TOKENS VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE
    VLLM_MEDIA_CONNECTOR VLLM_MEDIA_URL_ALLOW_REDIRECTS VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS
    VLLM_MOONCAKE_BOOTSTRAP_PORT VLLM_MOONCAKE_CONNECTOR_TIMEOUT VLLM_MOONCAKE_STORE_TIER_LOG
    VLLM_MULTI_STREAM_GEMM_TOKEN_THRESHOLD VLLM_NCCL_INCLUDE_PATH VLLM_NCCL_SO_PATH VLLM_NIXL_SIDE_CHANNEL_HOST
    VLLM_NIXL_SIDE_CHANNEL_PORT VLLM_OBJECT_STORAGE_SHM_BUFFER_NAME VLLM_P2P_SIDE_CHANNEL_HOST
    VLLM_P2P_SIDE_CHANNEL_PORT VLLM_PATTERN_MATCH_DEBUG VLLM_PORT VLLM_PROCESS_NAME_PREFIX
    VLLM_ROCM_SLEEP_MEM_CHUNK_SIZE VLLM_ROCM_USE_AITER_CUSTOM_AR VLLM_RPC_BASE_PATH VLLM_RUST_FRONTEND_PATH
    VLLM_SHARED_EXPERTS_STREAM_TOKEN_THRESHOLD VLLM_TOOL_JSON_ERROR_AUTOMATIC_RETRY
    VLLM_TOOL_PARSE_REGEX_TIMEOUT_SECONDS VLLM_TRITON_FORCE_FIRST_CONFIG VLLM_TUNED_CONFIG_FOLDER
    VLLM_USAGE_STATS_SERVER VLLM_USE_V2_MODEL_RUNNER VLLM_XLA_CACHE_PATH
"""
TRUE_OR_FALSE = {name for name in VARIABLES if not name.startswith(("CUSTOM", "SAGEMAKER_MODEL", "VLLM_LORA_RES"))}


@cache
def vllms_parser() -> Any:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    return make_arg_parser(FlexibleArgumentParser())


def suspicious(name: str) -> bool:
    return not set(SUSPICIOUS.split()).isdisjoint(re.split("[-_]", name.lower()))


def vllms_names() -> set[str]:
    return {name for action in vllms_parser()._actions for name in action.option_strings if name.startswith("--")}


def parsed(*arguments: str) -> Namespace:
    """What vLLM makes of arguments, beside those of a stock vLLM that docs/serving.md names."""
    namespace: Namespace = vllms_parser().parse_args(["--middleware", DOOR, "--enable-lora", *arguments])
    return namespace


def test_every_argument_of_vllms_that_sounds_suspicious_is_refused_or_known_to_be_harmless() -> None:
    names = {name for name in vllms_names() if not name.startswith("--no-") and suspicious(name)}
    assert names - REFUSED.keys() - DECIDED.keys() - set(HARMLESS_ARGUMENTS.split()) == set()


def test_every_variable_of_vllms_that_sounds_suspicious_is_refused_or_known_to_be_harmless() -> None:
    import vllm.envs

    names = {name for name in vllm.envs.environment_variables if suspicious(name)}
    assert names - VARIABLES.keys() - {"VLLM_PLUGINS"} - set(HARMLESS_VARIABLES.split()) == set()


def test_what_is_refused_is_vllms_still() -> None:
    import vllm.envs

    names = {name.partition(".")[0] for name in (*REFUSED, *DECIDED)}
    assert names <= vllms_names()
    assert {name for name in VARIABLES if name.startswith("VLLM_")} <= vllm.envs.environment_variables.keys()


def test_the_container_standards_variables_are_those_of_the_installed_package() -> None:
    from model_hosting_container_standards.common.fastapi.config import FASTAPI_ENV_CONFIG

    assert set(FASTAPI_ENV_CONFIG) <= VARIABLES.keys()


def test_a_name_that_vllm_takes_whole_is_not_taken_for_an_abbreviation() -> None:
    refused = {*REFUSED, *DECIDED}
    whole = {name for name in vllms_names() if any(other != name and other.startswith(name) for other in refused)}
    assert whole - refused == WHOLE_NAMES & vllms_names() == WHOLE_NAMES
    for name in vllms_names() - refused:
        check_names([name, "value"])


@pytest.mark.parametrize("name", sorted({**REFUSED, **DECIDED}))
@pytest.mark.parametrize("write", [lambda n: n, lambda n: f"{n}=1", lambda n: f"{n[:2]}{n[2:].replace('-', '_')}"])
def test_a_refused_argument_is_refused_however_it_is_written(name: str, write: Callable[[str], str]) -> None:
    with pytest.raises(BadInputError, match=re.escape(name)) as caught:
        check_names(["--max-model-len", "64", write(name), "1"])
    assert caught.value.hint == {**REFUSED, **DECIDED}[name]


@given(st.sampled_from(sorted({**REFUSED, **DECIDED})), st.data())
def test_no_abbreviation_that_vllm_takes_for_a_refused_argument_gets_through(name: str, data: st.DataObject) -> None:
    short = name[: data.draw(st.integers(3, len(name)))]
    takes = [option for option in vllms_names() if option.startswith(short)]
    if short in vllms_names() - {name} or (takes != [name] and short != name):
        return  # another argument, or ambiguous: vLLM refuses it
    with pytest.raises(BadInputError):
        check_names([short])


def test_a_field_of_a_refused_argument_is_refused_and_so_is_a_field_that_names_code() -> None:
    for argument in ("--profiler_config.profiler=torch", "--kv-transfer-config.kv_connector", "--kv-transf.kv_role"):
        with pytest.raises(BadInputError, match="is not passed on"):
            check_names([argument])
    with pytest.raises(BadInputError, match="reasoning_parser_plugin"):
        check_names(["--structured-outputs-config.reasoning_parser_plugin", "/tmp/x.py"])
    check_names(["--structured-outputs-config.backend", "xgrammar", "--no-enable-scale-out"])


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_a_refused_variable_is_named_with_the_reason(name: str) -> None:
    with pytest.raises(BadInputError, match=f"^{name} is set") as caught:
        check_environment({name: "1"})
    assert caught.value.hint == VARIABLES[name]


@pytest.mark.parametrize("off", ["", "0", "false", "False", " 0 "])
def test_a_switch_that_is_off_is_harmless(off: str) -> None:
    check_environment(dict.fromkeys(TRUE_OR_FALSE, off))


@pytest.mark.parametrize(
    ("plugins", "others"), [("locum,lora_filesystem_resolver", "lora_filesystem_resolver"), ("x", "x")]
)
def test_other_plugins_are_refused_by_name(plugins: str, others: str) -> None:
    check_environment({"VLLM_PLUGINS": "locum"})
    with pytest.raises(BadInputError, match=f"VLLM_PLUGINS names {others}"):
        check_environment({"VLLM_PLUGINS": plugins})


def test_a_stock_vllm_as_the_documentation_starts_it_is_a_locum_server() -> None:
    check_server(parsed("--max-lora-rank", "64", "--scheduler-cls", SCHEDULER), {"VLLM_PLUGINS": "locum"})
    check_arguments(parsed("--tool-call-parser", "hermes", "--logging-config.formatter", "json", "-cc.mode", "0"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--api-key", "x"], "--api-key"),
        (["--api-k", "x"], "--api-key"),
        (["--api_key=x"], "--api-key"),
        (["--middleware", "other.Door"], "--middleware"),
        (["--lora-modules", "a=/b"], "--lora-modules"),
        (["--enable-scale-out"], "--enable-scale-out"),
        (["--profiler-config", '{"profiler": "torch", "torch_profiler_dir": "/tmp"}'], "--profiler-config"),
        (["--worker-extension-cls", "a.B"], "--worker-extension-cls"),
        (["--scheduler-cls", "a.B"], "--scheduler-cls"),
        (["--distributed-executor-backend", "a.B"], "--distributed-executor-backend"),
        (["--compilation-config", '{"backend": "a.b"}'], "--compilation-config.backend"),
        (["--structured-outputs-config", '{"reasoning_parser_plugin": "/x.py"}'], "reasoning_parser_plugin"),
        (["--trust-request-chat-template"], "--trust-request-chat-template"),
    ],
)
def test_a_stock_vllm_that_was_told_something_dangerous_refuses_to_be_one(arguments: list[str], named: str) -> None:
    with pytest.raises(BadInputError, match=re.escape(named)) as caught:
        check_server(parsed(*arguments), {})
    assert "which Locum refuses: " in str(caught.value)


def test_an_executor_of_vllms_own_may_be_named() -> None:
    executor = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
    check_server(parsed("--distributed-executor-backend", executor), {})


async def test_the_plugin_of_a_stock_vllm_refuses_before_it_touches_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    with pytest.raises(BadInputError, match=f"VLLM_SERVER_DEV_MODE is set, which Locum refuses: {ROUTES}"):
        await LocumEndpoints().init_state(None, State(), parsed())


def test_a_file_of_options_hides_nothing_from_a_stock_vllm(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("enable-log-requests: true\n")
    with pytest.raises(BadInputError, match="--enable-log-requests"):
        check_server(parsed("--config", str(file)), {})


def test_without_the_door_there_is_no_locum_server() -> None:
    arguments = vllms_parser().parse_args([])
    with pytest.raises(BadInputError, match="the door is missing"):
        check_server(arguments, {})


def test_the_launcher_looks_at_its_environment_before_it_starts_anything(
    base_record: Base, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    with pytest.raises(BadInputError, match="VLLM_SERVER_DEV_MODE"):
        launcher.start(settings, base_record, plan_for_this_host())


def test_an_option_is_found_as_vllm_would_read_it() -> None:
    assert option(["--chat_template=a=b"], "--chat-template") == "a=b"
    assert option(["--chat-template", "a", "--chat-template", "b"], "--chat-template") == "b"
    assert option(["--chat-template-content-format", "string"], "--chat-template") is None
    assert option([], "--chat-template") is None
