"""Tools that evaluators already use, against the real server; and a harness' task as a suite of ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from locum.adapters.registry import Registry
from locum.adapters.suites import HarnessCard, SuiteCard
from locum.errors import BadInputError, NotFoundError, UnavailableError
from locum.evaluate.evaluation import evaluate_version
from locum.evaluate.harness import HarnessSuite, load_harness_suite, suite_name

if TYPE_CHECKING:
    from tests.conftest import LiveServer
    from tests.evaluate.conftest import Laboratory

FOLDER = Path(__file__).parent / "harness"
SYSTEM = "Answer."
DOCUMENTS = [json.loads(line) for line in (FOLDER / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


def chat_answer(server: LiveServer, model: str, question: str) -> str:
    """What an application gets."""
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    answer = server.client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=8)
    return answer.choices[0].message.content or ""


def run_harness(task: str, model: str, **options: Any) -> list[dict[str, Any]]:
    """What the harness logs of each sample, called as its documentation says."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(FOLDER), include_defaults=False)
    found = lm_eval.simple_evaluate(model=model, tasks=[task], task_manager=manager, bootstrap_iters=0, **options)
    entries: list[dict[str, Any]] = found["samples"][task]
    return entries


def load(task: str, folder: Path = FOLDER, **fields: Any) -> HarnessSuite:
    card = SuiteCard(name=suite_name(task), lm_eval=HarnessCard(task=task, include=".", **fields))
    return load_harness_suite("legal", card, folder=folder, system=SYSTEM)


def write_suite(laboratory: Laboratory, *, answers_of: str, domain: str = "legal") -> Path:
    """Give a domain of the laboratory one suite, which is a task whose references are a version's answers."""
    folder = laboratory.expect(domain).folder
    shutil.rmtree(folder / "suites")
    folder = folder / "suites" / "court"
    folder.mkdir(parents=True)
    (folder / "suite.yaml").write_text(
        "name: court\nlm_eval: {task: locum_answers, include: .}\nthresholds: {min_samples: 12}\n", encoding="utf-8"
    )
    shutil.copy(FOLDER / "answers.yaml", folder)
    rows = [{**row, "answer": laboratory.ask(answers_of, row["question"])} for row in DOCUMENTS]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_the_harness_chats_with_a_domain_a_version_and_the_base_as_an_application_does(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    for model in ("legal", "legal@2", server.base.name):
        entries = run_harness(
            "locum_answers",
            "local-chat-completions",
            model_args={"model": model, "base_url": f"{server.endpoint}/chat/completions", "num_concurrent": 4},
            apply_chat_template=True,
            system_instruction=SYSTEM,
            limit=4,
        )
        assert [entry["resps"][0][0] for entry in entries] == [
            chat_answer(server, model, row["question"]).split("\n\n")[0] for row in DOCUMENTS[:4]
        ]


def test_the_harness_gets_the_log_likelihoods_that_peft_computes(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.chdir(FOLDER)
    tokenizer = AutoTokenizer.from_pretrained(server.base.path)

    def likelihood(model: Any, context: str, continuation: str) -> float:
        begin = len(tokenizer(context)["input_ids"])
        ids = tokenizer(context + continuation)["input_ids"]
        with torch.inference_mode():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return float(sum(logprobs[place - 1, ids[place]] for place in range(begin, len(ids))))

    for asked, version in (("legal", "legal@1"), ("legal@2", "legal@2"), (server.base.name, None)):
        model = AutoModelForCausalLM.from_pretrained(server.base.path, dtype=torch.float32)
        if version is not None:
            model = PeftModel.from_pretrained(model, server.registry.artifact_path(server.registry.resolve(version)))
        # No tokenizer is named: the harness finds that the server has one.
        entries = run_harness(
            "locum_chapters",
            "local-completions",
            model_args={"model": asked, "base_url": f"{server.endpoint}/completions", "num_concurrent": 8},
            limit=4,
        )
        for entry in entries:
            expected = [likelihood(model, *pair) for pair in entry["arguments"]]
            assert [response[0][0] for response in entry["resps"]] == pytest.approx(expected, abs=1e-3)


def test_inspect_runs_unchanged_with_a_domain_and_a_version(
    server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import inspect_ai
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import exact
    from inspect_ai.solver import generate, system_message

    for service in ("LOCUM", "VLLM"):
        monkeypatch.setenv(f"{service}_BASE_URL", server.endpoint)
        monkeypatch.setenv(f"{service}_API_KEY", "unused")
    expected = [chat_answer(server, "legal@2", row["question"]) for row in DOCUMENTS[:3]]
    task = inspect_ai.Task(
        dataset=[Sample(row["question"], target=said) for row, said in zip(DOCUMENTS, expected, strict=False)],
        solver=[system_message(SYSTEM), generate()],
        scorer=exact(),
    )
    logs = inspect_ai.eval(
        task,
        model=["openai-api/locum/legal@2", "vllm/legal@2", "openai-api/locum/legal"],
        temperature=0,
        max_tokens=8,
        display="none",
        log_dir=str(tmp_path),
    )
    assert [log.status for log in logs] == ["success"] * 3
    said = [[sample.output.completion for sample in log.samples or []] for log in logs]
    assert said[0] == said[1] == expected
    assert said[2] == [chat_answer(server, "legal@1", row["question"]) for row in DOCUMENTS[:3]]
    assert {sample.output.model for sample in logs[2].samples or []} == {"legal@1"}


def test_a_suite_that_is_a_task_of_the_harness_lets_a_version_be_released(laboratory: Laboratory) -> None:
    write_suite(laboratory, answers_of="legal@2")
    [result] = evaluate_version(laboratory.settings, "legal@candidate")

    assert result.status == "passed", result.reasons
    assert (result.version, result.production, result.metric) == ("legal@2", "legal@1", "exact_match")
    assert (result.score.mean, result.base_score.mean) == (1.0, 0.0)
    assert laboratory.asked() == {"legal@2": 12, laboratory.server.base.name: 12, "legal@1": 12}
    registry = Registry.open(laboratory.settings)
    assert registry.required_suites("legal") == {"court": result.suite_digest}
    registry.release("legal@2", by="ada")
    assert registry.resolve("legal").name == "legal@2"
    assert "What does the court say of case 3?" in (result.folder / "samples.jsonl").read_text()


def test_the_same_task_again_asks_nothing_again_whatever_its_thresholds(laboratory: Laboratory) -> None:
    folder = write_suite(laboratory, answers_of="legal@1")
    [first] = evaluate_version(laboratory.settings, "legal@2")
    assert first.status == "failed"
    laboratory.proxy.forget()
    [second] = evaluate_version(laboratory.settings, "legal@2")
    assert laboratory.proxy.requests == []
    assert (second.reused, second.checks) == (36, first.checks)
    card = folder / "suite.yaml"
    card.write_text(card.read_text().replace("min_samples: 12", "min_samples: 11"))
    [third] = evaluate_version(laboratory.settings, "legal@2")
    assert third.suite_digest != first.suite_digest
    assert (laboratory.proxy.requests, third.reused) == ([], 36)


def test_a_task_is_recorded_without_becoming_a_requirement(laboratory: Laboratory) -> None:
    laboratory.expect("legal")
    laboratory.settings.home.mkdir()
    laboratory.settings.bases.symlink_to(laboratory.server.settings.bases)
    settings = laboratory.settings.model_copy(update={"api_key": type(laboratory.settings.api_key)("secret")})
    task = HarnessCard(task="locum_chapters", include=str(FOLDER), metric="acc_norm")
    [result] = evaluate_version(settings, "legal@2", task=task)
    assert (result.suite, result.metric) == ("lm-eval-locum_chapters", "acc_norm")
    assert set(result.models[0].scores) == {"acc", "acc_norm"}
    assert result.status != "passed"  # twelve samples are not enough evidence
    assert f"--lm-eval locum_chapters --include {FOLDER} --metric acc_norm" in result.command
    registry = Registry.open(settings)
    assert registry.evaluations("legal@2") == [result.record()]
    assert registry.required_suites("legal") == {}
    assert laboratory.proxy.authorizations == {"Bearer secret"}
    assert {len(request["prompt"]) for request in laboratory.proxy.requests} == {1}


def test_a_quick_look_at_a_task_takes_its_first_samples(laboratory: Laboratory) -> None:
    laboratory.expect("legal")
    task = HarnessCard(task="locum_answers", include=str(FOLDER))
    [result] = evaluate_version(laboratory.settings, "legal@2", task=task, limit=3)
    assert (result.samples, result.recorded) == (3, False)
    assert set(laboratory.asked().values()) == {3}


def test_likelihoods_of_a_chat_need_the_tokenizer_here(laboratory: Laboratory) -> None:
    laboratory.expect("legal")
    task = HarnessCard(task="locum_chapters", include=str(FOLDER))
    with pytest.raises(UnavailableError, match="needs the base model's tokenizer"):
        evaluate_version(laboratory.settings, "legal@2", task=task)


@pytest.mark.parametrize("task", ["locum_answers", "locum_chapters"])
def test_the_contenders_answer_each_question_in_turn(laboratory: Laboratory, task: str) -> None:
    laboratory.expect("legal")
    laboratory.settings.home.mkdir()
    laboratory.settings.bases.symlink_to(laboratory.server.settings.bases)
    card = HarnessCard(task=task, include=str(FOLDER))
    evaluate_version(laboratory.settings, "legal@2", task=card, limit=4, concurrency=1)
    requests = laboratory.proxy.requests
    contenders = ["legal@2", laboratory.server.base.name, "legal@1"]
    assert len(requests) == (12 if task == "locum_answers" else 48)
    assert [request["model"] for request in requests] == contenders * (len(requests) // 3)
    asked = [{**request, "model": None} for request in requests]
    assert asked[0::3] == asked[1::3] == asked[2::3]


def test_so_many_requests_as_asked_for_are_on_their_way_and_no_more(laboratory: Laboratory) -> None:
    laboratory.expect("legal")
    task = HarnessCard(task="locum_answers", include=str(FOLDER))
    evaluate_version(laboratory.settings, "legal@2", task=task, concurrency=4)
    assert (
        2 <= laboratory.proxy.most_in_flight <= 4
    )  # on a busy machine an answer may be there before the fourth leaves


def test_a_server_that_fails_is_the_environments_fault_and_what_it_answered_is_kept(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locum.evaluate.harness_turns.ATTEMPTS", 1)
    laboratory.expect("legal")
    proxy = laboratory.proxy
    proxy.fault = lambda request: 500 if len(proxy.requests) >= 20 else None
    task = HarnessCard(task="locum_answers", include=str(FOLDER))
    with pytest.raises(UnavailableError, match=r"lm-evaluation-harness stopped at legal@1: .*500") as caught:
        evaluate_version(laboratory.settings, "legal@2", task=task, concurrency=1)
    assert "type the same command again" in str(caught.value.hint)
    proxy.forget()
    [result] = evaluate_version(laboratory.settings, "legal@2", task=task)
    assert (result.samples, len(proxy.requests)) == (12, 36 - 20)


def test_a_run_that_is_interrupted_stops_at_once_and_goes_on_from_there(laboratory: Laboratory) -> None:
    laboratory.expect("legal")
    proxy = laboratory.proxy
    interrupted = []

    def interrupt_the_fifth(request: dict[str, Any]) -> str | None:
        if len(proxy.requests) != 4:
            return None
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
        return "hang"

    proxy.fault = interrupt_the_fifth
    task = HarnessCard(task="locum_answers", include=str(FOLDER))
    with pytest.raises(KeyboardInterrupt):
        evaluate_version(laboratory.settings, "legal@2", task=task, limit=4, concurrency=1)
    assert time.monotonic() - interrupted[0] < 60  # an answer is waited for twice as long
    assert len(proxy.requests) == 5
    proxy.forget()
    evaluate_version(laboratory.settings, "legal@2", task=task, limit=4)
    assert len(proxy.requests) == 12 - 4


def test_a_bar_tells_how_far_the_harness_is_and_its_own_bars_stay_away(
    laboratory: Laboratory, capfd: pytest.CaptureFixture[str]
) -> None:
    laboratory.expect("legal")
    task = HarnessCard(task="locum_answers", include=str(FOLDER))
    console = Console(stderr=True, force_terminal=True, width=100)
    evaluate_version(laboratory.settings, "legal@2", task=task, concurrency=1, console=console)
    said = capfd.readouterr().err
    assert "legal · lm-eval-locum_answers" in said
    answered = set(re.findall(r"(\d+)/36", said))
    assert "36" in answered
    assert len(answered) > 2
    assert "Requesting API" not in said


def test_a_task_that_does_not_ask_all_contenders_the_same_is_refused(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.expect("legal")
    folder = Path(shutil.copytree(FOLDER, tmp_path / "chance"))
    (folder / "chance.py").write_text(
        "import uuid\n\n\ndef question(doc):\n    return f\"{doc['question']} {uuid.uuid4()}\"\n", encoding="utf-8"
    )
    yaml = folder / "answers.yaml"
    yaml.write_text(yaml.read_text().replace('"{{question}}"', "!function chance.question"), encoding="utf-8")
    task = HarnessCard(task="locum_answers", include=str(folder))
    with pytest.raises(BadInputError, match="something else than legal@2"):
        evaluate_version(laboratory.settings, "legal@2", task=task, limit=2)


def test_a_tasks_documents_are_the_samples_and_its_metrics_the_suites() -> None:
    suite = load("locum_chapters")
    assert (suite.metrics, suite.primary, len(suite.samples)) == (["acc", "acc_norm"], "acc", 12)
    sample = suite.samples[3]
    assert (sample.question, sample.kind, sample.reference) == (
        "Melanoma belongs to the chapter of",
        "choice",
        "neoplasms",
    )
    assert suite.likelihoods
    generating = load("locum_answers")
    assert not generating.likelihoods
    assert (generating.generation.max_tokens, generating.samples[0].reference) == (8, "It is 0.")


def test_a_suites_digest_is_of_what_the_task_asks_and_not_of_where_it_lies(tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(FOLDER, tmp_path / "copy"))
    first = load("locum_answers")
    assert load("locum_answers", elsewhere).digest == first.digest
    assert load("locum_answers", elsewhere, chat=False).digest != first.digest
    data = elsewhere / "answers.jsonl"
    data.write_text(data.read_text().replace("It is 3.", "It is 33."))
    changed = load("locum_answers", elsewhere).digest
    assert changed != first.digest
    yaml = elsewhere / "answers.yaml"
    yaml.write_text(yaml.read_text().replace("max_gen_toks: 8", "max_gen_toks: 9"))
    assert load("locum_answers", elsewhere).digest not in {first.digest, changed}


def test_a_task_that_shuffles_its_documents_has_one_digest(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "shuffled"))
    (folder / "shuffled.py").write_text(
        "import random\n\n\ndef documents(data):\n    return data.select(random.sample(range(len(data)), len(data)))\n",
        encoding="utf-8",
    )
    with (folder / "answers.yaml").open("a", encoding="utf-8") as yaml:
        yaml.write("process_docs: !function shuffled.documents\n")
    assert load("locum_answers", folder).digest == load("locum_answers", folder).digest


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (lambda: load("nothing_such"), NotFoundError, "no task 'nothing_such' in "),
        (lambda: load("locum_chapters", metric="f1"), BadInputError, r"no metric 'f1' \(it has: acc, acc_norm\)"),
        (lambda: load("locum_chapters", FOLDER / "nowhere"), NotFoundError, "there is no folder"),
    ],
)
def test_what_a_task_has_not_is_told(wrong: Callable[[], Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        wrong()


def test_data_that_is_not_there_is_told(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "answers.yaml", tmp_path)
    with pytest.raises(UnavailableError, match=r"answers\.jsonl"):
        load("locum_answers", tmp_path)


def test_without_the_harness_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UnavailableError, match="lm_eval") as caught:
        load("locum_chapters")
    assert caught.value.hint == "pip install 'locum[harness]'"


def test_a_suite_with_a_task_says_nothing_that_the_task_says() -> None:
    with pytest.raises(ValidationError, match="has no metrics, samples: the task says that"):
        SuiteCard(name="both", lm_eval=HarnessCard(task="arc"), samples="test", metrics=["exact_match"])


def test_an_evaluation_of_a_task_has_a_suites_name() -> None:
    assert suite_name("MMLU::pro/Law") == "lm-eval-mmlu-pro-law"
    assert len(suite_name("x" * 100)) == 63
