"""What a checkpoint's folder holds beside its weights that changes an answer, and what is done about each.

A version is trained, previewed, probed, served and evaluated by programs that read these files each in its own way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.errors import BadInputError

NEUTRAL = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Settings that change even the most likely answer, and the values with which they change nothing."""
SAMPLING = ("temperature", "top_p", "top_k", "min_p")
MULTIMODAL = ("vision_config", "audio_config")


@dataclass(frozen=True)
class Influence:
    """Something in a checkpoint's folder that changes answers."""

    file: str
    what: str
    done: str


INFLUENCES = (
    Influence(
        "chat template, tokenizer",
        "what ends a turn; the tokenizer's end of text may be another token",
        "training, preview, probes and server end at the template's tokens, and at those that the checkpoint names",
    ),
    Influence(
        "`generation_config.json`",
        "`eos_token_id`",
        "ends answers everywhere, beside the template's tokens",
    ),
    Influence(
        "`generation_config.json`",
        "`repetition_penalty`, `presence_penalty`, `frequency_penalty`: they change even the most likely answer",
        "off everywhere: `locum serve` passes `--override-generation-config`, evaluations and `locum chat` send "
        "their own",
    ),
    Influence(
        "`generation_config.json`",
        "`temperature`, `top_p`, `top_k`, `min_p`",
        "the server's defaults for requests that leave them open; evaluations and `locum chat` send their own, preview "
        "and probes take the most likely token",
    ),
    Influence(
        "`generation_config.json`",
        "`max_new_tokens`",
        "the server's limit for requests without `max_tokens`; they end with `length`",
    ),
    Influence(
        "`generation_config.json`",
        "suppressed and forced tokens, bad words, `no_repeat_ngram_size`, `min_length`, beams",
        "vLLM passes them over, and so do preview and probes",
    ),
    Influence(
        "`chat_template.jinja`, `tokenizer_config.json`, `additional_chat_templates/`",
        "several templates: `tool_use` for requests with tools, else `default`",
        "chosen alike in training and by vLLM; several without a `default` are refused",
    ),
    Influence(
        "`chat_template.json`",
        "the template of a multimodal model's processor",
        "not read in training: a model that has no other is refused",
    ),
    Influence(
        "chat template",
        "no system role, or one that is left out",
        "refused, with the way out: `recipe: {system_role: user}` in the card",
    ),
    Influence(
        "chat template",
        "contents in parts: a template may join them with or without a break",
        "`locum serve` passes `--chat-template-content-format string`: parts are joined by line breaks, as in data. "
        "Templates that take parts alone join them themselves",
    ),
    Influence(
        "chat template",
        "switches such as `enable_thinking`, and the date (`strftime_now`)",
        "left at their defaults, and today's date, everywhere: a client that sends `chat_template_kwargs` asks "
        "otherwise than was trained, and so does the next day",
    ),
    Influence(
        "`tokenizer.json`",
        "`truncation` and `padding`",
        "off everywhere: what is too long is refused",
    ),
    Influence(
        "`tokenizer_config.json`",
        "`add_bos_token`, `add_eos_token`",
        "chats have what the template writes and nothing else, everywhere; bare text (`/v1/completions`) follows them",
    ),
    Influence(
        "`tokenizer_config.json`",
        "`clean_up_tokenization_spaces`",
        "off in previews, as in vLLM",
    ),
    Influence(
        "`config.json`",
        "`max_position_embeddings`",
        "longer rows are refused in training, longer chats by the server; `--max-model-len` makes that less",
    ),
    Influence(
        "`config.json`",
        "positions (`rope_scaling`), sliding window, tied embeddings, `quantization_config`",
        "read alike by transformers and vLLM",
    ),
    Influence(
        "`params.json`, `tekken.json`, `consolidated*.safetensors`",
        "vLLM prefers Mistral's own files, whose tokenizer has no chat template",
        "`locum serve` passes `--tokenizer-mode hf --config-format hf --load-format safetensors`",
    ),
    Influence(
        "`adapter_config.json`",
        "transformers puts that adapter onto the model, vLLM does not",
        "passed over by `locum base pull`, which says so",
    ),
)


def table() -> list[str]:
    """The table of `INFLUENCES` in Markdown, as docs/serving.md has it."""
    rows = [f"| {each.file} | {each.what} | {each.done} |" for each in INFLUENCES]
    return ["| in | what | what is done |", "| --- | --- | --- |", *rows]


def notes(folder: Path) -> list[str]:
    """What to know of a checkpoint before it is trained on and served, in sentences."""
    return [*_notes_on_template(folder), *_notes_on_files(folder)]


def penalties(folder: Path) -> dict[str, float]:
    """The checkpoint's settings that change even the most likely answer, with the values that change nothing."""
    declared = generation(folder)
    return {name: value for name, value in NEUTRAL.items() if declared.get(name) not in (None, value)}


def has_mistral_files(folder: Path) -> bool:
    """Whether vLLM would read Mistral's own files instead of those that transformers reads."""
    return any(folder.glob("consolidated*.safetensors"))


def is_multimodal(folder: Path) -> bool:
    """Whether the model takes pictures or sound, too."""
    config = _json(folder / "config.json")
    return any(config.get(name) for name in MULTIMODAL)


def positions(folder: Path) -> int | None:
    """How many tokens a sequence may have, as far as config.json says."""
    config = _json(folder / "config.json")
    for part in (config, config.get("text_config") or {}):
        if isinstance(limit := part.get("max_position_embeddings"), int):
            return limit
    return None


def generation(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of how to generate: generation_config.json, or config.json where there is none."""
    file = folder / "generation_config.json"
    return _json(file if file.is_file() else folder / "config.json")


def _notes_on_template(folder: Path) -> list[str]:
    from locum.adapters.chat_template import ChatTemplate
    from locum.adapters.end_of_turn import declared_ends, turn_ends

    try:
        template = ChatTemplate.load(folder)
        ends = turn_ends(template, declared_ends(folder)).ids
    except BadInputError as error:
        return [f"It cannot be trained on as it is: {error}."]
    except (OSError, ValueError) as error:
        return [f"Its tokenizer cannot be loaded here: {str(error).splitlines()[0]}"]
    said = []
    unknown = [template.tokenizer.decode([id]) for id in ends if id not in {*declared_ends(folder), _eos(template)}]
    if unknown:
        said.append(
            f"Its chat template ends a turn with {' and '.join(unknown)}, which its files do not name as an end: a "
            "server of Locum's ends there, others may not."
        )
    if template.system_problem is not None:
        said.append(
            f"Its chat template {template.system_problem}: a domain's card needs `recipe: {{system_role: user}}`."
        )
    templates = template.tokenizer.chat_template
    if any("strftime_now" in text for text in (templates.values() if isinstance(templates, dict) else [templates])):
        said.append("Its chat template writes today's date: prompts differ from one day to the next.")
    return said


def _notes_on_files(folder: Path) -> list[str]:
    said = []
    if neutral := penalties(folder):
        said.append(f"Its generation_config.json has {', '.join(neutral)}: it is off in training and on the server.")
    if has_mistral_files(folder):
        said.append("It has Mistral's own files, too: a server of Locum's reads those that it is trained by.")
    return said


def _eos(template: Any) -> int | None:
    eos: int | None = template.tokenizer.eos_token_id
    return eos


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
