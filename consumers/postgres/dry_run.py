"""A dry run: the delivery itself, all of it in one transaction that is rolled back, with each row before and after.

So constraints, triggers, unique values that move and records that need each other count as they will. The rows that
would change stay locked until the end, and what PostgreSQL never rolls back (sequences) moves on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from decimal import Decimal
from typing import NamedTuple, cast

import psycopg
from psycopg import sql
from pydantic import JsonValue

from sorbus.abilities import Preview, older_preview
from sorbus.connector import Delivery
from sorbus.consumers.postgres.open_target import OpenTarget
from sorbus.consumers.postgres.tables import VERSION_COLUMN
from sorbus.errors import MustWait, PermanentError
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import postgres_errors

_Row = dict[str, object]


class _State(NamedTuple):
    """A record's row, None if there is none, and its items by list field."""

    row: _Row | None
    items: dict[str, list[_Row]]


_ABSENT = _State(None, {})


class DryRun:
    """One target's dry run. Close it before the target."""

    def __init__(self, target: OpenTarget) -> None:
        """Begins the transaction. TransientError, AuthError."""
        self._target = target
        self._doing = f"dry run of flow {target.flow.flow.id}"
        with postgres_errors(self._doing):
            target.session.execute("set idle_in_transaction_session_timeout = 0")
            target.session.commit()
            self._transaction = ExitStack()  # within it psycopg refuses every commit
            self._transaction.enter_context(target.session.transaction(force_rollback=True))
            target.writing.is_dry_run = True
            target.writing.open(math.inf)

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `sorbus.dry_run.SupportsDryRun`."""
        target = self._target
        ids = [one.id.decode(errors="replace") for one in deliveries]
        packed, rejected = target.packer.pack_all(deliveries)
        refused = {one.place: one.error for one in rejected}
        with postgres_errors(self._doing):
            before = self._states(ids)
        target.writing.begin(again=True, alone=True)
        refused |= {one.place: one.error for one in target.isolation.deliver(packed)}
        with postgres_errors(self._doing):
            after = self._states(ids)
            newer = target.newer([one for place, one in enumerate(deliveries) if place not in refused])
        found = []
        for place, (id, one) in enumerate(zip(ids, deliveries, strict=True)):
            if (fault := refused.get(place)) is not None:
                found.append(_refused(fault))
            elif one.id in newer:
                found.append(older_preview(one.version, newer[one.id]))
            else:
                found.append(self._change(before.get(id, _ABSENT), after.get(id, _ABSENT), is_delete=one.deleted))
        return found

    def close(self) -> None:
        """Undoes it."""
        with suppress(psycopg.Error):  # a lost connection has undone it
            self._transaction.close()

    def _change(self, before: _State, after: _State, *, is_delete: bool) -> Preview:
        if before == after or before.row is after.row is None:
            why = "the table has no row of it" if is_delete else "the table has these values already"
            return Preview("nothing", why)
        was, row = before.row or {}, after.row or {}
        changes = {name: [was.get(name), row.get(name)] for name in {**was, **row} if was.get(name) != row.get(name)}
        lists = {
            name: [before.items.get(name, []), after.items.get(name, [])]
            for name in {**before.items, **after.items}
            if before.items.get(name, []) != after.items.get(name, [])
        }
        request = _json({"table": self._target.tables[""].name, "changes": {**changes, **lists}})
        if is_delete:
            return Preview("delete", "its owner has deleted it", request)
        if before.row is None:
            return Preview("create", "it has no row", request)
        return Preview("update", "it differs from its owner's", request)

    def _states(self, ids: Sequence[str]) -> dict[str, _State]:
        """By id; records without rows are left out. psycopg.Error."""
        target = self._target
        others = target.writing.guard.owners.others(ids)
        ids = [id for id in ids if id not in others]
        found = {id: _State(rows[0], {}) for id, rows in self._rows(ids, target.tables[""], target.options.key).items()}
        for name, child in target.options.children.items():
            for id, rows in self._rows(ids, target.tables[name], child.parent).items():
                found.setdefault(id, _State(None, {})).items[name] = rows
        return found

    def _rows(self, ids: Sequence[str], table: Table, column: str) -> dict[str, list[_Row]]:
        statement = sql.SQL(
            "select u.id, (to_jsonb(t) - {})::text from unnest(%s::text[]) u (id) join {} t on {} = u.id::{}"
            " order by 1, 2"
        ).format(
            sql.Literal(VERSION_COLUMN),
            table.identifier,
            sql.Identifier("t", column),
            sql.SQL(table.columns[column].unbounded),
        )
        found: dict[str, list[_Row]] = {}
        left = [list(ids)]
        while left:
            part = left.pop()
            try:
                with self._target.session.transaction():
                    rows = self._target.session.execute(statement, (part,)).fetchall()
            except psycopg.DataError:  # an id that can't be one of this key: no row has it
                if len(part) > 1:
                    left += [part[len(part) // 2 :], part[: len(part) // 2]]
                continue
            for id, text in rows:
                row = json.loads(cast("str", text), parse_float=Decimal)
                found.setdefault(cast("str", id), []).append(row)
        return found


def _refused(error: PermanentError) -> Preview:
    if isinstance(error, MustWait):
        return Preview("wait" if error.why == "reference" else "hold", str(error))
    return Preview("refuse", str(error))


def _json(value: object) -> JsonValue:
    """As JSON, decimals as they are written."""
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner) for inner in value]
    return str(value) if isinstance(value, Decimal) else cast("JsonValue", value)
