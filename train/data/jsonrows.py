"""Rows of JSON, by what the file holds and not by its name: lines, objects one after another, a list, columns.

A list, however long, is read piece by piece: where a value ends is found by its brackets, so that one that is not valid
costs one row. A string of JSON cannot hold a line break: a quotation mark that is missing ends with its line.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any, TextIO

from locum.errors import BadInputError
from locum.train.data.encoding import encoding_of, open_text, undecodable
from locum.train.data.rawrows import Place, RawRow, row_of

HEAD = 50
CHUNK = 1 << 16
MEMBER = 4000
"""Characters of a member that it is judged by."""
WHOLE = 1 << 29
"""Bytes of a file of columns, which is read at once."""
_MARK = re.compile(r'[{}\[\],\n"]')
_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"')
_IN_STRING = re.compile(r'(?:[^"\\\r\n]|\\[^\r\n])*')
_MEMBER = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*:\s*(.*)', re.DOTALL)
_TURN = ({"role", "from"}, {"content", "value", "tool_calls", "parts"})
_LOG = re.compile("conversation|session|ticket|dialog|chat|thread")
_OF_A_ROW = {
    "messages", "conversations", "prompt", "completion", "chosen", "rejected", "instruction", "output", "question",
    "answer", "query", "response", "text",
}  # fmt: skip
EXPECTED = "expected [{…}, …], or one JSON object a line"


@dataclass(frozen=True)
class _Value:
    """A piece of JSON, and the line that it begins in."""

    text: str
    line: int
    is_cut_off: bool = False
    """Whether the file ends before it, or what holds it, does."""

    def member(self) -> tuple[str, str]:
        """Of a piece of an object: its key and its value."""
        found = _MEMBER.match(self.text)
        return (found[1], found[2]) if found else ("", self.text)


def json_rows(file: IO[bytes], place: Place) -> Iterator[RawRow]:
    """The rows of a JSON file.

    Raises:
        BadInputError: it holds none, or several lists of them.
    """
    encoding = encoding_of(file, place.path, wanted=place.encoding)
    place.note(encoding.note)
    text = open_text(file, encoding)
    head = list(islice((line for line in text if line.strip("\ufeff \t\r\n")), HEAD))
    text.seek(0)
    place.empty = "0 bytes, or blank lines only"
    if not head:
        return iter(())
    if _is_lines(head, place.name):
        return _lines(text, place)
    if head[0].lstrip("\ufeff \t").startswith("["):
        place.empty = "an empty list"
        return _numbered(_values(text, depth=1), place)
    return _of_objects(text, place)


def _is_lines(head: list[str], name: str) -> bool:
    """Whether each line is a value of its own: the first one is, or another that stands as far left as it."""
    if _parsed(head[0]) is not None:
        return len(head) > 1
    first = head[0].lstrip("\ufeff")
    if re.fullmatch(r"\s*[\[{]\s*", first):
        return False
    if any(isinstance(_parsed(line), dict) and not line[:1].isspace() for line in head[1:]):
        return not first.lstrip().startswith("[")
    return name.endswith((".jsonl", ".ndjson")) and not first.lstrip().startswith(("{", "["))


def _load(text: str) -> Any:
    return json.loads(
        text.strip("\ufeff \t\r\n,"), parse_constant=_no_number, parse_float=_Number, object_pairs_hook=_object
    )


def _parsed(line: str) -> Any:
    try:
        return _load(line)
    except (ValueError, RecursionError):
        return None


def _lines(text: Iterable[str], place: Place) -> Iterator[RawRow]:
    count = 0
    for number, line in enumerate(text, start=1):
        if not line.strip("\ufeff \t\r\n\0"):
            continue
        count += 1
        if count > place.start:
            yield _row(_Value(line, number), number)


def _numbered(values: Iterable[_Value], place: Place) -> Iterator[RawRow]:
    for number, value in enumerate(values, start=1):
        if value.is_cut_off:  # how many rows are lost, nobody knows
            raise BadInputError(
                f"{place.path} ends in the middle of row {number}, which begins in line {value.line}: the file was cut "
                "off, or a quotation mark or bracket is missing there",
                hint="get the file anew, mend the row, or save it with one row a line",
            )
        if number > place.start:
            yield _row(value, number)


def _row(value: _Value, number: int) -> RawRow:
    where = "" if value.line == number else f" (line {value.line} of the file)"
    if problem := undecodable(value.text):
        return RawRow(number, None, problem + where, value.text.encode(errors="replace").decode())
    try:
        return row_of(number, _load(value.text))
    except (ValueError, RecursionError) as error:
        return RawRow(number, None, f"not valid JSON: {error}{where}", value.text)


def _no_number(name: str) -> None:
    """NaN is what pandas and R write for a cell that is empty; infinity is no more of a value."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the field {twice!r} stands there twice")
    return found


class _Number(float):
    """A number that is shown as it was written: 0.10."""

    def __new__(cls, text: str) -> _Number:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str

    def __str__(self) -> str:
        return self.text


def _of_objects(text: TextIO, place: Place) -> Iterator[RawRow]:
    """Objects one after another, each over several lines; or one, that is a row or holds them."""
    first_two = list(islice(_values(text, depth=0, limit=MEMBER), 2))
    text.seek(0)
    if len(first_two) > 1:
        return _numbered(_values(text, depth=0), place)
    members = [each.member() for each in _values(text, depth=1, limit=MEMBER)]
    text.seek(0)
    place.empty = "an empty object"
    if _is_row(members):
        return _whole(text, members, place)
    lists = [key for key, value in members if _is_list_of_objects(value)]
    if len(lists) > 1:
        raise BadInputError(
            f"{place.path} holds several lists of rows ({', '.join(lists)}), expected one",
            hint="put each into a file of its own",
        )
    if lists:
        place.note(f"the rows are its list `{lists[0]}`")
        return _numbered(_values(text, depth=2, under=lists[0]), place)
    return _whole(text, members, place)


def _is_row(members: list[tuple[str, str]]) -> bool:
    """Whether an object is a row itself: it has turns, or a text where rows have one."""
    return any(_are_turns(value) or (key.lower() in _OF_A_ROW and value.startswith('"')) for key, value in members)


def _are_turns(value: str) -> bool:
    """Whether it is a list of turns, or might be: an empty one. A message of a log names its conversation, too."""
    if re.match(r"\[\s*\]", value):
        return True
    if not _is_list_of_objects(value):
        return False
    first = next(_values(io.StringIO(value), depth=1))
    keys = {each.member()[0].lower() for each in _values(io.StringIO(first.text), depth=1)}
    return all(names & keys for names in _TURN) and not any(_LOG.search(key) for key in keys)


def _is_list_of_objects(value: str) -> bool:
    return re.match(r"\[\s*\{", value) is not None


def _whole(text: TextIO, members: list[tuple[str, str]], place: Place) -> Iterator[RawRow]:
    """One object: a row, or columns or rows by their names, as pandas writes them."""
    content = text.read(WHOLE + 1)
    if len(content) > WHOLE:
        raise BadInputError(f"{place.path} is one object of more than {WHOLE >> 20} MB: {EXPECTED}")
    only = _row(_Value(content, 1), 1)
    if only.fields is None:
        return islice(iter([only]), place.start, None)
    if not only.fields:
        return iter(())
    rows = None if _is_row(members) else _by_columns(only.fields, place)
    if rows is None and all(isinstance(each, dict | list) for each in only.fields.values()) and not _is_row(members):
        raise BadInputError(f"{place.path} holds no list of rows: {EXPECTED}")
    return islice(
        iter([only] if rows is None else [row_of(n, row) for n, row in enumerate(rows, 1)]), place.start, None
    )


def _by_columns(fields: dict[str, Any], place: Place) -> list[Any] | None:
    """Rows of a table that pandas wrote otherwise than as records."""
    names, data = fields.get("columns"), fields.get("data")
    if isinstance(names, list) and isinstance(data, list) and all(isinstance(each, list) for each in data):
        place.note("a table as pandas writes it (orient split)")
        return [dict(zip(map(str, names), each, strict=False)) for each in data]
    values = list(fields.values())
    if all(isinstance(each, list) for each in values) and len({len(each) for each in values}) == 1 < len(values):
        place.note("a table of columns, each a list")
        return [dict(zip(fields, each, strict=True)) for each in zip(*values, strict=True)]
    if not all(isinstance(each, dict) and each for each in values):
        return None
    inside = list(dict.fromkeys(chain.from_iterable(values)))
    if all(map(_is_index, fields)):
        place.note("a table as pandas writes it (orient index)")
        return values
    if all(map(_is_index, inside)):
        place.note("a table as pandas writes it (orient columns)")
        return [{name: column.get(each) for name, column in fields.items()} for each in inside]
    return None


def _is_index(name: str) -> bool:
    return name.isdecimal()


def _values(text: TextIO, *, depth: int, under: str | None = None, limit: int | None = None) -> Iterator[_Value]:
    """The values that stand so deep in a text of JSON; of each at most `limit` characters are kept.

    Under a key, those of the list that an object calls so.
    """
    return _Cutter(depth, under, limit).cut(text)


class _Cutter:
    """Cuts values out of a text by its brackets, and takes hold again after a quotation mark that is missing."""

    def __init__(self, wanted: int, under: str | None, limit: int | None) -> None:
        self._wanted, self._under, self._limit = wanted, under, limit
        self._depth = self._line = self._begun = self._size = 0
        self._in_string = self._escaped = self._broken = self._inside = False
        self._string = self._indent = self._line_indent = ""
        self._parts: list[str] = []

    def cut(self, text: TextIO) -> Iterator[_Value]:
        starts = True
        while piece := text.readline(CHUNK):
            if starts:
                yield from self._begin_line(piece)
            yield from self._take(piece)
            starts = piece.endswith(("\n", "\r"))
        if self._parts or self._depth:
            yield self._done(is_cut_off=self._depth > 0)

    def _begin_line(self, piece: str) -> Iterator[_Value]:
        self._line += 1
        rest = piece.lstrip(" \t\ufeff")
        self._line_indent = piece[: len(piece) - len(rest)].strip("\ufeff")
        if not self._broken or self._depth <= self._wanted or len(self._line_indent) > len(self._indent):
            return
        if rest.startswith("}"):
            self._depth = self._wanted + 1
        elif rest.startswith(("{", "]")):  # the next value, or the end of the list: the broken one ends before it
            self._depth = self._wanted
            yield self._done()

    def _take(self, piece: str) -> Iterator[_Value]:
        kept = place = 0
        while place < len(piece):
            if self._in_string:
                place = self._through_string(piece, place)
                continue
            mark = _MARK.search(piece, place)
            if mark is None:
                break
            place = mark.end()
            ends = self._at(mark[0], piece, place)
            if ends is not None:
                self._keep(piece[kept : place if ends else mark.start()])
                kept = place
                if any(part.strip() for part in self._parts):
                    yield self._done()
                self._parts = []
            elif self._depth < self._wanted or (self._depth == self._wanted and mark[0] in "{["):
                kept = place
        self._keep(piece[kept:])

    def _at(self, mark: str, piece: str, place: int) -> bool | None:
        """Go over a mark; whether a value ends with it, before it (False) or not at all (None)."""
        depth, wanted = self._depth, self._wanted
        if mark == '"':
            self._in_string = True
            if depth == 1 and (key := _KEY.match(piece, place - 1)):
                self._string = key[1]
        elif mark in "{[":
            self._depth += 1
            if depth + 1 == wanted:
                self._inside = self._under is None or (mark == "[" and self._string == self._under)
        elif mark in "}]":
            self._depth = max(0, depth - 1)
            if depth == wanted > 0:
                return False
            return True if depth == 1 and wanted == 0 else None
        elif depth == wanted and mark == ("," if wanted else "\n"):
            return False
        return None

    def _through_string(self, piece: str, place: int) -> int:
        if self._escaped:
            self._escaped = False
            return place + 1
        matched = _IN_STRING.match(piece, place)
        place = matched.end() if matched else place
        if place == len(piece):
            return place
        self._escaped = piece[place] == "\\" and place + 1 == len(piece)
        if piece[place] != "\\" or not self._escaped:
            self._in_string = False
            self._broken = self._broken or piece[place] != '"'
        return place + (piece[place] in '"\\')

    def _keep(self, part: str) -> None:
        if self._depth < self._wanted - 1 or (self._wanted and not self._inside):
            return
        if not self._parts:
            if not part.strip(" \t\r\n\ufeff"):
                return
            self._begun, self._indent = self._line, self._line_indent
        if self._limit is None or self._size < self._limit:
            self._parts.append(part)
            self._size += len(part)

    def _done(self, *, is_cut_off: bool = False) -> _Value:
        value = _Value("".join(self._parts)[: self._limit], self._begun or self._line, is_cut_off=is_cut_off)
        self._parts, self._size, self._broken = [], 0, False
        return value
