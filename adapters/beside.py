"""What lies beside an adapter's two files: what it says of how the adapter is to be asked, and what stays behind.

An adapter that learned with another chat template, other special tokens or a system prompt answers worse, or never
ends, where it is asked without them; nothing else would tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from locum.adapters.base import Base
from locum.adapters.lora_config import MERGE
from locum.adapters.model_card import CARD
from locum.adapters.store import FILES
from locum.errors import BadInputError

TEMPLATE = "chat_template.jinja"
TOKENIZER = "tokenizer_config.json"
READ = (
    *(TEMPLATE, "chat_template.json", TOKENIZER, "added_tokens.json", "generation_config.json", "config.json"),
    *("args.json", "additional_config.json", "Modelfile", "llamaboard_config.yaml", "training_args.yaml"),
)
"""The small files that are looked into, here and on the hub."""
_KNOWN = {
    *FILES,
    CARD,
    *READ,
    "tokenizer.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
}
_STATE = re.compile(
    r"optimizer.*|scheduler.*|rng_state.*|scaler.*|training_args\.bin|trainer_state\.json|trainer_log\.jsonl|latest"
    r"|.*_results\.json|global_step.*|zero_to_fp32\.py|pytorch_model_fsdp.*|events\.out\..*|runs|logging\.jsonl|val_.*"
)
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
_QUANTISED = re.compile(r"bnb|[48]-?bit|int[48]\b|gptq|awq|nf4|fp8|gguf|mlx", re.IGNORECASE)
_CHATS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "One?"),),
    (("system", "Be brief."), ("user", "One?")),
    (("system", "Be brief."), ("user", "One?"), ("assistant", "Two."), ("user", "Three?")),
)


def look_beside(
    folder: Path, base: Base, *, named_base: str | None, system_prompt: str, names: Sequence[str] | None = None
) -> list[str]:
    """What an adapter's folder says of it beyond its two files, where it matters over this base model.

    Args:
        named_base: the base model that it names.
        system_prompt: what it will be given here.
        names: all files there, where `folder` holds those alone that are `READ`.

    Returns:
        A sentence each.

    Raises:
        BadInputError: without something that lies there the adapter would not be itself.
    """
    inside = list(names) if names is not None else sorted(path.name for path in folder.iterdir())
    if "new_embeddings.safetensors" in inside:
        raise BadInputError(
            "new_embeddings.safetensors: it learned new tokens, whose embeddings the server's base model does not have",
            hint=MERGE,
        )
    return [
        *_other_template(folder, base),
        *_other_tokens(folder, base),
        *_other_generation(folder, base),
        *_other_shape(folder, base),
        *_prompts(folder, system_prompt),
        *_quantised(folder, named_base),
        *_left_behind(inside),
    ]


def _other_template(folder: Path, base: Base) -> Iterator[str]:
    """Templates are compared by what they make of a few chats: their text differs with each tool that saves it."""
    file, template = _template(folder)
    if template is None:
        return
    tokenizer = _tokenizer(base)
    if template == tokenizer.chat_template:
        return
    for chat in _CHATS:
        messages = [{"role": role, "content": content} for role, content in chat]
        theirs, ours = _render(tokenizer, messages, template), _render(tokenizer, messages, tokenizer.chat_template)
        if theirs != ours:
            here, there = _differing(ours, theirs)
            yield (
                f"{file}: it learned with another chat template than {base.name}'s: {there!r}, and is asked here with "
                f"{here!r}. If it was trained so, give it a base model with its template: cp -rL {base.path} NEW, "
                f"put the template into NEW/{TEMPLATE}, `locum base pull NEW`, and import with --base new"
            )
            return


def _other_tokens(folder: Path, base: Base) -> Iterator[str]:
    added = _added_tokens(folder)
    config = _object(folder / TOKENIZER)
    end = _text(config.get("eos_token"))
    if not added and end is None:
        return
    tokenizer = _tokenizer(base)
    known = tokenizer.get_vocab()
    new = sorted(token for token, number in added.items() if known.get(token) != number)
    if new:
        shown = ", ".join(f"{token} as {added[token]}" for token in new[:5])
        yield (
            f"{TOKENIZER}: {len(new)} of its tokens are not {base.name}'s: {shown}. If its data had them, it never "
            f"sees them here: {MERGE}"
        )
    if end is not None and end != tokenizer.eos_token:
        yield (
            f"{TOKENIZER}: it learned to end with {end!r}, {base.name} ends with {tokenizer.eos_token!r}: see that its "
            f"answers stop, or give it a base model with its {TOKENIZER}"
        )


def _other_generation(folder: Path, base: Base) -> Iterator[str]:
    theirs, ours = _object(folder / "generation_config.json"), _object(base.path / "generation_config.json")
    config = _object(base.path / "config.json")
    ends, own = theirs.get("eos_token_id"), ours.get("eos_token_id", config.get("eos_token_id"))
    if ends is not None and _numbers(ends) != _numbers(own):
        yield f"generation_config.json: its answers end with token {ends}, those of {base.name} with {own}"
    given = {name: theirs[name] for name in _SAMPLING if name in theirs and theirs[name] != ours.get(name)}
    if given:
        shown = ", ".join(f"{name} {value}" for name, value in given.items())
        yield f"generation_config.json: {shown}: stays behind, a request can ask for it"


def _other_shape(folder: Path, base: Base) -> Iterator[str]:
    theirs, ours = _object(folder / "config.json"), _object(base.path / "config.json")
    for name in ("vocab_size", "num_hidden_layers", "hidden_size", "sliding_window"):
        if theirs.get(name) is not None and theirs[name] != ours.get(name):
            yield f"config.json: its base model had {name} {theirs[name]}, {base.name} has {ours.get(name)}"
    if theirs and (there := _rope(theirs)) != (here := _rope(ours)):
        yield f"config.json: its base model had positions by {there}, {base.name} has {here}"


def _rope(config: dict[str, Any]) -> str:
    """How positions are stretched for longer texts; transformers has called the field differently."""
    given = config.get("rope_scaling") or config.get("rope_parameters")
    given = given if isinstance(given, dict) else {}
    kind = given.get("rope_type") or given.get("type") or "default"
    return f"{kind}, factor {given.get('factor', 1)}"


def _prompts(folder: Path, system_prompt: str) -> Iterator[str]:
    for file, prompt in _system_prompts(folder):
        if prompt.strip() and prompt.strip() != system_prompt.strip():
            yield f"{file}: it learned with another system prompt than that of the card here: {prompt.strip()!r:.300}"
    for file, name in _template_names(folder):
        yield f"{file}: it learned with its trainer's template {name!r}; here it is asked with the base model's own"


def _quantised(folder: Path, named_base: str | None) -> Iterator[str]:
    arguments = _object(folder / "args.json")
    bits = arguments.get("quant_bits") or arguments.get("quantization_bit") or _yaml(folder).get("quantization_bit")
    if bits or (named_base and _QUANTISED.search(named_base)):
        how = f"in {bits} bits" if bits else f"({named_base})"
        yield f"it was trained over a quantised base model {how}: over plain weights its answers differ a little"


def _left_behind(names: Sequence[str]) -> Iterator[str]:
    state = [name for name in names if _STATE.fullmatch(name)]
    if state:
        yield f"left behind, the state of its training (no pickle is opened): {', '.join(state)}"
    heads = [name for name in names if name.startswith("value_head")]
    if heads:
        yield f"left behind, the value head of a reward training, which no answer needs: {', '.join(heads)}"
    checkpoints = [name for name in names if name.startswith("checkpoint-")]
    passed_over = {*state, *heads, *checkpoints, *_KNOWN}
    others = [name for name in names if name not in passed_over and not name.startswith(".") and "/" not in name]
    others = [name for name in others if not re.fullmatch(r"adapter_model.*\.safetensors(\.index\.json)?", name)]
    if others:
        yield f"left behind: {', '.join(others)}"


def _template(folder: Path) -> tuple[str, str | None]:
    if (folder / TEMPLATE).is_file():
        return TEMPLATE, (folder / TEMPLATE).read_text(encoding="utf-8", errors="replace")
    for file in (TOKENIZER, "chat_template.json"):
        template = _object(folder / file).get("chat_template")
        if isinstance(template, list):  # several by name
            template = next((each.get("template") for each in template if each.get("name") == "default"), None)
        if isinstance(template, str):
            return file, template
    return TEMPLATE, None


def _added_tokens(folder: Path) -> dict[str, int]:
    """Tokens beyond the vocabulary, with their numbers."""
    decoder = _object(folder / TOKENIZER).get("added_tokens_decoder")
    found = {
        str(token.get("content")): int(number)
        for number, token in (decoder.items() if isinstance(decoder, dict) else ())
        if isinstance(token, dict) and number.isdigit()
    }
    added = _object(folder / "added_tokens.json")
    found |= {token: number for token, number in added.items() if isinstance(number, int)}
    listed = _object(folder / "tokenizer.json").get("added_tokens")
    found |= {token["content"]: token["id"] for token in listed or [] if {"content", "id"} <= token.keys()}
    return found


def _system_prompts(folder: Path) -> Iterator[tuple[str, str]]:
    """As ms-swift, LLaMA-Factory and Ollama keep them."""
    system = _object(folder / "args.json").get("system")
    if isinstance(system, str):
        yield "args.json", system
    system = _yaml(folder).get("default_system")
    if isinstance(system, str):
        yield "training_args.yaml", system
    if (folder / "Modelfile").is_file():
        text = (folder / "Modelfile").read_text(encoding="utf-8", errors="replace")
        for match in re.finditer(r'^SYSTEM\s+(?:"""(.*?)"""|"(.*?)"|(.*?)$)', text, re.DOTALL | re.MULTILINE):
            yield "Modelfile", next(part for part in match.groups() if part is not None)


def _template_names(folder: Path) -> Iterator[tuple[str, str]]:
    name = _object(folder / "args.json").get("template") or _object(folder / "args.json").get("template_type")
    if isinstance(name, str):
        yield "args.json", name
    name = _yaml(folder).get("template")
    if isinstance(name, str):
        yield "training_args.yaml", name


def _yaml(folder: Path) -> dict[str, Any]:
    """What LLaMA-Factory's board and command line write down of a training."""
    import yaml

    found: dict[str, Any] = {}
    for file in ("llamaboard_config.yaml", "training_args.yaml"):
        if not (folder / file).is_file():
            continue
        try:
            content = yaml.safe_load((folder / file).read_text(encoding="utf-8", errors="replace"))
        except yaml.YAMLError:
            continue
        if isinstance(content, dict):
            found |= {str(name).removeprefix("top."): value for name, value in content.items()}
    return found


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file that nobody has to have; nothing where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _tokenizer(base: Base) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base.path)


def _render(tokenizer: Any, messages: list[dict[str, str]], template: str | None) -> str:
    """The chat as the template writes it; none, where it does not take it."""
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=True
        )
    except (ValueError, TypeError, TemplateError) as error:
        return f"(refused: {next(iter(str(error).splitlines()), '')})"
    return text


def _differing(one: str, other: str) -> tuple[str, str]:
    """Both from a little before they differ."""
    place = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, place - 20)
    return one[start : start + 80], other[start : start + 80]


def _text(token: object) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _numbers(value: object) -> set[object]:
    return set(value) if isinstance(value, list) else {value}
