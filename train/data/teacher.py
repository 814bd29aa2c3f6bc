"""A teacher: a model behind any OpenAI-compatible endpoint, who is asked for lists of questions and answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from locum.adapters.replies import objects_in
from locum.errors import BadInputError, LocumError, NotFoundError, UnauthorizedError, UnavailableError
from locum.network import on_loopback
from locum.settings import Settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError
    from openai.types.chat import ChatCompletionMessageParam

AT_ONCE = 4
RETRIES = 3
TIMEOUT_SECONDS = 180
MOST_FAILURES = 8  # in a row; then it is not the request that is wrong


class Request(Protocol):
    """What a teacher is asked, and which texts each item of the answer must have."""

    @property
    def messages(self) -> list[dict[str, str]]: ...
    @property
    def fields(self) -> tuple[str, ...]: ...


Asked = TypeVar("Asked", bound=Request)


@dataclass(frozen=True)
class Reply:
    """The items that a teacher wrote, and what of its answer could not be used."""

    items: list[dict[str, str]] = field(default_factory=list)
    problem: str = ""


class Teacher:
    """The teacher that the settings name.

    Raises:
        BadInputError: they name none, or not which of its models is meant.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.teacher:
            raise BadInputError(
                "no teacher is set: expected the URL of an OpenAI-compatible endpoint",
                hint="set LOCUM_TEACHER=http://HOST:PORT/v1 and LOCUM_TEACHER_MODEL, or `teacher` and `teacher_model` "
                "in locum.toml; a server that `locum serve` started can be one",
            )
        self.url = settings.teacher.rstrip("/")
        self.model = settings.teacher_model
        self._key = settings.teacher_key.get_secret_value()
        self._structured = True  # until it refuses
        self._failures = 0
        if not self.model:
            names = asyncio.run(self._models())
            raise BadInputError(
                f"no teacher_model is set; {self.url} has: {', '.join(names) or 'none'}",
                hint="set LOCUM_TEACHER_MODEL, or `teacher_model` in locum.toml",
            )

    def ask(self, requests: Iterable[Asked], take: Callable[[Asked, Reply], None]) -> None:
        """Ask for each request, a few at once, and hand over each reply as it comes.

        Raises:
            UnavailableError: nobody answers there, or many requests in a row failed.
            UnauthorizedError: the teacher refuses the key.
            NotFoundError: it does not know the model.
        """
        asyncio.run(self._ask_all(requests, take))

    async def _ask_all(self, requests: Iterable[Asked], take: Callable[[Asked, Reply], None]) -> None:
        remaining = iter(requests)

        async def work(client: AsyncOpenAI) -> None:
            for request in remaining:  # shared: whoever is free takes the next
                take(request, await self._reply(client, request))

        try:
            async with self._client() as client, asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work(client))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _reply(self, client: AsyncOpenAI, request: Request) -> Reply:
        import openai

        try:
            text, finish = await self._said(client, request)
        except openai.OpenAIError as error:
            if _is_about_this_request(error):
                self._failures += 1
                if self._failures < MOST_FAILURES:
                    return Reply(problem=_told(error))
            raise self._explained(error) from None
        self._failures = 0
        return read_reply(text, request.fields, finish)

    async def _said(self, client: AsyncOpenAI, request: Request) -> tuple[str, str]:
        import openai

        async def create(**options: Any) -> tuple[str, str]:
            messages = cast("list[ChatCompletionMessageParam]", request.messages)
            done = await client.chat.completions.create(model=self.model, messages=messages, **options)
            if not done.choices:
                return "", "nothing"
            return done.choices[0].message.content or "", done.choices[0].finish_reason or "stop"

        if self._structured:
            try:
                return await create(response_format=_format(request.fields))
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                said = await create()  # if that is refused too, it was not because of the format
                self._structured = False
                return said
        return await create()

    async def _models(self) -> list[str]:
        import openai

        try:
            async with self._client() as client:
                return [model.id async for model in client.models.list()]
        except openai.OpenAIError as error:
            raise self._explained(error) from None

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        return AsyncOpenAI(
            base_url=self.url,
            api_key=self._key or "none",
            max_retries=RETRIES,
            timeout=TIMEOUT_SECONDS,
            http_client=DefaultAsyncHttpxClient(trust_env=not on_loopback(self.url)),
        )

    def _explained(self, error: OpenAIError) -> LocumError:
        import openai

        if isinstance(error, openai.APIConnectionError):
            return UnavailableError(
                f"no teacher answers at {self.url} ({error.__cause__ or error})",
                hint="LOCUM_TEACHER says where it is; what was written until now is kept",
            )
        message = f"the teacher at {self.url}: {_told(error)}"
        if isinstance(error, openai.NotFoundError):
            return NotFoundError(message, hint=f"LOCUM_TEACHER_MODEL is {self.model!r}; the URL usually ends in /v1")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return UnauthorizedError(message, hint="LOCUM_TEACHER_KEY holds the key that is sent")
        return UnavailableError(message, hint="what was written until now is kept; run the command again later")


def read_reply(text: str, fields: Sequence[str], finish: str = "stop") -> Reply:
    """What a teacher said, as items: all JSON objects with these fields, in whatever they are wrapped."""
    items, wrong = [], 0
    for item in objects_in(text, fields):
        texts = {name: tidy(item[name]) for name in fields if isinstance(item.get(name), str)}
        if len(texts) == len(fields) and all(texts.values()):
            items.append(texts)
        else:
            wrong += 1
    problems = []
    if finish == "length":
        problems.append("the answer is cut off for want of tokens")
    elif finish == "content_filter":
        problems.append("the answer was withheld by a filter")
    if wrong:
        problems.append(f"{wrong} items without {' and '.join(fields)}")
    if not items and not problems:
        said = " ".join(text.split())
        problems.append(f"expected JSON with {' and '.join(fields)}, found {said[:60]!r}" if said else "said nothing")
    return Reply(items, ", ".join(problems))


def tidy(text: str) -> str:
    """Text with line feeds, and without what no file or terminal can hold: control characters and half surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "", text).strip()


def _format(fields: Sequence[str]) -> dict[str, Any]:
    item = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in fields},
        "required": list(fields),
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item}},
        "required": ["items"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "items", "strict": True, "schema": schema}}


def _is_about_this_request(error: OpenAIError) -> bool:
    import openai

    if isinstance(error, openai.APITimeoutError):
        return True
    if isinstance(error, openai.APIStatusError):
        return error.status_code not in (401, 403, 404)
    return not isinstance(error, openai.APIConnectionError)


def _told(error: OpenAIError) -> str:
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return str(said or error)[:300]
