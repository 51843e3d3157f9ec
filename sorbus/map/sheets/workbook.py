"""Reads an XLSX workbook as rows of text, within limits: any file gives rows or a one-sentence error."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sorbus.spreadsheet.xlsx import XlsxFile

if TYPE_CHECKING:
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

MOST_ROWS = 100_000
MOST_COLUMNS = 256
_MOST_BLANK = 1_000
_MOST_CELLS = 2_000_000
_LARGEST_UNPACKED = 200_000_000
_LARGEST_PART = 30_000_000
"""Maximum bytes of a part that is read whole, such as the shared strings; tabs are streamed."""
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_SAVE_AGAIN = "open it and save it again as .xlsx"

Line = tuple[int, Sequence[str]]


class Unreadable(Exception):
    """A file that isn't a readable workbook: the error, its `code`, and the fix."""

    def __init__(self, code: str, message: str, fix: str) -> None:
        self.code, self.message, self.fix = code, message, fix
        super().__init__(message)


def read_workbook(file: Path) -> list[tuple[str, list[Line]]]:
    """The visible tabs by title with their numbered rows, at most MOST_ROWS + 1. Unreadable, OSError.

    openpyxl streams the rows; calamine is faster but allocates the whole used range at once, so that one cell in the
    last corner of a tab (a file of 5 kB) ends the process.
    """
    from openpyxl import load_workbook

    with file.open("rb") as opened:
        head = opened.read(8)
        if head == _OLE:
            raise Unreadable(
                "unreadable",
                "the file is not an .xlsx workbook: it is in the old .xls format, or protected by a password",
                "save it as .xlsx, without a password",
            )
        if not head.startswith(b"PK"):
            raise Unreadable("unreadable", "the file is not an .xlsx workbook, whatever its name says", _SAVE_AGAIN)
    try:
        with zipfile.ZipFile(file) as archive:
            _check(archive)
        _check_tabs(file)
        workbook = load_workbook(file, read_only=True, data_only=True)
        try:
            return [(tab.title, list(_lines(tab))) for tab in workbook.worksheets if tab.sheet_state == "visible"]
        finally:
            workbook.close()
    except (Unreadable, PermissionError):
        raise
    # Any exception: a damaged archive fails in zlib, zipfile, expat or openpyxl, with some thirty types of errors.
    except Exception as error:
        raise Unreadable("unreadable", "the workbook is damaged and can't be read", _SAVE_AGAIN) from error


def _check(archive: zipfile.ZipFile) -> None:
    """Rejects encrypted files, and those too large to read, before anything is decompressed."""
    parts = archive.infolist()
    texts = [part for part in parts if part.filename.endswith((".xml", ".rels"))]
    whole = [part.file_size for part in texts if "/worksheets/" not in part.filename]
    if sum(part.file_size for part in parts) > _LARGEST_UNPACKED or max(whole, default=0) > _LARGEST_PART:
        raise Unreadable("too-large", "the workbook unpacks to too much", "keep only the mapping in it")
    if any(part.flag_bits & 1 for part in parts):
        raise Unreadable("unreadable", "the workbook is protected by a password", "save it without one")
    for part in texts:
        with archive.open(part) as opened:
            if b"<!DOCTYPE" in opened.read(2_000).replace(b"\0", b""):
                message = f"{part.filename} in the workbook declares entities (DOCTYPE)"
                raise Unreadable("unreadable", message, _SAVE_AGAIN)


def _check_tabs(file: Path) -> None:
    """Rejects a file that lacks a tab which it names: openpyxl leaves it out without a word."""
    book = XlsxFile(file)
    try:
        lost = [tab.name for tab in book.tabs if tab.part not in book.names]
    finally:
        book.close()
    if lost:
        raise Unreadable("unreadable", f"the workbook is damaged: its tab {lost[0]} can't be read", _SAVE_AGAIN)


def _lines(tab: ReadOnlyWorksheet) -> Iterator[Line]:
    tab.reset_dimensions()
    blank = kept = seen = 0
    rows = tab.iter_rows(max_col=MOST_COLUMNS, values_only=True)  # type: ignore[misc] # the stub asks for a Worksheet
    for number, cells in enumerate(rows, start=1):
        seen += len(cells)
        if seen > _MOST_CELLS:
            raise Unreadable("too-large", f"the tab {tab.title} has too many cells", "keep only the mapping in it")
        if all(cell is None for cell in cells):
            blank += 1
            if blank > _MOST_BLANK:
                return
            continue
        blank = 0
        kept += 1
        yield number, [_text(cell) for cell in cells]
        if kept > MOST_ROWS:
            return


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell)
