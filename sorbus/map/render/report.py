"""The data-flow document: every field from its source to its targets, and the rest of the map."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sorbus.map.render.diagram import Arrow, Way, arrows, owned, owners
from sorbus.map.render.lineage import FieldPath, paths_back, paths_of, reads
from sorbus.mapfile.model import FieldMapping, Flow, Map, ProcessStep
from sorbus.mapping.field_refs import CANONICAL

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

COLUMNS = ("Source System", "Source Field", "Target System", "Target Field", "Rule", "Notes")
BY_HAND = "By hand"


@dataclass(frozen=True, slots=True)
class FlowPaths:
    """A flow with its fields' paths; manual flows and those not integrated may have none."""

    flow: Flow
    arrow: Arrow
    paths: tuple[FieldPath, ...]
    back: tuple[FieldPath, ...] = ()
    """What a two-way flow brings back."""


class ReportTable(NamedTuple):
    """A part of the document."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Report:
    """The document's content, in the map's order."""

    company: Map
    file: Path
    flows: tuple[FlowPaths, ...]
    idle: tuple[FieldMapping, ...]
    """Captured, but delivered by no flow."""

    def fields(self) -> ReportTable:
        """All fields' paths in one table; a flow without fields is one row that says why."""
        return ReportTable(
            "Fields",
            COLUMNS,
            [path.cells for item in self.flows for path in (*(item.paths or [_bare(item)]), *item.back)],
        )

    def tables(self) -> list[ReportTable]:
        """The tables of the rest of the map."""
        steps = [self._steps()] if self.company.steps else []
        shared = (
            [self._shared()]
            if any(each.merge or each.field_owners for each in self.company.data_types.values())
            else []
        )
        return [self._systems(), self._data_types(), *shared, self._flows(), *steps, self._by_hand(), self._idle()]

    def _shared(self) -> ReportTable:
        rows = [
            (name, field, rule)
            for name, each in self.company.data_types.items()
            for field, rule in {**each.field_owners, **each.merge}.items()
        ]
        return ReportTable("Fields that several systems change", ("Data Type", "Field", "Owner Or Rule"), rows)

    def _systems(self) -> ReportTable:
        heads = ("System", "Kind", "Shadow", "Contact", "Owns", "Notes")
        rows = [
            (
                name,
                each.kind,
                "yes" * each.shadow,
                each.owner or "",
                ", ".join(owned(self.company, name)),
                each.notes or "",
            )
            for name, each in self.company.systems.items()
        ]
        return ReportTable("Systems", heads, rows)

    def _data_types(self) -> ReportTable:
        heads = ("Data Type", "System Of Record", "Required", "Matched By", "Notes")
        rows = [
            (name, ", ".join(owners(each)), ", ".join(each.required), ", ".join(each.match), each.notes or "")
            for name, each in self.company.data_types.items()
        ]
        return ReportTable("Data types", heads, rows)

    def _flows(self) -> ReportTable:
        heads = ("Flow", "Data Type", "Source System", "Target System", "When", "Which Records", "Deletes", "Notes")
        rows = [
            (flow.id, *arrow[:3], arrow.text, _which(flow), flow.deletes if flow.runs else "", flow.notes or "")
            for flow, arrow in ((item.flow, item.arrow) for item in self.flows)
        ]
        return ReportTable("Flows", heads, rows)

    def _steps(self) -> ReportTable:
        heads = ("Process Step", "Reads", "Makes", "Contact", "Which Records", "Together", "When A Record Leaves",
                 "Begins With", "Notes")  # fmt: skip
        rows = [
            (step.id, step.source, step.makes, step.owner, step.where or "", _together(step), step.on_leave, step.begin,
             step.notes or "")
            for step in self.company.steps
        ]  # fmt: skip
        return ReportTable("Process steps", heads, rows)

    def _by_hand(self) -> ReportTable:
        heads = ("Flow", "Step", "To Do", "When", "Responsible", "Verification")
        rows = [
            (item.flow.id, str(number), step, manual.schedule, manual.responsible, manual.verification)
            for item in self.flows
            if (manual := item.flow.manual)
            for number, step in enumerate(manual.checklist, 1)
        ]
        return ReportTable(BY_HAND, heads, rows)

    def _idle(self) -> ReportTable:
        heads = ("Source System", "Source Field", "Canonical Field", "Notes")
        rows = [(row.source_system, reads(row, self.idle), row.target_field, row.notes) for row in self.idle]
        return ReportTable("Captured but not delivered", heads, rows)


def document(loaded: LoadedMap) -> Report:
    """Joins a map's flows and mapping sheets; a field that nothing fills is shown with a note."""
    loaded = loaded.as_written
    company = loaded.map
    drawn = zip(company.flows, arrows(company), strict=True)
    flows = tuple(
        FlowPaths(flow, arrow, paths_of(loaded, flow, arrow), paths_back(loaded, flow, arrow)) for flow, arrow in drawn
    )
    delivered = {(item.arrow.source, path.steps[1]) for item in flows for path in item.paths}
    delivered |= {(path.source_system, path.steps[1]) for item in flows for path in item.back}
    idle = (m for m in loaded.mappings if m.target_system == CANONICAL)
    return Report(
        company, loaded.file, flows, tuple(m for m in idle if (m.source_system, m.target_field) not in delivered)
    )


def to_csv(doc: Report) -> str:
    """All fields' paths as CSV; what a spreadsheet would run as a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t") else cell for cell in row] for row in doc.fields().rows
    )
    return text.getvalue()


def _bare(item: FlowPaths) -> FieldPath:
    way = item.arrow
    why = f"{way.data_type}, every field" if way.way is Way.LIVE else f"{way.data_type}, {way.text}"
    return FieldPath(way.source, "", way.target, "", ("", why, ""), item.flow.notes or "")


def _together(step: ProcessStep) -> str:
    """What a step puts together; "" for one record of each."""
    if not step.per:
        return ""
    sums = [f"{name} = sum of {text}" for name, text in step.sum.items()]
    more = [f"{step.count} = number"] if step.count else []
    more += [f"{step.lines} = list"] if step.lines else []
    return f"per {', '.join(step.per)}: {', '.join([*sums, *more])}"


def _which(flow: Flow) -> str:
    """The records that a flow carries; "" for all."""
    return f"{flow.where} (others: {flow.on_leave})" if flow.where else ""
