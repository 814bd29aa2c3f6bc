"""What built data look like: one HTML page for people, and a data card in Markdown to go with an adapter."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locum.adapters.conversations import Conversation, Message, read_conversations
from locum.adapters.domains import Domain
from locum.train.data.build import (
    DATA_CARD_FILE,
    NEAR_FILE,
    PREFERENCES,
    REPORT_FILE,
    DataBuild,
    load_build,
    split_file,
)
from locum.train.data.cleaning import texts
from locum.train.data.lengths import Lengths
from locum.train.data.pairs import Pairs, look_at_pairs
from locum.train.data.split import NAMES, SplitName

if TYPE_CHECKING:
    from locum.adapters.base import Base

SAMPLES = 5
PAIRS = 20


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
            found.add(measure(texts(row)))
            if number % every == 0 and len(samples[name]) < SAMPLES:
                samples[name].append(row)
        lengths[name] = found
    preferences = look_at_pairs(path / PREFERENCES, measure, unit) if (path / PREFERENCES).is_dir() else None
    html = (
        _environment()
        .get_template("data.html.j2")
        .render(
            domain=domain,
            build=build,
            lengths=lengths,
            samples=samples,
            near=_near_pairs(path),
            preferences=preferences,
            spoken=_spoken,
        )
    )
    card = data_card(domain, build, lengths, preferences)
    for file, text in ((REPORT_FILE, html), (DATA_CARD_FILE, card)):
        part = path / f".{file}"
        part.write_text(text, encoding="utf-8")
        part.replace(path / file)
    return path / REPORT_FILE, path / DATA_CARD_FILE


def data_card(
    domain: Domain, build: DataBuild, lengths: dict[SplitName, Lengths], preferences: Pairs | None = None
) -> str:
    """What somebody who uses the adapter should know of its data, in Markdown."""
    splits = build.record.splits
    lines = [
        f"# Data of {domain.name}",
        "",
        domain.card.description,
        "",
        "- Source:",  # by names: folders and buckets are nobody else's business
        *(f"  - {origin}" for origin in build.origins),
        *([f"- Written by models: {build.reviews}"] if build.reviews else []),
        *([f"- Packages: {', '.join(build.packages)}"] if build.packages else []),
        f"- Licence: {build.licence or 'not stated'}",
        f"- Digest: `{build.record.digest}`",
        "",
        "| split | rows | mean length | longest | digest |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {splits[name].rows:,} | {lengths[name].mean:,.0f} "
            f"{lengths[name].unit}s | {lengths[name].longest:,} | `{splits[name].digest[:12]}` |"
            for name in NAMES
        ),
        "",
        f"{build.leak}. {build.sureness}.",
        "",
        f"Of {build.rows_read:,} rows that were read, {build.rejects:,} did not fit.",
        "",
        *_steps(build),
        *(_preferences(preferences) if preferences else []),
        f"Personal data: {PERSONAL[domain.card.cleaning.personal]} Names and addresses of people are not looked for.",
        "",
    ]
    return "\n".join(lines)


def _steps(build: DataBuild) -> list[str]:
    if not build.steps:
        return []
    return [
        "| step | what it did | why | rows |",
        "| --- | --- | --- | --- |",
        *(f"| {step.step} | {step.action} | {step.reason} | {step.rows:,} |" for step in build.steps),
        "",
    ]


def _spoken(message: Message) -> str:
    """What a message says, with its calls of tools."""
    calls = [f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})" for call in message.tool_calls or ()]
    return "\n".join([*([message.content] if message.content else []), *calls])


def _preferences(pairs: Pairs) -> list[str]:
    return [
        "## Preference pairs",
        "",
        f"- Source: {pairs.build.source}",
        f"- Licence: {pairs.build.licence or 'not stated'}",
        f"- Digest: `{pairs.build.record.digest}`",
        f"- Rows: {', '.join(f'{name} {split.rows:,}' for name, split in pairs.build.record.splits.items())}",
        "",
        f"{pairs.told}. {pairs.build.rows_read:,} were read, {pairs.build.rejects:,} did not fit.",
        "",
        *_steps(pairs.build),
    ]


PERSONAL = {
    "mask": "found by form and checksum, and masked.",
    "drop": "found by form and checksum; rows with any are left out.",
    "keep": "not looked for.",
}


def _measure(base: Base | None) -> tuple[Callable[[Sequence[str]], int], str]:
    if base is None:
        return lambda texts: sum(map(len, texts)), "character"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base.path / "tokenizer.json"))

    def tokens(texts: Sequence[str]) -> int:
        return sum(len(each.ids) for each in tokenizer.encode_batch(list(texts), add_special_tokens=False))

    return tokens, "token"


def _near_pairs(path: Path) -> list[dict[str, Any]]:
    with (path / NEAR_FILE).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, PAIRS)]


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
