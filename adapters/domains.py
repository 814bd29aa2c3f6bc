"""The folder of domains: one folder a domain, with its card, its data recipe and its suites."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from locum.adapters import classifier
from locum.adapters.card import CARD_FILE, DomainCard, load_card
from locum.adapters.suites import SUITE_FILE, SUITES_FOLDER, Outline, SuiteCard, load_suite_cards, suite_yaml
from locum.adapters.yamlfile import NAME_PATTERN
from locum.errors import BadInputError, ConflictError, NotFoundError
from locum.text import alternatives

ROWS_FILE = "conversations.jsonl"
FIRST_SUITE = "held-out"  # the one that a new domain begins with


@dataclass(frozen=True)
class Domain:
    """A card, the folder it lies in, and its suites; paths inside the card are relative to that folder.

    A suite whose card is wrong hides neither the domain nor its other suites: `wrong_suites` says what is wrong, by
    name, and whoever needs that suite, or all of them, is told.
    """

    card: DomainCard
    folder: Path
    suites: tuple[SuiteCard, ...] = ()
    wrong_suites: Mapping[str, BadInputError] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def suite_names(self) -> list[str]:
        """Those of all suites, of the wrong ones too."""
        return sorted([*(card.name for card in self.suites), *self.wrong_suites])

    def suite(self, name: str) -> SuiteCard:
        """The card of the suite of that name.

        Raises:
            NotFoundError: there is none; the message lists those there are.
            BadInputError: it is wrong.
        """
        if name in self.wrong_suites:
            raise self.wrong_suites[name]
        for card in self.suites:
            if card.name == name:
                return card
        raise NotFoundError(f"there is no suite {name!r} of {self.name}{alternatives(name, self.suite_names)}")


def load_domain(domains: Path, name: str) -> Domain:
    """The domain called `name` in the folder `domains`.

    Raises:
        NotFoundError: there is no such domain; the message lists those there are.
        BadInputError: its card is wrong, or names another domain than its folder.
    """
    folder = domains / name
    if not (folder / CARD_FILE).is_file():
        raise NotFoundError(
            f"there is no domain {name!r} in {domains}{alternatives(name, domain_names(domains))}",
            hint=f"locum domain new {name} starts one" if is_name(name) else "locum domain new NAME starts one",
        )
    card = load_card(folder / CARD_FILE)
    if card.name != name:
        raise BadInputError(
            f"{folder / CARD_FILE}: name: expected {name!r}, as the folder is called (found {card.name!r})"
        )
    suites, wrong = load_suite_cards(folder)
    return Domain(card, folder, tuple(suites), wrong)


def domain_names(domains: Path) -> list[str]:
    """Names of all folders in `domains` that hold a card, sorted; none when the folder does not exist."""
    return sorted(path.parent.name for path in domains.glob(f"*/{CARD_FILE}"))


def is_name(name: str) -> bool:
    """Whether a domain can be called so."""
    return re.fullmatch(NAME_PATTERN.removesuffix("$"), name) is not None and name != "base"


def check_name(name: str) -> None:
    """Refuse what no domain can be called.

    Raises:
        BadInputError: the name is not one a domain can have.
    """
    if not is_name(name):
        raise BadInputError(
            f"{name!r} is not a domain's name: expected at most 63 lower-case letters, digits, - and _, "
            "beginning with a letter, and not `base`"
        )


def new_domain(domains: Path, name: str, *, labels: Sequence[str] = ()) -> Path:
    """Write a commented card, example rows and a suite for a new domain; returns the card's path.

    Args:
        labels: of a domain that sorts texts, which its prompt then names and its suite holds every model to.

    Raises:
        BadInputError: the name is not one a domain can have.
        ConflictError: there is a folder of that name already.
    """
    check_name(name)
    folder = domains / name
    if folder.exists():
        raise ConflictError(f"{folder} is there already", hint=f"edit {folder / CARD_FILE}, or choose another name")
    card, rows = (_template(file).replace("NAME", name) for file in (CARD_FILE, ROWS_FILE))
    if labels:
        card, rows = classifier.card(card, labels), classifier.rows(labels)
    _write(folder / CARD_FILE, card)
    _write(folder / ROWS_FILE, rows)
    outline = classifier.outline(labels) if labels else Outline()
    _write(folder / SUITES_FOLDER / FIRST_SUITE / SUITE_FILE, suite_yaml(name, FIRST_SUITE, outline))
    return folder / CARD_FILE


def _template(file: str) -> str:
    return (Path(__file__).parent / "templates" / file).read_text(encoding="utf-8")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
