"""Changes cells of a delimited text file; every line that isn't concerned stays as it was, to the byte."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, NamedTuple, TextIO

from sorbus.errors import PermanentError
from sorbus.mapping.filters.text import as_text
from sorbus.spreadsheet.sheet_edit import Cells, SheetEdit, Value
from sorbus.spreadsheet.text_file import TextForm
from sorbus.spreadsheet.written_values import NumberStyle

_FORMULA = re.compile(r"[=+\-@\t\r]")
_HARMLESS = re.compile(r"[+-][0-9][0-9 ()/.,'’-]*")
"""Numbers and telephone numbers."""
_SHIELDED = re.compile(r"'(?=[=+\-@\t\r])")


class TextStyle(NamedTuple):
    """How values are written. `dates` is a strftime format; empty: ISO 8601."""

    numbers: NumberStyle
    dates: str = ""


def written(value: Value, style: TextStyle) -> str:
    """A value as text. Text that a program would run as a formula begins with an apostrophe."""
    match value:
        case None:
            return ""
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | Decimal():
            return _number(value, style.numbers)
        case datetime():
            return value.isoformat(sep=" ")
        case date():
            return value.strftime(style.dates) if style.dates else value.isoformat()
        case _:
            text = str(value)
            return f"'{text}" if _FORMULA.match(text) and not _HARMLESS.fullmatch(text) else text


def unshielded(text: str) -> str:
    """Without the apostrophe that `written` puts before what looks like a formula."""
    return _SHIELDED.sub("", text, count=1) if _SHIELDED.match(text) else text


def _number(value: int | Decimal, style: NumberStyle) -> str:
    text = as_text(value)
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, mark, fraction = digits.partition(".")
    if style.group and len(whole) > 3:
        whole = f"{int(whole):,}".replace(",", style.group)
    return f"{sign}{whole}{style.point if mark else ''}{fraction}"


def require_encodable(text: str, encoding: str, file: str) -> None:
    """PermanentError where the file's encoding lacks a letter."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        letter = text[error.start : error.start + 1]
        raise PermanentError(
            f"{file} is in {encoding}, which has no {letter!r}: save the file as CSV UTF-8, or shorten the value by a"
            " rule",
            reason="a letter that the file can't hold",
        ) from error


class _Lines:
    """A file's lines, and those that the row being read was made of."""

    def __init__(self, opened: TextIO) -> None:
        self._opened = opened
        self._taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._opened:
            self._taken.append(line)
            yield line

    def take(self) -> str:
        """The text of the row that was read last."""
        taken, self._taken = "".join(self._taken), []
        return taken


def edit_text(path: Path, form: TextForm, edit: SheetEdit, style: TextStyle, into: IO[bytes]) -> None:
    """Writes the file with the changes. OSError."""
    removed = frozenset(edit.removed)
    end = ""
    out = io.TextIOWrapper(into, form.encoding, newline="", write_through=True)
    number, has_end = 0, True
    with path.open(encoding=form.encoding, newline="") as opened:
        lines = _Lines(opened)
        reader = csv.reader(lines, delimiter=form.delimiter, strict=True)
        while True:
            number += 1
            cells: list[str] | None
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error:
                cells = None
            raw = lines.take()
            end = end or _end_of(raw)
            row = _edited(number, cells, edit, style, removed) if cells is not None else None
            if row is None:
                out.write(raw)
                has_end = raw.endswith(("\n", "\r"))
            elif row:
                out.write(_line(row, form.delimiter, end))
                has_end = True
    end = end or _end_of("")
    if not has_end and edit.added:
        out.write(end)
    for added in edit.added:
        out.write(_line(_with([], added, style), form.delimiter, end))
    out.flush()
    out.detach()


def _edited(
    number: int, cells: list[str], edit: SheetEdit, style: TextStyle, removed: frozenset[int]
) -> list[str] | None:
    """The row's new cells; none: it goes; None: it stays as it is."""
    if number in edit.changed:
        return _with(cells, edit.changed[number], style)
    if number == edit.header and edit.headings:
        return _with(cells, edit.headings, style)
    if number not in removed:
        return None
    kept = ["" if column in edit.own else cell for column, cell in enumerate(cells)]
    return kept if any(cell.strip() for cell in kept) else []


def _with(cells: Sequence[str], changes: Cells, style: TextStyle) -> list[str]:
    made = [*cells, *[""] * (max(changes, default=-1) + 1 - len(cells))]
    for column, value in changes.items():
        made[column] = written(value, style)
    return made


def _line(cells: Sequence[str], delimiter: str, end: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerow(cells)  # quotes each letter of its own end
    return text.getvalue().removesuffix("\r\n") + end


def _end_of(line: str) -> str:
    return line[-1] if line.endswith(("\n", "\r")) and not line.endswith("\r\n") else "\r\n"
