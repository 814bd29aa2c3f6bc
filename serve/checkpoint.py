"""vLLM's arguments with which a checkpoint's own files answer as they did in training: see adapters/influences.py."""

from __future__ import annotations

import json
from pathlib import Path

from locum.adapters.influences import has_mistral_files, is_multimodal, penalties
from locum.serve.parsers import content_format, read_checkpoint


def arguments(base: Path, chat_template: str | None) -> list[str]:
    """Arguments for the checkpoint in `base`; `chat_template` is vLLM's argument of that name, if it is given one."""
    given: list[str] = []
    if not is_multimodal(base):  # where pictures stand among the parts, vLLM decides
        form = content_format(read_checkpoint(base, chat_template).template)
        given += ["--chat-template-content-format", form] if form else []
    if neutral := penalties(base):
        given += ["--override-generation-config", json.dumps(neutral)]
    if has_mistral_files(base):
        given += ["--tokenizer-mode", "hf", "--config-format", "hf", "--load-format", "safetensors"]
    return given
