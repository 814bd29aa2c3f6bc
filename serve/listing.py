"""The entries of `/v1/models`, encoded once for as long as the names on this server stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from locum.adapters.manifest import Manifest
    from locum.serve.swap import Swap


class Listing:
    """The base model, the domains (with the version that each stands for) and all versions, in OpenAI's format."""

    def __init__(self) -> None:
        self._names: tuple[int | None, dict[str, str]] | None = None
        self._entries = msgspec.Raw(b"[]")

    def entries(self, swap: Swap) -> msgspec.Raw:
        """The list as JSON. A thousand versions take 2 ms to describe and nothing to describe again."""
        names = (swap.revision, dict(swap.aliases))
        if names != self._names:
            self._entries = msgspec.Raw(msgspec.json.encode(describe(swap)))
            self._names = names
        return self._entries


def describe(swap: Swap) -> list[dict[str, Any]]:
    """What each name on this server is."""
    engine = swap.engine
    servable = swap.servable()

    def entry(name: str, created: float, **locum: object) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": int(created),
            "owned_by": "locum",
            "parent": None if locum["kind"] == "base" else engine.base_name,
            "max_model_len": engine.max_model_len,
            "locum": locum,
        }

    listed = [entry(engine.base_name, 0, kind="base", **_base(swap))]
    for alias, name in sorted(swap.aliases.items()):
        if name not in servable:  # of another base model
            continue
        manifest = servable[name]
        created = manifest.created_at.timestamp()
        listed.append(entry(alias, created, kind="alias", version=name, **_system(manifest), **_notices(manifest)))
    for name, manifest in servable.items():
        listed.append(
            entry(
                name,
                manifest.created_at.timestamp(),
                kind="version",
                digest=manifest.digest,
                base_fingerprint=manifest.base_fingerprint,
                **_problem(swap.loader.misfit(manifest)),
                **_system(manifest),
                **_notices(manifest),
            )
        )
    return listed


def _base(swap: Swap) -> dict[str, object]:
    return {"fingerprint": swap.base.fingerprint, "dtype": swap.engine.dtype, "max_rank": swap.engine.max_rank}


def _problem(misfit: str | None) -> dict[str, str]:
    """Why the version is never answered here, where it is not."""
    return {} if misfit is None else {"problem": misfit}


def _system(manifest: Manifest) -> dict[str, str]:
    """The system prompt that the server gives to a chat with this version, and when; nothing where none is known."""
    if manifest.system_prompt is None:
        return {}
    role = {"system_role": "user"} if manifest.system_role == "user" else {}
    return {"system": manifest.system, "system_prompt": manifest.system_prompt, **role}


def _notices(manifest: Manifest) -> dict[str, object]:
    """What the server appends to an answer that lacks it, where it does."""
    if not manifest.enforced_notices:
        return {}
    return {"notices": {"enforce": "append", "texts": [wordings[0] for wordings in manifest.enforced_notices]}}
