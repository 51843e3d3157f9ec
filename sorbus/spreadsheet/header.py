"""Where a sheet's header is, and which column each name stands for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sorbus.errors import TransientError
from sorbus.spelling import closest
from sorbus.spreadsheet.cells import Cell, is_empty, plain
from sorbus.spreadsheet.xlsx import Area, Row, column_letter

SEARCHED_ROWS = 50
"""A header is looked for in so many rows with values."""


class Header(NamedTuple):
    """The header's last row, and its names by column (from 0)."""

    row: int
    names: Mapping[int, str]
    columns: Mapping[str, int]
    """Each wanted name that was found -> its column."""

    def is_repeated(self, cells: Sequence[Cell]) -> bool:
        """Whether a row repeats the header, as printed pages do."""
        return all(
            written_name(cells[column] if column < len(cells) else None) == name for column, name in self.names.items()
        )


def written_name(cell: Cell) -> str:
    """A header's text: line breaks and double spaces are one space."""
    text = plain(cell)
    return unicodedata.normalize("NFC", " ".join(str(text).split())) if text is not None else ""


def find_header(
    where: str,
    rows: Sequence[Row],
    required: Iterable[str],
    optional: Sequence[str] = (),
    *,
    row: int | None = None,
    depth: int = 1,
    merged: Sequence[Area] = (),
) -> Header:
    """The first row that has every required name. `row`: said by the map; `depth`: rows that make up a name.

    TransientError names what is missing from the row that has most, or what is there twice.
    """
    wanted = list(dict.fromkeys(required))
    best: tuple[int, Header] | None = None
    by_number = dict(rows)
    widest = max((sum(not is_empty(cell) for cell in cells) for _, cells in rows), default=0)
    for number, cells in rows:
        if row is not None and number != row:
            continue
        names = _names(number, by_number, depth, merged)
        header = Header(number, names, _matched(where, names, wanted, optional))
        found = sum(name in header.columns for name in wanted)
        if wanted and found == len(wanted):
            _require_single(where, names, optional)
            return header
        if not wanted and names and len(names) >= widest and all(isinstance(cell, str | None) for cell in cells):
            return header
        if best is None or found > best[0]:
            best = found, header
    if best is None:
        at = f" in row {row}" if row is not None else ""
        raise TransientError(f"{where} has no header{at}: it is empty, or its names are further down than row 50")
    missing = [name for name in wanted if name not in best[1].columns]
    near = closest(missing[0], best[1].names.values()) if missing else "name the key columns"
    fix = "the mapping sheet"
    if missing and missing[0] in optional:
        fix = "write the data type's rows into the mapping sheet, without it if there is no such column any more"
    raise TransientError(
        f"{where} has no column {', '.join(map(repr, missing))} in row {best[1].row}, which looks most like the header:"
        f" {near}; correct the header, or {fix}"
    )


def _matched(where: str, names: Mapping[int, str], required: Sequence[str], optional: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in [*required, *optional]:
        places = _places(names, name)
        if len(places) > 1 and name in required and all(_places(names, other) for other in required):
            _require_single(where, names, [name])
        if len(places) == 1:
            found[name] = places[0]
    return found


def _places(names: Mapping[int, str], name: str) -> list[int]:
    clean = written_name(name)
    same = [column for column, each in names.items() if each == clean]
    return same or [column for column, each in names.items() if each.casefold() == clean.casefold()]


def _require_single(where: str, names: Mapping[int, str], wanted: Iterable[str]) -> None:
    for name in wanted:
        places = _places(names, name)
        if len(places) > 1:
            letters = " and ".join(column_letter(place + 1) for place in places)
            raise TransientError(
                f"{where} has {'two' if len(places) == 2 else len(places)} columns called {written_name(name)!r}"
                f" ({letters}): rename {'one' if len(places) == 2 else 'all but one'} of them"
            )


def _names(number: int, rows: Mapping[int, Sequence[Cell]], depth: int, merged: Sequence[Area]) -> dict[int, str]:
    """Column -> name, of the rows above first; a merged cell's text counts in all of its columns."""
    width = max((len(rows.get(each, ())) for each in range(number - depth + 1, number + 1)), default=0)
    names = {}
    for column in range(width):
        parts: list[str] = []
        for each in range(number - depth + 1, number + 1):
            row = rows.get(each, ())
            cell = row[column] if column < len(row) else None
            if is_empty(cell):
                cell = _from_merged(each, column + 1, rows, merged) if depth > 1 else None
            part = written_name(cell)
            if part and part not in parts:
                parts.append(part)
        if parts:
            names[column] = " ".join(parts)
    return names


def _from_merged(row: int, column: int, rows: Mapping[int, Sequence[Cell]], merged: Sequence[Area]) -> Cell:
    for area in merged:
        if area.first_row <= row <= area.last_row and area.first_column <= column <= area.last_column:
            cells = rows.get(area.first_row, ())
            return cells[area.first_column - 1] if area.first_column <= len(cells) else None
    return None
