"""Real documents of each kind, made for the tests."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

TYPES = """<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/word/document.xml"
 ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"""
RELATIONS = """<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Target="word/document.xml"
 Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/></Relationships>"""
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def write_docx(path: Path, paragraphs: Sequence[tuple[str, str]]) -> Path:
    """A Word document; each paragraph is a style, such as Heading1, and a text."""
    body = "".join(
        f"<w:p>{f'<w:pPr><w:pStyle w:val={style!r}/></w:pPr>' if style else ''}<w:r><w:t>{text}</w:t></w:r></w:p>"
        for style, text in paragraphs
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("[Content_Types].xml", TYPES)
        file.writestr("_rels/.rels", RELATIONS)
        file.writestr("word/document.xml", f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>')
    return path


def write_pdf(path: Path, pages: Sequence[str]) -> Path:
    """A PDF with a page for each text; a page without text is one as a scanner makes it."""
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    with PdfPages(path) as pdf:
        for text in pages:
            figure = Figure(figsize=(6, 4))
            if text:
                figure.text(0.05, 0.5, text)
            else:
                figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[]).imshow([[0, 1], [1, 0]])
            pdf.savefig(figure)
    return path


SENTENCE = "Store {name} below 8 degrees, and discard it 28 days after it was opened. "


def write_guidelines(folder: Path, sections: int, *, name: str = "guideline.md") -> Path:
    """A Markdown document with so many sections, each about another drug."""
    parts = [f"## Drug {n}\n\n{SENTENCE.format(name=f'drug {n}')}\n" for n in range(sections)]
    file = folder / name
    file.write_text("# Storage\n\n" + "\n".join(parts), encoding="utf-8")
    return file
