"""What the page says: in Chinese for browsers that prefer it to English, else in English."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml

Language = Literal["en", "zh"]


@cache
def words(language: Language) -> dict[str, str]:
    """All strings of the page in one language, by name."""
    texts = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
    return {name: str(text) for name, text in texts[language].items()}


def preferred_language(accept_language: str) -> Language:
    """The language of ours that an `Accept-Language` header (RFC 9110, section 12.5.4) ranks highest.

    English where it names neither, or cannot be read.
    """
    best: tuple[float, Language] = (0.0, "en")
    for part in accept_language.split(","):
        name, _, parameters = part.strip().partition(";")
        language = name.strip().lower().partition("-")[0]
        try:
            weight = float(parameters.partition("=")[2]) if "=" in parameters else 1.0
        except ValueError:
            weight = 0.0
        if language in ("en", "zh") and weight > best[0]:
            best = (weight, "zh" if language == "zh" else "en")
    return best[1]
