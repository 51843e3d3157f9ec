"""The parts of a workbook beside its sheets that a changed cell concerns: styles, tables, what is calculated when."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from typing import IO

from sorbus.errors import TransientError
from sorbus.spreadsheet.xlsx import Tab, XlsxFile, column_letter, column_number

_AREA = re.compile(r"(\$?[A-Z]+\$?)(\d+)(?::(\$?[A-Z]+\$?)(\d+))?")
_UNUSUAL = re.compile(r"<\w[^<>]*?(?:\s=|=\s|=')")
_TAG = re.compile(r"""<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<(?:[^<>"']|"[^"]*"|'[^']*')*>""", re.DOTALL)
_ATTRIBUTE = re.compile(r"""\s+([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_GENERAL, _DATE, _MOMENT = "0", "14", "22"
"""Built-in formats: as it is, a date, and a date with a time, both as the reader's own country writes them."""


def extended(area: str, last: int, width: int = 0, *, only_from: int | None = None) -> str:
    """An area such as A1:D20 down to the row `last`, and `width` columns wide. `only_from`: only if it ends there."""
    found = _AREA.fullmatch(area)
    if found is None:
        return area
    first, top, right, bottom = found[1], found[2], found[3] or found[1], int(found[4] or found[2])
    if only_from is not None and bottom != only_from:
        return area
    if width > column_number(right.replace("$", "")):
        right = column_letter(width)
    return f"{first}{top}:{right}{max(bottom, last)}"


def plainly_quoted(xml: str) -> str:
    """The same XML with each attribute written name="value", as nearly all programs write it and we look for it."""
    if not _UNUSUAL.search(xml):
        return xml
    return _TAG.sub(lambda found: found[0] if found[0][1] in "!?" else _ATTRIBUTE.sub(_quoted, found[0]), xml)


def _quoted(attribute: re.Match[str]) -> str:
    value = attribute[2] if attribute[2] is not None else attribute[3].replace('"', "&quot;")
    return f' {attribute[1]}="{value}"'


class WorkbookParts:
    """A workbook's parts as text, and the changed ones. TransientError for one that isn't in UTF-8."""

    def __init__(self, book: XlsxFile) -> None:
        self._book = book
        self._changed: dict[str, str] = {}
        self._dropped: set[str] = set()
        self._styles: dict[str, str] = {}

    def text(self, part: str) -> str:
        """A part, with the changes so far."""
        if part in self._changed:
            return self._changed[part]
        try:
            return plainly_quoted(self._book.read(part).decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise TransientError(
                f"{self._book.name} is written in an unusual way ({part}): save it again in Excel or LibreOffice"
            ) from error

    def replace(self, part: str, text: str) -> None:
        """Changes a part."""
        self._changed[part] = text

    def _sub(self, part: str, pattern: str, new: str | Callable[[re.Match[str]], str]) -> bool:
        before = self.text(part)
        after, count = re.subn(pattern, new, before, flags=re.DOTALL)
        if count:
            self._changed[part] = after
        return bool(count)

    def date_style(self, style: str | None, *, has_time: bool) -> str:
        """The style, if it shows dates; otherwise the same with a date's format."""
        if style is not None and self._book.format_of(style).kind in ("date", "moment"):
            return style
        return self._styled(style, _MOMENT if has_time else _DATE)

    def number_style(self, style: str | None) -> str | None:
        """The style, unless it shows numbers as dates or times; then the same with the general format."""
        if style is None or self._book.format_of(style).kind == "number":
            return style
        return self._styled(style, _GENERAL)

    def _styled(self, style: str | None, format: str) -> str:
        key = f"{style} {format}"
        if key not in self._styles:
            self._styles[key] = self._with_format(style, format)
        return self._styles[key]

    def _with_format(self, style: str | None, format: str) -> str:
        part = self._book.styles_part
        if part is None:
            raise TransientError(f"{self._book.name} has no styles: save it again in Excel or LibreOffice")
        text = self.text(part)
        found = re.search(r"<(\w+:)?cellXfs\b[^>]*>(.*?)</(?:\w+:)?cellXfs>", text, re.DOTALL)
        if found is None:
            raise TransientError(f"{self._book.name} has no cell styles: save it again in Excel or LibreOffice")
        prefix, inside = found[1] or "", found[2]
        each = re.findall(rf"<{prefix}xf\b[^>]*?(?:/>|>.*?</{prefix}xf>)", inside, re.DOTALL)
        like = each[int(style)] if style is not None and int(style) < len(each) else each[0]
        head, rest = re.match(rf"(<{prefix}xf\b[^>]*?)(/?>.*)", like, re.DOTALL).groups()  # type: ignore[union-attr]
        head = re.sub(r'\s(numFmtId|applyNumberFormat)="[^"]*"', "", head)
        made = f'{head} numFmtId="{format}" applyNumberFormat="1"{rest}'
        whole = f'<{prefix}cellXfs count="{len(each) + 1}">{inside}{made}</{prefix}cellXfs>'
        self._changed[part] = text[: found.start()] + whole + text[found.end() :]
        return str(len(each))

    def extend_tables(self, tab: Tab, before: int, last: int) -> None:
        """Tables without a row of totals, and the remembered filter, grow with the rows below them."""
        for part in self._book.tables_of(tab):
            text = self.text(part)
            if re.search(r'\btotalsRowCount="[1-9]', text):
                continue
            self._sub(
                part, r'(\bref=")([^"]*)"', lambda found: f'{found[1]}{extended(found[2], last, only_from=before)}"'
            )
        self._sub(
            self._book.workbook_part,
            rf'(<(?:\w+:)?definedName\b[^>]*_FilterDatabase"[^>]*localSheetId="{tab.place}"[^>]*>[^<]*!)'
            r"(\$?[A-Z]+\$?\d+:\$?[A-Z]+\$?\d+)<",
            lambda found: f"{found[1]}{extended(found[2], last, only_from=before)}<",
        )

    def drop_calculation_chain(self) -> None:
        """The order of calculation names cells whose formula is gone; programs make it again."""
        names = [name for name in self._book.names if name.endswith("/calcChain.xml")]
        for name in names:
            self._dropped.add(name)
            folder, _, file = name.rpartition("/")
            self._sub("[Content_Types].xml", rf'<Override\b[^>]*PartName="/{re.escape(name)}"[^>]*/>', "")
            relations = f"{folder}/_rels/workbook.xml.rels"
            if relations in self._book.names:
                self._sub(relations, rf'<Relationship\b[^>]*Target="[^"]*{re.escape(file)}"[^>]*/>', "")

    def recalculate_when_opened(self) -> None:
        """Results of formulas that read changed cells are old until a program has calculated them again."""
        sheets = [name for name in self._book.names if "/worksheets/" in name and name.endswith(".xml")]
        if not any(re.search(rb"<(\w+:)?f[ >]", self._book.read(name)) for name in sheets):
            return
        part = self._book.workbook_part
        text = self.text(part)
        if re.search(r"<(?:\w+:)?calcPr\b", text):
            if 'fullCalcOnLoad="1"' not in text:
                self._sub(part, r"(<(?:\w+:)?calcPr\b)", r'\1 fullCalcOnLoad="1"')
            return
        ends = list(re.finditer(r"</(\w+:)?(?:definedNames|externalReferences|functionGroups|sheets)>", text))
        if ends:
            at = ends[-1].end()
            self._changed[part] = f'{text[:at]}<{ends[-1][1] or ""}calcPr fullCalcOnLoad="1"/>{text[at:]}'

    def write(self, into: IO[bytes]) -> None:
        """The whole workbook."""
        with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as made:
            for info in self._book.infos:
                if info.filename in self._dropped:
                    continue
                changed = self._changed.get(info.filename)
                content = self._book.read(info.filename) if changed is None else changed.encode()
                made.writestr(info, content, compress_type=info.compress_type)
