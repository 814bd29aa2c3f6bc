"""Isolation under churn: whatever is registered, released, rolled back and deleted, an answer is its version's own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.streams import Answer, ask, session
from locum.adapters.base import Base, pull
from locum.adapters.conversations import Message
from locum.adapters.feedback import version_name
from locum.adapters.probes import make_probes
from locum.adapters.registry import Registry
from locum.adapters.signing import signing_key
from locum.serve.answer_ids import BASE_ID, AnswerIds
from locum.settings import Settings
from tests.conftest import LiveServer, free_port, serving
from tests.serve.apis import APIS

CLIENTS = 16
CALM, CHURNED = 300, 1000
CHANGES = 20
BUSY, BUSY_ROUNDS = 10, 6
TOKENS = 10
SHARED_PREFIX = list(range(3, 43))  # fills a cache block, which must not be shared between adapters
CANDIDATES = 192
PROMPTS, QUESTIONS = 4, 2
MARGIN = 0.02  # between the best and the second-best logit of each known token: far more than rounding can move
MODULES = (("q_proj", "v_proj", "down_proj"), ("o_proj", "gate_proj"), ("q_proj", "k_proj", "v_proj", "up_proj"))
SCALED: dict[int, dict[str, object]] = {  # what legal@1 and tax@1 are scaled by
    1: {"use_rslora": True},
    2: {"rank_pattern": {"0.self_attn.q_proj": 4, "down_proj": 8}, "alpha_pattern": {"v_proj": 8}},
}
ASKED = ("medical", "legal", "tax", "medical@1", "legal@2", "tax@1", "legal@1", "tiny-llama")


@dataclass(frozen=True)
class Asked:
    """A client's question, and the answer."""

    name: str
    prompt: int
    answer: Answer


@dataclass(frozen=True)
class Whole:
    """An answer of another API than completions, in one piece."""

    path: str
    name: str
    question: int
    status: int
    headers: Mapping[str, str]  # whatever the case of their names
    body: dict[str, Any]


@dataclass(frozen=True)
class Known:
    """Prompts, and the greedy answer to each by the weights' name; `base` is the base model."""

    prompts: list[list[int]]
    answers: dict[str, list[tuple[int, ...]]]
    questions: list[str]
    texts: dict[str, list[str]]


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
    """What transformers and PEFT answer, to prompts and to questions in a chat."""
    import torch
    from transformers import AutoConfig, AutoTokenizer

    torch.manual_seed(0)
    rows = torch.randint(3, AutoConfig.from_pretrained(base.path).vocab_size, (CANDIDATES, 8))
    prompts = torch.cat([torch.tensor([SHARED_PREFIX] * CANDIDATES), rows], dim=1)
    chosen, answers = surely_answered(base, adapters, prompts, wanted=PROMPTS)

    tokenizer = AutoTokenizer.from_pretrained(base.path)
    questions = [f"What does the court say of case {number}?" for number in range(100, 100 + CANDIDATES)]
    chats = torch.tensor([chat_ids(tokenizer, question) for question in questions])
    asked, said = surely_answered(base, adapters, chats, wanted=QUESTIONS)
    return Known(
        [prompts[row].tolist() for row in chosen],
        answers,
        [questions[row] for row in asked],
        {
            name: [text_of(tokenizer, chats[row].tolist(), ids) for row, ids in zip(asked, rows, strict=True)]
            for name, rows in said.items()
        },
    )


def chat_ids(tokenizer: Any, question: str) -> list[int]:
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    ids: list[int] = tokenizer(rendered, add_special_tokens=False).input_ids
    return ids


def text_of(tokenizer: Any, prompt: list[int], said: tuple[int, ...]) -> str:
    """What a server shows of these tokens: up to the end of the turn, and no bytes that are no whole character."""
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(ids=prompt, skip_special_tokens=True)
    spoken = said[: said.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in said else said
    return "".join(stream.step(tokenizer._tokenizer, token) or "" for token in spoken)


def surely_answered(
    base: Base, adapters: dict[str, Path], prompts: Any, *, wanted: int
) -> tuple[list[int], dict[str, list[tuple[int, ...]]]]:
    """The rows where rounding changes no token and no two weights say the same, and what each weights say there."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

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
    chosen = margins.topk(wanted)
    assert chosen.values.min() > MARGIN
    rows: list[int] = chosen.indices.tolist()
    return rows, {name: [said[row] for row in rows] for name, said in answers.items()}


def ask_until(scene: Scene, wanted: int, enough: Callable[[], bool]) -> tuple[list[Asked], list[Whole]]:
    """Let all clients stream completions at once, and one ask by each other API, until there are so many and enough."""
    done: list[Asked] = []
    whole: list[Whole] = []

    async def other_client(path: str, http: aiohttp.ClientSession) -> None:
        turn = 0
        while len(done) < wanted or not enough():
            whole.append(await ask_whole(scene, http, path, ASKED[turn % len(ASKED)], turn % QUESTIONS))
            turn += 3

    async def client(number: int, http: aiohttp.ClientSession) -> None:
        turn = number
        while len(done) < wanted or not enough():
            name, prompt = ASKED[turn % len(ASKED)], turn // len(ASKED) % PROMPTS
            turn += 5
            done.append(Asked(name, prompt, await ask_for(scene, http, name, prompt)))

    async def clients() -> None:
        # One thread and a light client: else what a client waits for is its own interpreter.
        async with session() as http:
            others = [other_client(path, http) for path in APIS]
            await asyncio.gather(*(client(number, http) for number in range(CLIENTS)), *others)

    asyncio.run(clients())
    return done, whole


async def ask_for(scene: Scene, http: aiohttp.ClientSession, name: str, prompt: int, *, tokens: int = TOKENS) -> Answer:
    body = {"model": name, "prompt": scene.known.prompts[prompt], "max_tokens": tokens, "temperature": 0}
    body |= {"ignore_eos": True, "stream": True, "return_token_ids": True}
    return await ask(http, scene.server.url, json.dumps(body).encode(), asked=name, path="/v1/completions")


async def ask_whole(scene: Scene, http: aiohttp.ClientSession, path: str, name: str, question: int) -> Whole:
    body = APIS[path][0](name, scene.known.questions[question], TOKENS)
    async with http.post(f"{scene.server.url}{path}", json=body) as answer:
        return Whole(path, name, question, answer.status, answer.headers, await answer.json())


async def test_two_busy_adapters_do_not_keep_a_third_waiting(scene: Scene) -> None:
    overtook: list[Answer] = []

    async def keep_busy(http: aiohttp.ClientSession, number: int) -> None:
        for _ in range(BUSY_ROUNDS):
            name = ("medical@1", "legal@2")[number % 2]
            overtook.append(await ask_for(scene, http, name, 0, tokens=100 + 10 * number))

    async with session() as http:
        busy = [asyncio.create_task(keep_busy(http, number)) for number in range(BUSY)]
        while len(overtook) < BUSY:
            await asyncio.sleep(0.01)
        overtook.clear()
        third = await ask_for(scene, http, "tax@1", 1)
        overtaken_by = len(overtook)
        await asyncio.gather(*busy)
    assert tuple(third.token_ids) == scene.known.answers[scene.weights["tax@1"]][1]
    assert all(each.whole for each in overtook)
    assert overtaken_by <= 3 * BUSY  # of six times as many, nearly all of which vLLM by itself lets go before


def test_no_answer_is_wrong_or_fails_while_versions_come_and_go(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    calm, whole = ask_until(scene, CALM, lambda: True)
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
        churned, whole_churned = ask_until(scene, CHURNED, lambda: len(done) >= CHANGES or churner.poll() is not None)
        churner.stdin.close()
        reading.join()
    assert churner.returncode == 0
    counts = Counter(action["action"] for action in done)
    longest = {name: max(each.answer.seconds for each in them) for name, them in (("calm", calm), ("churn", churned))}
    record_property("churn", f"{len(churned)} answers under {dict(counts)}; longest wait in seconds {longest}")

    failed = [each for each in calm + churned if not each.answer.whole]
    assert not failed, (
        f"{len(failed)} failed: {[(each.name, each.answer.status, each.answer.body) for each in failed[:3]]}"
    )
    assert len(churned) >= CHURNED
    assert min(counts[action] for action in ("register", "release", "rollback", "delete")) >= 1
    assert scene.server.metric("locum_adapter_evictions_total") - evicted > 0

    weights = {**scene.weights, "tiny-llama": "base"}
    weights |= {action["version"]: action["weights"] for action in done if action["action"] == "register"}
    for each in calm + churned:
        assert {chunk["model"] for chunk in each.answer.chunks} == {each.answer.version} == {each.answer.named}
        assert tuple(each.answer.token_ids) == scene.known.answers[weights[each.answer.version]][each.prompt], each
        if "@" in each.name or each.name == "tiny-llama":
            assert each.answer.version == each.name

    whole += whole_churned
    assert {each.path for each in whole} == set(APIS)
    assert [each for each in whole if each.status != 200] == []
    ids = AnswerIds(signing_key(scene.server.registry, "answers"))
    for one in whole:
        version = one.headers["x-locum-adapter"]
        known = scene.known.texts[weights[version]][one.question]
        assert one.body["model"] == version
        assert set(APIS[one.path][1](one.body)) == {known}, one
        if "@" in one.name or one.name == "tiny-llama":
            assert version == one.name
        for answer_id in (one.headers["x-request-id"], one.body["id"]):
            row = ids.version_id(answer_id)
            spoke = "tiny-llama" if row == BASE_ID else row and version_name(scene.server.registry, row)
            assert spoke == version, "each answer's id is signed for who spoke"
