"""What built data look like: one HTML page for people, and a data card in Markdown to go with an adapter."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locum.adapters.conversations import Conversation, read_conversations
from locum.adapters.domains import Domain
from locum.train.data.build import NEAR_FILE, DataBuild, load_build, split_file
from locum.train.data.split import NAMES, SplitName

if TYPE_CHECKING:
    from locum.adapters.base import Base

HTML_FILE = "report.html"
CARD_FILE = "data-card.md"
SAMPLES = 5
PAIRS = 20


@dataclass
class Lengths:
    """How long the conversations of a split are, in `unit`s: how many are up to each power of two, and the extremes."""

    unit: str
    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0
    longest: int = 0

    def add(self, length: int) -> None:
        self.counts[max(1, 1 << (length - 1).bit_length())] += 1
        self.total += length
        self.longest = max(self.longest, length)

    @property
    def bars(self) -> list[tuple[str, int, float]]:
        """For each power of two from the least to the greatest: its name, the rows, and their share of the most."""
        if not self.counts:
            return []
        most = max(self.counts.values())
        up_to = [1 << power for power in range(min(self.counts).bit_length() - 1, max(self.counts).bit_length())]
        return [(f"≤ {limit:,}", self.counts[limit], 100 * self.counts[limit] / most) for limit in up_to]


def write_report(domain: Domain, path: Path, base: Base | None) -> tuple[Path, Path]:
    """Write the page and the data card of the data built in the folder `path`, and return where they are.

    Lengths are in tokens of the base model; in characters where there is none.

    Raises:
        NotFoundError: there is no built data.
    """
    build = load_build(path)
    measure, unit = _measure(base)
    lengths: dict[SplitName, Lengths] = {}
    samples: dict[SplitName, list[Conversation]] = {}
    for name in NAMES:
        found = Lengths(unit)
        every = max(1, build.record.splits[name].rows // SAMPLES)
        samples[name] = []
        for number, row in enumerate(read_conversations(split_file(path, name))):
            found.add(measure(row))
            if number % every == 0 and len(samples[name]) < SAMPLES:
                samples[name].append(row)
        lengths[name] = found
    html = (
        _environment()
        .get_template("data.html.j2")
        .render(domain=domain, build=build, lengths=lengths, samples=samples, pairs=_pairs(path))
    )
    card = data_card(domain, build, lengths)
    for file, text in ((HTML_FILE, html), (CARD_FILE, card)):
        part = path / f".{file}"
        part.write_text(text, encoding="utf-8")
        part.replace(path / file)
    return path / HTML_FILE, path / CARD_FILE


def data_card(domain: Domain, build: DataBuild, lengths: dict[SplitName, Lengths]) -> str:
    """What somebody who uses the adapter should know of its data, in Markdown."""
    splits = build.record.splits
    lines = [
        f"# Data of {domain.name}",
        "",
        domain.card.description,
        "",
        f"- Source: {build.source}",
        *(f"  - {origin}" for origin in build.origins),
        *([f"- Written by models: {build.reviews}"] if build.reviews else []),
        *([f"- Packages: {', '.join(build.packages)}"] if build.packages else []),
        f"- Licence: {build.licence or 'not stated'}",
        f"- Digest: `{build.record.digest}`",
        "",
        "| split | rows | mean length | longest | digest |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {splits[name].rows:,} | {lengths[name].total / max(1, splits[name].rows):,.0f} "
            f"{lengths[name].unit}s | {lengths[name].longest:,} | `{splits[name].digest[:12]}` |"
            for name in NAMES
        ),
        "",
        f"{build.leak}. {build.sureness}.",
        "",
        f"Of {build.rows_read:,} rows that were read, {build.rejects:,} did not fit.",
        "",
        "| step | what it did | why | rows |",
        "| --- | --- | --- | --- |",
        *(f"| {step.step} | {step.action} | {step.reason} | {step.rows:,} |" for step in build.steps),
        "",
        f"Personal data: {PERSONAL[domain.card.cleaning.personal]} Names and addresses of people are not looked for.",
        "",
    ]
    return "\n".join(lines)


PERSONAL = {
    "mask": "found by form and checksum, and masked.",
    "drop": "found by form and checksum; rows with any are left out.",
    "keep": "not looked for.",
}


def _measure(base: Base | None) -> tuple[Callable[[Conversation], int], str]:
    if base is None:
        return lambda row: sum(len(message.content) for message in row.conversations), "character"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base.path / "tokenizer.json"))

    def tokens(row: Conversation) -> int:
        contents = [message.content for message in row.conversations]
        return sum(len(each.ids) for each in tokenizer.encode_batch(contents, add_special_tokens=False))

    return tokens, "token"


def _pairs(path: Path) -> list[dict[str, Any]]:
    with (path / NEAR_FILE).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, PAIRS)]


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
