"""The rows of a built split, ready for the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeVar

from locum.adapters.base import Base
from locum.adapters.conversations import Conversation, Preference, read_conversations, read_preferences
from locum.adapters.influences import positions
from locum.adapters.recipe import ALIGNMENT, TrainingRecipe
from locum.errors import BadInputError
from locum.train.data.build import split_file
from locum.train.template import IGNORED, PairTokens, Template, Tokens

Rows = list[Tokens] | list[PairTokens]
Row = TypeVar("Row", Conversation, Preference)
Made = TypeVar("Made")

MAX_REFUSED = 0.1  # of a split's rows: with more left out, what is learnt is another domain than the data's
NAMED = 3


@dataclass(frozen=True)
class Splits:
    """What a recipe learns from, as the base model's chat template makes it."""

    template: Template
    train: Rows
    validation: Rows
    refused: list[str]
    """Sentences that say which rows the template cannot show."""


def load_splits(base: Base, data_path: Path, recipe: TrainingRecipe) -> Splits:
    """The base model's template, and the tokens of the training and validation rows that the recipe learns from.

    Raises:
        BadInputError: as `load_rows` and `load_pairs` raise it.
    """
    template = Template.load(base.path, recipe.thinking, recipe.system_role)
    limit = positions(base.path)
    refused: list[str] = []

    def load(split: Literal["train", "validation"]) -> Rows:
        file = split_file(data_path, split)
        if recipe.method in ALIGNMENT:
            pairs = load_pairs(file, template, recipe, refused)
            if split == "train":
                _check_both_kinds(file, pairs)
            _check_positions(file, max(pair.length for pair in pairs), base, limit)
            return pairs
        rows = load_rows(file, template, recipe.max_length, refused)
        _check_positions(file, max(len(row.input_ids) for row in rows), base, limit)
        return rows

    return Splits(template, load("train"), load("validation"), refused)


def load_rows(file: Path, template: Template, max_length: int, refused: list[str]) -> list[Tokens]:
    """Tokens of all conversations of a split that the template can show; a sentence on others is put into `refused`.

    Raises:
        BadInputError: the split is empty, the template cannot show most of it, or a row is too long.
    """
    made = _made(file, read_conversations(file), template.tokenise, refused)
    rows = [tokens for sequences in made for tokens in sequences]
    if not rows:
        raise BadInputError(
            f"{file} holds no conversation, expected at least one", hint=f"locum data build {file.parent.name}"
        )
    _check_lengths(file, [len(row.input_ids) for row in rows], max_length)
    return rows


def load_pairs(file: Path, template: Template, recipe: TrainingRecipe, refused: list[str]) -> list[PairTokens]:
    """Tokens of all preference pairs of a split, as `load_rows` gives those of conversations.

    Raises:
        BadInputError: as `load_rows`; or a pair is a single answer, of which `kto` alone can learn.
    """

    def tokenise(pair: Preference) -> PairTokens:
        if not pair.paired and recipe.method != "kto":
            raise BadInputError(
                f"the row has one answer, and the method {recipe.method} compares two",
                hint="learn from single answers with the method kto: --set method=kto",
            )
        return template.tokenise_pair(pair)

    pairs = _made(file, read_preferences(file), tokenise, refused)
    if not pairs:
        raise BadInputError(
            f"{file} holds no preference pair, expected at least one",
            hint=f"locum data build {file.parent.parent.name}",
        )
    _check_lengths(file, [pair.length for pair in pairs], recipe.max_length)
    return pairs


def _made(file: Path, rows: Iterator[Row], make: Callable[[Row], Made], sentences: list[str]) -> list[Made]:
    """What is made of the rows; those of which nothing can be made are left out and named, unless they are many.

    Where no row can be shown, and all for the same reason, that is the base model's, and told as such.
    """
    made: list[Made] = []
    refusals: list[tuple[int, BadInputError]] = []
    for number, row in enumerate(rows, start=1):
        try:
            made.append(make(row))
        except BadInputError as error:
            refusals.append((number, error))
    if not refusals:
        return made
    alike: dict[str, list[int]] = {}
    for number, refusal in refusals:
        alike.setdefault(str(refusal), []).append(number)
    if len(alike) == 1 and not made and len(refusals) > 1:
        raise refusals[0][1]
    total = len(made) + len(refusals)
    named = "; ".join(_named(reason, numbers) for reason, numbers in list(alike.items())[:NAMED])
    more = f"; and {len(alike) - NAMED:,} other reasons" if len(alike) > NAMED else ""
    sentence = f"{file}: {len(refusals):,} of {total:,} rows cannot be learnt with this base model: {named}{more}"
    if len(refusals) > MAX_REFUSED * total:
        raise BadInputError(sentence, hint=refusals[0][1].hint)
    sentences.append(f"{sentence}. They were left out.")
    return made


def _named(reason: str, numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:NAMED])) + (", …" if len(numbers) > NAMED else "")
    return f"row{'s' if len(numbers) > 1 else ''} {shown}: {reason}"


def _check_both_kinds(file: Path, pairs: Sequence[PairTokens]) -> None:
    for kind, present in (
        ("wanted (`chosen`)", any(pair.chosen_ids for pair in pairs)),
        ("unwanted (`rejected`)", any(pair.rejected_ids for pair in pairs)),
    ):
        if not present:
            raise BadInputError(
                f"{file} has no answer that is {kind}, expected answers of both kinds",
                hint="wanted answers alone are learnt as conversations: put them under `source` in the card",
            )


def _check_lengths(file: Path, lengths: Sequence[int], max_length: int) -> None:
    too_long = sum(length > max_length for length in lengths)
    if too_long:
        raise BadInputError(
            f"{file}: {too_long:,} of {len(lengths):,} rows are longer than {max_length} tokens (recipe.max_length); "
            f"the longest has {max(lengths):,}",
            hint=f"shorten them, or raise the limit: --set max_length={max(lengths)}",
        )


def _check_positions(file: Path, longest: int, base: Base, limit: int | None) -> None:
    if limit is not None and longest > limit:
        raise BadInputError(
            f"{file}: the longest row has {longest:,} tokens, and the base model {base.name} takes at most {limit:,} "
            "(max_position_embeddings of its config.json)",
            hint=f"shorten such rows, or have them refused: --set max_length={limit}",
        )


def longest_answer(row: Tokens | PairTokens) -> int:
    """Tokens of the longest answer of a row, with its end of turn."""
    if isinstance(row, PairTokens):
        return row.longest_answer
    return max(len(list(run)) for learnt, run in groupby(row.labels, lambda label: label != IGNORED) if learnt)
