"""The servers that benchmarks compare: Locum, stock vLLM, and llama.cpp; same model, adapters and threads.

Each generates greedily, without a stop token, from token ids, so that all do the same work.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from locum.adapters.base import Base
from locum.serve import launcher
from locum.serve.host import HostPlan
from locum.settings import Settings

START_SECONDS = 300
# Where several servers share few cores, vLLM's worker must not be a process of its own: it and the engine wait for one
# another by spinning, and what spins on a core that somebody else needs makes requests stall for seconds.
ONE_PROCESS = ("--distributed-executor-backend", "vllm.v1.executor.uniproc_executor.UniProcExecutor")
STOCK_VLLM = "vllm.entrypoints.openai.api_server"


@dataclass
class Peer:
    """A running server. `adapters` says what it calls each adapter; None stands for the base model."""

    url: str
    adapters: dict[str | None, Any]
    pid: int = 0
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
        self.client = httpx.Client(base_url=self.url, timeout=600, limits=limits)

    def generate(self, prompt: list[int], adapter: str | None, tokens: int) -> list[int]:
        """The ids of the next `tokens` tokens."""
        body = {
            "model": self.adapters[adapter],
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "return_token_ids": True,
        }
        answer = self.client.post("/v1/completions", json=body)
        answer.raise_for_status()
        found: list[int] = answer.json()["choices"][0]["token_ids"]
        return found

    def logprobs(self, prompt: list[int], adapter: str | None, tokens: int) -> list[float]:
        """The log-probabilities of the next `tokens` tokens."""
        body = {"model": self.adapters[adapter], "prompt": prompt, "max_tokens": tokens, "temperature": 0}
        answer = self.client.post("/v1/completions", json={**body, "ignore_eos": True, "logprobs": 0})
        answer.raise_for_status()
        found: list[float] = answer.json()["choices"][0]["logprobs"]["token_logprobs"]
        return found


@dataclass
class LlamaCpp(Peer):
    """llama.cpp's server: adapters are chosen per request by their place on its command line."""

    def generate(self, prompt: list[int], adapter: str | None, tokens: int) -> list[int]:
        body = {
            "prompt": prompt,
            "n_predict": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "return_tokens": True,
            "cache_prompt": False,
            "lora": [] if adapter is None else [{"id": self.adapters[adapter], "scale": 1.0}],
        }
        answer = self.client.post("/completion", json=body)
        answer.raise_for_status()
        found: list[int] = answer.json()["tokens"]
        return found


@contextlib.contextmanager
def locum(
    settings: Settings,
    base: Base,
    plan: HostPlan,
    versions: dict[str, str],
    *,
    rank: int,
    vllm_args: Sequence[str] = ("--no-enable-prefix-caching",),
) -> Iterator[Peer]:
    """`locum serve`, with each adapter registered as the version that `versions` gives."""
    server = launcher.start(settings, base, plan, max_rank=rank, vllm_args=[*vllm_args])
    try:
        launcher.wait_until_ready(server, lambda reason: None)
        yield Peer(server.url, {None: base.name, **versions}, server.process.pid)
    finally:
        launcher.stop(server)


@contextlib.contextmanager
def stock_vllm(
    base: Base,
    plan: HostPlan,
    adapters: dict[str, Path],
    log: Path,
    *,
    rank: int,
    vllm_args: Sequence[str] = ("--no-enable-prefix-caching",),
    with_locums_layers: bool = False,
) -> Iterator[Peer]:
    """vLLM without any of Locum's plugins, on the same cores with the same libraries preloaded.

    `with_locums_layers` gives it Locum's CPU platform, so that all that differs is what stands before the engine.
    """
    port = free_port()
    command = [sys.executable, "-m", STOCK_VLLM, "--model", str(base.path), "--served-model-name", base.name]
    command += ["--dtype", plan.dtype, "--host", "127.0.0.1", "--port", str(port), *vllm_args]
    if plan.device == "cpu":
        command += ["--block-size", str(launcher.CPU_BLOCK)]
        command += ["--kv-cache-memory-bytes", str(plan.cache_bytes or 1 << 30)]
    command += ["--enable-lora", "--max-loras", "8", "--max-lora-rank", str(rank), "--lora-modules"]
    command += [f"{name}={path}" for name, path in adapters.items()]
    environment = {**os.environ, "VLLM_PLUGINS": "none", "VLLM_NO_USAGE_STATS": "1"}
    if plan.cores:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, plan.cores))
    environment["LD_PRELOAD"] = ":".join(map(str, plan.preload))
    if with_locums_layers:  # a plugin of another name, since vLLM chooses plugins of all kinds by their names
        record = log.parent / "layers" / "layers-0.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text("Metadata-Version: 2.1\nName: layers\nVersion: 0\n")
        (record / "entry_points.txt").write_text("[vllm.platform_plugins]\nlayers = locum.serve.plugin:platform\n")
        environment |= {"VLLM_PLUGINS": "layers", "PYTHONPATH": str(record.parent)}
    with _process(command, environment, log, f"http://127.0.0.1:{port}"):
        yield Peer(f"http://127.0.0.1:{port}", {None: base.name, **{name: name for name in adapters}})


@contextlib.contextmanager
def litellm(binary: Path, behind: Peer, model: str, key: str, folder: Path) -> Iterator[Peer]:
    """LiteLLM's proxy in front of `behind`, with a key and one worker; `model` has the same name on both."""
    port = free_port()
    parameters = {"model": f"hosted_vllm/{model}", "api_base": f"{behind.url}/v1", "api_key": "unused"}
    config = {
        "model_list": [{"model_name": model, "litellm_params": parameters}],
        "general_settings": {"master_key": key},
    }
    (folder / "litellm.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    command = [str(binary), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"}
    url = f"http://127.0.0.1:{port}"
    with _process([*command, "--telemetry", "False"], environment, folder / "litellm.log", url, "/health/liveliness"):
        yield Peer(url, {model: model})


@contextlib.contextmanager
def llama_cpp(binary: Path, base: Path, adapters: dict[str, Path], log: Path, *, threads: int) -> Iterator[Peer]:
    """llama.cpp's `llama-server` with 16 slots; `base` and `adapters` are GGUF files."""
    port = free_port()
    command = [str(binary), "--model", str(base), "--port", str(port), "--threads", str(threads)]
    command += ["--parallel", "16", "--ctx-size", str(16 * 1024), "--lora-init-without-apply", "--no-webui"]
    for path in adapters.values():
        command += ["--lora", str(path)]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(binary.parent)}
    with _process(command, environment, log, f"http://127.0.0.1:{port}"):
        yield LlamaCpp(f"http://127.0.0.1:{port}", {name: place for place, name in enumerate(adapters)})


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _process(
    command: list[str], environment: dict[str, str], log: Path, url: str, health: str = "/health"
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _healthy(url + health):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} did not start; {log} says:\n" + log.read_text(errors="replace")[-3000:])
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
