"""Lets lm-evaluation-harness run the task of a suite with every contender, and takes over what it found.

The harness runs unchanged against the live endpoint: tasks that generate through its `local-chat-completions` (or
`local-completions` without the chat template), tasks by log-likelihood through its `local-completions`. What it logs of
each sample becomes an `Answer` with the scores that the harness gave.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from locum.adapters.conversations import Message
from locum.errors import BadInputError, UnavailableError
from locum.evaluate.answers import Answer, Contender, Likelihood
from locum.evaluate.cache import AnswerCache, cache_key
from locum.evaluate.harness import HarnessSuite, sample_id
from locum.evaluate.harness_package import heard, open_harness, task_manager
from locum.evaluate.runner import Asked, Asking, progress_bar
from locum.evaluate.samples import Sample
from locum.network import asked_directly

if TYPE_CHECKING:
    from rich.console import Console

_answers_of_a_run = TypeAdapter(list[Answer])


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
    """Let the harness run the suite's task with each contender.

    They answer in turn (`harness_turns`). One that has run the same task is not asked again.

    Args:
        base_fingerprint: of the base model that all contenders stand on.
        tokenizer: folder of the base model, if it is here; without it the harness asks the server to tokenize.
        console: where the progress bar is drawn; none for silence.

    Returns:
        One answer for each sample and contender, in the order of the suite, scored by the harness.

    Raises:
        UnavailableError: the server did not answer, or a chat's likelihoods are asked and the tokenizer is not here;
            what was answered is kept, and asking again continues.
        BadInputError: the metric that decides is one of the whole task and not of single samples, or the task does not
            ask all contenders the same.
    """
    if suite.likelihoods and suite.task.chat and tokenizer is None:
        raise UnavailableError(
            f"suite {suite.name}: the harness needs the base model's tokenizer for the likelihoods of a chat",
            hint="`locum base pull` brings it here, or lm_eval: {chat: false} asks without the chat template",
        )
    how = suite.task.model_dump(exclude={"include", "metric"})
    chosen = [sample.id for sample in suite.samples]
    keys = {
        contender: cache_key("lm-eval", contender.digest, base_fingerprint, suite.contents, how, chosen)
        for contender in contenders
    }
    known = cache.get(keys.values())
    missing = [contender for contender, key in keys.items() if key not in known]
    folder = tokenizer.absolute() if tokenizer else None  # the harness works in a folder of its own
    if missing:
        with (
            heard(console) as own,
            progress_bar(own) as progress,
            open_harness(suite.include) as lm_eval,
            asked_directly(asking.url),
        ):
            from locum.evaluate.harness_turns import Turns

            bar = progress.add_task(f"{suite.domain} · {suite.name}", total=None, errors="")
            chat = suite.task.chat and not suite.likelihoods
            turns = Turns(asking, cache, base_fingerprint, chat, folder, progress, bar)
            models = [turns.add(contender) for contender in missing]
            manager = task_manager(suite.task.task, suite.include)
            for contender, model in zip(missing, models, strict=True):
                run = _run(lm_eval, suite, contender, model, manager)
                cache.put(keys[contender], _answers_of_a_run.dump_json(run).decode())
        known = cache.get(keys.values())
    answers = [
        answer.model_copy(update={"model": contender.name})
        for contender, key in keys.items()
        for answer in _answers_of_a_run.validate_json(known[key])
    ]
    _require_scores(suite, answers)
    order = {sample.id: place for place, sample in enumerate(suite.samples)}
    reused = len(suite.samples) * (len(contenders) - len(missing))
    return Asked(sorted(answers, key=lambda answer: order[answer.sample]), reused)


def _run(lm_eval: Any, suite: HarnessSuite, contender: Contender, model: object, manager: object) -> list[Answer]:
    """One contender through the harness."""
    asked = suite.task
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=[asked.task],
        task_manager=manager,
        num_fewshot=asked.num_fewshot,
        samples=_chosen(suite) if len(suite.samples) < suite.documents else None,
        apply_chat_template=asked.chat,
        system_instruction=suite.system,
        bootstrap_iters=0,
    )
    logged = {
        sample_id(task, entry["doc_id"]): entry
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


def _chosen(suite: HarnessSuite) -> dict[str, list[int]]:
    """The numbers of the suite's documents, by task."""
    found: dict[str, list[int]] = {}
    for sample in suite.samples:
        task, _, number = sample.id.rpartition("-")
        found.setdefault(task, []).append(int(number))
    return found
