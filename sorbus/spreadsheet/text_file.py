"""Reads CSV, TSV and other delimited text as rows, strictly: a line that can't be split says so."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from sorbus.errors import TransientError
from sorbus.spreadsheet.cells import Cell, UnusableCell
from sorbus.spreadsheet.encoding import find_encoding

DELIMITERS = {";": "semicolon", ",": "comma", "\t": "tab", "|": "bar"}
_LONGEST_CELL = 2_000_000
_SHOWN = 1000
"""Characters of a line that can't be split."""
_CUT_OFF = UnusableCell(
    "a row that is cut off",
    "ends before its last cells, and so does the file: copy it again to its end, or end the row with a line break if it"
    " is complete",
)


class TextForm(NamedTuple):
    """How a text file is written."""

    encoding: str
    delimiter: str


class TextRow(NamedTuple):
    """A row, by its number as a spreadsheet program counts. `fault`: why it can't be used as it is.

    `line`: how one that can't be split into cells begins.
    """

    number: int
    cells: list[Cell]
    fault: UnusableCell | None = None
    line: str = ""


def encoding_of(path: Path, said: str | None) -> str:
    """As the map says, or as the bytes prove. TransientError, OSError."""
    if said is None:
        return find_encoding(path)
    with path.open("rb") as opened:
        head = opened.read(3)
    return "utf-8-sig" if said.lower().replace("-", "") in ("utf8", "utf8sig") or head == b"\xef\xbb\xbf" else said


def declared_delimiter(path: Path, encoding: str) -> str | None:
    """What a first line `sep=;` says, as Excel writes it."""
    with _opened(path, encoding) as opened:
        first = opened.readline(20).strip("\r\n\"'")
    return first[4] if len(first) == 5 and first.lower().startswith("sep=") else None


def text_rows(path: Path, form: TextForm) -> Iterator[TextRow]:
    """Every row that isn't empty. TransientError for a file that isn't in its encoding, OSError."""
    csv.field_size_limit(_LONGEST_CELL)
    number = width = line = 0
    with _opened(path, form.encoding) as opened:
        ends = _Ends(opened)
        reader = csv.reader(ends, delimiter=form.delimiter, strict=True)
        while True:
            number += 1
            ends.first = None
            try:
                cells: list[Cell] = [cell or None for cell in next(reader)]
            except StopIteration:
                return
            except csv.Error:
                begin = (ends.first or "")[:_SHOWN].rstrip("\r\n")
                yield TextRow(number, [], _not_split(line + 1, reader.line_num), begin)
                line = reader.line_num
                continue
            except UnicodeError as error:
                raise TransientError(
                    f"{path.name} isn't in {form.encoding} from row {number} on: say the right `encoding:` under the"
                    " data type's `source:`, or save the file as CSV UTF-8"
                ) from error
            line = reader.line_num
            if number == 1 and len(cells) <= 2 and str(cells[0] if cells else "").lower().startswith("sep="):
                continue
            if any(cell is not None for cell in cells):
                if len(cells) < width and not ends.has_line_end:
                    yield TextRow(number, cells, _CUT_OFF)
                    continue
                width = max(width, len(cells))
                yield TextRow(number, cells)


def _not_split(first: int, last: int) -> UnusableCell:
    lines = f"line {first}" if first >= last else f"lines {first} to {last}"
    return UnusableCell(
        "a row that can't be split",
        f"can't be split into cells ({lines} of the file): a quotation mark inside a cell must be written twice, and"
        " one that opens a cell must close it",
    )


class _Ends:
    """A file's lines, the first one of a row, and whether the last one had an end."""

    def __init__(self, opened: TextIO) -> None:
        self._opened, self.has_line_end = opened, True
        self.first: str | None = None

    def __iter__(self) -> Iterator[str]:
        for line in self._opened:
            self.has_line_end = line.endswith(("\n", "\r"))
            if self.first is None:
                self.first = line
            yield line


def _opened(path: Path, encoding: str) -> TextIO:
    try:
        return path.open(encoding=encoding, newline="")
    except LookupError as error:
        raise TransientError(
            f"{path.name}: no encoding is called {encoding!r}; write one such as utf-8, cp1252 or mac_roman"
        ) from error


def first_rows(path: Path, form: TextForm, count: int) -> Sequence[TextRow]:
    """The first rows, for what has to be found in them."""
    found = []
    for row in text_rows(path, form):
        found.append(row)
        if len(found) >= count:
            break
    return found
