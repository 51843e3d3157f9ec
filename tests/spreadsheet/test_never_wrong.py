"""Whatever a sheet holds, it is read as it was written or refused: never as something else."""

from __future__ import annotations

import csv
import io
import math
import tempfile
import tracemalloc
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.cell import WriteOnlyCell

from sorbus.errors import TransientError
from sorbus.spreadsheet.cells import (
    PaddedNumber,
    UnusableCell,
    escaped,
    number_cell,
    number_format,
    plain,
    unescaped,
)
from sorbus.spreadsheet.encoding import find_encoding
from sorbus.spreadsheet.files import FileStamp
from sorbus.spreadsheet.replace_file import replace_file
from sorbus.spreadsheet.sheet_edit import SheetEdit, Value
from sorbus.spreadsheet.text_edit import TextStyle, edit_text, unshielded, written
from sorbus.spreadsheet.text_file import TextForm, text_rows
from sorbus.spreadsheet.written_values import ORDERS, STYLES, ColumnOfDates, ColumnOfNumbers
from sorbus.spreadsheet.xlsx import XlsxFile
from sorbus.spreadsheet.xlsx_edit import edit_workbook

short = settings(max_examples=60, deadline=None)
NUMBERS = st.decimals(-(10**9), 10**9, places=3).map(lambda number: number.normalize())
LONG_NUMBERS = st.builds(
    lambda digits, places, sign: Decimal(f"{sign}{digits}E-{places}"),
    st.integers(10**28, 10**38 - 1),
    st.integers(0, 38),
    st.sampled_from(["", "-"]),
)
"""As decimal(38, s) has them: more digits than Python's own arithmetic keeps."""
DAYS = st.dates(date(1901, 1, 1), date(2099, 12, 31))
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30)
XML_TEXTS = TEXTS.filter(lambda text: not any(ord(char) < 32 or ord(char) in (0xFFFE, 0xFFFF) for char in text))
FORMATS = {"DMY": "%d/%m/%Y", "MDY": "%m/%d/%Y", "YMD": "%Y/%m/%d"}
ALPHABETS = ("äöüÄÖÜß", "éèàùçêôœÉÀ", "áéíóúñÑ", "čšžřěůĎ", "ąęłńśżŁ", "абвгдЖ", "αβγδΩ", "åøæÅ", "ğışİç")


@short
@given(st.lists(NUMBERS | LONG_NUMBERS, min_size=1, max_size=12), st.sampled_from(STYLES))
def test_a_column_of_numbers(numbers: list[Decimal], style: object) -> None:
    texts = [written(number, TextStyle(style)) for number in numbers]  # type: ignore[arg-type]
    for said in (None, style.name):  # type: ignore[attr-defined]
        column = ColumnOfNumbers(said)
        for row, text in enumerate(texts):
            column.see(text, row)
        for number, text in zip(numbers, texts, strict=True):
            try:
                assert column.read(text) == number, texts
            except ValueError:
                assert said is None, "the map says how it is written"


@given(LONG_NUMBERS)
def test_a_share_keeps_every_digit(number: Decimal) -> None:
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    assert ColumnOfNumbers("1234.56").read(f"{number:f} %") == Decimal((sign, digits, exponent - 2))


@short
@given(st.lists(DAYS, min_size=1, max_size=6), st.sampled_from(ORDERS))
def test_a_column_of_dates(days: list[date], order: str) -> None:
    texts = [f"{day:{FORMATS[order]}}" for day in days]
    column = ColumnOfDates()
    for text in texts:
        column.see(text)
    for day, text in zip(days, texts, strict=True):
        try:
            assert column.read(text) == day, texts
        except ValueError:
            assert order != "YMD"


@short
@given(st.data(), st.sampled_from(["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "mac_roman", "cp850", "utf-8"]))
def test_an_encoding(data: st.DataObject, encoding: str) -> None:
    fitting = [letters for letters in ALPHABETS if _fits(letters, encoding)]
    letters = data.draw(st.sampled_from(fitting))
    small = "".join(char for char in letters if char.islower())
    stem = st.text(st.sampled_from(("abcdeilmnorst" if letters[0] < "Ͱ" else "") + small), min_size=2, max_size=8)
    first = st.sampled_from([*"BDGKMS", *(char for char in letters if char.isupper())])
    words = data.draw(
        st.lists(stem if letters[0] >= "Ͱ" else st.builds(str.__add__, first, stem), min_size=1, max_size=8)
    )
    text = "No;Name\n" + "\n".join(f"1;{word}" for word in words)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        path.write_bytes(text.encode(encoding))
        try:
            found = find_encoding(path)
        except TransientError:
            assert encoding != "utf-8"
            return
        assert path.read_text(found) == text, (encoding, found)


def _fits(letters: str, encoding: str) -> bool:
    try:
        letters.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@given(TEXTS)
def test_escapes_in_workbooks(text: str) -> None:
    assert unescaped(escaped(text)) == text
    assert not any(ord(char) < 32 and char not in "\t\n" for char in escaped(text))


@given(TEXTS.filter(lambda text: not text.startswith("'")))
def test_shields_in_text_files(text: str) -> None:
    shown = written(text, TextStyle(STYLES[0]))
    assert unshielded(shown) == text
    assert not shown.startswith(("=", "@")), "no program runs it"


@pytest.mark.parametrize(
    "text", ["1E+200000000", "1E+99999999999", "-1E+99999999999", "1E-200000000", "0E+99999999999"]
)
@pytest.mark.parametrize("format", ["General", "0.00", "00000"])
def test_a_number_of_any_size_takes_no_memory(text: str, format: str) -> None:
    tracemalloc.start()
    try:
        found = number_cell(text, number_format(format), is_1904=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    if text.startswith(("1E-", "0E")):
        assert plain(found) in (0, "00000")
    else:
        assert isinstance(found, UnusableCell)


CELLS = st.one_of(
    XML_TEXTS,
    st.integers(-(10**14), 10**14),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e14, max_value=1e14),
    st.booleans(),
    DAYS,
    st.datetimes(datetime(1901, 1, 1), datetime(2099, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
    st.none(),
)


@short
@given(st.lists(st.lists(CELLS, min_size=1, max_size=5), min_size=1, max_size=6))
def test_cells_of_a_workbook(rows: list[list[object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.xlsx")
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet()
        for row in rows:
            cells = [WriteOnlyCell(sheet, value) for value in row]
            for cell, value in zip(cells, row, strict=True):
                if isinstance(value, str):
                    cell.data_type = "s"
            sheet.append(cells)
        book.save(path)
        opened = XlsxFile(path)
        found = dict(opened.rows(opened.tabs[0]))
        opened.close()
    for number, row in enumerate(rows, 1):
        cells = found.get(number, [])
        for place, value in enumerate(row):
            cell = cells[place] if place < len(cells) else None
            _same(cell, value)


def _same(cell: object, value: object) -> None:
    match value:
        case None:
            assert cell is None
        case str():
            assert (cell or "") == unescaped(value).replace("\r", "\r")
        case bool() | int():
            assert cell == value
            assert isinstance(cell, bool) == isinstance(value, bool)
        case float():
            assert isinstance(cell, int | Decimal)
            assert math.isclose(float(cell), value, rel_tol=1e-14, abs_tol=1e-300)
        case _:
            assert plain(cell) == value or plain(cell) == datetime.combine(value, time())  # type: ignore[arg-type]


VALUES = st.one_of(XML_TEXTS.filter(bool), st.integers(-(10**12), 10**12), NUMBERS, st.booleans(), DAYS)


@settings(short, max_examples=25)
@given(st.data(), st.integers(1, 5))
def test_edits_of_a_workbook(data: st.DataObject, size: int) -> None:
    """openpyxl reads the cells that were written, and all others as they were."""
    model: dict[int, dict[int, object]] = {1: {0: "No", 1: "A", 2: "B", 3: "Mine"}}
    for number in range(2, size + 2):
        model[number] = {0: f"k{number}", **{at: data.draw(st.one_of(VALUES, st.none())) for at in (1, 2, 3)}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.xlsx")
        _save(path, model)
        before = _load(path)
        edit = SheetEdit(1, size + 1, frozenset({0, 1, 2}))
        for number in data.draw(st.sets(st.integers(2, size + 1))):
            if data.draw(st.booleans()):
                edit.removed.append(number)
                before[number] = {3: before[number].get(3)}
                continue
            edit.changed[number] = {1: data.draw(VALUES)}
            before[number][1] = edit.changed[number][1]
        for place in range(data.draw(st.integers(0, 3))):
            added: dict[int, Value] = {0: f"new{place}", 2: data.draw(VALUES)}
            edit.added.append(added)
            before[size + 2 + place] = dict(added)
        replace_file(path, FileStamp.of(path), lambda into: edit_workbook(path, "Sheet", edit, into))
        after = _load(path)
    for number in before.keys() | after.keys():
        for at in range(4):
            is_value, found = before.get(number, {}).get(at), after.get(number, {}).get(at)
            if isinstance(is_value, Decimal):
                assert isinstance(found, int | float)
                assert math.isclose(found, float(is_value), rel_tol=1e-14), (number, at)
            elif isinstance(is_value, date) and not isinstance(is_value, datetime):
                assert found == datetime.combine(is_value, time()), (number, at)
            else:
                assert (unescaped(found) if isinstance(found, str) else found) == is_value, (number, at)


def _save(path: Path, model: dict[int, dict[int, object]]) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for number, row in model.items():
        for at, value in row.items():
            cell = sheet.cell(number, at + 1)
            cell.value = value  # type: ignore[assignment]
            if isinstance(value, str):
                cell.data_type = "s"
    book.save(path)


def _load(path: Path) -> dict[int, dict[int, object]]:
    sheet = openpyxl.load_workbook(path).worksheets[0]
    return {
        number: {at: cell for at, cell in enumerate(row) if cell is not None}
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1)
        if any(cell is not None for cell in row)
    }


LINES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters="\n\r"), max_size=8)


@short
@given(st.data(), st.sampled_from(";,\t|"), st.sampled_from(["\r\n", "\n", "\r"]))
def test_edits_of_a_text_file(data: st.DataObject, delimiter: str, end: str) -> None:
    rows = data.draw(st.lists(st.lists(LINES, min_size=3, max_size=3), min_size=1, max_size=6))
    rows = [[f"k{number}", *row[1:]] for number, row in enumerate(rows)]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    edit = SheetEdit(1, len(rows), frozenset({0, 1}))
    changed = data.draw(st.sets(st.integers(2, len(rows)))) if len(rows) > 1 else set[int]()
    for number in changed:
        edit.changed[number] = {1: data.draw(LINES)}
    edit.added = [{0: "new", 1: data.draw(LINES)}]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        path.write_bytes(text.getvalue().encode())
        form, style = TextForm("utf-8", delimiter), TextStyle(STYLES[0])
        replace_file(path, FileStamp.of(path), lambda into: edit_text(path, form, edit, style, into))
        after = path.read_bytes().decode()
        wanted = [
            [row[0], written(edit.changed[n][1], style), row[2]] if n in changed else row for n, row in _numbered(rows)
        ]
        wanted.append(["new", written(edit.added[0][1], style)])
        assert list(csv.reader(io.StringIO(after, newline=""), delimiter=delimiter)) == wanted
        assert after.endswith(end)
        kept = [_line(row, delimiter, end) for n, row in _numbered(rows) if n not in changed]
        assert all(line in after for line in kept), "to the byte"
        read = [row.cells for row in text_rows(path, form)]
        assert read == [[cell or None for cell in row] for row in wanted]


def _numbered(rows: list[list[str]]) -> Sequence[tuple[int, list[str]]]:
    return list(enumerate(rows, 1))


def _line(row: list[str], delimiter: str, end: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerow(row)
    return text.getvalue()


@pytest.mark.parametrize(
    ("cell", "shown"),
    [(PaddedNumber(7, "007"), "007"), (UnusableCell("x", "y"), None), (timedelta(hours=-30, seconds=-1), "-30:00:01")],
)
def test_what_a_cell_shows(cell: object, shown: object) -> None:
    assert plain(cell) == shown


def _two_sheets() -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title in ("Prices", "Old prices"):
        tab = book.create_sheet(title)
        tab.append(["No", "Name", "From"])
        tab.append([1, f"of {title}", datetime(2026, 11, 30)])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


TWO_SHEETS = _two_sheets()


@pytest.mark.parametrize("part", zipfile.ZipFile(io.BytesIO(TWO_SHEETS)).namelist())
def test_a_workbook_without_one_of_its_parts_is_read_as_it_was_or_refused(tmp_path: Path, part: str) -> None:
    def rows(content: bytes) -> dict[str, list[object]]:
        (tmp_path / "a.xlsx").write_bytes(content)
        book = XlsxFile(tmp_path / "a.xlsx")
        try:
            return {tab.name: list(book.rows(tab)) for tab in book.tabs}
        finally:
            book.close()

    whole = rows(TWO_SHEETS)
    assert list(whole) == ["Prices", "Old prices"]
    try:
        found = rows(TWO_SHEETS.replace(part.encode(), part.encode()[:-1] + b"_"))
    except TransientError:
        return
    assert found == whole
