"""Reads an XLSX workbook as a stream of rows, with what a person sees in each cell; bounded in memory and time.

Not openpyxl: it can't tell a formula without a stored result from an empty cell, knows no merged cells while streaming,
and refuses workbooks with styles that Excel accepts (docs/decisions/0075-spreadsheets-are-read-as-people-see-them.md).
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from sorbus.errors import TransientError
from sorbus.spreadsheet.builtin_formats import BUILTIN
from sorbus.spreadsheet.cells import (
    GENERAL,
    NO_RESULT,
    Cell,
    NumberFormat,
    error_cell,
    iso_cell,
    number_cell,
    number_format,
    unescaped,
    unreadable_cell,
)
from sorbus.spreadsheet.xml_part import SAVE_AGAIN, XmlPart, local_name

LARGEST_FILE = 200_000_000
_LARGEST_SHEET = 2_000_000_000
_LARGEST_PART = 200_000_000
"""Bytes of a part that is kept in memory: the texts, the styles."""
_MOST_COLUMNS = 16_384
MOST_ROWS = 1_048_576
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
Row = tuple[int, list[Cell]]
"""Its number as the program shows it, and its cells from column A on."""


class Tab(NamedTuple):
    """A sheet of a workbook; `place` among all of its sheets, from 0."""

    name: str
    is_hidden: bool
    part: str
    place: int


class Area(NamedTuple):
    """Merged cells: rows and columns from 1, both ends included."""

    first_row: int
    first_column: int
    last_row: int
    last_column: int
    name: str


class XlsxFile:
    """An open workbook. Every method raises TransientError, which says what is wrong with the file."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            size = path.stat().st_size
            if size > LARGEST_FILE:
                raise self._error(
                    f"is {size / 1e6:,.0f} MB large, and at most {LARGEST_FILE / 1e6:,.0f} are read", "split it"
                )
            with path.open("rb") as opened:
                head = opened.read(8)
            if head == _OLE:
                raise self._error(
                    "is in the old .xls format, or protected by a password", "save it as .xlsx without a password"
                )
            if not head.startswith(b"PK"):
                raise self._error("isn't an .xlsx workbook, whatever its name says", SAVE_AGAIN)
            self._archive = zipfile.ZipFile(path)
        except OSError as error:
            raise TransientError(f"{self.name} can't be opened: {error.strerror or error}") from error
        except zipfile.BadZipFile as error:
            raise self._error("is cut off or damaged", "wait until it is copied whole, or save it again") from error
        self.tabs: tuple[Tab, ...] = ()
        self.workbook_part = ""
        self.styles_part: str | None = None
        self.is_1904 = False
        self.merged: list[Area] = []
        """Of the sheet that was read to its end."""
        try:
            self._check()
            self._texts: list[str] | None = None
            self._read_workbook()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._archive.close()

    def read(self, part: str) -> bytes:
        """A part, whole."""
        if self._archive.getinfo(part).file_size > _LARGEST_PART:
            raise self._error("is too large to be changed", "split it")
        with self._damaged(part):
            return self._archive.read(part)
        raise AssertionError

    @property
    def infos(self) -> list[zipfile.ZipInfo]:
        """Every part, in order."""
        return self._archive.infolist()

    @property
    def names(self) -> list[str]:
        """Every part's name."""
        return self._archive.namelist()

    def tables_of(self, tab: Tab) -> list[str]:
        """The parts with the sheet's tables."""
        folder, _, file = tab.part.rpartition("/")
        found = self._relations(f"{folder}/_rels/{file}.rels", folder).values()
        return [target for kind, target in found if kind == "table" and target in self.names]

    def rows(self, tab: Tab) -> Iterator[Row]:
        """Every row that has a cell with a value, in order."""
        if self._texts is None:
            self._texts = self._shared_texts()
        self.merged.clear()
        with self._damaged(tab.part, _LARGEST_SHEET) as source:
            number = 0
            for element in source.elements("row", "mergeCell"):
                if local_name(element) == "mergeCell":
                    self.merged.append(area_of(element.get("ref", "")))
                    continue
                number = int(element.get("r") or number + 1)
                cells = self._cells(element)
                if cells:
                    yield number, cells

    def _cells(self, row: ElementTree.Element) -> list[Cell]:
        cells: list[Cell] = []
        column = 0
        for element in row:
            if local_name(element) != "c":
                continue
            place = element.get("r")
            column = column_number(place) if place else column + 1
            value = self._value(element)
            if value is None:
                continue
            if column > _MOST_COLUMNS:
                raise self._error(f"has a cell in column {column}", SAVE_AGAIN)
            cells.extend([None] * (column - 1 - len(cells)))
            cells.append(value) if column > len(cells) else cells.__setitem__(column - 1, value)
        return cells

    def _value(self, cell: ElementTree.Element) -> Cell:
        kind = cell.get("t", "n")
        text, has_formula = None, False
        for inside in cell:
            name = local_name(inside)
            if name == "v":
                text = inside.text
            elif name == "f":
                has_formula = True
            elif name == "is":
                return unescaped(_text_of(inside)) or None
        if text is None or text == "":
            return NO_RESULT if has_formula and kind != "str" else None
        match kind:
            case "s":
                assert self._texts is not None
                return self._texts[int(text)] or None
            case "n" | "d":
                try:
                    if kind == "d":
                        return iso_cell(text)
                    return number_cell(text, self.format_of(cell.get("s")), is_1904=self.is_1904)
                except (ValueError, ArithmeticError):
                    return unreadable_cell(text)
            case "str":
                return unescaped(text)
            case "b":
                return text.strip() in ("1", "true")
            case "e":
                return error_cell(text)
            case _:
                return unescaped(text)

    def format_of(self, style: str | None) -> NumberFormat:
        """What a cell's style makes of numbers."""
        return GENERAL if style is None else self._formats[int(style)] if int(style) < len(self._formats) else GENERAL

    def _read_workbook(self) -> None:
        part = self._target("_rels/.rels", "officeDocument") or "xl/workbook.xml"
        self.workbook_part, base = part, posixpath.dirname(part)
        relations = self._relations(f"{base}/_rels/{posixpath.basename(part)}.rels", base)
        tabs = []
        place = -1
        with self._damaged(part) as source:
            for element in source.elements("workbookPr", "sheet"):
                if local_name(element) == "workbookPr":
                    self.is_1904 = element.get("date1904") in ("1", "true")
                    continue
                place += 1
                id = next((value for name, value in element.attrib.items() if name.endswith("}id")), "")
                kind, target = relations[id]
                if kind == "worksheet":  # not a sheet of a chart
                    is_hidden = element.get("state", "visible") != "visible"
                    tabs.append(Tab(element.get("name", ""), is_hidden, target, place))
        self.tabs = tuple(tabs)
        found = dict(relations.values())
        self._texts_part = found.get("sharedStrings")
        self.styles_part = found.get("styles")
        self._formats = self._read_formats(self.styles_part) if self.styles_part else []

    def _read_formats(self, part: str) -> list[NumberFormat]:
        codes, formats, is_inside = dict(BUILTIN), list[NumberFormat](), False
        with self._damaged(part) as source:
            for element in source.elements("numFmt", "cellXfs"):
                if local_name(element) == "numFmt":
                    codes[int(element.get("numFmtId", "0"))] = element.get("formatCode", "")
                elif not is_inside:
                    is_inside = True
                    formats = [
                        number_format(codes.get(int(each.get("numFmtId") or 0), ""))
                        for each in element
                        if local_name(each) == "xf"
                    ]
        return formats

    def _shared_texts(self) -> list[str]:
        if self._texts_part is None or self._texts_part not in self._archive.namelist():
            return []
        with self._damaged(self._texts_part) as source:
            return [unescaped(_text_of(element)) for element in source.elements("si")]

    def _target(self, part: str, kind: str) -> str | None:
        return next((target for found, target in self._relations(part, "").values() if found == kind), None)

    def _relations(self, part: str, base: str) -> dict[str, tuple[str, str]]:
        """Id -> (kind, part)."""
        if part not in self._archive.namelist():
            return {}
        found = {}
        with self._damaged(part) as source:
            for element in source.elements("Relationship"):
                target = element.get("Target", "")
                target = target[1:] if target.startswith("/") else posixpath.normpath(posixpath.join(base, target))
                found[element.get("Id", "")] = element.get("Type", "").rpartition("/")[2], target
        return found

    def _damaged(self, part: str, largest: int | None = None) -> XmlPart:
        """Bounded by what it is used for: its name is the file's own choice."""
        info = self._archive.NameToInfo.get(part)
        if info is not None and info.file_size > (largest or _LARGEST_PART):
            raise self._error(f"unpacks to {info.file_size / 1e6:,.0f} MB", "split it")
        return XmlPart(self._archive, part, self._error)

    def _check(self) -> None:
        for part in self._archive.infolist():
            if part.flag_bits & 1:
                raise self._error("is protected by a password", "save it without one")

    def _error(self, what: str, fix: str) -> TransientError:
        return TransientError(f"{self.name} {what}: {fix}")


def _text_of(element: ElementTree.Element) -> str:
    """A text, rich or not, without its phonetic reading."""
    parts = []
    for child in element:
        name = local_name(child)
        if name == "t":
            parts.append(child.text or "")
        elif name == "r":
            parts += [inner.text or "" for inner in child if local_name(inner) == "t"]
    return "".join(parts)


def column_number(place: str) -> int:
    """A and A7 are 1."""
    number = 0
    for letter in place:
        if not letter.isalpha():
            break
        number = number * 26 + ord(letter.upper()) - 64
    return number


def column_letter(column: int) -> str:
    """1 is A, 27 is AA."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def area_of(name: str) -> Area:
    """A2:B3, or a single cell."""
    first, _, last = name.replace("$", "").partition(":")
    last = last or first
    row = [int("".join(filter(str.isdigit, end)) or 0) for end in (first, last)]
    return Area(row[0], column_number(first), row[1], column_number(last), name)
