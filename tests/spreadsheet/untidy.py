"""Untidy files, made after public descriptions of what people's spreadsheets look like.

Each function is a case and says after what: Broman and Woo, Data Organization in Spreadsheets (The American
Statistician, 2018); the UK Government Analysis Function's guidance on releasing statistics in spreadsheets; the
European Spreadsheet Risks Interest Group's collected stories; Ziemann and others, Gene name errors are widespread
(Genome Biology, 2016); Microsoft's support pages on delimiters that are missing in text files, on leading zeros, on
numbers of more than 15 digits, on the 1904 date system and on numbers stored as text; RFC 4180; exports that banks and
bookkeeping programs in Germany and Switzerland describe (semicolons, lines above the header, cp1252, 1.234,56).
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl.worksheet.worksheet import Worksheet

D = Decimal


@dataclass(frozen=True)
class Untidy:
    """A file; what has to come of it: records by key, dead letters by key (words in them), or a refusal (words).

    `fields`: those of a sample that the map fills.
    """

    write: Callable[[Path], None]
    file: str
    records: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    letters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refused: Sequence[str] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    fields: Sequence[str] = ()


CASES: dict[str, Untidy] = {}


def case(name: str, **about: object) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def add(write: Callable[[Path], None]) -> Callable[[Path], None]:
        CASES[write.__name__] = Untidy(write, name, **about)  # type: ignore[arg-type]
        return write

    return add


def text(path: Path, lines: Sequence[str], *, encoding: str = "utf-8", end: str = "\r\n") -> None:
    path.write_bytes((end.join(lines) + end).encode(encoding))


def book(path: Path, rows: Sequence[Sequence[object]], finish: Callable[[Worksheet], object] = lambda _: None) -> None:
    made = openpyxl.Workbook()
    sheet = made.active
    assert isinstance(sheet, Worksheet)
    for row in rows:
        sheet.append(list(row))
    finish(sheet)
    made.save(path)


def patched(path: Path, part: str, old: str, new: str) -> None:
    """Changes a part of a workbook, where openpyxl can't write what other programs do."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old.encode() in parts[part], parts[part]
    parts[part] = parts[part].replace(old.encode(), new.encode())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@case(
    "bank.csv",
    records={
        "4711": {"name": "Müller & Söhne", "amount": D("1234.56")},
        "4712": {"name": "Groß", "amount": D("-0.50")},
    },
)
def lines_above_the_header_in_cp1252(path: Path) -> None:
    """A bank's export: account and period above the header, semicolons, German letters and decimals."""
    text(
        path,
        [
            "Kontoauszug;DE00 1234",
            "Zeitraum;01.10.2026 - 31.10.2026",
            "",
            "No;Name;Amount",
            "4711;Müller & Söhne;1.234,56",
            "4712;Groß;-0,50",
        ],
        encoding="cp1252",
    )


@case("swiss.csv", records={"1": {"name": "Zoë", "amount": D("1234.50")}, "2": {"name": "Urs", "amount": D("12.05")}})
def swiss_apostrophes_and_a_byte_order_mark(path: Path) -> None:
    text(path, ["No;Name;Amount", "1;Zoë;1’234.50", "2;Urs;12.05"], encoding="utf-8-sig")


@case(
    "doubt.csv",
    records={"1": {"name": "A", "amount": D("12")}},
    letters={"2": ["Amount", "1234", "1.234", "decimals"]},
)
def a_thousand_or_a_fraction(path: Path) -> None:
    """Nothing in the column tells whether 1.234 is more than a thousand."""
    text(path, ["No,Name,Amount", "1,A,12", "2,B,1.234"])


@case("told.csv", records={"2": {"name": "B", "amount": D("1234")}}, options={"decimals": "1.234,56"})
def a_thousand_because_the_map_says_so(path: Path) -> None:
    text(path, ["No,Name,Amount", "2,B,1.234"])


@case(
    "mixed.csv",
    records={"3": {"name": "C", "amount": D("7")}},
    letters={"1": ["different ways", "row 2", "row 3"], "2": ["different ways"]},
)
def two_ways_of_writing_in_a_column(path: Path) -> None:
    text(path, ["No;Name;Amount", "1;A;1.234,56", "2;B;1,234.56", "3;C;7"])


@case(
    "zeros.csv",
    records={"00123": {"name": "00007"}, "0815": {"name": "0041 44 1"}},
)
def leading_zeros_are_text(path: Path) -> None:
    """Article numbers, postcodes, telephone numbers."""
    text(path, ["No,Name", "00123,00007", "0815,0041 44 1"])


@case(
    "long.csv",
    records={"1": {"name": "9783161484100123456789", "count": None}},
    letters={
        "2": ["shortened", "last digits are lost"],
        "3": ["shortened", "rule"],
        "no-id:": ["shortened", "row 5"],
    },
)
def numbers_that_excel_has_shortened(path: Path) -> None:
    rows = ["1,9783161484100123456789,", "2,x,9.78316E+12", "3,9.78316E+12,", "4.02E+12,x,"]
    text(path, ["No,Name,Count", *rows])


@case("dates.csv", records={"1": {"made_on": date(2026, 4, 3)}, "2": {"made_on": date(2026, 4, 13)}})
def a_thirteenth_tells_the_order(path: Path) -> None:
    text(path, ["No,Date", "1,03/04/2026", "2,13/04/2026"])


@case("dates.csv", letters={"1": ["03 April 2026", "04 March 2026", "dates"]}, fields=["made_on"])
def a_date_that_may_be_two(path: Path) -> None:
    text(path, ["No,Date", "1,03/04/2026"])


@case("genes.csv", letters={"1": ["SEPT2"]}, fields=["made_on"])
def a_gene_is_not_a_date(path: Path) -> None:
    text(path, ["No,Date", "1,SEPT2"])


@case(
    "quotes.csv",
    records={"1": {"name": 'Smith, "Bob"', "note": "two\nlines"}, "3": {"name": "after", "note": None}},
    letters={"no-id:": ["line 4", "quotation mark"]},
)
def line_breaks_in_cells_and_a_broken_quotation(path: Path) -> None:
    """RFC 4180, and what breaks it."""
    text(path, ["No,Name,Note", '1,"Smith, ""Bob""","two', 'lines"', '2,"Müller "Bau" GmbH",x', "3,after,"], end="\n")


@case(
    "half.csv",
    records={"1": {"name": "A", "amount": D("1")}},
    letters={"no-id:": ["row 3", "again to its end", "line break"]},
)
def a_copy_that_broke_off(path: Path) -> None:
    path.write_bytes(b"No,Name,Amount\r\n1,A,1\r\n2,Bo")


@case("short.csv", records={"1": {"name": "A", "amount": None}, "2": {"name": "B", "amount": D(2)}})
def delimiters_that_excel_leaves_out(path: Path) -> None:
    """Rows whose last cells are empty end early."""
    text(path, ["No,Name,Amount", "1,A", "2,B,2"])


@case(
    "shifted.csv",
    records={"1": {"name": "Meier", "note": "Zurich"}, "3": {"name": "Meier, Inc", "note": None}},
    letters={"no-id:": ["row 3", "more cells than the header", "quotation marks"]},
)
def a_delimiter_inside_a_cell(path: Path) -> None:
    text(path, ["No,Name,Note", "1,Meier,Zurich,,", "2,Meier, Inc,Berlin", '3,"Meier, Inc"'])


@case("remarks.csv", records={"1": {"name": "A"}, "2": {"name": "B"}})
def a_column_of_remarks_without_a_name(path: Path) -> None:
    """Programs give every row as many delimiters as the widest has."""
    text(path, ["Some list,,,", "No,Name,,", "1,A,,ask Ann", "2,B,,"])


@case("unicode.txt", records={"1": {"name": "Dvořák"}, "2": {"name": "日本"}})
def excels_unicode_text(path: Path) -> None:
    """UTF-16 with tabs."""
    text(path, ["No\tName", "1\tDvořák", "2\t日本"], encoding="utf-16")


@case("east.csv", refused=["east.csv", "ø", "ř", "cp1250", "encoding"])
def an_encoding_that_may_be_two(path: Path) -> None:
    text(path, ["No,Name", "1,Dvořák"], encoding="cp1250")


@case("east.csv", records={"1": {"name": "Dvořák"}}, options={"encoding": "cp1250"})
def an_encoding_that_the_map_says(path: Path) -> None:
    text(path, ["No,Name", "1,Dvořák"], encoding="cp1250")


@case("mac.csv", refused=["mac.csv", "ü", "mac_roman"])
def an_old_macintosh(path: Path) -> None:
    text(path, ["No;Name", "1;Müller", "2;Jäger"], encoding="mac_roman", end="\r")


@case("mac.csv", records={"1": {"name": "Müller"}, "2": {"name": "Jäger"}}, options={"encoding": "mac_roman"})
def an_old_macintosh_that_the_map_knows(path: Path) -> None:
    text(path, ["No;Name", "1;Müller", "2;Jäger"], encoding="mac_roman", end="\r")


@case("sep.csv", records={"1": {"name": "a;b"}})
def a_first_line_that_says_the_delimiter(path: Path) -> None:
    text(path, ["sep=|", "No|Name", "1|a;b"])


@case("double.csv", records={"2": {"name": "B"}}, letters={"1": ["several rows", "row 2", "row 4"]})
def a_key_that_is_doubled(path: Path) -> None:
    text(path, ["No,Name", "1,A", "2,B", "1,C"])


@case("rename.csv", refused=["rename.csv", "'Name'", "Namen"])
def a_column_that_was_renamed(path: Path) -> None:
    text(path, ["No,Namen", "1,A"])


@case("two.csv", refused=["two columns called 'Name'", "B and C"])
def a_heading_that_is_doubled(path: Path) -> None:
    text(path, ["No,Name,Name", "1,A,B"])


@case("totals.csv", records={"1": {"amount": D(5)}}, letters={"no-id:": ["row 3", "No is empty", "keyless_rows"]})
def a_total_below(path: Path) -> None:
    text(path, ["No,Amount", "1,5", ",5"])


@case("totals.csv", records={"1": {"amount": D(5)}}, options={"keyless_rows": "skip"})
def a_total_that_is_no_record(path: Path) -> None:
    text(path, ["No,Amount", "1,5", ",5"])


@case("percent.csv", records={"1": {"amount": D("0.19")}}, letters={"2": ["no % sign", "row 2"]})
def percents_with_and_without_a_sign(path: Path) -> None:
    text(path, ["No;Amount", "1;19 %", "2;7"])


@case("ledger.csv", records={"1": {"amount": D("-1234.50")}, "2": {"amount": D("-12.00")}, "3": {"amount": D("-3.5")}})
def minus_signs_as_ledgers_print_them(path: Path) -> None:
    text(path, ["No;Amount", "1;1.234,50-", "2;(12,00)", "3;−3,5"])


@case("pages.csv", records={"1": {"name": "A"}, "2": {"name": "B"}})
def a_header_on_every_printed_page(path: Path) -> None:
    text(path, ["Price list", "", "No,Name", "1,A", "", "No,Name", "2,B"])


@case("old.xlsx", refused=["old .xls format", "save it as .xlsx"])
def the_format_that_lost_rows(path: Path) -> None:
    """Public Health England, 2020: 65,536 rows are all that the old format holds."""
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))


@case("page.xlsx", refused=["isn't an .xlsx workbook"])
def a_web_page_called_xlsx(path: Path) -> None:
    path.write_text("<html><table><tr><td>No</td></tr></table></html>")


@case("half.xlsx", refused=["cut off or damaged"])
def a_workbook_that_broke_off(path: Path) -> None:
    book(path, [["No", "Name"], *([n, "x" * 50] for n in range(200))])
    path.write_bytes(path.read_bytes()[:-800])


@case(
    "cells.xlsx",
    records={
        "00042": {"name": "00007", "amount": D("0.19"), "made_on": date(2026, 2, 28)},
        "43": {"name": "7", "amount": D("1.21"), "made_on": date(1900, 1, 1)},
    },
)
def formats_that_show_something_else(path: Path) -> None:
    """Zeros by format, a percentage, a product of 17 digits, the first day of Excel."""

    def finish(sheet: Worksheet) -> None:
        sheet["A2"].number_format = "00000"
        sheet["C2"].number_format = "0%"
        sheet["D2"].number_format = "dd.mm.yyyy"
        sheet["D3"].number_format = 'yyyy"年"m"月"d"日"'

    book(path, [["No", "Name", "Amount", "Date"], [42, "00007", 0.19, 46081], [43, 7, 1.1 * 1.1, 1]], finish)


@case("mac.xlsx", records={"1": {"made_on": date(2026, 2, 28)}})
def the_1904_date_system(path: Path) -> None:
    made = openpyxl.Workbook()
    made.epoch = CALENDAR_MAC_1904
    sheet = made.active
    assert isinstance(sheet, Worksheet)
    sheet.append(["No", "Date"])
    sheet.append([1, date(2026, 2, 28)])
    made.save(path)


@case("leap.xlsx", letters={"1": ["date", "60"]}, fields=["made_on"])
def the_day_that_never_was(path: Path) -> None:
    """29 February 1900."""
    book(path, [["No", "Date"], [1, 60]], lambda sheet: sheet["B2"].__setattr__("number_format", "dd.mm.yyyy"))


@case(
    "errors.xlsx",
    records={"3": {"amount": D(3)}},
    letters={"1": ["row 2", "column B (Amount)", "#N/A"], "2": ["formula", "save it"]},
)
def errors_and_formulas_without_results(path: Path) -> None:
    """What openpyxl and many report generators write: the formula, and not its result."""
    book(path, [["No", "Amount"], [1, "#N/A"], [2, "=1+1"], [3, 3]])


@case(
    "odd.xlsx",
    records={"3": {"amount": D(3), "made_on": date(2026, 1, 1)}},
    letters={"1": ["row 2, column B (Amount)", "'NaN'"], "2": ["row 3, column C (Date)", "'1E+9999'"]},
)
def what_is_marked_as_a_number_and_is_none(path: Path) -> None:
    """As report generators write it: one cell isn't the whole file's fault."""
    day = date(2026, 1, 1)
    book(path, [["No", "Amount", "Date"], [1, 10001, day], [2, 2, date(2027, 9, 1)], [3, 3, day]])
    patched(path, "xl/worksheets/sheet1.xml", "<v>10001</v>", "<v>NaN</v>")
    patched(path, "xl/worksheets/sheet1.xml", "<v>46631</v>", "<v>1E+9999</v>")


@case("long.xlsx", letters={"1": ["more than 15 digits", "as text"]})
def sixteen_digits(path: Path) -> None:
    book(path, [["No", "Name"], [1, 4111111111111111]])


@case(
    "merged.xlsx",
    records={"1": {"name": "Acme"}, "3": {"name": "Bolt"}},
    letters={"2": ["merged cells B3:B4", "row 4"]},
)
def merged_cells_in_the_data(path: Path) -> None:
    """Broman and Woo: no merged cells. Here they mean "the same as above", or not."""
    rows = [["Customers"], ["No", "Name"], [1, "Acme"], [2, None], [3, "Bolt"]]
    book(path, rows, lambda sheet: (sheet.merge_cells("A1:B1"), sheet.merge_cells("B3:B4")))


@case(
    "heads.xlsx",
    records={"1": {"name": "A", "amount": D(5), "note": "z"}},
    options={"header_rows": 2, "key": ["Item No"]},
)
def headings_over_two_rows(path: Path) -> None:
    """A merged heading above the names."""
    rows = [["Report"], [], ["Item", None, "Sum", None], ["No", "Name", "Amount", "Note"], [1, "A", 5, "z"]]
    book(path, rows, lambda sheet: (sheet.merge_cells("A3:B3"), sheet.merge_cells("C3:D3")))


@case("sheets.xlsx", refused=["several sheets", "January, February", "sheet:"])
def several_sheets_and_none_named(path: Path) -> None:
    _months(path)


@case("sheets.xlsx", records={"1": {"name": "A"}, "2": {"name": "B"}}, options={"sheet": "*"})
def a_sheet_for_each_month(path: Path) -> None:
    """All visible ones; the hidden one isn't read."""
    _months(path)


@case("sheets.xlsx", records={"9": {"name": "old"}}, options={"sheet": "Archive"})
def a_hidden_sheet_that_is_named(path: Path) -> None:
    _months(path)


def _months(path: Path) -> None:
    made = openpyxl.Workbook()
    del made["Sheet"]
    for name, number, value in (("January", 1, "A"), ("February", 2, "B"), ("Archive", 9, "old")):
        sheet = made.create_sheet(name)
        sheet.append(["No", "Name"])
        sheet.append([number, value])
    made["Archive"].sheet_state = "hidden"
    made.save(path)


@case(
    "stored.xlsx",
    records={"1": {"amount": D("1234.56"), "count": 7}, "2": {"amount": D("2"), "count": 12}},
)
def numbers_stored_as_text(path: Path) -> None:
    """The green triangles."""
    book(path, [["No", "Amount", "Count"], [1, "1.234,56", "007"], [2, 2, 12]])


@case(
    "times.xlsx",
    records={"1": {"name": "30:30:00"}, "2": {"name": "08:15:00"}},
)
def hours_beyond_a_day(path: Path) -> None:
    def finish(sheet: Worksheet) -> None:
        sheet["B2"].number_format, sheet["B3"].number_format = "[h]:mm", "hh:mm"

    book(path, [["No", "Name"], [1, timedelta(hours=30, minutes=30)], [2, datetime(1899, 12, 30, 8, 15)]], finish)


@case("wrapped.xlsx", records={"1": {"name": "A"}})
def a_heading_with_a_line_break(path: Path) -> None:
    book(path, [["  No ", "Name\n"], [1, "A"]])


@case("broken-style.xlsx", records={"1": {"name": "A"}})
def styles_that_only_excel_accepts(path: Path) -> None:
    """A report generator's fill, for which openpyxl refuses the whole workbook."""
    book(path, [["No", "Name"], [1, "A"]])
    patched(path, "xl/styles.xml", '<patternFill patternType="gray125"', '<patternFill patternType="curious"')


@case("bomb.xlsx", refused=["cut off or damaged"])
def entities_that_grow(path: Path) -> None:
    book(path, [["No", "Name"], [1, "A"]])
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><worksheet'
    patched(path, "xl/worksheets/sheet1.xml", "<worksheet", laughs)
