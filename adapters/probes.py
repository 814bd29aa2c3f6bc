"""Probes: known answers that tell an operator that what answers is what was trained.

At registration the adapter's greedy answers to a handful of prompts are computed with transformers and PEFT in float32,
with the log-probability of each token by the adapter and by the base model. A server is asked for the log-probabilities
of the very same tokens (teacher forcing), which no near-tie between two tokens can disturb.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locum.adapters.base import weight_shapes
from locum.adapters.chat_template import ChatTemplate
from locum.adapters.conversations import Message, read_conversations
from locum.adapters.domains import Domain
from locum.adapters.end_of_turn import declared_ends, stops_by
from locum.adapters.manifest import Probe
from locum.adapters.store import FILES
from locum.adapters.system_prompt import SystemRole, in_first_question
from locum.errors import BadInputError, LocumError, NotFoundError, UnauthorizedError, UnavailableError
from locum.network import on_loopback
from locum.settings import NO_SUCH_PATH, authorization

if TYPE_CHECKING:
    import torch

PROBES = 4
MAX_TOKENS = 16
# Largest mean absolute difference of log-probabilities, in nats a token, that a correct server shows against float32.
# The kernels of two libraries differ by 1e-5 in float32; rounding to 8 bits of mantissa in every layer costs some 0.1.
TOLERANCES = {"float32": 0.02, "float16": 0.1, "bfloat16": 0.3}


@dataclass(frozen=True)
class ProbeReport:
    """How a served adapter's log-probabilities compare with the stored ones, in nats a token."""

    passed: bool
    worst: float
    """The largest mean difference to the adapter's own known answers, over the probes."""
    from_base: float
    """The largest mean difference to what the base model says, over the probes."""
    tolerance: float
    summary: str


@dataclass(frozen=True)
class ServedProbe:
    """What an endpoint says of a probe's `token_ids`."""

    logprobs: list[float]
    greedy: bool
    """Whether each of the tokens is the one that the endpoint would have chosen itself."""


def probe_prompts(domain: Domain, data_path: Path) -> list[list[Message]]:
    """What a domain's versions are probed with: the card's example, and first validation questions without tools."""
    system = Message(role="system", content=domain.card.system_prompt)
    prompts = [[system, Message(role="user", content=domain.card.example)]]
    validation = data_path / "validation.jsonl"
    if validation.is_file():
        for conversation in read_conversations(validation):
            if len(prompts) == PROBES:
                break
            if conversation.tools is None and all(not message.tool_calls for message in conversation.conversations):
                prompts.append(list(conversation.prompt))
    return prompts


def make_probes(
    base: Path,
    adapter: Path,
    prompts: Sequence[Sequence[Message]],
    *,
    max_tokens: int = MAX_TOKENS,
    system_role: SystemRole = "system",
    say: Callable[[str], None] = lambda _: None,
) -> list[Probe]:
    """Compute the known answers of an adapter over a base checkpoint, in float32.

    On the GPU, if there is one with room for that: a model of billions of weights takes minutes on a CPU.

    Args:
        say: told what is being done.

    Raises:
        UnavailableError: PEFT is not installed.
        BadInputError: the base model's chat template does not take such a prompt, or does not show it to the model;
            or PEFT does not load all of the adapter.
    """
    say("loading the base model for its known answers")
    try:
        quiet_libraries()
        from peft import PeftModel
    except ModuleNotFoundError:
        raise UnavailableError("probes need PEFT, which is not installed", hint="pip install 'locum[train]'") from None
    import torch
    from transformers import AutoModelForCausalLM

    template = ChatTemplate.load(base)
    ids = [_prompt_ids(template, prompt, system_role) for prompt in prompts]
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    plain.generation_config = greedy_config(stops_by(template, declared_ends(base)))
    model = PeftModel.from_pretrained(plain.to(_device_for(base)), adapter).eval()
    _check_loaded(model, adapter)
    probes = []
    with torch.inference_mode():
        for number, (prompt, prompt_ids) in enumerate(zip(prompts, ids, strict=True), start=1):
            say(f"computing known answer {number} of {len(prompts)}")
            token_ids = _greedy(model, prompt_ids, max_tokens)
            with model.disable_adapter():
                base_ids = _greedy(model, prompt_ids, max_tokens)
                base_own = _logprobs(model, prompt_ids, base_ids)
                base_logprobs = _logprobs(model, prompt_ids, token_ids)
            probes.append(
                Probe(
                    prompt=prompt[-1].content,
                    prompt_ids=prompt_ids,
                    token_ids=token_ids,
                    logprobs=_logprobs(model, prompt_ids, token_ids),
                    base_logprobs=base_logprobs,
                    base_token_ids=base_ids,
                    base_own_logprobs=base_own,
                )
            )
    return probes


def ask_checkpoint(folder: Path, probes: Sequence[Probe]) -> list[list[float]]:
    """What a checkpoint on disk says of each probe's `token_ids`, by transformers in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    quiet_libraries()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(_device_for(folder)).eval()
    with torch.inference_mode():
        return [_logprobs(model, probe.prompt_ids, probe.token_ids) for probe in probes]


def quiet_libraries() -> None:
    """Keep transformers from drawing bars of its own, and bitsandbytes from complaining that it may not ask a hub."""
    import logging

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # the caller says what is going on
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # before PEFT imports it


def tolerance_for(dtype: str) -> float:
    """The tolerance for a server that computes in this number type, in nats a token."""
    return TOLERANCES.get(dtype, TOLERANCES["bfloat16"])


def compare_probe_logprobs(
    probes: Sequence[Probe], served: Sequence[Sequence[float]], *, tolerance: float
) -> ProbeReport:
    """Hold what a server says against the known answers.

    The adapter must reproduce its own log-probabilities within `tolerance` on every probe, and lie further than that
    from the base model's on at least one. The second is asked only where adapter and base are more than two tolerances
    apart: nearer, a correct answer may lie anywhere between them. Without probes everything passes.

    Args:
        served: for each probe, the served log-probability of each of its `token_ids`.
    """
    if not probes:
        return ProbeReport(True, 0.0, 0.0, tolerance, "there are no probes to compare")
    worst = max(_distance(answer, probe.logprobs) for answer, probe in zip(served, probes, strict=True))
    from_base = max(_distance(answer, probe.base_logprobs) for answer, probe in zip(served, probes, strict=True))
    trained = max(_distance(probe.logprobs, probe.base_logprobs) for probe in probes)
    reproduces = worst <= tolerance
    differs = from_base > tolerance or trained <= 2 * tolerance
    summary = (
        f"{len(probes)} probes: at most {worst:.4f} nats a token from the adapter's known answers "
        f"(allowed {tolerance}), {from_base:.4f} from the base model's"
    )
    if not differs:
        summary += "; this is the base model, the adapter is not on"
    elif trained <= tolerance:
        summary += "; the adapter differs so little from the base model that these probes cannot tell them apart"
    return ProbeReport(reproduces and differs, worst, from_base, tolerance, summary)


def served_dtype(endpoint: str, *, api_key: str = "") -> str:
    """The number type that a Locum server computes in.

    Raises:
        UnavailableError: nothing answers there, or not a Locum server.
    """
    for entry in _request("GET", f"{endpoint}/models", api_key).get("data", []):
        if entry.get("locum", {}).get("kind") == "base":
            return str(entry["locum"]["dtype"])
    raise UnavailableError(f"{endpoint} is not a Locum server", hint="start one with: locum serve")


def ask_endpoint(endpoint: str, model: str, probe: Probe, *, api_key: str = "") -> ServedProbe:
    """What a live endpoint says of a probe's `token_ids` (vLLM's `prompt_logprobs`).

    Raises:
        UnavailableError: nothing answers there, or not as vLLM does.
        NotFoundError: the endpoint does not know the model.
    """
    body: dict[str, Any] = {"model": model, "prompt": probe.prompt_ids + probe.token_ids}
    body |= {"max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    positions = _request("POST", f"{endpoint}/completions", api_key, body)["choices"][0].get("prompt_logprobs")
    if not positions:
        raise UnavailableError(f"{endpoint} gave no prompt_logprobs: expected a vLLM server")
    tail = positions[-len(probe.token_ids) :]
    said = [position[str(token)] for position, token in zip(tail, probe.token_ids, strict=True)]
    return ServedProbe([token["logprob"] for token in said], greedy=all(token["rank"] == 1 for token in said))


def _request(method: str, url: str, api_key: str, body: dict[str, Any] | None = None) -> Any:
    import httpx

    try:
        trusts = not on_loopback(url)
        answer = httpx.request(method, url, json=body, headers=authorization(api_key), timeout=120, trust_env=trusts)
    except httpx.HTTPError as error:
        raise UnavailableError(f"no server answers at {url}: {error}", hint="start one with: locum serve") from None
    if answer.status_code == 200:
        return answer.json()
    kinds: dict[int, type[LocumError]] = {401: UnauthorizedError, 404: NotFoundError}
    hints = {401: "set LOCUM_API_KEY", 404: None if "error" in answer.text else NO_SUCH_PATH}
    raise kinds.get(answer.status_code, UnavailableError)(
        f"{url} says {answer.status_code}: {answer.text[:300]}", hint=hints.get(answer.status_code)
    )


def _check_loaded(model: Any, adapter: Path) -> None:
    """PEFT passes over matrices for which its settings name no module, and makes up those that it finds none for; a
    server computes with the matrices that are there."""
    from safetensors import safe_open

    with safe_open(adapter / FILES[1], framework="pt") as file:
        there = set(file.keys())
    loaded = {name.replace(".default.", "."): weight for name, weight in model.state_dict().items() if ".lora_" in name}
    if passed_over := sorted(there - loaded.keys()):
        raise BadInputError(
            f"{FILES[1]}: {passed_over[0]}: target_modules and its companions in {FILES[0]} leave this module out, "
            "expected settings that name all modules of the tensors",
            hint="set target_modules to the names of its modules, exclude_modules and layers_to_transform to null",
        )
    made_up = (name for name in loaded.keys() - there if "lora_B" in name and loaded[name].any())
    if name := next(made_up, None):
        raise BadInputError(f"{FILES[1]}: {FILES[0]} names a module that has no matrices: {name}")


def _device_for(checkpoint: Path) -> str:
    """The GPU where the checkpoint fits in float32, with a quarter to spare for what it computes; else the CPU."""
    import torch

    weights = sum(math.prod(shape) for shape in weight_shapes(checkpoint).values())
    fits = torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > 5 * weights
    return "cuda" if fits else "cpu"


def _prompt_ids(template: ChatTemplate, prompt: Sequence[Message], system_role: SystemRole) -> list[int]:
    if system_role == "user":
        return template.prompt_ids(in_first_question(prompt))
    if any(message.role == "system" for message in prompt):
        template.require_system_role()
    return template.prompt_ids(prompt)


def greedy_config(stops: Sequence[int]) -> Any:
    """The most likely token each time, until one of `stops`: nothing else of a checkpoint's generation_config.json,
    whose penalties, suppressed words and the like are not the model. It has to be set as the model's own, since
    `generate` fills what any other leaves open from that."""
    from transformers import GenerationConfig

    return GenerationConfig(eos_token_id=list(stops), pad_token_id=stops[0], do_sample=False)


def _greedy(model: Any, prompt_ids: list[int], max_tokens: int) -> list[int]:
    import torch

    prompt = torch.tensor([prompt_ids], device=model.device)
    output = model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=max_tokens, do_sample=False
    )
    generated: list[int] = output[0, len(prompt_ids) :].tolist()
    return generated


def _logprobs(model: Any, prompt_ids: list[int], token_ids: list[int]) -> list[float]:
    import torch

    tokens = torch.tensor([prompt_ids + token_ids], device=model.device)
    logits: torch.Tensor = model(tokens).logits[0, len(prompt_ids) - 1 : -1]
    chosen = logits.float().log_softmax(-1).gather(1, tokens[0, len(prompt_ids) :, None])
    logprobs: list[float] = chosen[:, 0].tolist()
    return logprobs


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    mean = sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)
    return mean if math.isfinite(mean) else math.inf  # NaN compares as neither near nor far, and would pass
