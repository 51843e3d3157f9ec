"""What a cell holds, as a person sees it: text, an exact number, a date; or why it can't be used."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

Cell = object
"""None, str, bool, int, Decimal, date, datetime, time, timedelta, PaddedNumber or UnusableCell."""
_DIGITS = 15
"""Significant digits that spreadsheet programs keep and show."""
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_TO_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b\x0c\x0e-\x1f\r\ufffe\uffff]")
_QUOTED = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h|m|s)[^\]]*\]', re.IGNORECASE)
_DATE_LETTERS, _CLOCK_LETTERS = re.compile(r"[dy]|m", re.IGNORECASE), re.compile(r"[hs]|am/pm", re.IGNORECASE)
_ELAPSED = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_LEAP_BUG = 60
"""The serial number of 29 February 1900, which Excel counts and which never was."""
_LAST_DAY = 2_958_465
_LONGEST_FORMAT = 1000
"""Characters; spreadsheet programs allow 255."""
_SMALLEST = -324
"""The exponent of the smallest number that spreadsheet programs can hold."""
_DAY = timedelta(days=1)


class UnusableCell(NamedTuple):
    """A cell whose value can't be relied on. `words` ends the sentence "the cell ...", and says what to do."""

    reason: str
    words: str


class PaddedNumber(NamedTuple):
    """A number that its format shows with leading zeros: 123 as 00123."""

    number: int
    shown: str


NO_RESULT = UnusableCell(
    "formula without a result",
    "holds a formula whose result isn't in the file: open it in Excel or LibreOffice and save it, so that the results"
    " are stored",
)


def error_cell(code: str) -> UnusableCell:
    """A cell that shows #N/A, #REF! and the like."""
    return UnusableCell("error in the cell", f"shows the error {code[:20]}: correct its formula")


def unreadable_cell(text: str) -> UnusableCell:
    """A cell whose kind says number or date, and whose content is neither."""
    return UnusableCell(
        "no value", f"is marked as a number or a date and holds {text[:50]!r}: write its value again and save the file"
    )


def merged_cell(area: str) -> UnusableCell:
    """A cell that a merged area hides."""
    return UnusableCell(
        "merged cells", f"is a part of the merged cells {area}: unmerge them and fill in each row by itself"
    )


_SHORTENED = re.compile(r"[+-]?[0-9](?:[.,][0-9]{1,5})?E\+[0-9]{2,3}")


def is_shortened(text: str) -> bool:
    """Whether it is a long number as spreadsheet programs export it: 9.78316E+12."""
    return _SHORTENED.fullmatch(text.strip()) is not None


def is_empty(cell: Cell) -> bool:
    """Whether a person sees nothing in it."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def plain(cell: Cell) -> object:
    """The cell for a rule, or for a dead letter: what it shows, without marks of ours."""
    if isinstance(cell, PaddedNumber):
        return cell.shown
    if isinstance(cell, UnusableCell):
        return None
    return _elapsed(cell) if isinstance(cell, timedelta) else cell


def _elapsed(span: timedelta) -> str:
    """30 hours are 30:00:00, not a day and 6 hours."""
    seconds, micros = divmod(abs(span) // timedelta(microseconds=1), 1_000_000)
    fraction = f".{micros:06d}".rstrip("0") if micros else ""
    sign = "-" if span < timedelta() else ""
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


class NumberFormat(NamedTuple):
    """What a number format makes of a number. `kind` "elapsed": hours beyond a day."""

    kind: str
    width: int = 0
    """Of a format of zeros only, 00000: digits shown at least."""


def number_format(code: str) -> NumberFormat:
    """Reads a format such as `dd.mm.yyyy`, `0.00%`, `00000` or `[h]:mm`."""
    first = code[:_LONGEST_FORMAT].split(";")[0]
    bare = _QUOTED.sub("", first)
    if _ELAPSED.search(bare):
        return NumberFormat("elapsed")
    bare = re.sub(r"general|\[[^\]]*\]|e[+-]", "", bare, flags=re.IGNORECASE)
    has_clock = bool(_CLOCK_LETTERS.search(bare))
    if re.search(r"[dy]", bare, re.IGNORECASE) or (not has_clock and _DATE_LETTERS.search(bare)):
        return NumberFormat("moment" if has_clock else "date")
    if has_clock:
        return NumberFormat("clock")
    return NumberFormat("number", len(bare) if len(bare) > 1 and set(bare) == {"0"} else 0)


GENERAL = NumberFormat("number")


def number_cell(text: str, format: NumberFormat, *, is_1904: bool) -> Cell:
    """A stored number as its format shows it. ValueError if it is no number."""
    if format.kind != "number":
        return _moment(float(text), format.kind, is_1904=is_1904)
    if len(text) < _DIGITS and text.isdigit():
        number: int | Decimal = int(text)
    else:
        number = _bounded(Decimal(text))
        if number.adjusted() >= _DIGITS:
            return UnusableCell(
                "more than 15 digits",
                "holds a number of more than 15 digits, of which spreadsheets keep only the first 15: format the cell"
                " as text and write the number again",
            )
        if number == number.to_integral_value():
            number = int(number)
    if format.width and isinstance(number, int) and number >= 0 and len(str(number)) < format.width:
        return PaddedNumber(number, str(number).zfill(format.width))
    return number


def _bounded(number: Decimal) -> Decimal:
    """ValueError if it isn't finite. One that is too large stays as it is: written out, it would fill the memory."""
    if not number.is_finite():
        raise ValueError(number)
    if not number or number.adjusted() < _SMALLEST:
        return Decimal(0)
    return exact(str(number)) if number.adjusted() < _DIGITS else number


def exact(text: str) -> Decimal:
    """The decimal that programs show: stored binary fractions have 17 digits, of which 15 count. ArithmeticError."""
    number = Decimal(text)
    if len(number.as_tuple().digits) > _DIGITS:
        number = Decimal(f"{number:.{_DIGITS - 1}e}")
    return Decimal(format(number, "f")) if number.is_finite() else number


def _moment(serial: float, kind: str, *, is_1904: bool) -> Cell:
    if kind == "elapsed":
        return timedelta(microseconds=round(serial * 86_400_000) * 1000)
    days, millis = divmod(round(serial * 86_400_000), 86_400_000)
    clock = timedelta(milliseconds=millis)
    if kind == "clock" and days == 0:
        return (datetime.min + clock).time()
    if is_1904:
        days += 1462
    if not 0 <= days <= _LAST_DAY or (days == 0 and not is_1904) or days == _LEAP_BUG:
        return UnusableCell(
            "not a date", f"is formatted as a date and holds {serial:g}, which is none: correct the date or the format"
        )
    day = date(1899, 12, 31) + _DAY * (days if days < _LEAP_BUG else days - 1)
    if kind == "date" and not millis:
        return day
    return datetime(day.year, day.month, day.day) + clock


def iso_cell(text: str) -> Cell:
    """A cell that stores its date as ISO 8601. ValueError."""
    if ":" not in text:
        return date.fromisoformat(text)
    return datetime.fromisoformat(text) if "-" in text else time.fromisoformat(text)


def unescaped(text: str) -> str:
    """Text as workbooks store it: _x000D_ is a carriage return."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def escaped(text: str) -> str:
    """The contrary of `unescaped`: what XML can't hold, and what would be taken for an escape."""
    return _TO_ESCAPE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
