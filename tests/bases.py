"""Variants of the tiny base that differ as base models of the field do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

END = "<|endoftext|>"  # id 0; <|im_end|>, which the chat template ends a turn with, has another


def chatml_base(tiny_base: Path, folder: Path) -> Path:
    """As base models with a ChatML template: their own end is another token, and nothing names the template's."""
    shutil.copytree(tiny_base, folder)
    special = ["<|im_start|>", "<|im_end|>"]
    change(folder / "tokenizer_config.json", eos_token=END, pad_token=END, extra_special_tokens=special)
    change(folder / "config.json", eos_token_id=0, pad_token_id=0)
    change(folder / "generation_config.json", eos_token_id=0, pad_token_id=0)
    return folder


def gemma_like(tiny_base: Path, folder: Path) -> Path:
    """As Gemma: the end of a turn is special without a name, and generation ends at both."""
    shutil.copytree(tiny_base, folder)
    change(folder / "tokenizer_config.json", eos_token=END, pad_token=END)
    change(folder / "config.json", eos_token_id=[0, 2], pad_token_id=0)
    change(folder / "generation_config.json", eos_token_id=[0, 2], pad_token_id=0)
    return folder


def no_system(tiny_base: Path, folder: Path) -> Path:
    """As Gemma 2: the chat template refuses system messages."""
    shutil.copytree(tiny_base, folder)
    template = folder / "chat_template.jinja"
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    template.write_text(refusal + template.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def change(file: Path, **fields: object) -> None:
    """Set fields of a JSON file."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**content, **fields}), encoding="utf-8")
