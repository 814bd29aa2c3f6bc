"""A training recipe with the changes that a user asks for on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from locum.adapters.recipe import TrainingRecipe, idle_fields
from locum.errors import BadInputError
from locum.text import alternatives

Origin = Literal["card", "--set", "default"]


def with_overrides(recipe: TrainingRecipe, overrides: Sequence[str]) -> TrainingRecipe:
    """The recipe with `key=value` changes; a value is written as in a card (`rank=8`, `target_modules=[q_proj]`).

    With another `method` or a `start`, fields of the recipe that mean nothing any more are left out, and the learning
    rate is the method's own.

    Raises:
        BadInputError: not of that form, an unknown key (lists the keys), or a value that the recipe does not take.
    """
    changes = _changes(overrides)
    try:
        return TrainingRecipe.model_validate({**_still_meant(recipe, changes), **changes})
    except ValidationError as error:
        wrong = "; ".join(
            f"--set {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']} (found {problem['input']!r})"
            for problem in error.errors()
        )
        raise BadInputError(wrong) from None


def origins(card: TrainingRecipe, overrides: Sequence[str]) -> dict[str, Origin]:
    """Where the value of each field comes from, in the recipe that `with_overrides` makes of a card's."""
    changes = _changes(overrides)
    from_card = card.model_fields_set & set(_still_meant(card, changes))
    return {
        name: "--set" if name in changes else "card" if name in from_card else "default"
        for name in TrainingRecipe.model_fields
    }


def _changes(overrides: Sequence[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for override in overrides:
        key, separator, value = override.partition("=")
        key = key.strip()
        if not separator:
            raise BadInputError(f"--set {override}: expected key=value, such as --set max_steps=20")
        if key not in TrainingRecipe.model_fields:
            known = alternatives(key, TrainingRecipe.model_fields)
            raise BadInputError(f"--set {override}: there is no recipe key {key!r}{known}")
        try:
            changes[key] = _number(yaml.safe_load(value))
        except yaml.YAMLError:
            raise BadInputError(f"--set {override}: {value!r} cannot be read as a value") from None
    return changes


def _still_meant(recipe: TrainingRecipe, changes: dict[str, Any]) -> dict[str, Any]:
    """Fields of the recipe that mean the same after the changes."""
    method = str(changes.get("method", recipe.method))
    kept = recipe.model_dump(exclude=set(idle_fields(method, changes.get("start", recipe.start))))
    if method != recipe.method:
        del kept["learning_rate"]
    return kept


def _number(value: Any) -> Any:
    """YAML reads 1e-3 as text; everyone else reads it as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
