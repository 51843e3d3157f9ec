"""Example records beside the mapping, run as tests: `mappings/examples/FLOW.csv` and `mappings/examples/DATA_TYPE.csv`.

A file named after a flow holds canonical records and the target's fields; one named after a data type, rows of its
owner and the canonical record. Columns `input.FIELD` are inputs, columns `expect.FIELD` are compared with the result;
a field without such a column isn't checked, and other columns are for people. In a cell: nothing is null, `""` empty
text, `[…]` and `{…}` JSON, and `!words` that the field is rejected with this message. Inputs are text, or of the type
in the schema (or catalog), or of the column's own type: `input.weight:decimal`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple, get_args

from sorbus.errors import Finding, MapError
from sorbus.map.checks.bound import Bound
from sorbus.map.field_trace import FieldTrace, explain_source, explain_target, typed
from sorbus.mapping.filters.text import as_text
from sorbus.mapping.rule import compile_rule
from sorbus.schema import FieldType, Kind
from sorbus.spelling import closest

INPUT, EXPECT = "input.", "expect."
_BY_RULE: Mapping[str, str] = {
    "int": "value | integer", "long": "value | integer", "decimal": "value | decimal", "boolean": "value | boolean",
    "date": "value | date", "timestamp": "value | datetime", "double": "value | float", "float": "value | float",
}  # fmt: skip


class ExampleDifference(NamedTuple):
    """One field of one example that differs from what is expected."""

    file: Path
    line: int
    field: str
    expected: str
    got: str
    trace: FieldTrace | None

    def __str__(self) -> str:
        expected, got = self.expected or "nothing", self.got or "nothing"
        told = f"{self.file}:{self.line}: {self.field}\n    expected {expected}\n    got      {got}"
        return f"{told}\n    {str(self.trace).replace(chr(10), chr(10) + '    ')}" if self.trace else told


@dataclass(frozen=True)
class Examples:
    """One file of examples: its columns and rows as written, and the function that runs one."""

    file: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    run: Callable[[Mapping[str, str]], tuple[FieldTrace, ...]]

    def differences(self) -> Iterator[ExampleDifference]:
        """Every difference. MapError if an input can't be read."""
        for line, row in self.rows:
            yield from self._differing(line, row, self._outcome(line, row))

    def _differing(
        self, line: int, row: Mapping[str, str], outcome: tuple[FieldTrace, ...]
    ) -> Iterator[ExampleDifference]:
        for column in self.columns:
            if not column.startswith(EXPECT):
                continue
            name, expected = column.removeprefix(EXPECT), row[column]
            trace = _found(outcome, name)
            got = self.got(outcome, name)
            if not _same(expected, got, trace.value if trace else None):
                yield ExampleDifference(self.file, line, name, expected, got, trace)

    def got(self, outcome: tuple[FieldTrace, ...], name: str) -> str:
        """A field's result, as a cell."""
        lists = [found for found in outcome if found.item and found.place.part == name]
        if not lists:
            found = _found(outcome, name)
            return "" if found is None else f"!{found.error}" if found.error else _cell(found.value)
        items: list[dict[str, object]] = [{} for _ in range(max(found.item for found in lists))]
        for found in lists:
            if found.error or found.value is not None:
                items[found.item - 1][found.place.name] = f"!{found.error}" if found.error else found.value
        return _cell(items)

    def updated(self) -> str:
        """The file with the actual results as the expected ones."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        for line, row in self.rows:
            outcome = self._outcome(line, row)
            differing = {each.field: each.got for each in self._differing(line, row, outcome)}
            writer.writerow({**row, **{EXPECT + name: cell for name, cell in differing.items()}})
        return out.getvalue()

    def _outcome(self, line: int, row: Mapping[str, str]) -> tuple[FieldTrace, ...]:
        try:
            return self.run(row)
        except ValueError as error:
            raise MapError(
                [Finding(self.file, line, f"the example can't be read: {error}", "fix the cell", "bad-example")]
            ) from error


def read_examples(bound: Bound) -> tuple[list[Examples], list[Finding]]:
    """Every file of examples beside the map that can be run, and findings about the others."""
    folder = bound.loaded.folder / "mappings" / "examples"
    found: list[Examples] = []
    findings: list[Finding] = []
    for file in sorted(folder.glob("*.csv")):
        read = _read(bound, file, findings)
        if read is not None:
            found.append(read)
    return found, findings


def check_examples(bound: Bound) -> list[Finding]:
    """Findings about files of examples that can't be run, or that name fields that nothing fills."""
    return read_examples(bound)[1]


def _read(bound: Bound, file: Path, findings: list[Finding]) -> Examples | None:
    runner = _runner(bound, file, findings)
    if runner is None:
        return None
    run, inputs, outputs = runner
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, restval="")
            columns = tuple(reader.fieldnames or ())
            rows = tuple((reader.line_num, {name: row.get(name) or "" for name in columns}) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        findings.append(
            Finding(file, 1, f"the examples can't be read: {error}", "save them as CSV in UTF-8", "bad-example")
        )
        return None
    before = len(findings)
    for column in columns:
        name, known = column, outputs
        if column.startswith(INPUT):
            name, known = column.removeprefix(INPUT).partition(":")[0], inputs
            kind = column.partition(":")[2]
            if kind and kind not in get_args(Kind):
                findings.append(
                    Finding(
                        file, 1, f"{column}: there is no kind {kind!r}", closest(kind, get_args(Kind)), "bad-example"
                    )
                )
        elif not column.startswith(EXPECT):
            continue
        name = name.removeprefix(EXPECT)
        if known and name not in known:
            findings.append(
                Finding(file, 1, f"{column}: nothing is called {name!r} there", closest(name, known), "bad-example")
            )
    if not any(column.startswith(EXPECT) for column in columns):
        findings.append(
            Finding(file, 1, "the examples expect nothing", f"add a column such as {EXPECT}FIELD", "bad-example")
        )
    return Examples(file, columns, rows, run) if len(findings) == before else None


Runner = tuple[Callable[[Mapping[str, str]], tuple[FieldTrace, ...]], frozenset[str], frozenset[str]]
"""Runs a row; the allowed input names (none: any) and the output names."""


def _runner(bound: Bound, file: Path, findings: list[Finding]) -> Runner | None:
    name = file.stem
    flow = next((flow for flow in bound.flows.values() if flow.flow.id == name), None)
    try:
        if flow is not None:
            kinds = {field.name: field.type for field in flow.schema.fields}

            def deliver(row: Mapping[str, str]) -> tuple[FieldTrace, ...]:
                record = _inputs(row, kinds)
                return explain_target(bound, flow, typed(record, flow.schema), str(record.get("id", "1")))

            return (
                deliver,
                frozenset({*kinds, "id"}),
                _outputs(deliver({}), bound.loaded.consumer(flow.system.name).resources_of(flow.options)),
            )
        if name in bound.sources:
            source = bound.sources[name]
            resources = bound.loaded.producer(bound.owners[name]).resources_of(source.options)
            catalog = bound.catalogs.get(bound.owners[name])
            table = next(
                (each for each in (catalog.resources.values() if catalog else ()) if each.name == resources[""]), None
            )
            known = {field.name: FieldType(field.kind) for field in table.fields} if table else {}

            def capture(row: Mapping[str, str]) -> tuple[FieldTrace, ...]:
                return explain_source(bound, source, _inputs(row, known))

            taken = {name.rpartition(".")[2] for each in capture({}) for name, _ in each.sources}
            return capture, frozenset(taken | set(resources) - {""}), frozenset(source.schema.by_name)
    except MapError:
        return None  # reported by the map's own check
    known_names = [*bound.sources, *(each.flow.id for each in bound.flows.values())]
    if not bound.findings:
        message = f"no flow or data type is called {name!r}, so these examples are never run"
        findings.append(Finding(file, 1, message, closest(name, known_names), "bad-example"))
    return None


def _outputs(traces: tuple[FieldTrace, ...], resources: Mapping[str, str]) -> frozenset[str]:
    return frozenset({each.place.name for each in traces} | set(resources) - {""})


def _inputs(row: Mapping[str, str], kinds: Mapping[str, FieldType]) -> dict[str, object]:
    """The input's values; fields not named are left out."""
    made: dict[str, object] = dict.fromkeys(kinds)
    for column, cell in row.items():
        if column.startswith(INPUT):
            name, _, kind = column.removeprefix(INPUT).partition(":")
            try:
                made[name] = _value(cell, kind or (kinds[name].kind if name in kinds else ""))
            except (ValueError, InvalidOperation) as error:
                raise ValueError(f"{name}: {error}") from error
    return made


def _value(cell: str, kind: str) -> object:
    if not cell:
        return None
    if cell == '""':
        return ""
    if cell[0] in "[{" and kind not in ("string", "enum"):
        return json.loads(cell, parse_float=Decimal)
    return compile_rule(_BY_RULE[kind], lookups={})(cell, {}) if kind in _BY_RULE else cell


def _found(outcome: tuple[FieldTrace, ...], name: str) -> FieldTrace | None:
    return next((found for found in outcome if not found.item and name in (found.place.name, found.into)), None)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=as_text, ensure_ascii=False)
    return as_text(value) or '""'


def _same(expected: str, got: str, value: object = None) -> bool:
    """Whether a cell matches a result: numbers by value, rejections by part of their message."""
    if expected == got:
        return True
    if expected.startswith("!") and got.startswith("!"):
        return expected[1:].strip() in got
    if isinstance(value, bool) or not expected or not got:
        return False
    try:
        if expected[0] in "[{" and got[0] in "[{":
            return _alike(json.loads(expected, parse_float=Decimal), json.loads(got))
        return isinstance(value, int | float | Decimal) and Decimal(expected) == Decimal(got)
    except (ValueError, InvalidOperation):
        return False


def _alike(expected: object, got: object) -> bool:
    """Whether JSON is as expected; exact decimals are text in results, and nothing may be left out."""
    if isinstance(expected, dict) and isinstance(got, dict):
        return all(_alike(expected.get(name), got.get(name)) for name in expected.keys() | got.keys())
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(map(_alike, expected, got))
    if isinstance(expected, int | Decimal) and isinstance(got, int | str) and not isinstance(got, bool):
        return Decimal(expected) == Decimal(got)
    return expected == got
