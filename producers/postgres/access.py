"""What the producer's role may read: every row and every column that the map needs, or it says what is lacking.

Row security hides rows without a word: a copy would lack them, and a record that can't be seen would pass for deleted.
Sessions that read rows are refused then (`client_encoding.py`); this says so before.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import cast

from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection
from sorbus.producers.postgres.capture import Capture

_ACCESS = (files("sorbus.producers.postgres") / "access.sql").read_text()


def lacking_access(session: Connection, captures: Sequence[Capture]) -> list[tuple[str, str]]:
    """What our role can't read of the captured tables, and what a database administrator does about it."""
    needs: dict[int, tuple[Table, set[str]]] = {}
    for capture in captures:
        needs.setdefault(capture.table.oid, (capture.table, set()))[1].update(capture.columns())
        for child in capture.children:
            needed = needs.setdefault(child.table.oid, (child.table, set()))[1]
            needed.update(capture.child_columns(child), child.options.parent, child.order)
    found = []
    rows = session.execute(_ACCESS.encode(), (list(needs),)).fetchall()
    for oid, hides, is_forced, is_owner, role, refused in rows:
        table, columns = needs[int(str(oid))]
        if missing := [name for name in cast("list[str]", refused) if name in columns]:
            grant = f"grant select ({', '.join(missing)}) on {table.name} to {role}"
            found.append((f"{role} may not read {', '.join(missing)} of {table.name}", grant))
        if hides:
            forced = (
                " (it owns the table, which forces row security on its owner too)" if is_owner and is_forced else ""
            )
            found.append(
                (
                    f"row security hides rows of {table.name} from {role}{forced}",
                    f"`alter role {role} bypassrls` (by a superuser)"
                    + (f", or `alter table {table.name} no force row level security`" if forced else "")
                    + ": policies would keep records out of the copy, and what can't be seen would pass for deleted",
                )
            )
    return sorted(found)
