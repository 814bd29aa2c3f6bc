"""Tasks of lm-evaluation-harness as suites: what they ask, how they score, and the digest of all that."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from locum.adapters.conversations import Message
from locum.adapters.manifest import Part
from locum.adapters.suites import Generation, HarnessCard, SuiteCard
from locum.errors import BadInputError, NotFoundError
from locum.evaluate.harness_package import open_harness, task_manager
from locum.evaluate.metrics.registry import Metric, given_metric
from locum.evaluate.samples import Sample
from locum.evaluate.suite import Suite, assemble
from locum.evaluate.suite_digest import digest
from locum.text import alternatives


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
            raise BadInputError(
                f"task {asked.task} has no metric {name!r}{alternatives(name, better, there_are='it has')}"
            )
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
    identity = sample_id(task.config.task, number)
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


def sample_id(task: str, number: int) -> str:
    """What the document with this number is called among the samples."""
    return f"{task}-{number}"


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


def _load_tasks(asked: HarnessCard, include: Path | None) -> dict[str, Any]:
    """The task, or the tasks of the group, by name. Those of a folder `include` come from there alone."""
    with open_harness(include):
        # As the harness seeds them before it asks, for tasks that shuffle their choices when they are loaded.
        random.seed(0)
        numpy.random.seed(1234)
        loaded: dict[str, Any] = task_manager(asked.task, include).load([asked.task])["tasks"]
    return loaded
