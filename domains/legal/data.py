"""Licence notices and what they ask of whoever reuses the work, as a lawyer reviewing software sorts them.

Source: notices found in real software, each labelled with its licence by the ScanCode project, as packaged by
`licensedcode-data` 32.1.0 (CC-BY-4.0, Copyright (c) nexB Inc. and others, https://github.com/nexB/scancode-toolkit).
Task: a notice or a reference to a licence in, the kind of licence out.
Rows: 1435. Each has less than half of its three-word phrases in common with all rows before it, so that what is held
out is not a copy of what was learnt. Public-domain dedications are left out: nearly all of them say so outright.
"""

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

KINDS = {
    "Permissive": "Permissive",
    "Copyleft Limited": "Weak copyleft",
    "Copyleft": "Strong copyleft",
    "Commercial": "Restricted",
    "Proprietary Free": "Restricted",
    "Free Restricted": "Restricted",
    "Source-available": "Restricted",
}
PER_KIND = 360  # permissive notices alone would be half of all rows
LENGTHS = range(40, 241)  # characters of a notice: enough to tell, short enough to train on quickly


def rows() -> Iterator[dict[str, object]]:
    """Notices in English, each unlike all before it; none that holds its own answer."""
    phrases: set[tuple[str, ...]] = set()
    counts = dict.fromkeys(KINDS.values(), 0)
    for text, answer in sorted(_notices(), key=_order):
        words = _words(text)
        new = {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
        if not new or 2 * len(new & phrases) >= len(new) or counts[answer] == PER_KIND:
            continue
        phrases |= new
        counts[answer] += 1
        yield {
            "conversations": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}],
            "group": " ".join(words),
            "topic": answer,
        }


def _notices() -> Iterator[tuple[str, str]]:
    """The text and the kind of every current notice of exactly one licence."""
    data = _data_folder()
    kinds = {}
    for path in data.glob("licenses/*.LICENSE"):
        licence = _front_matter(path)[0]
        kinds[licence["key"]] = KINDS.get(licence["category"])
    for path in data.glob("rules/*.RULE"):
        rule, body = _front_matter(path)
        answer = kinds.get(rule.get("license_expression", ""))
        wanted = rule.get("is_license_notice") or rule.get("is_license_reference")
        text = _plain(body)
        if (
            answer
            and wanted
            and not rule.get("is_deprecated")
            and len(text) in LENGTHS
            and text.isascii()
            and answer.lower() not in text.lower()
        ):
            yield text, answer


def _data_folder() -> Path:
    spec = importlib.util.find_spec("licensedcode")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the legal data needs licensedcode-data", name="licensedcode")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _front_matter(path: Path) -> tuple[dict[str, str], str]:
    """The one-line fields in the head of a ScanCode file, and the text below it."""
    _, head, body = re.split(r"^---\s*$", path.read_text(encoding="utf-8"), maxsplit=2, flags=re.MULTILINE)
    return dict(re.findall(r"^(\w+): (.*)$", head, flags=re.MULTILINE)), body


def _plain(body: str) -> str:
    """One line, without the comment marks of the source file that the notice was found in."""
    return " ".join(re.sub(r"(?<!\S)[*#/;<>{}|=\\_-]+|[*#;{}|=\\_-]+(?!\S)", " ", body).split())


def _words(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def _order(notice: tuple[str, str]) -> str:
    """A fixed order that has nothing to do with the licences."""
    return hashlib.sha256(f"order {notice[0]}".encode()).hexdigest()
