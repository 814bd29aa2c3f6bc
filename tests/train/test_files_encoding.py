"""Encodings of files: what is certain is read, a guess is said with a sample, and what is in doubt is refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from locum.adapters.card import Source
from locum.errors import BadInputError
from locum.train.data.encoding import decode, encoding_of, open_text, undecodable
from locum.train.data.files import notes_on, read_rows

GERMAN = [
    ("Wie kündige ich Vertrag 1?", "Schriftlich, an die Geschäftsstelle in Köln."),
    ("Wer prüft Antrag 1?", "Die zuständige Behörde, für Schüler das Schulamt."),
]
SENTENCES = {
    "de": "Die Prüfung der Anträge erfolgt im Büro|Für Schüler und Eltern gilt eine längere Frist|Übergabe am Montag",
    "fr": "Le délai est de trois mois à compter de la réception|L'élève reçoit son certificat à l'école|Où est le reçu",
    "es": "¿Dónde está la oficina?|El niño necesitará la autorización del médico|La acción prescribió según la ley",
    "pl": "Wniosek składa się w urzędzie gminy|Proszę przynieść zaświadczenie lekarskie|Należność dłużnika jest pewna",
    "ru": "Заявление подписывает начальник отдела|Срок подачи документов составляет тридцать дней|Кто лечит пациента",
    "zh-hans": "合同到期后如何续签？|请提前三十天通知对方。|患者每日服用一次，需要复查血压。",
    "zh-hant": "合約到期後如何續簽？|請提前三十天通知對方。|患者每日服用一次，需要複查血壓。",
    "ja": "契約の更新は三十日前までにご連絡ください。|返金にはどのくらいかかりますか？|血圧の薬を飲んでいます。",
    "ko": "계약 만료 후 어떻게 갱신하나요?|환불은 얼마나 걸리나요?|환자는 하루에 한 번 복용합니다.",
}
ENCODINGS = {
    "de": ["cp1252", "mac_roman", "cp850", "utf-16"], "fr": ["cp1252", "iso8859-15", "mac_roman"],
    "es": ["cp1252", "mac_roman", "cp850"], "pl": ["cp1250", "iso8859-2"], "ru": ["cp1251", "koi8-r", "cp866"],
    "zh-hans": ["gb18030", "utf-16-le"], "zh-hant": ["big5", "gb18030"], "ja": ["cp932", "euc_jp", "utf-16-be"],
    "ko": ["cp949"],
}  # fmt: skip
PAIRS = [(language, encoding) for language, encodings in ENCODINGS.items() for encoding in encodings]


def write(path: Path, rows: list[tuple[str, str]], encoding: str) -> str:
    path.write_bytes("".join(f"{a};{b}\r\n" for a, b in [("Frage", "Antwort"), *rows]).encode(encoding))
    return str(path)


def values(location: str, **options: str) -> list[tuple[str, ...]]:
    return [tuple((row.fields or {}).values()) for row in read_rows(location, **options)]  # type: ignore[arg-type]


def test_umlauts_of_windows_stay_umlauts_and_the_guess_is_said_with_a_sample(tmp_path: Path) -> None:
    location = write(tmp_path / "rows.csv", GERMAN, "cp1252")
    assert values(location) == GERMAN
    [note] = notes_on(location)
    assert "read as Windows-1252 (cp1252): 'kündige'" in note
    assert "--encoding" in note


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_a_file_says_of_itself_is_no_guess(tmp_path: Path, encoding: str) -> None:
    location = write(tmp_path / "rows.csv", GERMAN, encoding)
    assert values(location) == GERMAN
    assert notes_on(location) == []


def test_json_lines_in_gbk_are_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes("".join(f'{{"q": "退款{n}要多久？", "a": "七个工作日。"}}\n' for n in range(5)).encode("gbk"))
    assert values(str(file))[0] == ("退款0要多久？", "七个工作日。")
    assert "GB 18030" in notes_on(str(file))[0]


@given(st.sampled_from(PAIRS), st.data())
@settings(max_examples=100, deadline=None)
def test_a_text_is_read_as_it_was_written_or_the_doubt_is_named(pair: tuple[str, str], data: st.DataObject) -> None:
    language, encoding = pair
    sentences = SENTENCES[language].split("|")
    chosen = data.draw(st.lists(st.sampled_from(sentences), min_size=1, max_size=8))
    text = "question,answer\n" + "".join(f'"{each}","{each}"\n' for each in chosen)
    file = io.BytesIO(text.encode(encoding))
    try:
        found = encoding_of(file, "rows.csv")
    except BadInputError as error:
        assert "what it is cannot be told" in str(error)
        assert error.hint is not None
        assert "source.encoding" in error.hint
        return
    read = open_text(file, found).read()
    if read != text:
        assert undecodable(read)
        assert "rows with such bytes are left out" in found.note


def test_two_readings_that_are_equally_likely_are_refused_with_both_and_can_be_set(tmp_path: Path) -> None:
    rows = [("a", "kür"), ("b", "für"), ("c", "wür")]
    location = write(tmp_path / "rows.csv", rows, "mac_latin2")
    content = Path(location).read_bytes().replace("ü".encode("mac_latin2"), b"\x9f")
    Path(location).write_bytes(content.replace(b"a;", "ů;".encode("mac_latin2")))
    with pytest.raises(BadInputError, match=r"cannot be told: .* or ") as caught:
        values(location)
    assert "source.encoding in the card, --encoding" in str(caught.value.hint)
    assert values(location, encoding="mac_latin2")[1] == ("b", "für")


def test_a_few_broken_bytes_in_utf8_cost_their_rows_and_not_the_encoding(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    lines = [f"Prüfung {n},Gebühr {n}\n".encode() for n in range(6)]
    lines[3] = lines[3].replace("ü".encode(), b"\xfc")
    file.write_bytes(b"question,answer\n" + b"".join(lines))
    rows = list(read_rows(str(file)))
    assert [row.fields is None for row in rows] == [False, False, False, True, False, False]
    assert "the byte 0xFC is no text" in rows[3].problem
    assert "read as UTF-8, though 1 line of it (the first is line 5)" in notes_on(str(file))[0]


def test_a_file_of_two_encodings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    lines = [f"Prüfung der Anträge {n},Gebühr für Köln\n".encode("cp1252") for n in range(9)]
    file.write_bytes(b"question,answer\n" + b"".join(lines) + b"".join(lines[:4]).decode("cp1252").encode())
    with pytest.raises(BadInputError, match="mixes encodings: 4 lines are UTF-8, 9 are not"):
        values(str(file))


def test_a_header_that_cannot_be_decoded_is_no_row_that_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"r\xfcck;answer\na;b\nc;d\n")
    with pytest.raises(BadInputError, match="the line of the column names cannot be read"):
        values(str(tmp_path / "rows.csv"))


def test_an_encoding_that_is_none_is_refused_in_a_card() -> None:
    with pytest.raises(ValidationError, match="'utf-9' is no encoding that is known"):
        Source.model_validate({"files": ["rows.csv"], "encoding": "utf-9"})


def test_a_document_in_windows_1252_is_read_so_and_said() -> None:
    text, note = decode("Die Prüfung der Anträge\r\nin Köln".encode("cp1252"), "a.txt")
    assert text == "Die Prüfung der Anträge\nin Köln"
    assert "Windows-1252" in note


@pytest.mark.parametrize(
    "text",
    [
        "# Notice periods – the firm’s\r\n\r\nThe lease of the mill ends with one month of notice.\r\n",
        "question,answer\nWho?,It’s me\n",
        "question,answer\nWhat is the price?,5 €\nHow warm?,20 °C\nWhich law?,§ 5 applies\n",
    ],
)
def test_english_with_the_signs_that_word_processors_put_in_is_windows_1252(text: str) -> None:
    decoded, note = decode(text.encode("windows-1252"), "notice.md")
    assert decoded == text.replace("\r\n", "\n")
    assert note.startswith("not UTF-8; read as Windows-1252 (cp1252): ")
