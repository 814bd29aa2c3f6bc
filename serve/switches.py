"""Switches of vLLM's that would open a way past the door, and why each is refused.

A switch comes behind `--`, where the launcher reads names, or through a stock vLLM's command line or a file of options,
where the server looks at what vLLM made of them. Variables of the environment are the same in both.
tests/serve/test_switches.py goes through all of vLLM's and fails on one that is neither here nor known to be harmless.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from locum.errors import BadInputError

DOOR = "locum.serve.door.Door"
SCHEDULER = "locum.serve.scheduler.fair_scheduler"
PLUGIN = "locum"

KEY = "set LOCUM_API_KEY: the admin routes need a token of their own beside it"
CODE = "it runs code in the server that the door, the registry and the base model's fingerprint know nothing of"
NAMES = "a version is served under the name that the registry gives it, after it was checked and probed"
ROUTES = "it opens routes past the door"
SCALING = "it lets the engine be changed from outside while it serves"
WEIGHTS = "what answers is what was registered: adapters fit the base model that they were trained on, and no other"
PROMPTS = "prompts and answers are never logged: `locum serve --log-format json` writes a line a request without them"
TRUSTED = "it lets a request change what the server does, or crash the engine"
TELLS = "it hands what is asked to whoever connects to its port"
TLS = "the port speaks HTTP: Locum answers there itself while vLLM starts. Put a proxy that ends TLS before it"

# What `locum serve` decides by itself: not to be passed behind `--`, but fine for a stock vLLM with Locum's plugins.
DECIDED = {
    "--model": "use `locum serve --base NAME`, so that adapters and base model fit",
    "--served-model-name": "the base model is served under the name that it was pulled with",
    "--host": "use `locum serve --host`",
    "--port": "use `locum serve --port`",
    "--uds": "`locum serve` holds the port from its start to its end, which a socket in a folder is not",
    "--config": "a file may hold any argument: pass them behind `--` instead",
    "--no-enable-lora": "without it no version can answer",
    "--ssl-keyfile": TLS,
    "--ssl-certfile": TLS,
    "--ssl-ca-certs": TLS,
    "--ssl-cert-reqs": TLS,
    "--ssl-ciphers": TLS,
    "--enable-ssl-refresh": TLS,
}
REFUSED = {
    "--api-key": KEY,
    "--middleware": "the door must be the first and only one to see a request",
    "--root-path": "the door would not know the routes below it: let the proxy take the prefix off",
    "--headless": "it starts no server for the door to stand before",
    "--grpc": "it starts a server that the door does not stand before",
    "--grpc-port": "it starts a server that the door does not stand before",
    "--data-parallel-multi-port-external-lb": "it starts servers on ports of their own",
    "--tokens-only": ROUTES,
    "--enable-scale-out": ROUTES,
    "--enable-fault-tolerance": ROUTES,
    "--profiler-config": ROUTES,
    "--enable-elastic-ep": SCALING,
    "--elastic-ep-max-dp-size": SCALING,
    "--weight-transfer-config": SCALING,
    "--lora-modules": NAMES,
    "--default-mm-loras": NAMES,
    "--tokenizer": WEIGHTS,
    "--hf-config-path": WEIGHTS,
    "--model-class-overrides": CODE,
    "--trust-remote-code": CODE,
    "--scheduler-cls": CODE,
    "--worker-cls": CODE,
    "--worker-extension-cls": CODE,
    "--logits-processors": CODE,
    "--io-processor-plugin": CODE,
    "--tool-parser-plugin": CODE,
    "--reasoning-parser-plugin": CODE,
    "--structured-outputs-config.reasoning_parser_plugin": CODE,
    "--compilation-config.inductor_passes": CODE,
    "--ec-manager-config": CODE,
    "--ec-transfer-config": CODE,
    "--kv-transfer-config": CODE,
    "--tool-server": "it runs tools, the code that a model writes among them, with the server's rights",
    "--kv-events-config": TELLS,
    "--trust-request-chat-template": TRUSTED,
    "--trust-request-mm-kwargs": TRUSTED,
    "--enable-prompt-embeds": TRUSTED,
    "--enable-mm-embeds": TRUSTED,
    "--enable-trace-replay": "a request could say what is answered, which would be signed as the version's answer",
    "--allowed-local-media-path": "it lets a request read files of the server",
    "--enable-log-requests": PROMPTS,
    "--enable-log-outputs": PROMPTS,
    "--enable-request-id-headers": "every answer has an `x-request-id` already, signed for the version that spoke",
}
VARIABLES = {
    "VLLM_API_KEY": KEY,
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": NAMES,
    "VLLM_LORA_RESOLVER_CACHE_DIR": NAMES,
    "VLLM_LORA_RESOLVER_HF_REPO_LIST": NAMES,
    "VLLM_SKIP_MODEL_NAME_VALIDATION": "a name that means nothing would be answered by the base model",
    "VLLM_MODEL_REDIRECT_PATH": WEIGHTS,
    "VLLM_SERVER_DEV_MODE": ROUTES,
    "VLLM_ENABLE_COHERE_API": ROUTES,
    "VLLM_ENABLE_RESPONSES_API_STORE": "it keeps every answer in memory without end, for whoever asks for its id",
    "VLLM_USE_RUST_FRONTEND": "it starts a server that the door does not stand before",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": CODE,
    "VLLM_DISABLE_REQUEST_ID_RANDOMIZATION": "two requests that name themselves alike would be taken for one",
    "VLLM_ELASTIC_EP_SCALE_UP_LAUNCH": SCALING,
    "VLLM_ELASTIC_EP_DRAIN_REQUESTS": SCALING,
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": PROMPTS,
    # model_hosting_container_standards, which vLLM wraps its app in
    "CUSTOM_FASTAPI_PING_HANDLER": CODE,
    "CUSTOM_FASTAPI_INVOCATION_HANDLER": CODE,
    "CUSTOM_FASTAPI_MIDDLEWARE_THROTTLE": CODE,
    "CUSTOM_FASTAPI_MIDDLEWARE_PRE_POST_PROCESS": CODE,
    "CUSTOM_PRE_PROCESS": CODE,
    "CUSTOM_POST_PROCESS": CODE,
    "CUSTOM_SCRIPT_FILENAME": CODE,
    "SAGEMAKER_MODEL_PATH": CODE,
    "SAGEMAKER_ENABLE_STATEFUL_SESSIONS": ROUTES,
}
OFF = frozenset({"", "0", "false"})

# The field by which an argument does what it is refused for: vLLM fills in others by itself.
DECISIVE = {
    "--profiler-config": "--profiler-config.profiler",
    "--ec-manager-config": "--ec-manager-config.encoder_cache_manager_cls",
}
# vLLM's names that begin a refused one, and are no abbreviation of it.
WHOLE_NAMES = frozenset({"--reasoning-parser", "--structured-outputs-config", "--compilation-config"})
EXECUTORS = frozenset({None, "mp", "ray", "uni", "external_launcher"})
VLLMS_OWN = "vllm.v1.executor."


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuse variables that would open a way past the door.

    Raises:
        BadInputError: names the first, and says why.
    """
    for name, reason in VARIABLES.items():
        if environment.get(name, "").strip().lower() not in OFF:
            raise BadInputError(f"{name} is set", hint=reason)
    others = {name.strip() for name in environment.get("VLLM_PLUGINS", PLUGIN).split(",")} - {PLUGIN, ""}
    if others:
        raise BadInputError(f"VLLM_PLUGINS names {', '.join(sorted(others))}, expected {PLUGIN} alone", hint=CODE)


def check_names(arguments: Sequence[str]) -> None:
    """Refuse arguments for vLLM by their names, before it is started.

    Raises:
        BadInputError: names the first, and says why.
    """
    refused = {**DECIDED, **REFUSED}
    for argument in arguments:
        name = _name(argument)
        for whole, reason in refused.items():
            if name == whole or name.startswith(f"{whole}.") or _abbreviates(name.partition(".")[0], whole):
                called = name if name == whole else f"{name} ({whole})"
                raise BadInputError(f"{called} is not passed on to vLLM", hint=reason)


def check_server(arguments: Namespace, environment: Mapping[str, str]) -> None:
    """Refuse to be a Locum server with such arguments or variables: what a stock vLLM with Locum's plugins asks.

    Raises:
        BadInputError: names the first, and says why, in one sentence, since vLLM shows no more than that.
    """
    try:
        check_environment(environment)
        check_arguments(arguments)
    except BadInputError as error:
        raise BadInputError(f"{error}, which Locum refuses: {error.hint}") from None


def check_arguments(arguments: Namespace) -> None:
    """Refuse what vLLM has been told, wherever from: its command line, abbreviated, as JSON, or a file of options.

    Raises:
        BadInputError: names the first, and says why; or the door is missing.
    """
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    usual = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    ours: dict[str, Any] = {"--middleware": [DOOR], "--scheduler-cls": SCHEDULER}
    for name, reason in REFUSED.items():
        value = _value(arguments, name)
        if value not in (_value(usual, name), ours.get(name)):
            raise BadInputError(f"{name} is set to {value!r}", hint=reason)
    if arguments.middleware != [DOOR]:
        raise BadInputError("the door is missing", hint=f"start vLLM with --middleware {DOOR}")
    executor = arguments.distributed_executor_backend
    if executor not in EXECUTORS and not str(executor).startswith(VLLMS_OWN):
        raise BadInputError(f"--distributed-executor-backend is {executor!r}", hint=CODE)
    if "." in str(_value(arguments, "--compilation-config.backend") or ""):
        raise BadInputError("--compilation-config.backend names a function", hint=CODE)


def option(arguments: Sequence[str], name: str) -> str | None:
    """What the last of these arguments that has this name gives it, as vLLM reads it; None if none has."""
    value = None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if _name(argument) == name:
            value = argument.partition("=")[2] if "=" in argument else following
    return value


def _name(argument: str) -> str:
    """The name of an argument with vLLM's hyphens; `""` for what is a value. What follows a dot stays as it is."""
    if not argument.startswith("--") or argument == "--":
        return ""
    first, dot, rest = argument.partition("=")[0].partition(".")
    return first.replace("_", "-") + dot + rest


def _abbreviates(name: str, whole: str) -> bool:
    """Whether vLLM's parser could take a name for the beginning of another."""
    return len(name) > len("--") and name not in WHOLE_NAMES and whole.startswith(name)


def _value(arguments: Namespace, name: str) -> Any:
    """The value of an argument, or of a field in it; None where there is none."""
    first, *fields = DECISIVE.get(name, name).removeprefix("--").split(".")
    value: Any = getattr(arguments, first.replace("-", "_"), None)
    for field in fields:
        value = value.get(field) if isinstance(value, dict) else getattr(value, field, None)
    return value
