"""The mapping sheets' own rows, written so that reading them gives the same rows: in CSV, and tab by tab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sorbus.map.render.report import COLUMNS, ReportTable
from sorbus.map.sheets.rewrite import csv_line
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.field_refs import CANONICAL, canonical_data_type

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

_LONGEST_TITLE = 31
REST = "Rows of no flow"


def rows_csv(rows: Sequence[FieldMapping]) -> str:
    """Rows as a mapping sheet in CSV, in their order."""
    return "".join(csv_line(cells) for cells in (COLUMNS, *map(cells_of, rows)))


def rows_table(title: str, rows: Sequence[FieldMapping]) -> ReportTable:
    """Rows as a tab of a workbook, in their order."""
    return ReportTable(title, COLUMNS, [cells_of(row) for row in rows])


def tabs(loaded: LoadedMap) -> list[ReportTable]:
    """Every row of the sheets in exactly one tab: of its owner's data type (`crm customer`), or of its flow.

    A row from system to system is in its flow's tab. Within a tab the rows keep the sheets' order.
    """
    loaded = loaded.as_written
    through = {route.row: canonical_data_type(route.canonical) for route in loaded.routes}
    found: dict[str, list[FieldMapping]] = {
        f"{owner} {name}": [] for name, each in loaded.map.data_types.items() if (owner := each.system_of_record)
    }
    found.update({flow.id: [] for flow in loaded.map.flows})
    flows: dict[tuple[str, str], str] = {}
    for flow in loaded.map.flows:
        flows.setdefault((flow.to, flow.data_type), flow.id)
    resources: dict[tuple[str, str], str] = {}
    rest: list[FieldMapping] = []
    for row in loaded.written:
        if row.source_field and row.target_system != CANONICAL:
            data_type = through.get(row) or canonical_data_type(row.source_field)
            resources.setdefault((row.target_system, _resource(row)), data_type)
    for row in loaded.written:
        if row.target_system == CANONICAL:
            title = f"{row.source_system} {canonical_data_type(row.target_field)}"
        else:
            near = resources.get((row.target_system, _resource(row)), "")
            own = canonical_data_type(row.source_field) if row.source_system == CANONICAL else ""
            title = flows.get((row.target_system, through.get(row) or own or near), "")
        found.get(title, rest).append(row)
    titles: set[str] = set()
    return [rows_table(_title(name, titles), rows) for name, rows in (*found.items(), (REST, rest)) if rows]


def cells_of(row: FieldMapping) -> tuple[str, ...]:
    """A row under a mapping sheet's columns."""
    return row.source_system, row.source_field, row.target_system, row.target_field, row.rule, row.notes


def _resource(row: FieldMapping) -> str:
    return row.target_field.rpartition(".")[0]


def _title(name: str, taken: set[str]) -> str:
    """A tab's name within spreadsheets' limits: short, and unique ignoring case."""
    title, count = name[:_LONGEST_TITLE], 1
    while title.lower() in taken:
        count += 1
        end = f" {count}"
        title = name[: _LONGEST_TITLE - len(end)] + end
    taken.add(title.lower())
    return title
