"""Probes: computed by PEFT over a real base model, held against what PEFT says of the same tokens."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.conversations import Message
from locum.adapters.domains import load_domain
from locum.adapters.manifest import Probe
from locum.adapters.probes import compare_probe_logprobs, make_probes, probe_prompts, served_dtype, tolerance_for
from locum.errors import BadInputError, UnavailableError
from locum.settings import Settings

PROMPTS = [[Message(role="user", content=text)] for text in ("What does the court say?", "Where is cholera?")]
EXACT = tolerance_for("float32")
logprobs = st.floats(-20, 0)


@pytest.fixture(scope="module")
def adapter(tiny_adapter: Callable[..., Path]) -> Path:
    return tiny_adapter(rank=8, seed=1)


@pytest.fixture(scope="module")
def probes(tiny_base: Path, adapter: Path) -> list[Probe]:
    return make_probes(tiny_base, adapter, PROMPTS, max_tokens=6)


def test_a_base_model_that_takes_no_system_message_has_no_versions(
    tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    """So a server never gives a system prompt to a chat template that refuses one."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    (base / "chat_template.jinja").write_text(template)
    system = Message(role="system", content="Answer briefly.")
    with pytest.raises(BadInputError, match=r"refuses a system message \(System role not supported\): the system pro"):
        make_probes(base, adapter, [[system, *PROMPTS[0]]])


def said_by(base: Path, adapter: Path | None, probes: list[Probe]) -> list[list[float]]:
    """Log-probability of each probe's tokens, one token at a time: another way than `make_probes` goes."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    said = []
    with torch.inference_mode():
        for probe in probes:
            ids = list(probe.prompt_ids)
            row = []
            for token in probe.token_ids:
                row.append(float(model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token]))
                ids.append(token)
            said.append(row)
    return said


def test_known_answers_are_the_greedy_ones_with_a_logprob_for_each_token(probes: list[Probe]) -> None:
    assert [probe.prompt for probe in probes] == [prompt[-1].content for prompt in PROMPTS]
    for probe in probes:
        assert 1 <= len(probe.token_ids) <= 6
        assert len(probe.token_ids) == len(probe.logprobs) == len(probe.base_logprobs)
        assert len(probe.base_token_ids) == len(probe.base_own_logprobs)
        assert max(probe.logprobs + probe.base_logprobs) <= 0
        # The greedy token is at least as likely as the average one of 400.
        assert min(probe.logprobs) > math.log(1 / 400)


def test_the_adapter_reproduces_its_known_answers(tiny_base: Path, adapter: Path, probes: list[Probe]) -> None:
    report = compare_probe_logprobs(probes, said_by(tiny_base, adapter, probes), tolerance=EXACT)
    assert report.passed, report.summary
    assert report.worst < 1e-4
    assert report.from_base > EXACT
    assert report.summary.startswith("2 probes: at most 0.0000 nats a token from the adapter's known answers")


def test_another_adapter_fails(tiny_base: Path, tiny_adapter: Callable[..., Path], probes: list[Probe]) -> None:
    report = compare_probe_logprobs(probes, said_by(tiny_base, tiny_adapter(seed=2), probes), tolerance=EXACT)
    assert not report.passed
    assert report.worst > EXACT
    assert "the adapter is not on" not in report.summary


def test_the_base_model_in_its_place_fails_and_is_called_that(tiny_base: Path, probes: list[Probe]) -> None:
    report = compare_probe_logprobs(probes, said_by(tiny_base, None, probes), tolerance=EXACT)
    assert not report.passed
    assert report.from_base < 1e-4
    assert report.summary.endswith("this is the base model, the adapter is not on")


def test_an_untrained_adapter_passes_although_it_says_what_the_base_model_says(tiny_base: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config).save_pretrained(tmp_path)
    probes = make_probes(tiny_base, tmp_path, PROMPTS[:1], max_tokens=4)
    assert probes[0].logprobs == probes[0].base_logprobs
    assert compare_probe_logprobs(probes, [probes[0].base_logprobs], tolerance=EXACT).passed


def probe(own: list[float], base: list[float]) -> Probe:
    ids = list(range(len(own)))
    given = {"prompt": "?", "prompt_ids": [1], "token_ids": ids, "base_token_ids": ids, "base_own_logprobs": base}
    return Probe.model_validate({**given, "logprobs": own, "base_logprobs": base})


@given(st.lists(logprobs, min_size=1, max_size=5), st.floats(0, 1), st.floats(0.01, 1))
def test_a_server_passes_up_to_the_tolerance_and_not_beyond(own: list[float], off: float, tolerance: float) -> None:
    known = probe(own, [value - 40 for value in own])
    report = compare_probe_logprobs([known], [[value - off for value in own]], tolerance=tolerance)
    assert math.isclose(report.worst, off, abs_tol=1e-9)
    assert report.passed or off > tolerance - 1e-9
    assert not report.passed or off <= tolerance


@given(st.lists(st.tuples(logprobs, logprobs), min_size=1, max_size=5), st.floats(0.01, 1))
def test_the_base_model_never_passes_where_it_can_be_told_apart(
    pairs: list[tuple[float, float]], tolerance: float
) -> None:
    own, base = [list(side) for side in zip(*pairs, strict=True)]
    apart = sum(abs(a - b) for a, b in pairs) / len(pairs)
    report = compare_probe_logprobs([probe(own, base)], [base], tolerance=tolerance)
    assert report.passed is (apart <= tolerance)
    assert report.summary.endswith("the adapter is not on") is (apart > 2 * tolerance)
    assert report.summary.endswith("cannot tell them apart") is (apart <= tolerance)


def test_a_lower_precision_is_allowed_more_and_an_unknown_one_the_most() -> None:
    assert tolerance_for("float32") < tolerance_for("float16") < tolerance_for("bfloat16") == tolerance_for("float8")


def test_without_probes_nothing_is_said_against_a_server() -> None:
    report = compare_probe_logprobs([], [], tolerance=EXACT)
    assert report.passed
    assert report.summary == "there are no probes to compare"


def test_probes_ask_the_example_of_the_card_and_the_first_validation_questions(
    settings: Settings, domain_folder: Path
) -> None:
    domain, data = load_domain(settings.domains, "legal"), settings.data_path("legal")
    system = Message(role="system", content="You answer questions of legal.")
    example = [system, Message(role="user", content="What does the court say?")]
    assert probe_prompts(domain, data) == [example]
    data.mkdir(parents=True)
    (data / "validation.jsonl").write_bytes((domain_folder / "conversations.jsonl").read_bytes())
    prompts = probe_prompts(domain, data)
    assert prompts[0] == example
    first = json.loads((domain_folder / "conversations.jsonl").read_text().splitlines()[0])
    assert prompts[1][-1].content == first["conversations"][0]["content"]
    assert len(prompts) == 4


def test_a_server_that_does_not_answer_is_told_from_a_wrong_answer() -> None:
    with pytest.raises(UnavailableError, match=r"no server answers at http://127\.0\.0\.1:1/v1/models") as caught:
        served_dtype("http://127.0.0.1:1/v1")
    assert caught.value.hint == "start one with: locum serve"


def test_the_base_models_generation_settings_do_not_bend_the_greedy_answers(
    tiny_base: Path, adapter: Path, probes: list[Probe], tmp_path: Path
) -> None:
    bent = Path(shutil.copytree(tiny_base, tmp_path / "bent"))
    path = bent / "generation_config.json"
    bends = {"repetition_penalty": 5.0, "suppress_tokens": [probes[0].token_ids[0]]}
    path.write_text(json.dumps({**json.loads(path.read_text()), **bends}))
    assert make_probes(bent, adapter, PROMPTS, max_tokens=6) == probes
