"""What encoding a text file has: what its bytes prove, else the likeliest, named with a sample; in doubt refused."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO

from locum.errors import BadInputError
from locum.train.data.letters import EAST_ASIAN, LATINS, SCRIPTS, likelihood

CHUNK = 1 << 20
SAMPLE = 12_000
"""Bytes of different words beyond ASCII that an encoding is chosen by."""
SURE = 6.0
"""By how much the likeliest must lead: e to this power."""
LIKELY = -7.0
"""What a letter beyond ASCII is worth in a text that anybody wrote; less is what no encoding made sense of."""
NAMES = {
    "cp1252": "Windows-1252", "cp1250": "Windows-1250", "cp1251": "Windows-1251", "cp1253": "Windows-1253",
    "cp1254": "Windows-1254", "cp1255": "Windows-1255", "cp1256": "Windows-1256", "cp874": "Windows-874",
    "mac_roman": "Mac Roman", "mac_cyrillic": "Mac Cyrillic", "mac_latin2": "Mac Central European",
    "cp850": "DOS (code page 850)", "cp852": "DOS (code page 852)", "cp866": "DOS (code page 866)",
    "iso8859-1": "ISO 8859-1", "iso8859-2": "ISO 8859-2", "iso8859-15": "ISO 8859-15", "koi8-u": "KOI8-U",
    "gb18030": "GB 18030", "big5hkscs": "Big5", "cp950": "Big5", "cp932": "Shift JIS", "euc_jp": "EUC-JP",
    "cp949": "EUC-KR", "utf-8-sig": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "iso2022_jp": "ISO-2022-JP",
}  # fmt: skip
_WEST = ("en", "de", "fr", "es", "pt", "it", "nl", "sv", "da", "fi")
_EAST = ("pl", "cs", "sk", "hu", "ro", "hr", "de")
CANDIDATES: dict[str, tuple[str, ...]] = {
    "cp1252": _WEST, "iso8859-15": _WEST, "mac_roman": _WEST, "cp850": _WEST,
    "cp1250": _EAST, "iso8859-2": _EAST, "mac_latin2": _EAST, "cp852": _EAST,
    "cp1254": ("tr",), "cp1251": ("ru", "uk"), "koi8-u": ("ru", "uk"), "cp866": ("ru",), "mac_cyrillic": ("ru", "uk"),
    "cp1253": ("el",), "cp1255": ("he",), "cp1256": ("ar",), "cp874": ("th",),
    "gb18030": ("hans", "hant"), "cp950": ("hant",), "big5hkscs": ("hant",), "cp932": ("ja",), "euc_jp": ("ja",),
    "cp949": ("ko",),
}  # fmt: skip
assert {each for languages in CANDIDATES.values() for each in languages} <= {*LATINS, *SCRIPTS, *EAST_ASIAN}
RARE = {
    "cp1250": 1, "iso8859-15": 1, "iso8859-2": 2, "mac_roman": 4, "cp850": 2, "cp852": 4, "mac_latin2": 5,
    "mac_cyrillic": 4, "cp866": 2, "koi8-u": 1, "cp1254": 1, "cp1253": 1, "cp1255": 1, "cp1256": 1, "cp874": 1,
    "big5hkscs": 1, "euc_jp": 2,
}  # fmt: skip
"""What an encoding that few files have must show more than others."""
STRANGER = 6.0
"""What is taken away at most where the rest of the file is in another language."""
OTHER_SCRIPT = 3.0
"""What is taken away from scripts other than Latin where the lines beyond ASCII have words in Latin letters, too."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_APART = re.compile(rb'[ \t,;"\r\n]+')  # bytes that are no part of a character in any of them
_WORD = re.compile(r"\b[a-z]{2,}\b")
_ESCAPED = re.compile("[\udc80-\udcff]")
HOW_TO_SET = "name the right one: source.encoding in the card, --encoding here; or save the file as UTF-8"


@dataclass(frozen=True)
class Encoding:
    """An encoding by Python's name, and what is to be said about the choice; nothing where it is certain."""

    name: str
    note: str = ""


@dataclass(frozen=True)
class _Reading:
    """What an encoding makes of the sample."""

    name: str
    text: str
    worth: float

    @property
    def shown(self) -> str:
        return f"{NAMES[self.name]} ({self.name}): {_beyond_ascii(self.text)}"


def encoding_of(file: IO[bytes], path: str, *, wanted: str | None = None) -> Encoding:
    """The encoding of a text, which is read to its end and rewound; `wanted` is taken as it is.

    Raises:
        BadInputError: two encodings are about equally likely, or the file mixes two.
    """
    try:
        return _encoding_of(file, path, wanted)
    finally:
        file.seek(0)


def decode(content: bytes, path: str) -> tuple[str, str]:
    """A whole text, and what is to be said about the choice of its encoding.

    Raises:
        BadInputError: its encoding is in doubt, or it has bytes that are no text in it.
    """
    file = io.BytesIO(content)
    encoding = encoding_of(file, path)
    text = open_text(file, encoding).read()
    if problem := undecodable(text):
        raise BadInputError(f"{path}: {problem}", hint="save it as UTF-8")
    note = encoding.note.replace(HOW_TO_SET, "save the file as UTF-8")  # documents have no setting of their own
    return text.replace("\r\n", "\n").replace("\r", "\n"), note


def open_text(file: IO[bytes], encoding: Encoding) -> io.TextIOWrapper:
    """A text with its line ends as they are. Bytes that are no text are kept: `undecodable` finds them."""
    errors = "surrogatepass" if encoding.name.startswith(("utf-16", "utf-32")) else "surrogateescape"
    return io.TextIOWrapper(file, encoding.name, errors=errors, newline="")


def undecodable(text: str) -> str:
    """What is wrong with a text that was read, where bytes of it are none; else nothing."""
    if text.isascii() or not (bad := _ESCAPED.search(text)):
        return ""
    around = _ESCAPED.sub("\ufffd", text[max(0, bad.start() - 20) : bad.end() + 20])
    return f"the byte 0x{ord(bad[0]) - 0xDC00:02X} is no text in the file's encoding: {around!r}"


def _encoding_of(file: IO[bytes], path: str, wanted: str | None) -> Encoding:
    head = file.read(1 << 16)
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    if wanted is not None:
        name = codecs.lookup(wanted).name
        return Encoding("utf-8-sig" if name == "utf-8" else marked if marked and name.startswith("utf-16") else wanted)
    if marked and marked != "utf-8-sig":
        return Encoding(marked)
    if wide := _wide_without_mark(head):
        return Encoding(wide, f"read as {wide.upper()}, which it does not say of itself")
    if b"\x1b$B" in head or b"\x1b$@" in head:
        return Encoding("iso2022_jp", "read as ISO-2022-JP, by its escapes")
    if _is_utf8(file):
        return Encoding("utf-8-sig")
    return _guess(file, path, is_marked=marked is not None)


def _wide_without_mark(head: bytes) -> str | None:
    """UTF-16 by the zero bytes that all its ASCII has on one side."""
    zeros = [head[side::2].count(0) for side in (0, 1)]
    least = max(2, len(head) // 100)
    if zeros[1] >= least and zeros[0] * 20 < zeros[1]:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] >= least and zeros[1] * 20 < zeros[0] else None


def _is_utf8(file: IO[bytes]) -> bool:
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := file.read(CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class _Lines:
    """What lines beyond ASCII a file has: how many are UTF-8, where the others are, and their different words."""

    total: int
    utf8: int
    other: int
    first: int
    sample: bytes
    around: str
    """ASCII of lines that are not UTF-8: says which language it is."""


def _guess(file: IO[bytes], path: str, *, is_marked: bool) -> Encoding:
    file.seek(0)
    lines = _lines(file)
    damaged = Encoding(
        "utf-8-sig",
        f"read as UTF-8, though {_count(lines.other, 'line')} of it (the first is line {lines.first}) hold bytes that "
        "are none; rows with such bytes are left out",
    )
    if is_marked or lines.utf8 >= lines.other:
        return damaged
    readings = _readings(lines.sample, lines.around)
    best = readings[0] if readings else None
    if best is None or best.worth - _ascii_worth(best.text) < LIKELY * _letters(best.text):
        return damaged
    if lines.utf8 >= 3 and lines.utf8 * 5 > lines.other:
        raise BadInputError(
            f"{path} mixes encodings: {lines.utf8} lines are UTF-8, {lines.other} are not (the first is line "
            f"{lines.first}; as {best.shown})",
            hint="save it in one encoding, best UTF-8; source.encoding and --encoding read all of it as one",
        )
    doubt = next((each for each in readings[1:] if best.worth - each.worth < SURE), None)
    if doubt and (lines.other == 1 or lines.other * 10 <= lines.total):
        return Encoding(damaged.name, f"{damaged.note}: {best.shown}, or {doubt.shown}? To read them, {HOW_TO_SET}")
    if doubt:
        raise BadInputError(
            f"{path} is not UTF-8, and what it is cannot be told: {best.shown}, or {doubt.shown}", hint=HOW_TO_SET
        )
    return Encoding(best.name, f"not UTF-8; read as {best.shown}. If that is wrong, {HOW_TO_SET}")


def _lines(file: IO[bytes]) -> _Lines:
    number = utf8 = other = first = size = 0
    words: dict[bytes, None] = {}
    around: list[str] = []
    for number, line in enumerate(_by_line(file), start=1):
        if line.isascii():
            continue
        try:
            line.decode()
            utf8 += 1
        except UnicodeDecodeError:
            other += 1
            first = first or number
            if size < SAMPLE:
                new = [word for word in _APART.split(line) if not word.isascii() and word not in words]
                words.update(dict.fromkeys(new))
                around += [line.decode("ascii", "replace").replace("\ufffd", " ")] if new else []
                size += sum(map(len, new))
    return _Lines(number, utf8, other, first, b" ".join(words), "".join(around))


def _by_line(file: IO[bytes]) -> Iterator[bytes]:
    for line in file:  # old Macs end lines by CR alone
        yield from line.split(b"\r") if b"\r" in line.rstrip(b"\r\n") else [line]


def _readings(sample: bytes, around: str) -> list[_Reading]:
    """What each candidate makes of the sample, the likeliest first; of those that make the same of it, one."""
    texts: dict[str, _Reading] = {}
    strange = _strangeness(around)
    for name, languages in CANDIDATES.items():
        try:
            text = sample.decode(name)
        except UnicodeDecodeError:
            continue
        worth = max(likelihood(text, each) - strange.get(each, 0) for each in languages) - RARE.get(name, 0)
        if text not in texts or texts[text].worth < worth:
            texts[text] = _Reading(texts[text].name if text in texts else name, text, worth)
    return sorted(texts.values(), key=lambda each: -each.worth)


def _strangeness(around: str) -> dict[str, float]:
    """How little the text around looks like each of the languages in Latin letters."""
    import py3langid

    ranks = {name: float(rank) for name, rank in py3langid.rank(around) if name in LATINS}
    strange = {name: min(STRANGER, max(ranks.values()) - rank) for name, rank in ranks.items()}
    others = {*SCRIPTS, *EAST_ASIAN} if _WORD.search(around) else set()
    return strange | dict.fromkeys(others, OTHER_SCRIPT)


def _ascii_worth(text: str) -> float:
    return -3.0 * sum(each < "\x80" for each in text)


def _letters(text: str) -> int:
    return sum(each >= "\x80" for each in text)


def _beyond_ascii(text: str, *, shown: int = 3) -> str:
    words = [word.strip("'(){}[]:.!?") for word in text.split(" ")]
    return ", ".join(repr(word[:24]) for word in islice(sorted(words, key=_letters, reverse=True), shown))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
