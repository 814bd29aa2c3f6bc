"""One streamed answer through the official `openai` client, as an application would ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.adapters.card import DomainCard
from locum.adapters.domains import domain_names, load_domain
from locum.adapters.system_prompt import HEADER, SEPARATOR, SystemRole
from locum.errors import (
    BadInputError,
    LocumError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    UnservableError,
)
from locum.evaluate.asking import NEUTRAL
from locum.evaluate.endpoint import is_unservable
from locum.network import on_loopback
from locum.settings import NO_SUCH_PATH, Settings, authorization

if TYPE_CHECKING:
    from openai import OpenAIError
    from openai.types.chat import ChatCompletionMessageParam


@dataclass(frozen=True)
class Part:
    """A piece of an answer, the model that speaks it, and whether the answer ends here for want of tokens."""

    text: str
    model: str
    cut_off: bool = False


def domain_of(settings: Settings, model: str) -> DomainCard | None:
    """The card of the domain that `model` belongs to, if there is one here: an endpoint can be far from the cards.

    Raises:
        BadInputError: there is a card, and it is wrong.
    """
    name = model.partition("@")[0]
    return load_domain(settings.domains, name).card if name in domain_names(settings.domains) else None


def stream_answer(
    url: str,
    api_key: str,
    *,
    model: str,
    system: str | None,
    question: str,
    max_tokens: int,
    no_system: bool = False,
    system_role: SystemRole = "system",
) -> Iterator[Part]:
    """The answer in pieces, as they arrive.

    Args:
        system: the system prompt to send; with none, a server gives a version's own.
        no_system: let the server give none either.
        system_role: `user` puts the prompt before the question, for a base model that knows no system messages.

    Raises:
        NotFoundError: the server does not know the model; its message lists those that it does.
        UnauthorizedError: the server refuses the key.
        BadInputError: the server refuses the question, for instance because it is too long, or the key cannot be sent.
        UnavailableError: nothing answers there, or it cannot answer now.
    """
    from openai import DefaultHttpxClient, OpenAI, OpenAIError

    messages: list[ChatCompletionMessageParam] = []
    if system:
        messages.append({"role": "system", "content": system})
    if system and system_role == "user":
        messages, question = [], f"{system}{SEPARATOR}{question}"
    messages.append({"role": "user", "content": question})
    try:
        client = OpenAI(
            base_url=url,
            api_key=api_key or "none",
            default_headers=authorization(api_key) | ({HEADER: "never"} if no_system else {}),
            http_client=DefaultHttpxClient(trust_env=not on_loopback(url)),
        )
        stream = client.chat.completions.create(
            model=model, messages=messages, temperature=0, max_tokens=max_tokens, stream=True, extra_body=NEUTRAL
        )
        for chunk in stream:
            for choice in chunk.choices:
                yield Part(choice.delta.content or "", chunk.model, cut_off=choice.finish_reason == "length")
    except OpenAIError as error:
        raise _explained(error, url) from None


def _explained(error: OpenAIError, url: str) -> LocumError:
    import openai

    if isinstance(error, openai.APIConnectionError):
        return UnavailableError(
            f"no server answers at {url} ({error.__cause__ or error})",
            hint="`locum serve` starts one; --endpoint or the setting `endpoint` says where it is",
        )
    said = error.body.get("message") if isinstance(error, openai.APIError) and isinstance(error.body, dict) else None
    message = f"{url}: {said or error}"
    if isinstance(error, openai.NotFoundError):
        return NotFoundError(message, hint=None if said else NO_SUCH_PATH)
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return UnauthorizedError(message, hint="LOCUM_API_KEY holds the key that is sent")
    if isinstance(error, openai.APIStatusError) and is_unservable(error.status_code, error.response.content):
        return UnservableError(message)
    if isinstance(error, openai.APIStatusError) and error.status_code < 500 and error.status_code != 429:
        return BadInputError(message)
    return UnavailableError(message)
