"""Isolation under churn: whatever is registered, released, rolled back and deleted, an answer is its version's own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from locum.adapters.base import Base, pull
from locum.adapters.conversations import Message
from locum.adapters.probes import make_probes
from locum.adapters.registry import Registry
from locum.settings import Settings
from tests.conftest import LiveServer, free_port, serving

CLIENTS = 16
CALM, CHURNED = 800, 2000
CHANGES = 40
TOKENS = 10
SHARED_PREFIX = list(range(3, 43))  # fills a cache block, which must not be shared between adapters
CANDIDATES = 192
PROMPTS = 4
MARGIN = 0.02  # between the best and the second-best logit of each known token: far more than rounding can move
MODULES = (("q_proj", "v_proj", "down_proj"), ("o_proj", "gate_proj"), ("q_proj", "k_proj", "v_proj", "up_proj"))
SCALED: dict[int, dict[str, object]] = {  # what legal@1 and tax@1 are scaled by
    1: {"use_rslora": True},
    2: {"rank_pattern": {"0.self_attn.q_proj": 4, "down_proj": 8}, "alpha_pattern": {"v_proj": 8}},
}
ASKED = ("medical", "legal", "tax", "medical@1", "legal@2", "tax@1", "legal@1", "tiny-llama")


@dataclass(frozen=True)
class Answer:
    asked: str
    prompt: int
    named: str
    tokens: tuple[int, ...]
    began: float
    ended: float


@dataclass(frozen=True)
class Known:
    """Prompts, and the greedy answer to each by the weights' name; `base` is the base model."""

    prompts: list[list[int]]
    answers: dict[str, list[tuple[int, ...]]]


@dataclass(frozen=True)
class Scene:
    server: LiveServer
    known: Known
    weights: dict[str, str]  # by version
    pool: Path


@pytest.fixture(scope="module")
def scene(
    tiny_base: Path, tiny_adapter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A server with two slots and room for six adapters, and nine of them: three domains of two versions, and more."""
    root = tmp_path_factory.mktemp("churn")
    settings = Settings(home=root / "home", domains=root, user="tester", base="tiny-llama", port=free_port())
    base = pull(str(tiny_base), settings.bases)
    adapters = {
        f"w{seed}": tiny_adapter(
            rank=(4, 8, 16)[seed % 3], seed=200 + seed, modules=MODULES[seed // 3], **SCALED.get(seed, {})
        )
        for seed in range(9)
    }
    known = known_answers(base, adapters)
    probes = {
        name: make_probes(base.path, path, [[Message(role="user", content="Well?")]]) for name, path in adapters.items()
    }
    entries = {
        name: {"folder": str(path), "probes": [probe.model_dump(mode="json") for probe in probes[name]]}
        for name, path in adapters.items()
    }
    (root / "pool.json").write_text(json.dumps(entries))
    registry = Registry.open(settings)
    weights = {}
    for number, domain in enumerate(("medical", "legal", "tax") * 2):
        name = f"w{number}"
        manifest = registry.register(
            domain, adapters[name], base=base, recipe={}, data=None, training={}, probes=probes[name], created_by="t"
        )
        weights[manifest.name] = name
        if manifest.number == 1:
            registry.release(manifest.name, by="t", force=True, reason="first")
    arguments = ["--dtype", "float32", "--enforce-eager", "--max-loras", "2", "--max-cpu-loras", "6"]
    with serving(settings, base, "--", *arguments) as server:
        yield Scene(server, known, weights, root / "pool.json")


def known_answers(base: Base, adapters: dict[str, Path]) -> Known:
    """What transformers and PEFT answer, to the prompts where rounding cannot change a token."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    rows = torch.randint(3, AutoConfig.from_pretrained(base.path).vocab_size, (CANDIDATES, 8))
    prompts = torch.cat([torch.tensor([SHARED_PREFIX] * CANDIDATES), rows], dim=1)
    answers, margins = {}, torch.full((CANDIDATES,), torch.inf)
    for name, folder in (("base", None), *adapters.items()):
        model = AutoModelForCausalLM.from_pretrained(base.path)
        model = PeftModel.from_pretrained(model, folder) if folder else model
        with torch.inference_mode():
            said = model.generate(
                input_ids=prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=TOKENS,
                min_new_tokens=TOKENS,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
            logits = model(said).logits[:, prompts.shape[1] - 1 : -1]
        best = logits.topk(2).values
        margins = torch.minimum(margins, (best[..., 0] - best[..., 1]).amin(1))
        answers[name] = [tuple(row) for row in said[:, prompts.shape[1] :].tolist()]
    told_apart = [len({answers[name][row] for name in answers}) == len(answers) for row in range(CANDIDATES)]
    margins[~torch.tensor(told_apart)] = 0
    chosen = margins.topk(PROMPTS)
    assert chosen.values.min() > MARGIN
    rows_chosen = chosen.indices.tolist()
    return Known(
        [prompts[row].tolist() for row in rows_chosen],
        {name: [said[row] for row in rows_chosen] for name, said in answers.items()},
    )


def ask_until(scene: Scene, wanted: int, enough: Callable[[], bool]) -> tuple[list[Answer], list[str]]:
    """Let all clients stream at once until there are so many answers and it is enough; gives them, and what failed."""
    answers: list[Answer] = []
    failures: list[str] = []

    def client(number: int) -> None:
        with httpx.Client(base_url=scene.server.endpoint, timeout=60) as http:
            turn = number
            while len(answers) + len(failures) < wanted or not enough():
                asked, prompt = ASKED[turn % len(ASKED)], turn // len(ASKED) % PROMPTS
                turn += 5
                try:
                    answers.append(stream(http, asked, prompt, scene.known.prompts[prompt]))
                except (httpx.HTTPError, AssertionError) as error:
                    failures.append(f"{asked}: {error!r}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, failures


def stream(http: httpx.Client, asked: str, prompt: int, ids: list[int]) -> Answer:
    body = {"model": asked, "prompt": ids, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    tokens: list[int] = []
    named = set()
    began = time.time()
    with http.stream("POST", "/completions", json={**body, "stream": True, "return_token_ids": True}) as answer:
        if answer.status_code != 200:
            raise AssertionError(f"{answer.status_code} {answer.read().decode()}")
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                assert "error" not in chunk, chunk
                named.add(chunk["model"])
                for choice in chunk["choices"]:
                    tokens += choice.get("token_ids") or []
        named.add(answer.headers["x-locum-adapter"])
    assert len(named) == 1, f"one answer named {named}"
    return Answer(asked, prompt, named.pop(), tuple(tokens), began, time.time())


def test_no_answer_is_wrong_or_fails_while_versions_come_and_go(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    calm, failed = ask_until(scene, CALM, lambda: True)
    assert not failed
    evicted = scene.server.metric("locum_adapter_evictions_total")

    command = [sys.executable, str(Path(__file__).parent / "churner.py"), str(scene.pool)]
    with subprocess.Popen(
        command, env=scene.server.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as churner:
        assert churner.stdin is not None and churner.stdout is not None
        done = [json.loads(churner.stdout.readline())]
        lines = churner.stdout
        reading = threading.Thread(target=lambda: done.extend(map(json.loads, lines)))
        reading.start()
        churned, failed = ask_until(scene, CHURNED, lambda: len(done) >= CHANGES or churner.poll() is not None)
        churner.stdin.close()
        reading.join()
    assert churner.returncode == 0
    counts = Counter(action["action"] for action in done)
    longest = {
        name: max(each.ended - each.began for each in them) for name, them in (("calm", calm), ("churn", churned))
    }
    record_property("churn", f"{len(churned)} answers under {dict(counts)}; longest wait in seconds {longest}")

    assert not failed, f"{len(failed)} failed: {failed[:3]}"
    assert len(churned) >= CHURNED
    assert min(counts[action] for action in ("register", "release", "rollback", "delete")) >= 1
    assert scene.server.metric("locum_adapter_evictions_total") - evicted > 0

    weights = {**scene.weights, "tiny-llama": "base"}
    weights |= {action["version"]: action["weights"] for action in done if action["action"] == "register"}
    for answer in calm + churned:
        assert answer.tokens == scene.known.answers[weights[answer.named]][answer.prompt], answer
        if "@" in answer.asked or answer.asked == "tiny-llama":
            assert answer.named == answer.asked
