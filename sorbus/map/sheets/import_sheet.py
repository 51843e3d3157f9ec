"""`sorbus map import`: from a documentation spreadsheet to mapping rows, with what was understood, assumed and not.

Nothing is invented: a note that isn't fully understood stays a note, and a row that `map check` would reject carries
the finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sorbus.errors import Finding, MapError
from sorbus.map.checks.check import check
from sorbus.map.route import with_rows
from sorbus.map.sheets.headings import PlainRow, Side, plain_rows
from sorbus.map.sheets.import_fields import Fields, folded
from sorbus.map.sheets.note_parser import concatenation, understand
from sorbus.map.sheets.sheet import COLUMNS, read_grid
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.field_refs import CANONICAL
from sorbus.spelling import closest, near

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

MARK = "TO DO"
_SEVERAL = re.compile(r"\s*(?:,|;|\n|\+|&|\band\b)\s*", re.IGNORECASE)
_PARTS = re.compile(r"\s*(?:::|->|→|[./\\:>])\s*")


@dataclass(slots=True)
class Brought:
    """One row of the spreadsheet and its result. Without `row`, `unclear` says why there is none."""

    file: Path
    line: int
    row: FieldMapping | None = None
    confidence: float = 1.0
    understood: str = ""
    assumed: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def assume(self, confidence: float, what: str = "") -> None:
        """Adds an assumption and its confidence."""
        self.confidence = min(self.confidence, confidence)
        if what:
            self.assumed.append(what)

    @property
    def marked(self) -> FieldMapping | None:
        """The row to write; its findings are put into its notes."""
        if self.row is None or not self.findings:
            return self.row
        what = "; ".join(f"{finding.message} ({finding.fix})" for finding in self.findings)
        return self.row.model_copy(update={"notes": "; ".join(filter(None, (f"{MARK}: {what}", self.row.notes)))})


def bring_in(loaded: LoadedMap, file: Path, *, source: str = "", target: str = "", tab: str = "") -> list[Brought]:
    """Reads a documentation spreadsheet against the map; MapError if it can't be read or has no known headings.

    `source` and `target` are the systems if the spreadsheet names none; `tab` is the only tab to read.
    """
    grids, findings = read_grid(file)
    reader = _Reader(loaded, source, target)
    known = (*loaded.map.systems, CANONICAL)
    found: list[Brought] = []
    for title, lines in grids:
        if not tab or title == tab:
            name = file.with_name(f"{file.name}#{title}") if title and len(grids) > 1 else file
            found += [reader.read(name, row) for row in plain_rows(lines, known)]
    if not found and not findings:
        titles = ", ".join(title for title, _ in grids)
        where = f"no tab is called {tab!r} (there are: {titles})" if tab and tab not in dict(grids) else "no headings"
        fix = f"a row must name both sides' fields, such as: {', '.join(COLUMNS.values())}"
        findings.append(Finding(file, 1, f"nothing to import: {where}", fix, "no-column"))
    if findings:
        raise MapError(findings)
    _check(loaded, found)
    return found


class _Reader:
    """Makes rows from plain rows, using the map and the catalogs."""

    def __init__(self, loaded: LoadedMap, source: str, target: str) -> None:
        self.loaded = loaded
        self.given = (source, target)
        self.fields = Fields(loaded)
        self.names = {folded(name): name for name in (CANONICAL, *loaded.map.systems)}

    def read(self, file: Path, plain: PlainRow) -> Brought:
        out = Brought(file, plain.line)
        sides = [
            self._side(out, side, plain.section, given, is_target)
            for side, given, is_target in zip((plain.source, plain.target), self.given, (False, True), strict=True)
        ]
        rule, notes = "", [plain.notes]
        found = understand(plain.logic, self.loaded.map.lookups)
        if found is None:
            out.unclear.append(f"the transformation stays a note: {plain.logic}")
            notes.append(plain.logic)
        else:
            rule = found.rule
            out.assume(found.confidence, found.why)
            out.understood = plain.logic if rule or found.fields else ""
            if found.confidence < 1.0:
                notes.append(plain.logic)
        (source, _, source_fields), (target, _, target_fields) = sides
        if not source or not target:
            return out
        wanted = found.fields if found else ()
        reference = ""
        if wanted or len(source_fields) > 1:
            if rule:
                out.unclear.append(f"several source fields and the transformation {plain.logic!r}: write one rule")
                rule = ""
                notes.append(plain.logic)
            names = [self._column(out, source, plain.source.table, name) for name in wanted or source_fields]
            if found is not None:
                rule = concatenation([name.rpartition(".")[2] for name in names], found.why or 'joined by " "')
                out.assume(0.7, "" if wanted else "the source fields are joined by a blank")
            else:
                notes.append(plain.source.field)
        elif source_fields:
            reference = self._column(out, source, plain.source.table, source_fields[0])
        into = self._column(out, target, plain.target.table, " ".join(target_fields)) if target_fields else ""
        if not into:
            out.unclear.append("no target field")
            return out
        if not reference and not rule:
            out.unclear.append("no source field")
            return out
        out.row = FieldMapping(
            source_system=source, source_field=reference, target_system=target, target_field=into, rule=rule,
            notes="; ".join(dict.fromkeys(filter(None, (*notes, *plain.others)))), file=file, line=plain.line,
        )  # fmt: skip
        return out

    def _side(
        self, out: Brought, side: Side, section: str, given: str, is_target: bool
    ) -> tuple[str, str, tuple[str, ...]]:
        """A side's system, table and fields. Only a source may have several fields."""
        fields = tuple(filter(None, (side.field,) if is_target else _SEVERAL.split(side.field)))
        what = "target" if is_target else "source"
        first = _PARTS.split(fields[0])[0] if fields else ""
        if side.system:
            return self._system(out, side.system, what), side.table, fields
        if len(_PARTS.split(fields[0] if fields else "")) > 1 and (named := self.names.get(folded(first))):
            fields = tuple(re.sub(r"^[^./\\:>→]+?\s*(?:::|->|→|[./\\:>])\s*", "", each) for each in fields)
            return named, side.table, fields
        if len(_PARTS.split(fields[0] if fields else "")) > 1 and first in self.loaded.map.data_types and not given:
            out.assume(0.9, f"{first} is the data type")
            return CANONICAL, side.table, fields
        if given:
            return given, side.table, fields
        named_in = [name for fold, name in self.names.items() if f" {fold} " in f" {_spaced(section)} "]
        places = sorted(named_in, key=lambda name: _spaced(section).find(folded(name)))
        if len(places) == 2:
            out.assume(0.8, f"the {what} system is that of the title {section!r}")
            return places[is_target], side.table, fields
        out.unclear.append(f"no {what} system: name it with --{'target' if is_target else 'system'}")
        return "", side.table, fields

    def _system(self, out: Brought, text: str, what: str) -> str:
        if found := self.names.get(folded(text)):
            return found
        described = [
            name for name, system in self.loaded.map.systems.items()
            if folded(text) in {folded(str(value)) for value in system.connection.values()}
        ]  # fmt: skip
        if len(described) == 1:
            out.assume(0.85, f"{text} is {described[0]}")
            return described[0]
        inside = [name for fold, name in self.names.items() if f" {fold} " in f" {_spaced(text)} "]
        if len(inside) == 1 or (guess := near(text, self.loaded.map.systems)):
            guess = inside[0] if len(inside) == 1 else guess
            out.assume(0.7, f"{text} is {guess}")
            return guess
        out.unclear.append(f"no {what} system is called {text!r}: {closest(text, self.loaded.map.systems)}")
        return ""

    def _column(self, out: Brought, system: str, table: str, text: str) -> str:
        found = self.fields.find(system, table, ".".join(_PARTS.split(text)))
        out.assume(found.confidence, found.assumed)
        if found.unclear:
            out.unclear.append(found.unclear)
        return found.reference


def _check(loaded: LoadedMap, found: Sequence[Brought]) -> None:
    """Adds the check's findings about the new rows, their canonical fields, and which of them exist already."""
    there = {_sides(row): row for row in loaded.written}
    for each in found:
        if each.row is not None and (old := there.get(_sides(each.row))) is not None:
            each.unclear.append(f"the row is there already, in {old.file.name}:{old.line}")
            each.row = None
    rows = [each.row for each in found if each.row is not None]
    before = set(check(loaded))
    more = with_rows(loaded, rows)
    by_place: dict[tuple[Path, int], list[Finding]] = {}
    for finding in check(more):
        if finding not in before:
            by_place.setdefault((finding.file, finding.line), []).append(finding)
    through = {(route.row.file, route.row.line): route for route in more.routes}
    for each in found:
        if each.row is not None:
            each.findings = by_place.get((each.file, each.line), [])
            if (route := through.get((each.file, each.line))) is not None and route.canonical:
                each.assumed.append(f"through {route.canonical} ({route.why})")


def _sides(row: FieldMapping) -> tuple[str, str, str, str]:
    return row.source_system, row.source_field, row.target_system, row.target_field


def _spaced(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def rows_of(found: Sequence[Brought], *, sound: bool = False) -> Iterator[FieldMapping]:
    """The rows to write; with `sound` only those without findings."""
    for each in found:
        if (row := each.marked) is not None and not (sound and each.findings):
            yield row
