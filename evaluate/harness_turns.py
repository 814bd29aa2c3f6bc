"""Contenders as models of lm-evaluation-harness that answer in turn.

The harness runs a task with one model and then with the next. So that what changes on the server meanwhile touches all
contenders alike, the first that it runs sends every question to all of them, one after the other, as `runner` does.
Each answer is kept as it arrives: a run that was cut off continues, and when the harness comes to the other contenders,
what they say is there already.

Importing this loads the harness: import it where `open_harness` has it open.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI
from tenacity import retry, stop_after_attempt, wait_exponential

from locum.adapters.system_prompt import HEADER
from locum.errors import BadInputError, UnavailableError
from locum.evaluate.answers import Contender
from locum.evaluate.cache import AnswerCache, cache_key
from locum.evaluate.own_words import in_own_words
from locum.evaluate.runner import Asking, side_by_side
from locum.network import proxy_of
from locum.settings import authorization

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

ATTEMPTS = 6
_HARNESS = version("lm_eval")


@dataclass(frozen=True)
class _Question:
    """A request that the harness makes of a model, and the key of the answer but for who gives it."""

    request: Any
    begin: int | None  # where the continuation begins whose likelihood is asked
    options: dict[str, Any]
    key: str


@dataclass
class Turns:
    """How the contenders are asked. The first of `models`, in the order in which they run, asks for all of them.

    `chat` sends chats, else the bare text; `tokenizer` is the base model's folder, without which the server tokenizes.
    """

    asking: Asking
    cache: AnswerCache
    base_fingerprint: str
    chat: bool
    tokenizer: Path | None
    progress: Progress
    bar: TaskID
    models: list[_InTurn] = field(default_factory=list)
    questions: int = 0
    retries: int = 0

    def add(self, contender: Contender) -> _InTurn:
        """One more contender, as a model that the harness can run."""
        arguments: dict[str, Any] = {
            "model": contender.name,
            "base_url": f"{self.asking.url}/{'chat/completions' if self.chat else 'completions'}",
            "num_concurrent": 2,  # with one, it would not leave the sending to `get_batched_requests`
            "timeout": max(1, round(self.asking.patience.timeout_s)),
        }
        arguments["header"] = {**authorization(self.asking.api_key), HEADER: "never"}
        if key := self.asking.api_key:
            arguments["auth_token"] = key
        if not self.chat:
            local = {"tokenizer": str(self.tokenizer), "tokenizer_backend": "huggingface"}
            arguments |= local if self.tokenizer else {"tokenizer_backend": "remote"}
        model: _InTurn = ChatInTurn(**arguments) if self.chat else CompletionsInTurn(**arguments)
        model.contender, model.turns = contender, self
        self.models.append(model)
        return model

    def key(self, model: _InTurn, question: _Question) -> str:
        weights = (model.contender.digest, self.base_fingerprint)
        return cache_key("lm-eval answer", _HARNESS, *weights, question.key)

    async def answer(self, model: _InTurn, questions: Sequence[_Question]) -> list[Any]:
        """What `model` says to the questions, after all have been asked whom they are for."""
        first = model is self.models[0]
        asked = self.models if first else [model]
        keys = [(each, question, self.key(each, question)) for question in questions for each in asked]
        known = self.cache.get({key for _, _, key in keys})
        missing = deque(entry for entry in keys if entry[2] not in known)
        if missing and not first:
            raise BadInputError(
                f"the task asks {model.contender.name} something else than {self.models[0].contender.name}, so that "
                "nothing can be compared sample by sample",
                hint="its questions must not depend on chance or on the time",
            )
        if first:
            self.questions += len(keys)
            self.progress.update(self.bar, total=self.questions, advance=len(keys) - len(missing))
        if missing:
            await self._finish(missing)
        own = [self.key(model, question) for question in questions]
        texts = self.cache.get(own)
        return [json.loads(texts[key]) for key in own]

    async def _finish(self, missing: deque[tuple[_InTurn, _Question, str]]) -> None:
        """Ask what is missing, in its order, until all is answered or something is not."""
        at_once = self.asking.concurrency
        limit = asyncio.Semaphore(at_once)  # the harness wants one; there are no more workers than it lets pass
        timeout = ClientTimeout(total=self.asking.patience.timeout_s)
        async with ClientSession(
            connector=TCPConnector(limit=at_once), timeout=timeout, proxy=proxy_of(self.asking.url)
        ) as client:

            async def work() -> None:
                while missing:
                    model, question, key = missing.popleft()
                    self.cache.put(key, json.dumps(await self._ask(client, limit, model, question)))
                    self.progress.advance(self.bar)

            await side_by_side(work, at_once)

    async def _ask(self, client: ClientSession, limit: asyncio.Semaphore, model: _InTurn, question: _Question) -> Any:
        """One answer, with the harness' own patience."""

        def retried(_: object) -> None:
            self.retries += 1
            self.progress.update(self.bar, errors=f"{self.retries} retries")

        attempts = retry(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, min=1, max=10),
            before_sleep=retried,
            reraise=True,
        )
        try:
            [answer] = await attempts(model.amodel_call)(
                client, limit, [question.request], ctxlens=[question.begin], **question.options
            )
        except Exception as error:
            raise UnavailableError(
                f"lm-evaluation-harness stopped at {model.contender.name}: {type(error).__name__}: {error}",
                hint="what was answered is kept: type the same command again to continue",
            ) from error
        return answer


class _InTurn:
    """What makes a model of the harness one of several that are asked in turn."""

    contender: Contender
    turns: Turns
    amodel_call: Any  # the harness' one, which sends a request and reads its answer

    async def get_batched_requests(
        self,
        requests: Sequence[Any],
        cache_keys: Sequence[Any],
        *,
        generate: bool = True,
        ctxlens: Sequence[int] | None = None,
        **options: Any,
    ) -> list[list[Any]]:
        """The harness' one sends all requests of a kind to this model; here it is the turns that do."""
        options = {"generate": generate, **options}
        times: Counter[str] = Counter()  # a request that is repeated gets another answer each time
        questions = []
        for request, begin in zip(requests, ctxlens or repeat(None), strict=False):
            asked = cache_key(request, begin, options)
            questions.append(_Question(request, begin, options, f"{asked}-{times[asked]}"))
            times[asked] += 1
        answers = await self.turns.answer(self, questions)
        return [[answer if isinstance(answer, str) else tuple(answer)] for answer in answers]

    def parse_generations(self, outputs: Any, **options: Any) -> list[str]:
        """What the harness reads of an answer: the model's own words."""
        own = [in_own_words(output) for output in (outputs if isinstance(outputs, list) else [outputs])]
        parsed: list[str] = super().parse_generations(outputs=own, **options)  # type: ignore[misc]
        return parsed


class CompletionsInTurn(_InTurn, LocalCompletionsAPI):  # type: ignore[misc]  # the harness is not typed
    """The harness' `local-completions`."""


class ChatInTurn(_InTurn, LocalChatCompletion):  # type: ignore[misc]  # the harness is not typed
    """The harness' `local-chat-completions`."""
