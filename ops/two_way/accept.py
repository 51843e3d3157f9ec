"""A person accepts how the systems of a two-way data type are joined."""

from __future__ import annotations

from typing import cast

from sorbus.audit import AuditTrail
from sorbus.drift.watch import has_state
from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.two_way.join import JoinPlan
from sorbus.settings import Settings
from sorbus.state.database import State

_JOIN = b"""
insert into joined_type as old (data_type, joined_by, systems) values (%(data_type)s, %(who)s, %(systems)s)
on conflict (data_type) do update set
    joined_by = excluded.joined_by, joined_at = now(), systems = excluded.systems,
    generation = case when %(again)s then greatest(old.generation + 1, extract(epoch from now())::integer)
        else old.generation end
where %(again)s or old.systems is distinct from excluded.systems
"""
"""A generation is none that was before, though this database was restored: positions in Kafka tell them apart by it."""


def gone(loaded: LoadedMap, settings: Settings, plan: JoinPlan) -> int:
    """How many merged records the system of record no longer has: joining again deletes them. TransientError."""
    if not has_state(settings):
        return 0
    rows = State.of(loaded.map.topic_prefix).run(
        b"select count(*) from merged_record r where data_type = %s and data is not null"
        b" and not exists (select from unnest(%s::text[]) owned (id) where owned.id = r.id)",
        (plan.data_type, [id.decode() for id in plan.owned]),
    )
    return cast("int", rows[0][0])


def accept_join(loaded: LoadedMap, settings: Settings, plan: JoinPlan, who: str, *, again: bool) -> None:
    """The merge publishes from now on. `again`: what was joined before is forgotten, and all is read once more.

    UsageError without Sorbus's database. TransientError.
    """
    if not has_state(settings):
        raise UsageError("two-way data types need Sorbus's own database: set SORBUS_DATABASE")
    state, name = State.of(loaded.map.topic_prefix), plan.data_type
    with state.connection() as connection:
        systems = sorted({plan.system_of_record, *plan.systems})
        connection.execute(_JOIN, {"data_type": name, "who": who, "systems": systems, "again": again})
        if again:
            connection.execute(b"delete from system_view where data_type = %s", (name,))
            # which of our writes systems have shown is no longer known
            connection.execute(b"update own_write set noted = 0 where data_type = %s", (name,))
        details = {"records": plan.records, "again": again}
        AuditTrail(state).note_in(connection, who, "join", "two-way", name, data_type=name, details=details)
