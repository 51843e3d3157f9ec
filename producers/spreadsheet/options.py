"""A data type's `source:` when its system of record is a spreadsheet."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sorbus.mapping.filters.moment import zone
from sorbus.spreadsheet.files import SUFFIXES
from sorbus.spreadsheet.sheet_rows import SheetForm
from sorbus.spreadsheet.written_values import Order, styles_named
from sorbus.timing.schedule import parse_timing


def _every(text: str) -> str:
    if parse_timing(text).every is None:
        raise ValueError(f"{text!r}: write every 10s (s, m, h or d)")
    return text


def _style(name: str | None) -> str | None:
    styles_named(name)
    return name


def _zone(name: str) -> str:
    if name:
        zone(name)
    return name


Decimals = Annotated[str | None, AfterValidator(_style)]
_DECIMALS = "How numbers are written as text: 1,234.56 or 1.234,56 or 1'234.56; default: what the whole column shows."
_DATES = "Order of dates written as text: DMY, MDY or YMD; default: what the whole column shows."


class ColumnOptions(BaseModel):
    """How one column is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decimals: Decimals = Field(default=None, description=_DECIMALS)
    dates: Order | None = Field(default=None, description=_DATES)


class SpreadsheetSource(BaseModel):
    """In which file and sheet a data type's records are, and what can't be told from the file itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1, description="A file of the folder: customers.xlsx, or a pattern: orders-*.csv.")
    sheet: str | tuple[str, ...] = Field(
        default=(), description="A sheet of the workbook, or a list of them; * is every visible one."
    )
    key: tuple[str, ...] = Field(min_length=1, description="The columns that identify a record.")
    files: Literal["all", "newest", "last"] = Field(
        default="all",
        description="Which of several files count: all together, the one changed last, or the last one by name.",
    )
    removed_rows: Literal["keep", "delete"] = Field(
        default="keep",
        description="What a row that is no longer there means: nothing, or that its record is deleted.",
    )
    max_deletes: int | None = Field(
        default=None,
        ge=0,
        description="Most rows that may be missing at once before a person has to confirm that their records are"
        " deleted (`sorbus drift`); default: a tenth of all, at least 2.",
    )
    open_files: Literal["wait", "read"] = Field(
        default="wait", description="What to do with a file that a person has open: wait, or read what was saved last."
    )
    keyless_rows: Literal["reject", "skip"] = Field(
        default="reject", description="Rows whose key columns are all empty, such as totals: dead letters, or nothing."
    )
    header_row: int | None = Field(
        default=None, ge=1, description="The header's row; default: the first row with the names that are needed."
    )
    header_rows: int = Field(
        default=1, ge=1, le=3, description="Over how many rows the header's names go (merged headings above names)."
    )
    encoding: str | None = Field(default=None, description="Of text files: utf-8, cp1252 ...; default: detected.")
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="Of text files; default: detected by the header."
    )
    decimals: Decimals = Field(default=None, description=_DECIMALS)
    dates: Order | None = Field(default=None, description=_DATES)
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="", description="Of dates with a time of day, such as Europe/Zurich: spreadsheets have no time zones."
    )
    columns: dict[str, ColumnOptions] = Field(default={}, description="Columns that are written in another way.")
    every: Annotated[str, AfterValidator(_every)] = Field(
        default="every 5s", description="How often to look whether a file has changed: every 5s (s, m, h or d)."
    )
    settle: float = Field(
        default=2.0, ge=0.0, le=3600.0, description="Seconds for which a file must be unchanged before it is read."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_discovered(cls, given: object) -> object:
        """`file: prices.Fasteners`, as `sorbus discover` names a sheet of a workbook; one name is a list of one."""
        if not isinstance(given, dict):
            return given
        found = dict(given)
        file = found.get("file")
        if isinstance(file, str) and "sheet" not in found and "." in file:
            stem, _, sheet = file.rpartition(".")
            if f".{sheet.lower()}" not in SUFFIXES and "*" not in file:
                found |= {"file": stem, "sheet": sheet}
        if isinstance(found.get("key"), str):
            found["key"] = [found["key"]]
        return found

    @property
    def sheets(self) -> tuple[str, ...]:
        """The sheets, as a list; empty: the only one."""
        return (self.sheet,) if isinstance(self.sheet, str) else self.sheet

    @property
    def seconds(self) -> float:
        """Between two looks."""
        period = parse_timing(self.every).every
        assert period is not None
        return period.total_seconds()

    @property
    def resource(self) -> str:
        """How mapping sheets name it: the file without its ending, and the sheet if one is named."""
        name = PurePath(self.file).stem if PurePath(self.file).suffix.lower() in SUFFIXES else self.file
        name = name.replace("*", "").strip("-_. ") or "rows"
        return f"{name}.{self.sheets[0]}" if len(self.sheets) == 1 and self.sheets[0] != "*" else name

    def form(self, required: tuple[str, ...], optional: tuple[str, ...]) -> SheetForm:
        """What is known of a sheet before it is read."""
        return SheetForm(required, optional, self.header_row, self.header_rows, self.encoding, self.delimiter)
