"""A flow's `target:` when it delivers into a spreadsheet."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sorbus.mapping.filters.moment import zone
from sorbus.spreadsheet.files import SUFFIXES, WORKBOOKS
from sorbus.spreadsheet.sheet_rows import SheetForm
from sorbus.spreadsheet.written_values import STYLES, NumberStyle


def _style(name: str) -> str:
    known = [style.name for style in STYLES]
    if name not in known:
        raise ValueError(f"{name!r} is no way to write 1234.56; write one of {', '.join(map(repr, known))}")
    return name


def _zone(name: str) -> str:
    if name:
        zone(name)
    return name


def _file(name: str) -> str:
    if PurePath(name).suffix.lower() not in SUFFIXES or PurePath(name).name != name or set(name) & set("*?["):
        raise ValueError(f"{name!r}: write one file of the folder, such as customers.xlsx or customers.csv")
    return name


class SpreadsheetTarget(BaseModel):
    """The sheet that a data type goes to. Sorbus makes the file if it isn't there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Annotated[str, AfterValidator(_file)] = Field(description="A file of the folder: customers.xlsx.")
    sheet: str | None = Field(default=None, description="A sheet of the workbook; default: the only visible one.")
    key: str = Field(
        default="id",
        description="The column by which rows are found again. It gets the record's id, unless the mapping fills it.",
    )
    deleted_column: str = Field(
        default="Deleted", description="With soft deletes: the column that says TRUE for a deleted record."
    )
    header_row: int | None = Field(default=None, ge=1, description="The header's row; default: found by its names.")
    encoding: str | None = Field(
        default=None, description="Of text files; default: detected, and utf-8-sig for a new file, as Excel needs it."
    )
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="Of text files; default: detected, and ; for a new file."
    )
    decimals: Annotated[str, AfterValidator(_style)] = Field(
        default="1234.56", description="How text files get numbers: 1234.56, 1,234.56, 1.234,56 or 1'234.56."
    )
    dates: str = Field(default="", description="How text files get dates: %d.%m.%Y; default: 2026-12-31.")
    settle: float = Field(
        default=2.0,
        ge=0.0,
        le=3600.0,
        description="Seconds for which other programs must have left a text file unchanged before it is replaced.",
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="",
        description="Of points in time, as dates with a time of day; default: text with the offset, 2026-12-31T12:00Z.",
    )

    @model_validator(mode="after")
    def _sheet_of_a_workbook(self) -> Self:
        if self.sheet is not None and not self.is_workbook:
            raise ValueError(f"{self.file} is a text file and has no sheets: delete `sheet:`")
        return self

    @property
    def is_workbook(self) -> bool:
        """Whether it is XLSX."""
        return PurePath(self.file).suffix.lower() in WORKBOOKS

    @property
    def resource(self) -> str:
        """How mapping sheets name it: the file without its ending, and the sheet if one is named."""
        stem = PurePath(self.file).stem
        return f"{stem}.{self.sheet}" if self.sheet else stem

    @property
    def place(self) -> str:
        """File and sheet, as the state has them."""
        return f"{self.file}/{self.sheet or ''}"

    @property
    def numbers(self) -> NumberStyle:
        """The style that `decimals` names."""
        return next(style for style in STYLES if style.name == self.decimals)

    def form(self, required: tuple[str, ...], optional: tuple[str, ...]) -> SheetForm:
        """What is known of the sheet before it is read."""
        return SheetForm(required, optional, self.header_row, 1, self.encoding, self.delimiter)
