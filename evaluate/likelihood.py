"""How likely a model finds a given answer: log-likelihoods through the chat endpoint.

The answer is put into the conversation as the assistant's, and vLLM tells the log-probability of every token of that
prompt (`prompt_logprobs`). Where the answer begins is found by the tokens of the same conversation without it: what
both have in common is not counted. So no tokenizer is needed here, and the chat template is the server's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from locum.evaluate.answers import Contender, Likelihood
from locum.evaluate.asking import chat_fields
from locum.evaluate.client import NoReplyError, Patience, post
from locum.evaluate.samples import Sample

if TYPE_CHECKING:
    from aiohttp import ClientSession


async def ask_likelihood(
    client: ClientSession,
    url: str,
    *,
    contender: Contender,
    sample: Sample,
    text: str,
    prompts: dict[str, list[int]],
    patience: Patience,
    on_retry: Callable[[], None],
) -> tuple[Likelihood, str]:
    """The log-likelihood of `text` as the answer to the sample's messages.

    Args:
        prompts: tokens of the prompts that were asked before, by `Sample.asked`; a new one is added. All models on one
            base model have the same.

    Returns:
        The likelihood, and the model that the server says has spoken.

    Raises:
        NoReplyError: the attempts are used up, the server refuses, or it tells no log-probabilities.
        UnauthorizedError, NotFoundError: as `client.ask`.
    """
    fields = chat_fields(sample, contender.system_role)
    shared = {**fields, "model": contender.name, "max_tokens": 1, "temperature": 0, "return_token_ids": True}
    options: dict[str, Any] = {"patience": patience, "on_retry": on_retry}
    if sample.asked not in prompts:
        asked = await post(client, url, "/chat/completions", shared, **options)
        prompts[sample.asked] = asked.get("prompt_token_ids") or []
    answered = await post(
        client,
        url,
        "/chat/completions",
        {
            **shared,
            "messages": [*fields["messages"], {"role": "assistant", "content": text}],
            "add_generation_prompt": False,
            "continue_final_message": True,
            "prompt_logprobs": 0,
        },
        **options,
    )
    return _likelihood(text, prompts[sample.asked], answered), str(answered.get("model"))


def _likelihood(text: str, before: list[int], answered: dict[str, Any]) -> Likelihood:
    whole = answered.get("prompt_token_ids")
    logprobs = answered.get("prompt_logprobs")
    if not before or not whole or not logprobs:
        raise NoReplyError("the server tells no log-probabilities of prompts: expected a vLLM server", 1, refused=True)
    start = next(
        (index for index, (ours, theirs) in enumerate(zip(before, whole, strict=False)) if ours != theirs),
        min(len(before), len(whole)),
    )
    values = [
        float(position[str(token)]["logprob"]) for token, position in zip(whole[start:], logprobs[start:], strict=True)
    ]
    return Likelihood(text=text, tokens=len(values), logprob=sum(values))
