"""Where a server ends answers: where the base model's chat template ends a turn.

vLLM ends them at the tokenizer's end-of-text token and at what generation_config.json names. Some base models have both
at another token than the one that their chat template ends a turn with: what is trained on such a template learns to
end with a token that a server would pass over.
"""

from __future__ import annotations

import logging
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from locum.adapters.chat_template import ChatTemplate
from locum.adapters.end_of_turn import declared_ends, stops_by
from locum.errors import BadInputError

if TYPE_CHECKING:
    from locum.serve.engine import Engine

logger = logging.getLogger("vllm.locum.end_of_turn")


def end_answers(engine: Engine, base: Path, chat_template: str | None) -> None:
    """End answers where the base model's own chat template ends a turn, and where that of the server's argument does.

    A base model without a chat template, or with one that ends no turn, is served as vLLM serves it.
    """
    for template in _templates(base, chat_template):
        try:
            engine.end_answers_at(stops_by(template, declared_ends(base)))
        except BadInputError as error:
            logger.warning("end_of_turn_unknown: %s", error)


def _templates(base: Path, chat_template: str | None) -> list[ChatTemplate]:
    from vllm.renderers.chat_utils import load_chat_template

    try:
        own = ChatTemplate.load(base)
    except BadInputError as error:
        logger.warning("end_of_turn_unknown: %s", error)
        return []
    if chat_template is None:
        return [own]
    given = copy(own.tokenizer)
    given.chat_template = load_chat_template(chat_template)
    return [own, ChatTemplate(given)]
