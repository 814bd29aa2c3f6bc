"""Tasks of lm-evaluation-harness as suites: the harness asks and scores; comparing, deciding and recording are ours.

The harness runs unchanged against the live endpoint: tasks that generate through its `local-chat-completions` (or
`local-completions` without the chat template), tasks by log-likelihood through its `local-completions`. What it logs of
each sample becomes an `Answer` with the scores that the harness gave.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from locum.adapters.conversations import Message
from locum.adapters.manifest import Part
from locum.adapters.suites import Generation, HarnessCard, SuiteCard
from locum.errors import BadInputError, LocumError, NotFoundError, UnavailableError
from locum.evaluate.answers import Answer, Contender, Likelihood
from locum.evaluate.cache import AnswerCache, cache_key
from locum.evaluate.metrics.registry import Metric, given_metric
from locum.evaluate.runner import Asked, Asking
from locum.evaluate.samples import Sample
from locum.evaluate.suite import Suite, assemble
from locum.evaluate.suite_digest import digest

if TYPE_CHECKING:
    from rich.console import Console

_ATTEMPTS = 6
_answers_of_a_run = TypeAdapter(list[Answer])


@dataclass(frozen=True)
class HarnessSuite(Suite):
    """A suite whose samples are the documents of a task.

    `include` is the folder of the task's YAML, `system` the domain's system prompt where the card wants a chat,
    `likelihoods` whether the task asks how likely given answers are, `documents` how many it has in all, and
    `contents` the digest of what is asked and scored, whatever the thresholds are.
    """

    include: Path | None = None
    system: str | None = None
    likelihoods: bool = False
    documents: int = 0
    contents: str = ""
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)

    @property
    def task(self) -> HarnessCard:
        assert self.card.lm_eval is not None
        return self.card.lm_eval


def suite_name(task: str) -> str:
    """What the evaluation of a task is recorded as: `lm-eval-` and the task's name in a suite's letters."""
    return re.sub(r"[^a-z0-9_-]+", "-", f"lm-eval-{task.lower()}")[:63]


def load_harness_suite(domain: str, card: SuiteCard, *, folder: Path, system: str) -> HarnessSuite:
    """The suite of a card with `lm_eval`.

    Its digest covers the task's configuration and documents, the harness' version, how it is asked, and the card.

    Args:
        folder: what the card's `include` is relative to.
        system: the domain's system prompt, which a chat begins with.

    Raises:
        UnavailableError: the harness is not installed, or the task's data cannot be had.
        NotFoundError: there is no such task, or no folder `include`.
        BadInputError: the task has no such metric.
    """
    asked = card.lm_eval
    assert asked is not None
    include = (folder / asked.include).resolve() if asked.include is not None else None
    if include is not None and not include.is_dir():
        raise NotFoundError(f"suite {card.name}: lm_eval.include: there is no folder {include}")
    tasks = _load_tasks(asked, include)
    samples = [sample for task in tasks.values() for sample in _samples(task, several=len(tasks) > 1)]
    better = {name: bool(up) for task in tasks.values() for name, up in task.higher_is_better().items()}
    metric = asked.metric or next(iter(better))
    for name in (metric, *card.thresholds.hard):
        if name not in better:
            raise BadInputError(f"task {asked.task} has no metric {name!r} (it has: {', '.join(better)})")
    filled = card.model_copy(
        update={
            "metrics": [metric, *(name for name in better if name != metric)],
            "primary": metric,
            "generation": _generation(tasks.values()),
        }
    )
    somewhere = filled.model_copy(update={"lm_eval": asked.model_copy(update={"include": None})})
    made = assemble(domain, somewhere, samples[: card.limit])
    contents = _contents(tasks, system if asked.chat else None)
    parts: dict[Part, str] = {**made.parts, "samples": digest([made.parts["samples"], contents])}
    return HarnessSuite(
        domain,
        filled,
        digest(parts),
        made.samples,
        parts=parts,
        include=include,
        system=system if asked.chat else None,
        likelihoods=any(task.OUTPUT_TYPE != "generate_until" for task in tasks.values()),
        documents=len(samples),
        contents=contents,
        higher_is_better=better,
    )


def harness_metrics(suite: HarnessSuite) -> list[Metric]:
    """The metrics of the suite's task, which read what the harness has scored."""
    return [given_metric(name, higher_is_better=suite.higher_is_better[name]) for name in suite.metrics]


def ask_harness(
    suite: HarnessSuite,
    contenders: Sequence[Contender],
    asking: Asking,
    cache: AnswerCache,
    *,
    base_fingerprint: str,
    tokenizer: Path | None = None,
    console: Console | None = None,
) -> Asked:
    """Let the harness run the suite's task with each contender, one after the other, and take over what it found.

    A contender that has run the same task is not asked again.

    Args:
        tokenizer: folder of the base model, if it is here; without it the harness asks the server to tokenize.

    Returns:
        One answer for each sample and contender, in the order of the suite, scored by the harness.

    Raises:
        UnavailableError: the server did not answer, or a chat's likelihoods are asked and the tokenizer is not here.
        BadInputError: the metric that decides is one of the whole task and not of single samples.
    """
    if suite.likelihoods and suite.task.chat and tokenizer is None:
        raise UnavailableError(
            f"suite {suite.name}: the harness needs the base model's tokenizer for the likelihoods of a chat",
            hint="`locum base pull` brings it here, or lm_eval: {chat: false} asks without the chat template",
        )
    how = suite.task.model_dump(exclude={"include", "metric"})
    chosen = [sample.id for sample in suite.samples]
    answers: list[Answer] = []
    reused = 0
    for contender in contenders:
        key = cache_key("lm-eval", contender.digest, base_fingerprint, suite.contents, how, chosen)
        if kept := cache.get([key]):
            found = _answers_of_a_run.validate_json(kept[key])
            reused += len(found)
        else:
            if console:
                console.print(f"lm-evaluation-harness asks {contender.name}", style="dim", highlight=False)
            found = _run(suite, contender, asking, tokenizer)
            cache.put(key, _answers_of_a_run.dump_json(found).decode())
        _require_scores(suite, found)
        answers += [answer.model_copy(update={"model": contender.name}) for answer in found]
    order = {sample.id: place for place, sample in enumerate(suite.samples)}
    return Asked(sorted(answers, key=lambda answer: order[answer.sample]), reused)


def _run(suite: HarnessSuite, contender: Contender, asking: Asking, tokenizer: Path | None) -> list[Answer]:
    """One contender through the harness."""
    asked = suite.task
    with _harness(suite.include) as lm_eval:
        found = lm_eval.simple_evaluate(
            model="local-completions" if suite.likelihoods or not asked.chat else "local-chat-completions",
            model_args=_model_arguments(suite, contender, asking, tokenizer),
            tasks=[asked.task],
            task_manager=_task_manager(asked.task, suite.include),
            num_fewshot=asked.num_fewshot,
            samples=_chosen(suite) if len(suite.samples) < suite.documents else None,
            apply_chat_template=asked.chat,
            system_instruction=suite.system,
            bootstrap_iters=0,
        )
    logged = {
        _sample_id(task, entry["doc_id"]): entry
        for task, entries in found["samples"].items()
        for entry in entries
        if entry["filter"] == (asked.filter or entries[0]["filter"])
    }
    if not logged:
        raise BadInputError(f"task {asked.task} has no filter {asked.filter!r}")
    return [_answer(sample, contender, logged[sample.id], suite) for sample in suite.samples]


def _require_scores(suite: HarnessSuite, answers: Sequence[Answer]) -> None:
    """Raises BadInputError unless the metric that decides scores every sample."""
    if any(suite.primary not in answer.scores for answer in answers):
        scored = ", ".join(answers[0].scores) or "none"
        raise BadInputError(
            f"task {suite.task.task}: {suite.primary} does not give each sample a number from 0 to 1, and so nothing "
            f"can be compared sample by sample (metrics that do: {scored})",
            hint="`metric` names another one",
        )


def _answer(sample: Sample, contender: Contender, entry: Mapping[str, Any], suite: HarnessSuite) -> Answer:
    """What the harness logs of one sample, as an answer of ours."""
    prompt, responses = entry["arguments"][0][0], entry["resps"]
    likelihoods, answer = [], None
    if isinstance(responses[0][0], str):
        answer = str(entry["filtered_resps"][0])
    elif sample.choices:
        likelihoods = [
            Likelihood(text=text, tokens=0, logprob=response[0][0])
            for text, response in zip(sample.choices, responses, strict=False)
        ]
        answer = max(likelihoods, key=lambda each: each.logprob).text
    return Answer(
        sample=sample.id,
        model=contender.name,
        digest=contender.digest,
        messages=_messages(prompt),
        reference=sample.reference,
        answer=answer,
        likelihoods=likelihoods,
        scores={name: float(entry[name]) for name in suite.metrics if _is_score(entry.get(name))},
    )


def _is_score(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1


def _messages(prompt: Any) -> list[Message]:
    """The prompt as it was sent: the messages of a chat, or the text of a completion as the user's."""
    text = prompt if isinstance(prompt, str) else prompt[0]
    with contextlib.suppress(ValueError, TypeError):
        return [Message(role=turn["role"], content=turn["content"]) for turn in json.loads(text)]
    return [Message(role="user", content=str(text) or " ")]


def _samples(task: Any, *, several: bool) -> list[Sample]:
    """The documents of a task. Of a group of tasks, each is a topic."""
    return [_sample(task, number, doc, several=several) for number, doc in enumerate(task.eval_docs)]


def _sample(task: Any, number: int, doc: Any, *, several: bool) -> Sample:
    chosen = None
    target = task.doc_to_target(doc)
    if task.OUTPUT_TYPE == "multiple_choice":
        chosen = tuple(str(choice) for choice in task.doc_to_choice(doc))
        if isinstance(target, str) and target in chosen:
            target = chosen.index(target)
    correct = target if chosen and isinstance(target, int) and 0 <= target < len(chosen) else None
    identity = _sample_id(task.config.task, number)
    return Sample(
        id=identity,
        messages=(Message(role="user", content=str(task.doc_to_text(doc)) or " "),),
        reference=chosen[correct] if chosen and correct is not None else str(target),
        group=identity,
        kind="question" if correct is None else "choice",
        slices={"topic": task.config.task} if several else {},
        choices=None if correct is None else chosen,
        correct=correct,
    )


def _sample_id(task: str, number: int) -> str:
    return f"{task}-{number}"


def _chosen(suite: HarnessSuite) -> dict[str, list[int]]:
    """The numbers of the suite's documents, by task."""
    found: dict[str, list[int]] = {}
    for sample in suite.samples:
        task, _, number = sample.id.rpartition("-")
        found.setdefault(task, []).append(int(number))
    return found


def _generation(tasks: Any) -> Generation:
    """How the tasks say that answers are generated."""
    given = next((task.config.generation_kwargs for task in tasks if task.OUTPUT_TYPE == "generate_until"), None) or {}
    longest = given.get("max_gen_toks", given.get("max_tokens", 256))
    return Generation(max_tokens=int(longest), temperature=float(given.get("temperature", 0)))


def _contents(tasks: Mapping[str, Any], system: str | None) -> str:
    """SHA-256 over the tasks' configurations and documents, the harness' version, and what a chat begins with."""
    from importlib.metadata import version

    configurations = {name: task.dump_config() for name, task in tasks.items()}
    for configuration in configurations.values():
        configuration.pop("metadata", None)  # it holds where the YAML lies on this machine
    content = {
        "lm_eval": version("lm_eval"),
        "system": system,
        "tasks": configurations,
        "documents": [doc for task in tasks.values() for doc in task.eval_docs],
    }
    # `default` is for dates in documents: the harness gives a configuration's functions by their source.
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _model_arguments(
    suite: HarnessSuite, contender: Contender, asking: Asking, tokenizer: Path | None
) -> dict[str, Any]:
    path = "completions" if suite.likelihoods or not suite.task.chat else "chat/completions"
    arguments: dict[str, Any] = {
        "model": contender.name,
        "base_url": f"{asking.url}/{path}",
        "num_concurrent": asking.concurrency,
        "timeout": max(1, round(asking.patience.timeout_s)),
        "max_retries": _ATTEMPTS,
    }
    if asking.api_key:
        arguments |= {"header": {"Authorization": f"Bearer {asking.api_key}"}, "auth_token": asking.api_key}
    if path == "completions":
        local = {"tokenizer": str(tokenizer), "tokenizer_backend": "huggingface"}
        arguments |= local if tokenizer else {"tokenizer_backend": "remote"}
    return arguments


def _load_tasks(asked: HarnessCard, include: Path | None) -> dict[str, Any]:
    """The task, or the tasks of the group, by name. Those of a folder `include` come from there alone."""
    with _harness(include):
        loaded: dict[str, Any] = _task_manager(asked.task, include).load([asked.task])["tasks"]
    return loaded


def _task_manager(task: str, include: Path | None) -> Any:
    from lm_eval.tasks import TaskManager

    here = None if include is None else str(include)
    manager = TaskManager(include_path=here, include_defaults=include is None)  # reading all its own takes seconds
    if task not in manager.all_tasks:
        where = f"in {here}" if here else "of its own"
        raise NotFoundError(
            f"lm-evaluation-harness has no task {task!r} {where}",
            hint="`lm_eval ls tasks` lists its own; `include` names a folder with others",
        )
    return manager


@contextlib.contextmanager
def _harness(include: Path | None) -> Iterator[Any]:
    """The harness, quiet, in the folder that the data files of its task are relative to.

    Raises:
        UnavailableError: it is not installed, or anything goes wrong within.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import lm_eval
        from datasets.utils.logging import disable_progress_bar
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"lm-evaluation-harness is not whole: the package {error.name!r} is not installed",
            hint="pip install 'locum[harness]'",
        ) from None
    disable_progress_bar()
    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)  # it logs what we raise, too
    try:
        with contextlib.chdir(include or Path.cwd()), _silence():
            yield lm_eval
    except LocumError:
        raise
    except Exception as error:
        raise UnavailableError(f"lm-evaluation-harness stopped: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let neither the harness' bars reach the terminal nor what the commands say that it runs, such as git."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
