"""What a MySQL server needs before it can be captured, and what is worth knowing before."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.connector import BoundSource, BoundSystem, Step
from sorbus.mysql.connection import session_for
from sorbus.mysql.discovery import connection_of
from sorbus.producers.mysql.capture import MysqlCapture, open_captures, table_names
from sorbus.producers.mysql.dependents import Cascade, ends_of, read_dependents
from sorbus.producers.mysql.server import read_server, server_faults


def plan_source(system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
    """A step for each setting and grant that a person has to change. MapError where a table can't be captured."""
    with session_for(connection_of(system), "plan", f"planning {system.name}") as session:
        faults = server_faults(session, read_server(session))
        open_captures(session, system, sources)
    return [Step(system.name, fault.what, fault.fix) for fault in faults]


def source_warnings(system: BoundSystem, sources: Sequence[BoundSource]) -> list[str]:
    """Cascades, and datetime columns without a zone."""
    with session_for(connection_of(system), "plan", f"planning {system.name}") as session:
        captures = open_captures(session, system, sources)
        cascades = read_dependents(session, table_names(captures)).cascades
    return [said for capture in captures for said in (*_of_cascades(capture, cascades), *_of_moments(capture))]


def _of_cascades(capture: MysqlCapture, cascades: Sequence[Cascade]) -> list[str]:
    mine = {(table.database, table.name) for table in capture.tables}
    found = []
    for cascade in cascades:
        if mine & {cascade.child, *ends_of(cascades, cascade.child)}:
            parent, child = ".".join(cascade.parent), ".".join(cascade.child)
            found.append(
                f"{capture.name}: a foreign key of {child} lets the server delete or change rows with those of"
                f" {parent}, and the log doesn't say so: each such change reads the whole data type again. If that is"
                " often, let its owner declare the key ON DELETE RESTRICT, and delete the rows by statements"
            )
    return found


def _of_moments(capture: MysqlCapture) -> list[str]:
    if capture.options.time_zone is not None:
        return []
    fields = {field.name: field for field in capture.source.schema.fields}
    found = []
    for name in capture.shape.columns:
        column, field = capture.table.columns[name], fields.get(name)
        if column.type == "datetime" and field is not None and field.type.kind == "timestamp":
            found.append(
                f"{capture.name}: {capture.table.full_name}.{name} is a datetime, which has no time zone: its records"
                " will be dead letters until `time_zone: Europe/Zurich` (or another) is under the data type's `source:`"
            )
    return found
