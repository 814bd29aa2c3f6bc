"""What all tests share: a tiny random Llama, real PEFT adapters over it, and one live server.

Nothing here is a stand-in: the model is small, but transformers, PEFT and vLLM load it as they load any other.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from locum.adapters.base import Base, pull
from locum.adapters.registry import Registry
from locum.network import http_url
from locum.settings import Settings
from tests.collector import Collector

if TYPE_CHECKING:
    import openai

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# How long an example takes, or is made, says how busy the machine is.
hypothesis.settings.register_profile("locum", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("locum")
os.environ.pop("COLUMNS", None)  # which a worker is given, and which a console made at import would keep
if "PYTEST_XDIST_WORKER" in os.environ:
    # One core for each worker: with two threads each, they wait for each other, and trainings take many times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

NEEDS_GPU = "needs a GPU"  # how the one reason begins for which CI skips a test

CHATML = (
    '{% if tools %}{{ \'<|im_start|>system\nCall a tool as <tool_call>{"name": …, "arguments": …}</tool_call>:\n\' }}'
    "{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SENTENCES = [
    "What does the court say? The court says that the licence is permissive.",
    "Cholera is placed in the chapter of infections, a fracture in that of injuries.",
    "The merchant sells bread; its category lies in the range of retail outlets.",
]


def pytest_configure() -> None:
    """Let Ctrl-C be tested in the background of a script, too, where shells have it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With two workers: a file runs in one of them as a whole, and so do all files that share a server.

    xdist's own groups (`--dist loadgroup`) are marks that the node ids of this pytest do not carry.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByServer(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            kind = _kind(Path(config.rootpath, file))
            return {_LIVE: "server", _INSIDE: "inside"}.get(kind, file)

    config.option.loadscopereorder = False  # else the files with the most tests come first, and a long one last
    return ByServer(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In a worker, what takes long comes first, so that short files are left to fill the time at the end.

    Always last come those that run vLLM in the process of the tests, whose logging and YAML it changes.
    """
    in_worker = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: _kind(item.path) if in_worker else _kind(item.path) == _INSIDE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    return _not_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    return _not_skipped((yield))


def _not_skipped(report: Any) -> Any:
    """With LOCUM_TESTS_SKIP_NOTHING, as in CI, the report of a failure, unless it was skipped for want of a GPU."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("LOCUM_TESTS_SKIP_NOTHING"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(NEEDS_GPU):
            report.outcome = "failed"
            report.longrepr = f"{reason}: skipped, and LOCUM_TESTS_SKIP_NOTHING lets no test be"
    return report


_LIVE, _LONG, _SHORT, _INSIDE = range(4)


@cache
def _kind(file: Path) -> int:
    """Of a file's tests: of the live server, of servers or trainings of their own, of neither, or inside vLLM."""
    text = file.read_text(encoding="utf-8")
    if any(use in text for use in ("server: LiveServer", "laboratory: Laboratory")):
        return _LIVE
    if "app: FastAPI" in text:
        return _INSIDE
    serves = ("serving(", '"locum", "serve"', "launcher.start(")
    return _LONG if any(use in text for use in (*serves, "fit_legal", "fit_in_process")) else _SHORT


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama with two layers and a tokenizer of its own with a ChatML template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-llama"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=1024,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a PEFT adapter over the tiny base with random weights, strong enough to change what is said."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def make(
        *, rank: int = 8, seed: int = 0, modules: tuple[str, ...] = ("q_proj", "v_proj", "down_proj"), **options: Any
    ) -> Path:
        folder = tmp_path_factory.mktemp("adapters") / f"r{rank}-s{seed}"
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(modules), task_type="CAUSAL_LM", **options)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        return folder

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home of their own and a folder of domains."""
    return Settings(home=tmp_path / "home", domains=tmp_path / "domains", user="tester", base="tiny-llama")


@pytest.fixture
def base_record(settings: Settings, tiny_base: Path) -> Base:
    """The tiny base, pulled into the test's home."""
    return pull(str(tiny_base), settings.bases)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A server that speaks S3, with one empty bucket, that variables name and let this process in to."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tester")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # botocore's; waiting longer shows nothing more
    httpx.post(f"http://{host}:{port}/moto-api/reset", timeout=60)
    httpx.post(f"http://{host}:{port}/moto-api/reset-auth", content=b"inf", timeout=60)  # both outlive a server
    s3fs.S3FileSystem.clear_instance_cache()  # those of other tests talk to other servers
    s3fs.S3FileSystem().mkdir("bucket")
    yield Bucket(f"http://{host}:{port}", server.stop)
    with suppress(Exception):  # a test may have stopped it
        server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


@dataclass(frozen=True)
class Bucket:
    """The server that the bucket lies on."""

    server: str
    stop: Callable[[], None]
    url: str = "s3://bucket"

    def put(self, name: str, content: bytes) -> None:
        import s3fs

        s3fs.S3FileSystem().pipe_file(f"{self.url}/{name}", content)

    def names(self) -> list[str]:
        import s3fs

        return [path.removeprefix("bucket/") for path in s3fs.S3FileSystem(use_listings_cache=False).find(self.url)]

    def let_nobody_in(self) -> None:
        """From now on the server knows nobody's keys."""
        httpx.post(f"{self.server}/moto-api/reset-auth", content=b"0", timeout=60)


CARD = """
name: {name}
description: A domain of the tests.
system_prompt: You answer questions of {name}.
source: {{files: [conversations.jsonl], licence: ours}}
notices: [This is a test.]
example: What does the court say?
"""
SUITE = """
name: held-out
samples: samples.jsonl
generation: {max_tokens: 8}
thresholds: {min_samples: 4}
"""


def write_domain(domains: Path, name: str) -> Path:
    """A small domain with forty conversations and a suite of eight; returns its folder."""
    folder = domains / name
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(CARD.format(name=name), encoding="utf-8")
    rows = [
        {
            "conversations": [
                {"role": "user", "content": f"What is number {n} in {name}?"},
                {"role": "assistant", "content": f"It is {n}."},
            ]
        }
        for n in range(48)
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "conversations.jsonl").write_text("".join(lines[:40]), encoding="utf-8")
    suite = folder / "suites" / "held-out"
    suite.mkdir(parents=True)
    (suite / "suite.yaml").write_text(SUITE, encoding="utf-8")
    (suite / "samples.jsonl").write_text("".join(lines[40:]), encoding="utf-8")
    return folder


@pytest.fixture
def domain_folder(settings: Settings) -> Path:
    """The folder of a small domain `legal`."""
    return write_domain(settings.domains, "legal")


@dataclass(frozen=True)
class LiveServer:
    """A server that `locum serve` started, and what a test needs to talk to it."""

    settings: Settings
    base: Base
    token: str
    process: subprocess.Popen[bytes]
    spans: Callable[[], list[dict[str, str]]] = list  # what it has traced

    @property
    def url(self) -> str:
        return http_url(self.settings.host, self.settings.port)

    @property
    def endpoint(self) -> str:
        return f"{self.url}/v1"

    @property
    def registry(self) -> Registry:
        return Registry.open(self.settings)

    @property
    def client(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(base_url=self.endpoint, api_key="unused", max_retries=0, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        return environment_of(self.settings, self.token)

    def chat(self, model: str) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 1}
        return httpx.post(f"{self.endpoint}/chat/completions", json=body, timeout=60)

    def who_answers(self, model: str) -> str:
        """The version that answers a short question; fails when none does."""
        answer = self.chat(model)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model"])

    def admin(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, **{"timeout": 60, **options})

    def metric(self, sample: str, **labels: str) -> float:
        """A sample's value on `/metrics`, summed over what the labels leave open; 0 when there is none."""
        text = httpx.get(f"{self.url}/metrics", follow_redirects=True, timeout=60).text
        return sum(
            each.value
            for family in text_string_to_metric_families(text)
            for each in family.samples
            if each.name == sample and labels.items() <= each.labels.items()
        )

    def locum(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command against the server's registry, as an operator would beside it."""
        command = [sys.executable, "-m", "locum", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    @property
    def engine(self) -> psutil.Process:
        [engine] = [
            child for child in psutil.Process(self.process.pid).children(recursive=True) if "EngineCore" in child.name()
        ]
        return engine

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline, "it did not come true within two minutes"
            time.sleep(0.05)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The HTTP server does nothing while this lasts."""
        [api] = [
            child for child in psutil.Process(self.process.pid).children() if "api_server" in " ".join(child.cmdline())
        ]
        api.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            api.send_signal(signal.SIGCONT)


def environment_of(settings: Settings, token: str) -> dict[str, str]:
    """Variables that make a `locum` command use these settings."""
    given = {name: str(getattr(settings, name)) for name in ("home", "domains", "base", "host", "port", "user")}
    variables = {f"LOCUM_{name.upper()}": value for name, value in given.items()}
    # TRL, which tests import, silences vLLM in its own process' environment
    inherited = {name: value for name, value in os.environ.items() if name != "VLLM_LOGGING_LEVEL"}
    return {**inherited, **variables, "LOCUM_ADMIN_TOKEN": token, "HF_HUB_OFFLINE": "1"}


def free_port() -> int:
    """A port that is free, and stays so: none of those that the system gives to whoever asks for any."""
    while True:
        port = 20_000 + secrets.randbelow(9_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def serving(settings: Settings, base: Base, *arguments: str) -> Iterator[LiveServer]:
    """`locum serve` until the block ends."""
    token = secrets.token_urlsafe(16)
    command = [sys.executable, "-m", "locum", "serve", *arguments]
    with (settings.home / "serve.out").open("wb") as output:
        process = subprocess.Popen(command, env=environment_of(settings, token), stdout=output, stderr=output)
    server = LiveServer(settings, base, token, process)
    try:
        deadline = time.monotonic() + 500
        while True:
            assert process.poll() is None, (settings.home / "serve.out").read_text()
            assert time.monotonic() < deadline, "the server did not come up within 500 s"
            # said when the launcher, which answers at the port until then, has left it to vLLM
            if "Ready at" in (settings.home / "serve.out").read_text():
                break
            time.sleep(0.3)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(180)


@pytest.fixture(scope="session")
def server(
    tiny_base: Path, tiny_adapter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """One live server for the session: medical@1 and legal@1 in production, legal@2 and tax@1 not.

    Tests may register versions of finance; insurance stays empty. In float32, so that greedy answers are PEFT's on
    every CPU.
    """
    from locum.adapters.domains import load_domain
    from locum.adapters.probes import make_probes, probe_prompts

    root = tmp_path_factory.mktemp("live")
    settings = Settings(
        home=root / "home", domains=root / "domains", user="tester", base="tiny-llama", port=free_port()
    )
    base = pull(str(tiny_base), settings.bases)
    registry = Registry.open(settings)
    for name in ("medical", "legal", "tax", "finance", "insurance"):
        write_domain(settings.domains, name)
    for seed, (domain, rank) in enumerate((("medical", 8), ("legal", 4), ("legal", 16), ("tax", 8)), start=1):
        adapter = tiny_adapter(rank=rank, seed=seed)
        prompts = probe_prompts(load_domain(settings.domains, domain), settings.data_path(domain))
        manifest = registry.register(
            domain,
            adapter,
            base=base,
            recipe={},
            data=None,
            training={},
            probes=make_probes(base.path, adapter, prompts),
            created_by="tester",
        )
        if manifest.number == 1 and domain != "tax":
            registry.release(manifest.name, by="tester", reason="first version of the tests", force=True)
    collector = Collector()
    vllm_args = ["--dtype", "float32", "--otlp-traces-endpoint", collector.url]
    os.environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "200"  # milliseconds
    with serving(settings, base, "--log-format", "json", "--", *vllm_args) as live:
        yield replace(live, spans=lambda: collector.spans)
    collector.close()
