"""What delivering a record would write: written in a transaction that is rolled back, and compared with what was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pydantic import JsonValue

from sorbus.abilities import Preview, older_preview
from sorbus.connector import Delivery
from sorbus.consumers.postgres.lookup import Row, read_rows
from sorbus.consumers.postgres.open_target import OpenTarget
from sorbus.consumers.postgres.packed import Packed
from sorbus.consumers.postgres.tables import VERSION_COLUMN
from sorbus.errors import PermanentError
from sorbus.postgres.connection import postgres_errors

Written = tuple[Row | None, dict[str, list[Row]]]
_UNSHOWN = frozenset({VERSION_COLUMN})
"""Columns that change with every event, and don't count."""


def preview_delivery(target: OpenTarget, delivery: Delivery) -> Preview:
    """The row that would be written, or go. TransientError, AuthError."""
    try:
        packed = target.packer.pack(0, delivery)
        with postgres_errors(f"flow {target.flow.flow.id}"):
            shown = _preview_write(target, delivery.id.decode(errors="replace"), [packed])
            newer = target.newer([delivery]) if shown.action == "nothing" else {}
        return older_preview(delivery.version, newer[delivery.id]) if newer else shown
    except PermanentError as error:
        return Preview("refuse", str(error))


def _preview_write(target: OpenTarget, id: str, packed: Sequence[Packed]) -> Preview:
    """The row and its items before and after a write that is undone."""
    with target.session.transaction(force_rollback=True):
        before = _rows(target, id)
        target.writing.write(packed, again=False)
        after = _rows(target, id)
    if before == after:
        return Preview("nothing", "the table has this state of it already, or a newer one")
    (was, was_items), (row, items) = before, after
    changes = {name: [(was or {}).get(name), (row or {}).get(name)] for name in {**(was or {}), **(row or {})}}
    request: JsonValue = {
        "table": target.tables[""].name,
        "row": row,
        "changes": cast("JsonValue", {name: both for name, both in changes.items() if both[0] != both[1]}),
        **{name: cast("JsonValue", found) for name, found in items.items() if found != was_items[name]},
    }
    if was is None:
        return Preview("create", "it has no row", request)
    return Preview("update", "it differs from its owner's", request) if row else Preview("delete", "gone", request)


def _rows(target: OpenTarget, id: str) -> Written:
    session, options = target.session, target.options
    found = read_rows(session, id, target.tables[""], options.key, unshown=_UNSHOWN)
    items = {
        name: read_rows(session, id, target.tables[name], child.parent, unshown=_UNSHOWN)
        for name, child in options.children.items()
    }
    return (found[0] if found else None), items
