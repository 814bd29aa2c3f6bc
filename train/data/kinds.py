"""What kind of file it is: by what it holds, whatever its name says; and what to do with one that cannot be read."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import IO, Literal

from locum.errors import BadInputError
from locum.train.data.places import without_sheet

Container = Literal["json", "csv", "parquet", "arrow", "excel", "ods"]
TEXTS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".txt")
JSON_NAMES = (".json", ".jsonl", ".ndjson")
NAMES = (*TEXTS, ".parquet", ".arrow", ".feather", ".xlsx", ".xlsm", ".ods")
# Names of files that are other than they say, often enough to be looked into.
LOOKED_INTO = (*NAMES, ".xls", ".xlsb", ".xltx", ".xltm", ".numbers", ".et")
HEAD = 4096
AS_XLSX = "open it in the program that wrote it, or in Excel or LibreOffice, and save it as .xlsx or as CSV in UTF-8"
_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF", "a PDF", "`documents` in the card reads it; or export the table as .xlsx"),
    (b"{\\rtf", "a text of a word processor (RTF)", AS_XLSX),
    (b"SQLite format 3", "a database of SQLite", "export the table as CSV or JSON Lines"),
    (b"FEA1", "an old Feather file", "read it with pandas and save it as Parquet"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it"),
    (b"BZh", "packed with bzip2", "unpack it"),
    (b"\xfd7zXZ", "packed with xz", "unpack it"),
    (b"7z\xbc\xaf", "packed with 7-Zip", "unpack it"),
    (b"Rar!", "packed with RAR", "unpack it"),
    (b"\x80\x04\x95", "a pickle of Python, which can hold code", "save it as Parquet or JSON Lines"),
    (b"\x80\x05\x95", "a pickle of Python, which can hold code", "save it as Parquet or JSON Lines"),
    (b"version https://git-lfs", "a pointer of Git LFS and not the file itself", "git lfs pull"),
)
_HTML = re.compile(rb"\s*<(?:!doctype html|html|head|body|table|meta)\b", re.IGNORECASE)
_JSON = re.compile(r'\s*(?:\{\s*(?:"|\}|\Z)|\[\s*(?:[\[{\]"]|\Z))')


def check_name(location: str) -> None:
    """Whether a file may be one of rows, by its name; `.gz` behind it is unpacked.

    Raises:
        BadInputError: it is none that can be read.
    """
    name = without_sheet(location)[0].lower().removesuffix(".gz")
    if Path(name).suffix not in LOOKED_INTO:
        raise BadInputError(
            f"{location} is of no kind that can be read (expected {', '.join(NAMES)}, the texts also with .gz)"
        )


def container_of(file: IO[bytes], path: str) -> Container:
    """What kind of file it is, by how it begins; the file is rewound.

    Raises:
        BadInputError: it is of a kind that is not read; says which, and the way out.
    """
    head = file.read(HEAD)
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        return _of_archive(file, path)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise _refused_old(head + file.read(1 << 20), path)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    for mark, kind, way_out in _REFUSED:
        if head.startswith(mark):
            raise BadInputError(f"{path} is {kind}", hint=way_out)
    text = head.removeprefix(b"\xef\xbb\xbf")
    if b"urn:schemas-microsoft-com:office:spreadsheet" in text:
        raise BadInputError(f"{path} is a table in XML, as Excel 2003 wrote it", hint=AS_XLSX)
    if _HTML.match(text):
        raise BadInputError(f"{path} is an HTML page, as reports are often exported", hint=AS_XLSX)
    return _of_text(head, path)


def _of_archive(file: IO[bytes], path: str) -> Container:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        kind = archive.read("mimetype")[:100] if "mimetype" in names else b""
    file.seek(0)
    low = [name.lower().replace("\\", "/") for name in names]
    if any(name.endswith("workbook.bin") for name in low):
        raise BadInputError(f"{path} is a binary workbook (.xlsb)", hint=AS_XLSX)
    if any(name.endswith("workbook.xml") for name in low):
        return "excel"
    if kind == b"application/vnd.oasis.opendocument.spreadsheet":
        return "ods"
    if "index/document.iwa" in low or any(name.endswith(".iwa") for name in low):
        raise BadInputError(f"{path} is a table of Numbers", hint="in Numbers: File, Export To, Excel or CSV")
    if "word/document.xml" in low:
        raise BadInputError(
            f"{path} is a text of Word", hint="`documents` in the card reads it; or save its table as .xlsx"
        )
    raise BadInputError(
        f"{path} is an archive (ZIP) of {len(names)} files: {', '.join(names[:3])}", hint="unpack it and name the files"
    )


def _refused_old(content: bytes, path: str) -> BadInputError:
    if "EncryptedPackage".encode("utf-16-le") in content:
        return BadInputError(
            f"{path} is a workbook with a password", hint="open it, take the password out (File, Info) and save it"
        )
    return BadInputError(f"{path} is a workbook of Excel 97 to 2003 (.xls)", hint=AS_XLSX)


def _of_text(head: bytes, path: str) -> Container:
    name = without_sheet(path)[0].lower().removesuffix(".gz")
    has_mark = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not name.endswith(TEXTS) and not has_mark and re.search(rb"[\x00-\x08\x0e-\x1a]", head):
        raise BadInputError(
            f"{path} is damaged, or no {Path(name).suffix} file: it begins {head[:20]!r}", hint="get it anew"
        )
    if name.endswith(JSON_NAMES):
        return "json"
    text = head.replace(b"\0", b"").decode("latin-1")  # its ASCII, in any encoding
    return "json" if _JSON.match(text.lstrip("ÿþï»¿")) else "csv"
