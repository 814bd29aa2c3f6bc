"""The model card: what somebody who was given a version should know of it, in Markdown with the hub's YAML header.

Under `locum:` the header holds the manifest, less the probes, whose prompts may be anybody's data. By it
`locum adapters import` knows a version again, and asks nothing of what is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from locum.adapters.base import Base
from locum.adapters.domains import Domain
from locum.adapters.manifest import NOT_STATED, EvaluationRecord, Manifest

Form = Literal["peft", "merged", "gguf"]

CARD = "README.md"
GGUF_FILE = "adapter.gguf"
KEY = "locum"
_HEADER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_LICENCE_ID = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_LIBRARIES: dict[Form, str] = {"peft": "peft", "merged": "transformers", "gguf": "gguf"}


@dataclass(frozen=True)
class Facts:
    """What a card can be written from; what is not at hand is left out of it."""

    manifest: Manifest
    base: Base | None
    domain: Domain | None
    evaluations: Sequence[EvaluationRecord]
    data_card: str | None
    """The text of a data card; used only if it is of the data that the version learned from."""
    licence: str | None
    """What the version is given under."""


def model_card(facts: Facts, *, form: Form) -> str:
    """The text of README.md."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    header = yaml.safe_dump(_header(facts, form), sort_keys=False, allow_unicode=True, width=120)
    body = templates.get_template("model-card.md.j2").render(
        manifest=_public(facts.manifest),
        base=facts.base,
        base_id=hub_id(facts.base) or facts.manifest.base,
        domain=facts.domain,
        system_prompt=_system_prompt(facts),
        evaluations=[each for each in facts.evaluations if each.version_digest == facts.manifest.digest],
        losses=_losses(facts.manifest.training),
        data_card=_data_card(facts),
        licence=_licence(facts),
        form=form,
        gguf_file=GGUF_FILE,
    )
    return f"---\n{header}---\n\n{body}"


def hub_id(base: Base | None) -> str | None:
    """The hub repository that a base model came from, if it is from the hub."""
    return base.source if base is not None and re.fullmatch(r"[\w.-]+/[\w.-]+", base.source) else None


def read_header(card: Path) -> dict[str, Any]:
    """What the YAML header of a card says; nothing where there is none that can be read."""
    if not card.is_file():
        return {}
    match = _HEADER.match(card.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n"))
    try:
        header = yaml.safe_load(match[1]) if match else None
    except (yaml.YAMLError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def recorded_manifest(header: dict[str, Any]) -> Manifest | None:
    """The manifest in a card that Locum wrote."""
    try:
        return Manifest.model_validate(header.get(KEY))
    except ValidationError:
        return None


def _header(facts: Facts, form: Form) -> dict[str, Any]:
    manifest, licence = facts.manifest, _licence(facts)
    header: dict[str, Any] = {}
    if (hub := hub_id(facts.base)) is not None:
        header |= {"base_model": hub, "base_model_relation": "merge" if form == "merged" else "adapter"}
    header |= {"library_name": _LIBRARIES[form], "pipeline_tag": "text-generation"}
    if licence is not None:
        known = _LICENCE_ID.fullmatch(licence) is not None
        header |= {"license": licence} if known else {"license": "other", "license_name": licence}
    if facts.domain is not None and facts.domain.card.cleaning.languages:
        header["language"] = list(facts.domain.card.cleaning.languages)
    header["tags"] = [*(["lora"] if form != "merged" else []), "locum", manifest.domain]
    if results := [_result(each) for each in facts.evaluations if each.version_digest == manifest.digest]:
        header["model-index"] = [{"name": manifest.name, "results": results}]
    header[KEY] = _public(manifest).model_dump(mode="json", exclude={"probes"}, exclude_none=True)
    return header


def _public(manifest: Manifest) -> Manifest:
    """The manifest without where things lay on this machine: of a folder, its name is left."""
    origin = manifest.origin
    if origin is None:
        return manifest
    names = {"source": Path(origin.source).name if Path(origin.source).is_absolute() else origin.source}
    if origin.base is not None and Path(origin.base).is_absolute():
        names["base"] = Path(origin.base).name
    return manifest.model_copy(update={"origin": origin.model_copy(update=names)})


def _result(record: EvaluationRecord) -> dict[str, Any]:
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": record.suite, "type": record.suite, "revision": record.suite_digest},
        "metrics": [{"type": record.metric, "value": round(record.score, 4), "name": record.metric}],
    }


def _licence(facts: Facts) -> str | None:
    origin = facts.manifest.origin
    licence = facts.licence or (origin.licence if origin else None)
    return None if licence == NOT_STATED else licence


def _system_prompt(facts: Facts) -> str | None:
    """The version's own; the card's for a version from before it was recorded."""
    if facts.manifest.system_prompt is None and facts.domain is not None:
        return facts.domain.card.system_prompt
    return facts.manifest.system_prompt


def _losses(training: dict[str, Any]) -> str | None:
    """How validation loss went. What stands in the manifest of an imported version may be anything."""
    before, after, steps = (training.get(name) for name in ("validation_loss_before", "validation_loss", "steps"))
    if not isinstance(before, float) or not isinstance(after, float):
        return None
    return f"In {steps} steps, validation loss went from {before:.3f} to {after:.3f}."


def _data_card(facts: Facts) -> str | None:
    """The data card one heading lower, if it is of the very data."""
    data = facts.manifest.data
    if facts.data_card is None or data is None or f"`{data.digest}`" not in facts.data_card:
        return None
    return re.sub(r"^# ", "## ", facts.data_card, flags=re.MULTILINE).strip()
