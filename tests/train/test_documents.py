"""Documents of each kind become passages, and what cannot be read is said."""

from __future__ import annotations

from pathlib import Path

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.documents import DocumentsCard
from locum.adapters.domains import Domain, load_domain
from locum.errors import BadInputError, NotFoundError
from locum.settings import Settings
from locum.train.data.documents import Documents, passages, read_documents, sections_of
from tests.documents import write_docx, write_pdf

LONG = "Give 5 mg of the drug in the morning, with water."
MARKDOWN = f"""---
title: not a heading
---
Before any heading there is some text.

# Drugs
{LONG}

## *Aspirin* [see](https://example.org)
{LONG} For aspirin.

```
# no heading, but a comment in code
```

Underlined
----------
{LONG} Underlined.

# Else
x
"""


@pytest.fixture
def domain(settings: Settings, domain_folder: Path) -> Domain:
    return load_domain(settings.domains, "legal")


def read(domain: Domain, *files: str, **fields: object) -> Documents:
    documents = DocumentsCard.model_validate({"files": list(files), **fields})
    return read_documents(Domain(domain.card.model_copy(update={"documents": documents}), domain.folder))


def headings(found: Documents) -> list[str]:
    return [passage.heading for passage in found.passages]


def test_markdown_is_cut_at_its_headings_and_a_comment_in_code_is_none(domain: Domain) -> None:
    (domain.folder / "a.md").write_text(MARKDOWN)
    found = read(domain, "a.md")
    assert headings(found) == ["", "Drugs", "Drugs › Aspirin see", "Drugs › Underlined"]
    assert [passage.topic for passage in found.passages] == [None, "Drugs", "Drugs", "Drugs"]
    assert "# no heading, but a comment" in found.passages[2].text
    assert found.short == 1
    assert "title" not in found.passages[0].text
    assert found.passages[1].where == "a.md § Drugs"


def test_html_and_word_keep_their_headings_lists_and_tables_and_lose_scripts(domain: Domain) -> None:
    html = f"<html><head><title>T</title></head><body><script>alert(1)</script><h1>Drugs</h1><p>{LONG}</p>"
    html += "<h2>Doses</h2><ul><li>child_one: 1 mg</li></ul><table><tr><th>a</th></tr><tr><td>250 mg*</td></tr></table>"
    (domain.folder / "a.html").write_text(html)
    write_docx(
        domain.folder / "b.docx", [("Heading1", "Contracts"), ("", LONG), ("Heading2", "Ending"), ("", f"{LONG} Then.")]
    )
    found = read(domain, "*.html", "b.docx")
    assert headings(found) == ["Drugs", "Drugs › Doses", "Contracts", "Contracts › Ending"]
    assert "alert" not in found.passages[0].text
    assert "child_one: 1 mg" in found.passages[1].text
    assert "250 mg*" in found.passages[1].text
    assert found.passages[3].text == f"{LONG} Then."
    assert found.unreadable == []


def test_a_pdf_is_read_page_by_page_and_pages_without_text_are_told(domain: Domain) -> None:
    write_pdf(domain.folder / "a.pdf", [f"{LONG} One.", "", f"{LONG} Three."])
    found = read(domain, "a.pdf")
    assert [(each.heading, each.text) for each in found.passages] == [
        ("page 1", f"{LONG} One."),
        ("page 3", f"{LONG} Three."),
    ]
    assert found.unreadable == ["a.pdf: no text on page 2: scanned?"]


def test_what_cannot_be_read_is_listed_with_its_reason_and_the_rest_is_read(domain: Domain) -> None:
    (domain.folder / "good.txt").write_text(LONG)
    (domain.folder / "empty.md").touch()
    (domain.folder / "blank.md").write_text("\n \n")
    (domain.folder / "binary.md").write_bytes(b"PK\0\1\2" * 50)
    (domain.folder / "damaged.docx").write_bytes(b"PK\3\4 no zip")
    (domain.folder / "damaged.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    (domain.folder / "picture.png").write_bytes(b"\x89PNG")
    write_pdf(domain.folder / "scan.pdf", ["", ""])
    locked = pypdf.PdfWriter(clone_from=write_pdf(domain.folder / "plain.pdf", [LONG]))
    locked.encrypt("secret", algorithm="RC4-128")
    locked.write(domain.folder / "locked.pdf")
    (domain.folder / "plain.pdf").unlink()
    found = read(domain, "*.txt", "*.md", "*.docx", "*.pdf", "*.png")
    assert [passage.file for passage in found.passages] == ["good.txt"]
    reasons = dict(line.split(": ", 1) for line in found.unreadable)
    assert set(reasons) == {
        "empty.md", "blank.md", "binary.md", "damaged.docx", "damaged.pdf", "picture.png", "scan.pdf", "locked.pdf"
    }  # fmt: skip
    for file, reason in (
        ("empty.md", "is empty"),
        ("blank.md", "holds no text"),
        ("binary.md", "is damaged"),
        ("damaged.docx", "BadZipFile"),
        ("damaged.pdf", "cannot be read"),
        ("picture.png", "expected .md"),
        ("scan.pdf", "no text on its 2 pages: scanned?"),
        ("locked.pdf", "password"),
    ):
        assert reason in reasons[file]


def test_documents_of_which_none_can_be_read_or_is_there_are_refused(domain: Domain) -> None:
    write_pdf(domain.folder / "scan.pdf", [""])
    with pytest.raises(BadInputError, match=r"(?s)hold no passage.*scan\.pdf: holds no text") as caught:
        read(domain, "scan.pdf")
    assert "OCR" in str(caught.value.hint)
    with pytest.raises(NotFoundError, match=r"nowhere\.md"):
        read(domain, "nowhere.md")
    with pytest.raises(BadInputError, match="names no documents") as caught:
        read_documents(domain)
    assert "--synthetic" in str(caught.value.hint)


def test_personal_data_do_not_reach_a_passage_unless_the_card_keeps_them(domain: Domain) -> None:
    text = "# Of anna.muster@example.org\nWrite to anna.muster@example.org when the fever is above 39 degrees."
    (domain.folder / "a.md").write_text(text)
    assert read(domain, "a.md").passages[0].where == "a.md § Of <EMAIL>"
    assert "Write to <EMAIL> when" in read(domain, "a.md").passages[0].text
    keeping = domain.card.cleaning.model_copy(update={"personal": "keep"})
    kept = Domain(domain.card.model_copy(update={"cleaning": keeping}), domain.folder)
    assert "anna.muster@" in read(kept, "a.md").passages[0].text


@given(st.text(alphabet="ab .!?。\n#", max_size=400), st.integers(5, 80))
def test_no_passage_is_too_long_and_none_of_the_text_is_lost(text: str, limit: int) -> None:
    found = list(passages(text, limit))
    assert all(0 < len(passage) <= limit for passage in found)
    assert "".join("".join(found).split()) == "".join(text.split())


@given(st.text(alphabet="ab#=-`~| \n", max_size=200))
def test_whatever_markdown_there_is_each_letter_is_in_a_section_or_in_a_heading(text: str) -> None:
    sections = list(sections_of(f"first line\n{text}"))
    said = "".join([section.text + section.path[-1] if section.path else section.text for section in sections])
    assert all(said.count(letter) >= text.count(letter) for letter in "ab")


def test_a_long_section_is_cut_between_paragraphs_first_and_sentences_next() -> None:
    assert list(passages("One two.\n\nThree four. Five.", 14)) == ["One two.", "Three four.", "Five."]
    assert list(passages("一二三。四五六。", 4)) == ["一二三。", "四五六。"]
    assert list(passages("x" * 25, 10)) == ["x" * 10, "x" * 10, "x" * 5]
