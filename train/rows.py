"""The rows of a built split, ready for the trainer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from locum.adapters.base import Base
from locum.adapters.conversations import Conversation, read_conversations, read_preferences
from locum.adapters.recipe import ALIGNMENT, TrainingRecipe
from locum.errors import BadInputError
from locum.train.data.build import split_file
from locum.train.template import IGNORED, PairTokens, Template, Tokens

Rows = list[Tokens] | list[PairTokens]


def load_splits(base: Base, data_path: Path, recipe: TrainingRecipe) -> tuple[Template, Rows, Rows]:
    """The base model's template, and the tokens of the training and validation rows that the recipe learns from.

    Raises:
        BadInputError: as `load_rows` and `load_pairs` raise it.
    """
    template = Template.load(base.path, recipe.thinking)
    load = load_pairs if recipe.method in ALIGNMENT else load_rows
    train: Rows = load(split_file(data_path, "train"), template, recipe.max_length)
    validation: Rows = load(split_file(data_path, "validation"), template, recipe.max_length)
    return template, train, validation


def load_rows(file: Path, template: Template, max_length: int) -> list[Tokens]:
    """Tokens of all conversations of a split.

    Raises:
        BadInputError: the split is empty, the template has no place for an answer, or a row is too long.
    """
    rows = tokenise_rows(read_conversations(file), template)
    if not rows:
        raise BadInputError(
            f"{file} holds no conversation, expected at least one", hint=f"locum data build {file.parent.name}"
        )
    _check_lengths(file, [len(row.input_ids) for row in rows], max_length)
    return rows


def load_pairs(file: Path, template: Template, max_length: int) -> list[PairTokens]:
    """Tokens of all preference pairs of a split.

    Raises:
        BadInputError: the split is empty, the template has no place for an answer, or a row is too long.
    """
    pairs = [template.tokenise_pair(pair) for pair in read_preferences(file)]
    if not pairs:
        raise BadInputError(
            f"{file} holds no preference pair, expected at least one",
            hint=f"locum data build {file.parent.parent.name}",
        )
    _check_lengths(file, [pair.length for pair in pairs], max_length)
    return pairs


def _check_lengths(file: Path, lengths: Sequence[int], max_length: int) -> None:
    too_long = sum(length > max_length for length in lengths)
    if too_long:
        raise BadInputError(
            f"{file}: {too_long:,} of {len(lengths):,} rows are longer than {max_length} tokens (recipe.max_length); "
            f"the longest has {max(lengths):,}",
            hint=f"shorten them, or raise the limit: --set max_length={max(lengths)}",
        )


def tokenise_rows(conversations: Iterable[Conversation], template: Template) -> list[Tokens]:
    """Tokens of conversations, in their order."""
    return [tokens for conversation in conversations for tokens in template.tokenise(conversation)]


def longest_answer(row: Tokens | PairTokens) -> int:
    """Tokens of the longest answer of a row, with its end of turn."""
    if isinstance(row, PairTokens):
        return row.longest_answer
    return max(len(list(run)) for learnt, run in groupby(row.labels, lambda label: label != IGNORED) if learnt)
