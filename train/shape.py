"""The shape of a base model, and how many weights a recipe trains: from its files' heads alone, nothing is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from locum.adapters.base import Base, weight_shapes
from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError
from locum.text import did_you_mean

if TYPE_CHECKING:
    from locum.train.methods import Start


@dataclass(frozen=True)
class BaseShape:
    """What decides on memory and work."""

    config: Any
    """transformers' own."""
    weights: Mapping[str, list[int]]
    layers: int
    hidden: int
    attention: int
    """Width of all query heads."""
    cached: int
    """Width of all key heads, or of all value heads."""
    inner: int
    """Width between the matrices of the feed-forward part."""
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Number of weights; an output layer that is the embedding counts once."""
        tied = {"lm_head.weight"} if getattr(self.config, "tie_word_embeddings", False) else set()
        return sum(math.prod(shape) for name, shape in self.weights.items() if name not in tied)

    @property
    def linear(self) -> dict[str, list[int]]:
        """Shapes of the matrices that each token is multiplied with, but for the output layer's, by module."""
        return {
            name.removesuffix(".weight"): shape
            for name, shape in self.weights.items()
            if len(shape) == 2 and name.endswith(".weight") and shape[0] != self.vocabulary and "emb" not in name
        }


def read_shape(base: Base) -> BaseShape:
    """The shape of a base model's checkpoint."""
    from transformers import AutoConfig

    whole = AutoConfig.from_pretrained(base.path)
    config = whole.get_text_config()
    hidden, heads = config.hidden_size, getattr(config, "num_attention_heads", None) or 1  # none: no attention
    head = getattr(config, "head_dim", None) or hidden // heads
    return BaseShape(
        config=config,
        weights=weight_shapes(base.path),
        layers=config.num_hidden_layers,
        hidden=hidden,
        attention=heads * head,
        cached=(getattr(config, "num_key_value_heads", None) or heads) * head,
        inner=getattr(config, "intermediate_size", None) or 4 * hidden,
        vocabulary=config.vocab_size,
    )


def trained_parameters(shape: BaseShape, recipe: TrainingRecipe, start: Start | None) -> int:
    """Number of weights that a recipe trains: those that PEFT will make, the start's, or all.

    Raises:
        BadInputError: the base model has none of the target modules.
    """
    if start is not None:
        return sum(math.prod(size) for size in weight_shapes(start.folder).values())
    if recipe.method == "full":
        return shape.parameters
    if recipe.method == "prompt":
        return recipe.virtual_tokens * shape.hidden
    if recipe.method == "prefix":  # a key and a value in each layer
        return recipe.virtual_tokens * shape.layers * 2 * shape.cached
    adapted = adapted_modules(shape, recipe)
    magnitudes = recipe.method == "dora"
    return sum(
        _rank_of(module, recipe) * (outputs + inputs) + (outputs if magnitudes else 0)
        for module, (outputs, inputs) in adapted.items()
    )


def adapted_modules(shape: BaseShape, recipe: TrainingRecipe) -> dict[str, list[int]]:
    """The modules that get low-rank matrices, with the shapes of their weights.

    Raises:
        BadInputError: there are none.
    """
    if recipe.target_modules == "all-linear":
        return shape.linear
    ends = tuple(recipe.target_modules)
    matrices = {name.removesuffix(".weight"): size for name, size in shape.weights.items() if len(size) == 2}
    found = {
        name: size for name, size in matrices.items() if any(name == end or name.endswith(f".{end}") for end in ends)
    }
    if not found:
        there = sorted({name.rpartition(".")[2] for name in shape.linear})
        meant = did_you_mean(ends[0], there)
        raise BadInputError(
            f"recipe.target_modules: the base model has none of {', '.join(ends)}{meant}",
            hint=f"there are: {', '.join(there)}",
        )
    return found


def _rank_of(module: str, recipe: TrainingRecipe) -> int:
    """The rank of a module, as PEFT finds it: by the first pattern that is the end of its name."""
    matching = (rank for end, rank in recipe.ranks.items() if re.match(rf"(.*\.)?({end})$", module))
    return next(matching, recipe.rank)
