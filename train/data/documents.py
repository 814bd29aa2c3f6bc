"""Documents as text, cut into passages at their headings: Markdown, HTML, DOCX, PDF and plain text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from locum.adapters.card import DomainCard
from locum.adapters.documents import DocumentsCard
from locum.adapters.domains import Domain
from locum.errors import BadInputError
from locum.train.data import personal
from locum.train.data.cleaning import normalised
from locum.train.data.encoding import decode
from locum.train.data.places import expand

SHORTEST = 20  # characters; of a shorter section nothing can be asked
BETWEEN = " › "
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_MARKUP = re.compile(r"\[([^\]]*)\]\([^)]*\)|[*`]+|\\(?=\W)")
# Where a text may be cut, the best place first; what parts two pieces stays with the first.
_CUTS = (re.compile(r"(?<=\n\n)"), re.compile(r"(?<=\n)"), re.compile(r"(?<=[.!?] )|(?<=[。！？])"))


@dataclass(frozen=True)
class Section:
    """What stands under a heading; `path` is that heading behind those above it."""

    path: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Passage:
    """A piece of a section. `file` is relative to the card."""

    file: str
    heading: str
    topic: str | None
    """The first heading of the path."""
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 over the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def where(self) -> str:
        return where(self.file, self.heading)


@dataclass(frozen=True)
class Documents:
    """All passages of a domain's documents, and what of them could not be used."""

    passages: list[Passage]
    unreadable: list[str]
    """Files, or pages of one, that hold nothing to read, or whose encoding was guessed: `file: reason`."""
    short: int
    """Sections that were passed over because next to nothing stands in them."""


class _UnreadableError(Exception):
    pass


def where(file: str, heading: str) -> str:
    """A place in a document, for people; also what the rows of a section are grouped by."""
    return f"{file} § {heading}" if heading else file


def documents_card(domain: Domain) -> DocumentsCard:
    """What a domain's card says of documents.

    Raises:
        BadInputError: it says nothing of any.
    """
    if domain.card.documents is None:
        raise BadInputError(
            f"the card of {domain.name} names no documents",
            hint="give `documents: {files: […]}` in the card, or ask for questions without any: --synthetic 50",
        )
    return domain.card.documents


def read_documents(domain: Domain) -> Documents:
    """The passages of the documents that a card names. Personal data in them are masked, unless the card keeps them.

    Raises:
        NotFoundError: a file or pattern matches nothing.
        BadInputError: the card names no documents, or none of them can be read.
    """
    card = documents_card(domain)
    found: list[Passage] = []
    unreadable: list[str] = []
    short = 0
    locations = [Path(location) for location in expand(domain.folder, card.files)]
    for file in locations:
        name = str(file.relative_to(domain.folder)) if file.is_relative_to(domain.folder) else str(file)
        try:
            sections, missing = _sections(file)
        except _UnreadableError as error:
            unreadable.append(f"{name}: {error}")
            continue
        unreadable.extend(f"{name}: {each}" for each in missing)
        for section in sections:
            text = _masked(section.text, domain.card)
            if len(text) < SHORTEST:
                short += 1
                continue
            path = [_masked(heading, domain.card) for heading in section.path]
            heading, topic = BETWEEN.join(path), path[0] if path else None
            found.extend(Passage(name, heading, topic, piece) for piece in passages(text, card.passage_length))
    if not found:
        raise BadInputError(
            f"the {len(locations)} documents of {domain.name} hold no passage to read:"
            + "".join(f"\n  {each}" for each in unreadable),
            hint="a scanned document needs text recognition (OCR) first",
        )
    return Documents(found, unreadable, short)


def passages(text: str, limit: int) -> Iterator[str]:
    """The text in pieces of at most `limit` characters, cut between paragraphs, lines or sentences where that goes."""
    pieces = [text]
    for cut in _CUTS:
        pieces = [part for piece in pieces for part in ([piece] if len(piece) <= limit else cut.split(piece))]
    pieces = [piece[at : at + limit] for piece in pieces for at in range(0, len(piece), limit)]
    joined = [""]
    for piece in pieces:
        if len(joined[-1]) + len(piece) > limit:
            joined.append("")
        joined[-1] += piece
    return (passage.strip() for passage in joined if passage.strip())


def sections_of(markdown: str) -> Iterator[Section]:
    """The sections of a Markdown text, in order."""
    path: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""

    def section() -> Section:
        return Section(tuple(name for _, name in path), "\n".join(lines).strip())

    for line in _without_front_matter(markdown.splitlines()):
        level, name = 0, ""
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif fence:
            pass
        elif heading := _HEADING.match(line):
            level, name = len(heading[1]), heading[2]
        elif (
            (underline := _UNDERLINE.match(line)) and lines and lines[-1].strip() and lines[-1].lstrip()[0] not in "|>-"
        ):
            level, name = 1 if underline[1][0] == "=" else 2, lines.pop()
        if level:
            yield section()
            lines.clear()
            path[:] = [each for each in path if each[0] < level]
            path.append((level, _MARKUP.sub(lambda found: found[1] or "", name).strip() or "…"))
        else:
            lines.append(line)
    yield section()


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines and lines[0].rstrip() == "---" and "---" in (ends := [line.rstrip() for line in lines[1:]]):
        return lines[ends.index("---") + 2 :]
    return lines


def _masked(text: str, card: DomainCard) -> str:
    text = normalised(text)
    if card.cleaning.personal == "keep":
        return text
    return personal.mask(text, personal.find(text, card.cleaning.personal_kinds, card.cleaning.phone_regions))


def _sections(path: Path) -> tuple[list[Section], list[str]]:
    """The sections of a file that hold something, and what is missing from it."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise _UnreadableError(f"is of no kind that can be read (expected {', '.join(_READERS)})")
    try:
        if path.stat().st_size == 0:
            raise _UnreadableError("is empty")
        sections, missing = reader(path)
    except _UnreadableError:
        raise
    except Exception as error:  # each library has errors of its own for a damaged file
        raise _UnreadableError(f"cannot be read: {type(error).__name__}: {error}") from error
    sections = [section for section in sections if section.text]
    if not sections:
        raise _UnreadableError("holds no text")
    return sections, missing


def _markdown(path: Path) -> tuple[list[Section], list[str]]:
    text, notes = _decoded(path)
    return list(sections_of(text)), notes


def _plain(path: Path) -> tuple[list[Section], list[str]]:
    text, notes = _decoded(path)
    return [Section((), text)], notes


def _decoded(path: Path) -> tuple[str, list[str]]:
    content = path.read_bytes()
    if b"\0" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _UnreadableError("is damaged, or no text")
    try:
        text, note = decode(content, "it")
    except BadInputError as error:
        raise _UnreadableError(f"{error}; save it as UTF-8") from None
    return text, [note] if note else []


def _html(path: Path) -> tuple[list[Section], list[str]]:
    return list(sections_of(_to_markdown(path.read_bytes()))), []


def _docx(path: Path) -> tuple[list[Section], list[str]]:
    import mammoth  # type: ignore[import-untyped]

    with path.open("rb") as file:
        return list(sections_of(_to_markdown(mammoth.convert_to_html(file).value))), []


def _to_markdown(html: str | bytes) -> str:
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(html, "html.parser")
    for tag in soup(["head", "script", "style", "nav", "img", "svg", "template"]):
        tag.decompose()
    converter = MarkdownConverter(
        heading_style="ATX", escape_asterisks=False, escape_underscores=False, escape_misc=False
    )
    return str(converter.convert_soup(soup))


def _pdf(path: Path) -> tuple[list[Section], list[str]]:
    """Each page is a section: a PDF does not say what in it is a heading."""
    import logging

    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it warns of in a damaged file, we tell ourselves
    reader = pypdf.PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        raise _UnreadableError("is locked with a password")
    pages = [page.extract_text().strip() for page in reader.pages]
    empty = [str(number) for number, text in enumerate(pages, start=1) if not text]
    if len(empty) == len(pages):
        raise _UnreadableError(f"holds no text on its {len(pages)} pages: scanned? recognise its text (OCR) first")
    sections = [Section((f"page {number}",), text) for number, text in enumerate(pages, start=1) if text]
    return sections, [f"no text on page {', '.join(empty)}: scanned?"] if empty else []


_READERS: dict[str, Callable[[Path], tuple[list[Section], list[str]]]] = {
    ".md": _markdown, ".markdown": _markdown, ".html": _html, ".htm": _html, ".docx": _docx, ".pdf": _pdf,
    ".txt": _plain,
}  # fmt: skip
