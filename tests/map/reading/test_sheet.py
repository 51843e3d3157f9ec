"""Mapping sheets as people keep them."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from sorbus.map.sheets.sheet import COLUMNS, read_grid, read_sheet, read_sheets
from sorbus.mapfile.model import FieldMapping

HEAD = ",".join(COLUMNS.values())
# What XLSX can't hold (XML 1.0) is left out of CSV sheets too.
CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=30).map(
    str.strip
)
ROWS = st.lists(
    st.tuples(CELLS.filter(bool), CELLS, CELLS.filter(bool), CELLS, CELLS, CELLS).filter(
        lambda row: "canonical" not in (row[0].lower(), row[2].lower())
    ),
    max_size=8,
)


def _sheet(folder: Path, text: str, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_bytes(text.encode("utf-8"))
    return file


def _cells(row: FieldMapping) -> tuple[str, ...]:
    return (row.source_system, row.source_field, row.target_system, row.target_field, row.rule, row.notes)


@given(rows=ROWS, delimiter=st.sampled_from(",;\t"), mark=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_csv_sheet_is_written_from_is_what_is_read(
    tmp_path: Path, rows: list[tuple[str, ...]], delimiter: str, mark: bool
) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([list(COLUMNS.values()), *rows])
    file = _sheet(tmp_path, ("\ufeff" if mark else "") + stream.getvalue())

    found, findings = read_sheet(file)

    assert findings == []
    assert [_cells(row) for row in found] == rows
    assert [row.line for row in found] == list(range(2, len(rows) + 2))


@given(data=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".xlsx"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_rows_or_findings(tmp_path: Path, data: bytes, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(data)

    read_sheet(file)


def test_columns_may_come_in_any_order_and_case_with_others_between(tmp_path: Path) -> None:
    text = "Owner;TARGET_FIELD;target  system;Source Field;sourcesystem\nAnna;customer.name;Canonical;customers.n;crm\n"

    rows, findings = read_sheet(_sheet(tmp_path, text))

    assert findings == []
    assert _cells(rows[0]) == ("crm", "customers.n", "canonical", "customer.name", "", "")


def test_a_row_is_known_by_the_line_it_begins_in(tmp_path: Path) -> None:
    text = f'{HEAD}\na,b,c,d,"value\n| trim",\n\n,,,,,\ne,f,g,h,,\n'

    rows, _ = read_sheet(_sheet(tmp_path, text))

    assert [(row.line, row.rule) for row in rows] == [(2, "value\n| trim"), (6, "")]


def test_a_workbook_is_read_tab_by_tab(tmp_path: Path) -> None:
    book = Workbook()
    book.active.title = "Customers"  # type: ignore[union-attr]
    for name in ("Customers", "Orders"):
        tab = book[name] if name in book.sheetnames else book.create_sheet(name)
        tab.append(list(COLUMNS.values()))
        tab.append([])
        tab.append(["crm", 7.0, "canonical", f"{name}.x", None, "n"])
    book.create_sheet("Notes").append(["Something else"])
    book.create_sheet("Hidden").append(list(COLUMNS.values()))
    book["Hidden"].append(["a", "b", "c", "d"])
    book["Hidden"].sheet_state = "hidden"
    book.save(tmp_path / "m.xlsx")

    rows, findings = read_sheets(tmp_path)

    assert findings == []
    assert [(row.file.name, row.line, *_cells(row)) for row in rows] == [
        ("m.xlsx#Customers", 3, "crm", "7", "canonical", "Customers.x", "", "n"),
        ("m.xlsx#Orders", 3, "crm", "7", "canonical", "Orders.x", "", "n"),
    ]


def test_a_cell_in_the_last_corner_of_a_tab_does_no_harm(tmp_path: Path) -> None:
    book = Workbook()
    tab = book.active
    assert tab is not None
    tab.append(list(COLUMNS.values()))
    tab.append(["a", "b", "c", "d"])
    tab["XFD1048576"] = "x"
    book.save(tmp_path / "bomb.xlsx")

    rows, findings = read_sheet(tmp_path / "bomb.xlsx")

    assert [_cells(row)[:4] for row in rows] == [("a", "b", "c", "d")]
    assert findings == []


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("Source System,Source Field,Target System\na,b,c\n", 1, "no-column"),
        (f"{HEAD},rule\n", 1, "double-column"),
        (f"{HEAD}\n,f,canonical,customer.name,,\n", 2, "no-system"),
        (f"{HEAD}\na,b,c,d,,{'x' * 10_001}\n", 2, "too-large"),
        (f'{HEAD}\na,b,c,d,,\ne,"f" g,h,i,,\n', 3, "bad-csv"),
    ],
)
def test_a_fault_in_a_sheet_is_found_with_its_line(tmp_path: Path, text: str, line: int, code: str) -> None:
    _, findings = read_sheet(_sheet(tmp_path, text))

    assert [(finding.line, finding.code) for finding in findings] == [(line, code)]
    assert all(finding.fix for finding in findings)


def test_a_sheet_in_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(f"{HEAD}\na,b,c,d,,".encode() + b"Caf\xe9\n")

    _, findings = read_sheet(file)

    assert [(finding.line, finding.fix) for finding in findings] == [(2, "save it as CSV UTF-8")]


def test_a_workbook_that_is_none_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"not a zip")

    assert [finding.code for finding in read_sheets(tmp_path)[1]] == ["unreadable"]


def test_no_mappings_folder_is_no_fault(tmp_path: Path) -> None:
    assert read_sheets(tmp_path / "mappings") == ((), [])


def _workbook(title: str = "Sheet") -> bytes:
    book = Workbook()
    tab = book.active
    assert tab is not None
    tab.title = title
    tab.append(list(COLUMNS.values()))
    for number in range(20):
        tab.append(
            ["crm", f"customers.f{number}", "canonical", f"customer.f{number}", "value | trim", f"note {number}"]
        )
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


SOUND = _workbook()
SHEET = "xl/worksheets/sheet1.xml"


def _with(name: str, change: Callable[[bytes], bytes]) -> bytes:
    """The sound workbook with one of its parts changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(SOUND)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            content = old.read(part)
            new.writestr(part.filename, change(content) if part.filename == name else content)
    return out.getvalue()


def _spoilt(name: str, method: int | None = None) -> bytes:
    """The sound workbook with the first bytes of a part's compressed stream overwritten, or its method changed."""
    data = bytearray(SOUND)
    with zipfile.ZipFile(io.BytesIO(SOUND)) as archive:
        at = archive.getinfo(name).header_offset
        central = SOUND.index(b"PK\x01\x02", archive.start_dir)
    while SOUND[central + 46 : central + 46 + len(name)] != name.encode():
        central = SOUND.index(b"PK\x01\x02", central + 4)
    if method is None:
        data[at + 30 + len(name) : at + 38 + len(name)] = b"\xff" * 8
    elif method < 0:  # the bit that says "encrypted"
        data[at + 6] |= 1
        data[central + 8] |= 1
    else:
        data[at + 8 : at + 10] = data[central + 10 : central + 12] = method.to_bytes(2, "little")
    return bytes(data)


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
)
MANY_ROWS = b'<row><c t="inlineStr"><is><t>x</t></is></c></row>' * 150_000
HOSTILE: dict[str, bytes] = {
    "a damaged stream": _spoilt(SHEET),
    "damaged styles": _spoilt("xl/styles.xml"),
    "a method nobody knows": _spoilt(SHEET, 99),
    "a method that is not deflate": _spoilt(SHEET, 14),
    "a password": _spoilt(SHEET, -1),
    "an old workbook": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600),
    "half of it": SOUND[: len(SOUND) // 2],
    "all but its end": SOUND[:-20],
    "nothing": b"",
    "a zip that is no workbook": (lambda out: (zipfile.ZipFile(out, "w").close(), out.getvalue())[1])(io.BytesIO()),
    "entities": _with(SHEET, lambda old: LAUGHS + b"]>" + old.partition(b"?>")[2]),
    "entities in UTF-16": _with(SHEET, lambda old: (LAUGHS.decode() + "]><x/>").encode("utf-16")),
    "no markup": _with(SHEET, lambda _: b"\x00" * 1000),
    "half the markup": _with(SHEET, lambda old: old[: len(old) // 2]),
    "rows without end": _with(SHEET, lambda old: old.replace(b"</sheetData>", MANY_ROWS + b"</sheetData>")),
    "a part that unpacks to much": _with("xl/styles.xml", lambda _: b" " * 31_000_000),
    "a tab of another kind": _with("xl/workbook.xml", lambda old: old.replace(b'state="visible"', b'state="odd"')),
    "a row number that is none": _with(SHEET, lambda old: old.replace(b'r="3"', b'r="x"')),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_workbook_that_can_not_be_read_is_a_finding_with_a_fix(tmp_path: Path, what: str) -> None:
    file = tmp_path / "a.xlsx"
    file.write_bytes(HOSTILE[what])

    _, findings = read_sheet(file)
    _, of_grid = read_grid(file)

    for found in (findings, of_grid):
        assert [(finding.line > 0, bool(finding.message), bool(finding.fix)) for finding in found] == [(True,) * 3]
        assert "Error" not in found[0].message


def test_a_password_and_an_old_workbook_are_named(tmp_path: Path) -> None:
    for what in ("a password", "an old workbook"):
        (tmp_path / "a.xlsx").write_bytes(HOSTILE[what])
        (finding,) = read_sheet(tmp_path / "a.xlsx")[1]
        assert "password" in finding.message
        assert "without" in finding.fix


@pytest.mark.parametrize("part", zipfile.ZipFile(io.BytesIO(SOUND)).namelist())
def test_a_workbook_without_one_of_its_parts_is_all_its_rows_or_a_finding(tmp_path: Path, part: str) -> None:
    (tmp_path / "a.xlsx").write_bytes(SOUND)
    whole = read_sheet(tmp_path / "a.xlsx")[0]
    (tmp_path / "a.xlsx").write_bytes(SOUND.replace(part.encode(), part.encode()[:-1] + b"_"))
    rows, findings = read_sheet(tmp_path / "a.xlsx")
    assert rows == whole or findings


@given(at=st.integers(0, len(SOUND) - 1), put=st.binary(min_size=1, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_a_workbook_with_any_bytes_changed_is_rows_or_findings(tmp_path: Path, at: int, put: bytes) -> None:
    file = tmp_path / "a.xlsx"
    file.write_bytes(SOUND[:at] + put + SOUND[at + len(put) :])

    rows, findings = read_sheet(file)
    read_grid(file)

    assert rows or findings


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_a_csv_with_any_text_in_a_cell_is_rows_or_findings(tmp_path: Path, text: str) -> None:
    read_sheet(_sheet(tmp_path, f"{HEAD}\ncrm,{text},canonical,customer.name,,\0\n"))


def test_a_tab_named_like_a_folder_is_read(tmp_path: Path) -> None:
    data = _with("xl/workbook.xml", lambda old: old.replace(b'name="Sheet"', b'name="a/b"'))
    (tmp_path / "a.xlsx").write_bytes(data)
    other = Workbook()
    other.save(tmp_path / "b.xlsx")

    rows, findings = read_sheets(tmp_path)

    assert len(rows) == 20
    assert [finding.file.name for finding in findings] == ["b.xlsx"]


@pytest.mark.parametrize(
    "above",
    [
        "sep=;\r\n",
        '"sep=;"\n',
        "\ufeffsep=;\n",
        "Field mapping CRM;;;\nKept by Finance, since 2024\n\n",
        "a,b,c,d,e,f,g,h\n",
    ],
)
def test_what_excel_and_people_write_above_the_headings_is_passed_over(tmp_path: Path, above: str) -> None:
    rows, findings = read_sheet(
        _sheet(tmp_path, f"{above}{HEAD.replace(',', ';')}\ncrm;a;canonical;customer.name;value;\n")
    )

    assert findings == []
    assert [(_cells(row), row.line) for row in rows] == [
        (("crm", "a", "canonical", "customer.name", "value", ""), above.count("\n") + 2)
    ]


def test_titles_above_the_headings_of_a_workbook_are_passed_over(tmp_path: Path) -> None:
    book = Workbook()
    assert book.active is not None
    for cells in (["Field mapping"], [], HEAD.split(","), ["crm", "a", "canonical", "customer.name", "value", ""]):
        book.active.append(cells)
    book.save(tmp_path / "a.xlsx")

    rows, findings = read_sheet(tmp_path / "a.xlsx")

    assert findings == []
    assert [row.line for row in rows] == [4]


def test_a_sheet_of_titles_only_is_a_finding(tmp_path: Path) -> None:
    rows, findings = read_sheet(_sheet(tmp_path, "Field mapping\nof Finance\n"))

    assert rows == []
    assert [found.code for found in findings] == ["no-column"]
