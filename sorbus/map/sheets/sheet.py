"""The mapping sheets beside the map: mappings/*.csv and *.xlsx.

Columns: Source System, Source Field, Target System, Target Field, Rule, Notes; in any order and case, others are
ignored. CSV with comma, semicolon or tab, in UTF-8; in a workbook every visible tab that has these columns.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sorbus.errors import Finding
from sorbus.map.sheets.workbook import MOST_COLUMNS, MOST_ROWS, Line, Unreadable, read_workbook
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.field_refs import CANONICAL

COLUMNS: Mapping[str, str] = {
    "sourcesystem": "Source System",
    "sourcefield": "Source Field",
    "targetsystem": "Target System",
    "targetfield": "Target Field",
    "rule": "Rule",
    "notes": "Notes",
}
_NEEDED = ("sourcesystem", "sourcefield", "targetsystem", "targetfield")
_LARGEST = 20_000_000
_LONGEST_CELL = 10_000
_MOST_TITLES = 20
"""Maximum rows above the headings: a title, the sheet's owner, a date."""
_SEPARATOR = re.compile("\ufeff?[\"']?sep=([,;\t])[\"']?\r?\n", re.IGNORECASE)
"""Excel's own first line, which names the delimiter."""

_MEANINGLESS = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")
DOCUMENT = ("Fields", "Systems", "Data types", "Flows", "By hand", "Captured but not delivered")
"""The tabs of a data-flow document (`sorbus map doc`): beside them only its other tabs are mapping sheets."""

Find = Callable[[int, str, str, str], None]


def read_sheets(folder: Path) -> tuple[tuple[FieldMapping, ...], list[Finding]]:
    """Every row of every sheet in `folder`, in the files' and rows' order, and the findings."""
    rows: list[FieldMapping] = []
    findings: list[Finding] = []
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in files:
        if file.suffix.lower() in (".csv", ".xlsx") and not file.name.startswith((".", "~$")):
            found, wrong = read_sheet(file)
            rows += found
            findings += wrong
    return tuple(rows), findings


def read_sheet(file: Path) -> tuple[list[FieldMapping], list[Finding]]:
    """One sheet's rows and findings; never raises because of the content."""
    findings: list[Finding] = []

    def find(line: int, code: str, message: str, fix: str) -> None:
        findings.append(Finding(file, line, message, fix, code))

    try:
        if file.stat().st_size > _LARGEST:
            find(1, "too-large", f"the sheet is larger than {_LARGEST // 1_000_000} MB", "split it up")
            return [], findings
        if file.suffix.lower() == ".csv":
            return list(_rows(file, _csv_lines(file.read_bytes(), find), find)), findings
        rows = [row for name, lines in _tabs(file, find) for row in _rows(name, lines, find)]
    except OSError as error:
        find(1, "unreadable", f"can't read the sheet: {error.strerror}", "fix its permissions, or take it away")
        return [], findings
    return rows, findings


def read_grid(file: Path) -> tuple[list[tuple[str, list[Line]]], list[Finding]]:
    """Any CSV or workbook as tabs ("" for a CSV) of numbered rows, within a mapping sheet's limits; never raises."""
    findings: list[Finding] = []

    def find(line: int, code: str, message: str, fix: str) -> None:
        findings.append(Finding(file, line, message, fix, code))

    tabs: list[tuple[str, Iterable[Line]]] = []
    try:
        if file.stat().st_size > _LARGEST:
            find(1, "too-large", f"the file is larger than {_LARGEST // 1_000_000} MB", "split it up")
        elif file.suffix.lower() == ".xlsx":
            tabs += _workbook(file, find)
        else:
            data = file.read_bytes()
            try:
                data.decode("utf-8-sig")
            except UnicodeDecodeError:  # saved by spreadsheets on Windows
                data = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252", "replace").encode()
            tabs.append(("", _csv_lines(data, find)))
    except OSError as error:
        find(1, "unreadable", f"can't read the file: {error.strerror}", "fix its name or its permissions")
    found: list[tuple[str, list[Line]]] = []
    for title, lines in tabs:
        kept: list[Line] = []
        for number, cells in lines:
            if len(kept) >= MOST_ROWS:
                find(number, "too-large", f"the sheet has more than {MOST_ROWS} rows", "split it up")
                break
            kept.append((number, [_cleaned(cell)[:_LONGEST_CELL] for cell in cells[:MOST_COLUMNS]]))
        found.append((title, kept))
    return found, findings


def _rows(file: Path, lines: Iterable[Line], find: Find) -> Iterator[FieldMapping]:
    header: dict[str, int] = {}
    titles: list[tuple[int, list[str]]] = []
    for count, (number, cells) in enumerate(lines):
        if count >= MOST_ROWS:
            find(number, "too-large", f"the sheet has more than {MOST_ROWS} rows", "split it up")
            return
        texts = [_cleaned(cell) for cell in cells[:MOST_COLUMNS]]
        if not any(texts):
            continue
        if not header:
            if not looks_like_mapping(texts) and len(titles) < _MOST_TITLES:
                titles.append((number, texts))
                continue
            header = _header(texts, number, find)
            if not header:
                return
            continue
        cell = {name: texts[place] if place < len(texts) else "" for name, place in header.items()}
        if any(len(text) > _LONGEST_CELL for text in cell.values()):
            find(number, "too-large", f"a cell has more than {_LONGEST_CELL} characters", "shorten it")
            continue
        systems = cell["sourcesystem"], cell["targetsystem"]
        if not all(systems):
            side = COLUMNS["sourcesystem" if not systems[0] else "targetsystem"]
            find(number, "no-system", f"the row has no {side}", f"write a system of the map, or {CANONICAL}")
            continue
        yield FieldMapping(
            source_system=_system(systems[0]),
            source_field=cell["sourcefield"],
            target_system=_system(systems[1]),
            target_field=cell["targetfield"],
            rule=cell.get("rule", ""),
            notes=cell.get("notes", ""),
            file=file,
            line=number,
        )
    if not header and titles:
        _header(titles[0][1], titles[0][0], find)


def header_of(texts: Sequence[str]) -> dict[str, int]:
    """The indexes of a mapping sheet's columns in a row of headings; empty if a required one is missing."""
    folded = [_folded(text) for text in texts]
    header = {name: folded.index(name) for name in COLUMNS if name in folded}
    return header if all(name in header for name in _NEEDED) else {}


def _header(texts: Sequence[str], number: int, find: Find) -> dict[str, int]:
    folded = [_folded(text) for text in texts]
    header = {name: folded.index(name) for name in COLUMNS if name in folded}
    wrong = False
    if missing := [COLUMNS[name] for name in _NEEDED if name not in header]:
        wrong = True
        fix = f"the first row must hold: {', '.join(COLUMNS.values())}"
        find(number, "no-column", f"the sheet has no column {', '.join(missing)}", fix)
    for name in header:
        if folded.count(name) > 1:
            wrong = True
            find(number, "double-column", f"the column {COLUMNS[name]} is there twice", "delete one of them")
    return {} if wrong else header


def _system(name: str) -> str:
    return CANONICAL if name.lower() == CANONICAL else name


def _csv_lines(data: bytes, find: Find) -> Iterator[Line]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        find(line, "unreadable", f"the sheet is not UTF-8 (byte {error.start})", "save it as CSV UTF-8")
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text), strict=True)
    number = 1
    if _SEPARATOR.match(text):
        number += len([next(reader)])
    try:
        for cells in reader:
            yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        find(
            number,
            "bad-csv",
            f"the row can't be read: {error}",
            "fix the quotes: a quote inside quotes is written twice",
        )


def delimiter_of(text: str) -> str:
    """A CSV's delimiter: comma, semicolon or tab; Excel's first line `sep=;` names it.

    Otherwise the one that occurs most in the headings' line, since titles may precede it.
    """
    if said := _SEPARATOR.match(text):
        return said[1]
    lines = [line for line in text.splitlines() if line.strip()][:_MOST_TITLES]
    parted = [(mark, line.split(mark)) for line in lines for mark in ",;\t"]
    if heads := [mark for mark, cells in parted if looks_like_mapping(cells)]:
        return heads[0]
    return max(",;\t", key=lines[0].count) if lines else ","


def _tabs(file: Path, find: Find) -> Iterator[tuple[Path, list[Line]]]:
    """The visible tabs of a workbook that have a mapping sheet's columns, each under FILE or FILE#TAB.

    Tabs of a data-flow document that are for people are skipped.
    """
    found = _workbook(file, find)
    if not found:
        return
    if {title for title, _ in found}.issuperset(DOCUMENT):
        found = [(title, lines) for title, lines in found if title not in DOCUMENT]
    sheets = [
        (name, lines) for name, lines in found if any(looks_like_mapping(cells) for _, cells in lines[:_MOST_TITLES])
    ]
    if not sheets:
        header = ", ".join(COLUMNS.values())
        find(1, "no-column", "no tab of the workbook has a mapping sheet's columns", f"begin a tab with: {header}")
    for name, lines in sheets:
        tab = name.replace("/", "-")  # which spreadsheets don't allow, and files may hold
        yield (file if len(sheets) == 1 else file.with_name(f"{file.name}#{tab}")), lines


def _workbook(file: Path, find: Find) -> list[tuple[str, list[Line]]]:
    """The visible tabs of a workbook; none, and a finding, if it can't be read."""
    try:
        return read_workbook(file)
    except Unreadable as error:
        find(1, error.code, error.message, error.fix)
        return []


def _cleaned(cell: str) -> str:
    """A cell without surrounding blanks and control characters (which XLSX can't hold)."""
    return _MEANINGLESS.sub("", cell.replace("\r\n", "\n").replace("\r", "\n")).strip()


def looks_like_mapping(cells: Sequence[str]) -> bool:
    """Whether a row holds a mapping sheet's headings, at least half of the required ones."""
    return sum(_folded(cell) in _NEEDED for cell in cells) >= len(_NEEDED) / 2


def _is_head(line: Line) -> bool:
    return looks_like_mapping(line[1])


def _folded(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
