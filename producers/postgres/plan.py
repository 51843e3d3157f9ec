"""What has to change in the source database before its producer can run, and what it may not lose afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sorbus.connector import BoundSource, BoundSystem, Step
from sorbus.errors import TransientError
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors
from sorbus.producers.postgres.access import lacking_access
from sorbus.producers.postgres.capture import Capture, open_captures
from sorbus.producers.postgres.identity import Identities, broken_steps, broken_writes, tried_step
from sorbus.producers.postgres.publication import faults_for_people, publication_statement, read_publication
from sorbus.producers.postgres.server import read_server
from sorbus.producers.postgres.slot import read_slot, slot_name
from sorbus.producers.postgres.tables import Member, TableState, read_tables
from sorbus.producers.postgres.unique import unique_cure

_IDENTITY_OF = "replica identity of "
_KINDS = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}


def plan_source(system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
    """What has to change in the source database before its producer can run."""
    assert isinstance(system.connection, PostgresConnection)
    connection, name, steps = system.connection, slot_name(system), []
    with connect(connection, "plan", autocommit=True) as session, postgres_errors(f"planning {system.name}"):
        read_server(session, f"planning {system.name}")
        level = session.execute("show wal_level").fetchone()
        if level is not None and level[0] != "logical":
            fix = f"it is {level[0]}: `alter system set wal_level = logical`, then restart the server"
            steps.append(Step(system.name, "wal_level must be logical", fix))
        captures = open_captures(session, sources)
        tables = read_tables(session, tables_of(captures))
        streamed = streamed_members(tables.values())
        unfit = {member.name for member, _ in unfit_members(tables.values())}
        steps += [Step(system.name, why, fix) for why, fix in _unfit_words(tables.values())]
        steps += [Step(system.name, what, fix) for what, fix in lacking_access(session, captures)]
        # Identity first: from the publication on, PostgreSQL refuses writes to tables without one.
        changes, decisions = _identity_steps(connection, system.name, name, session, captures, tables)
        steps += changes
        steps += [Step(system.name, what, why) for (what, why) in decisions.values()]
        members = {member.name: member for table in tables.values() for member in table.members.values()}
        held = {
            table.root.name for table in tables.values() if decisions.keys() & {m.name for m in table.members.values()}
        }
        fit = [each for each in streamed if each.name not in unfit | held | decisions.keys()]
        statement = publication_statement(session, name, fit) if fit else None
        if statement is not None:
            what = f"publication {name}"
            steps.append(tried_step(connection, system.name, what, statement, session, list(members.values())))
        steps += [Step(system.name, why, fix) for why, fix in faults_for_people(session, name, streamed)]
        fixed = {step.what.removeprefix(_IDENTITY_OF) for step in changes} | decisions.keys()
        steps += broken_steps(system.name, broken_writes(session, members.values()), fixed)
        for capture in captures:
            if capture.shared_key is not None:
                steps.append(Step(system.name, capture.shared_key, unique_cure(capture.table, capture.key)))
        slot = read_slot(session, name)
        if slot is None:
            words = "made by the producer at its first start, with the initial snapshot's snapshot"
            steps.append(Step(system.name, f"slot {name}", words, _nothing, at_start=True))
        elif slot.foreign:
            words = "whoever made it has to give it another name, or drop it"
            steps.append(Step(system.name, f"there is a replication slot {name} that {slot.foreign}", words))
    return steps


def _identity_steps(
    connection: PostgresConnection,
    where: str,
    publication: str,
    session: Connection,
    captures: Sequence[Capture],
    tables: Mapping[str, TableState],
) -> tuple[list[Step], dict[str, tuple[str, str]]]:
    """The steps that change replica identities, and what a person must decide: relation -> (what, why)."""
    needs, steps, decisions = tables_of(captures), [], {}
    every = {member.oid: (member, needs[name]) for name, table in tables.items() for member in table.members.values()}
    identities = Identities(session, publication, [member for member, _ in every.values()])
    lacking = {member.oid for member in without_identity(captures, tables)}
    have = read_publication(session, publication)
    published = {
        member.oid
        for table in tables.values()
        if have and table.name in have.tables
        for member in table.members.values()
    }
    for member, columns in sorted(every.values(), key=lambda each: each[0].name):
        if member.oid in lacking:
            statement = identities.statement(member, columns)
            if statement is None:
                decisions[member.name] = f"{_IDENTITY_OF}{member.name}", identities.decision(member, columns)
            else:
                what = f"{_IDENTITY_OF}{member.name}"
                steps.append(tried_step(connection, where, what, statement, session, [member]))
        elif member.identity == "f" and member.oid not in published and (why := identities.why_not_full(member)):
            decisions[member.name] = (
                f"{_IDENTITY_OF}{member.name}",
                f"it is full, and every UPDATE and DELETE would fail once the table is published: {why}. Take another"
                " identity (`default` or `using index`) first",
            )
    return steps, decisions


def _nothing() -> None:
    """The producer does it itself."""


def tables_of(captures: Sequence[Capture]) -> dict[str, frozenset[str]]:
    """Every table that the data types are kept in, by name, with the columns that an old row must have."""
    needs: dict[str, set[str]] = {}
    for capture in captures:
        needs.setdefault(capture.table.name, set()).update(capture.key)
        for child in capture.children:
            needs.setdefault(child.table.name, set()).update(child.options.parent)
    return {name: frozenset(columns) for name, columns in needs.items()}


def streamed_members(tables: Iterable[TableState]) -> list[Member]:
    """The relations that the publication has to stream under their own names: each table, and those that inherit."""
    found = {member.oid: member for table in tables for member in (table.root, *table.inheriting)}
    return sorted(found.values(), key=lambda member: member.name)


def unfit_members(tables: Iterable[TableState]) -> list[tuple[Member, str]]:
    """Relations of which PostgreSQL streams nothing, and what they are."""
    found = []
    for table in tables:
        for member in table.members.values():
            kind = _KINDS.get(member.kind) or {"u": "unlogged", "t": "temporary"}.get(member.persistence)
            if kind is not None:
                found.append((member, kind))
    return found


def _unfit_words(tables: Iterable[TableState]) -> list[tuple[str, str]]:
    fix = "name a table in the map, leave a foreign partition out, or `alter table ... set logged`"
    return [
        (f"{member.name} is {kind}: PostgreSQL doesn't stream its changes", fix)
        for member, kind in unfit_members(tables)
    ]


def without_identity(captures: Sequence[Capture], tables: Mapping[str, TableState]) -> list[Member]:
    """The relations whose old rows don't name the record: deletes and key changes would be lost."""
    needs = tables_of(captures)
    return [
        member
        for name, table in sorted(tables.items())
        for member in table.members.values()
        if (member.kind == "r" or not member.via) and not member.carries(needs[name])
    ]


def check_tables(captures: Sequence[Capture], tables: Mapping[str, TableState]) -> None:
    """TransientError, which says what to do, unless the stream can tell all that happens to the rows."""
    if words := _unfit_words(tables.values()):
        raise TransientError("; ".join(f"{what}: {fix}" for what, fix in words))
    if members := without_identity(captures, tables):
        listed = ", ".join(member.name for member in members)
        raise TransientError(
            f"the replica identity of {listed} doesn't carry the record's key: deletes and changes of the key would be"
            " lost; run `sorbus apply`"
        )
