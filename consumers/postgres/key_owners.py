"""Which record has a row, where a key column takes different ids for one: no record writes another one's row.

A row is the record's whose id is written as the row's key is. If another record has it (`007` that of key 7), the side
table says so: its "version" of (key, id) is `TAKEN` then. All of that is looked at only where ids may be taken for one
(`key_kind.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple, cast

import psycopg
from psycopg import sql

from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.key_kind import KeyKind, key_cut
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.row_notes import FREE, TAKEN, of_key
from sorbus.consumers.postgres.tables import VERSION_COLUMN
from sorbus.postgres.catalog import Table, qualified
from sorbus.postgres.connection import Connection

_CHUNK = 10_000


class KeyTaken(psycopg.errors.UniqueViolation):
    """The key column takes a record's id for that of another one, which has the row."""

    column = ""


class Candidate(NamedTuple):
    """A record that is to be written or, with `is_delete`, to go."""

    id: str
    version: int
    is_delete: bool


class _Row(NamedTuple):
    """What an id's key is: `group` numbers equal ones, `made` is how it would be written, `key` how that of the row is
    that is there. `is_noted`: a record of that name was written. `taken_by`: the record that has a row whose key is
    written otherwise. `applied`: the id's own version.
    """

    group: int
    is_cut: bool
    made: str
    key: str | None
    is_noted: bool
    taken_by: str | None
    applied: int | None

    @property
    def holder(self) -> str | None:
        """The record that has the row that is there; None where there is no row, or it is no record's yet."""
        return self.taken_by or (self.key if self.is_noted else None)


class KeyOwners:
    """Of one flow's table, in one session."""

    def __init__(
        self, session: Connection, flow: BoundFlow, table: Table, kind: KeyKind, applied: sql.Identifier
    ) -> None:
        assert isinstance(flow.options, PostgresTarget)
        self._session, self._table, self._kind, self._applied = session, table, kind, applied
        self._relation = qualified(table.name)
        self._deletes, self._creates = flow.flow.deletes, flow.options.creates
        self._is_ours = VERSION_COLUMN in table.columns
        self.has_taken = False
        """Whether a record was written whose id isn't spelled as most are (`KeyKind.plain`): then all are looked at."""
        self._rows_query = self._made_query()

    @property
    def noted(self) -> sql.Composable:
        """A text that becomes another once a session has noted the first key that is written otherwise than its id."""
        if not self._kind.plain:
            return sql.SQL("''")
        return sql.SQL("(select coalesce(max(version), 0)::text from {} where relation = {} and id = {})").format(
            self._applied, sql.Literal(f"{self._relation} keys"), sql.Literal(self._kind.name)
        )

    def may_meet(self, ids: Sequence[bytes]) -> bool:
        """Whether one of these may have another record's key, or be cut."""
        return self.has_taken or not self._kind.tells_apart(ids)

    def open(self, within: float = math.inf) -> bool:
        """Notes what was written before such notes were made; no other writer of ours may be at work. psycopg.Error.

        `within`: seconds after which the rest is left to the next call. False: then there is a rest.
        """
        if self._kind.plain == "":
            return True
        mark = f"{self._relation} keys", self._kind.name
        found = self._execute("select version from {applied} where relation = %s and id = %s", mark).fetchone()
        if found is None:
            noted = FREE if self._is_ours else self._note_earlier(time.monotonic() + within)
            if noted is None:
                return False
            found = (noted,)
            self._note([mark[0]], [mark[1]], noted)
        self.has_taken = bool(self._kind.plain) and found[0] == TAKEN
        return True

    @property
    def is_open(self) -> bool:
        """Whether `open` has been called for this table and kind of key, by whichever session. psycopg.Error."""
        mark = f"{self._relation} keys", self._kind.name
        query = "select 1 from {applied} where relation = %s and id = %s"
        return self._kind.plain == "" or self._execute(query, mark).fetchone() is not None

    def kept(self, asked: Sequence[Candidate], *, again: bool) -> list[bool]:
        """Whether each can be written in the transaction in progress, where no other writer of ours is at work.

        False for what would change nothing, since the row is another record's. KeyTaken, KeyCut; psycopg.Error.
        """
        found = self._rows([one.id for one in asked])
        pairs = list(zip(asked, found, strict=True))
        for place, (one, row) in enumerate(pairs):
            if row.is_cut:
                raise key_cut(place, self._table.name, self._kind, one.id, row.made)
        stale = [_is_stale(one, row, again=again) for one, row in pairs]
        # A delete, or what is older than the target's, needs no row: it is of no consequence for another's.
        kept = [
            row.holder in (None, one.id) or not (one.is_delete or is_stale)
            for (one, row), is_stale in zip(pairs, stale, strict=True)
        ]
        gone = [one for (one, _), is_kept in zip(pairs, kept, strict=True) if one.is_delete and not is_kept]
        freed: set[int] = set()
        free: list[str] = []
        takes: dict[int, tuple[str, str]] = {}
        for (one, row), is_stale in zip(pairs, stale, strict=True):
            if one.is_delete and not is_stale and self._deletes == "hard" and row.holder in (None, one.id):
                freed.add(row.group)
                free += [row.key] if row.key is not None and row.taken_by else []
        for (one, row), is_stale in zip(pairs, stale, strict=True):
            key = None if row.group in freed else row.key
            if one.is_delete or is_stale or not (key is not None or self._creates):
                continue
            holder = None if key is None else row.holder
            holder = holder or takes.setdefault(row.group, (one.id, row.made if key is None else key))[0]
            if holder != one.id:
                raise self._taken(one.id, holder)
        if gone and self._deletes != "ignore":
            self._note_versions(gone)
        self._take(free, list(takes.values()))
        if self._kind.plain and not all(self._kind.is_plain(id) for id, _ in takes.values()):
            self._note([f"{self._relation} keys"], [self._kind.name], TAKEN)
            self.has_taken = True
        return kept

    def others(self, ids: Sequence[str]) -> dict[str, str]:
        """Id -> another record that has the row of its key, for those where one has. psycopg.Error."""
        if not self.may_meet([id.encode() for id in ids]):
            return {}
        holders = {id: row.holder for id, row in self._castable(list(ids))}
        return {id: holder for id, holder in holders.items() if holder is not None and holder != id}

    def _take(self, free: Sequence[str], takes: Sequence[tuple[str, str]]) -> None:
        """Notes who (the first of each pair) has the row of which key from now on, where the key doesn't say so."""
        if free or takes:  # also what was noted of a row that a person has removed since
            self._execute(
                "update {applied} set version = %s where relation = any(%s) and version = %s",
                (FREE, [of_key(self._relation, key) for key in [*free, *(key for _, key in takes)]], TAKEN),
            )
        if odd := [(id, key) for id, key in takes if id != key]:
            self._note([of_key(self._relation, key) for _, key in odd], [id for id, _ in odd], TAKEN)

    def _note_earlier(self, until: float) -> int | None:
        """Notes which record has each row that was written under another spelling of its key.

        Of several it is the one that was written last: it is what the row holds. Whether rows have ids that aren't
        spelled as most are; None where there is a rest `until` then (monotonic seconds), whose begin is noted.
        """
        place = f"{self._relation} keys looked at {self._kind.name}"
        began = self._execute("select id, version from {applied} where relation = %s", (place,)).fetchone()
        last, taken = began or ("", FREE)
        while last is not None:
            last, ids = self._execute(
                "select max(id), coalesce(array_agg(id) filter (where id !~ %s), '{{}}') from (select id from {applied}"
                " where relation = %s and id > %s order by id limit %s) s",
                (f"^({self._kind.plain})$" if self._kind.plain else "^$", self._relation, last, _CHUNK),
            ).fetchall()[0]
            found = [(id, row) for id, row in self._castable(cast("list[str]", ids)) if row.key is not None]
            taken = TAKEN if found else taken
            self._take([], self._newest([(id, row) for id, row in found if row.key != id]))
            if time.monotonic() > until:
                break
        if began is not None:
            statement = "update {applied} set id = %s, version = %s where relation = %s"
            self._execute(statement, ("", FREE, place) if last is None else (last, taken, place))
        elif last is not None:
            self._note([place], [str(last)], int(str(taken)))
        return None if last is not None else int(str(taken))

    def _newest(self, found: Sequence[tuple[str, _Row]]) -> list[tuple[str, str]]:
        """Of records that had these rows, and of those that are noted for them, those that were written last: id, key.

        The record whose id is written as the key is may have been deleted before another one made the row.
        """
        rivals = {str(row.key): row.taken_by or str(row.key) for _, row in found}
        versions = self._execute(
            "select id, version from {applied} where relation = %s and id = any(%s)",
            (self._relation, list(rivals.values())),
        ).fetchall()
        known = {str(id): int(str(version)) for id, version in versions}
        newest = {key: (known.get(rival, -1), rival) for key, rival in rivals.items()}
        for id, row in found:
            newest[str(row.key)] = max(newest[str(row.key)], (row.applied or 0, id), key=itemgetter(0))
        return [(id, key) for key, (_, id) in newest.items()]

    def _castable(self, ids: Sequence[str]) -> Iterable[tuple[str, _Row]]:
        """Rows of the ids that can be keys."""
        try:
            with self._session.transaction():
                return list(zip(ids, self._rows(ids), strict=True))
        except psycopg.DataError:
            middle = len(ids) // 2
            return [*self._castable(ids[:middle]), *self._castable(ids[middle:])] if middle else []

    def _rows(self, ids: Sequence[str]) -> list[_Row]:
        found = self._session.execute(self._rows_query, (list(ids),)).fetchall() if ids else []
        return [_Row(*cast("tuple[int, bool, str, str | None, bool, str | None, int | None]", row)) for row in found]

    def _made_query(self) -> bytes:
        column = self._kind.column
        key, asked = sql.Identifier("t", column.name), sql.SQL("s.id::{}").format(sql.SQL(column.unbounded))
        plain, native = sql.SQL(column.plain or column.unbounded), sql.SQL(column.native)
        is_cut: sql.Composable = sql.SQL("false")
        if self._kind.cuts:
            is_cut = sql.SQL("s.id::{}::text <> s.id").format(plain)
        elif column.native != column.plain:
            is_cut = sql.SQL("s.id::{0} is distinct from s.id::{0}::{1}::{0}").format(plain, native)
        noted = sql.SQL(
            "t.{version} is not null"
            if self._is_ours
            else "exists (select from {applied} o where o.relation = {relation} and o.id = {key}::text)"
        )
        return (
            sql.SQL(
                "select dense_rank() over (order by s.k {alike}), {is_cut}, s.made::text, {key}::text, {noted}, c.id,"
                " a.version from (select n, id, {asked} as k, s.id::{native} as made"
                " from unnest(%s::text[]) with ordinality s (id, n)) s"
                " left join {table} t on {key} {alike} = s.k {alike}"
                " left join {applied} c on c.relation = {prefix} || {key}::text and c.version = {taken}"
                " left join {applied} a on a.relation = {relation} and a.id = s.id order by s.n"
            )
            .format(
                alike=self._kind.collation,
                is_cut=is_cut,
                key=key,
                noted=noted.format(
                    version=sql.Identifier(VERSION_COLUMN),
                    applied=self._applied,
                    relation=sql.Literal(self._relation),
                    key=key,
                ),
                asked=asked,
                native=native,
                table=self._table.identifier,
                applied=self._applied,
                prefix=sql.Literal(of_key(self._relation, "")),
                taken=sql.Literal(TAKEN),
                relation=sql.Literal(self._relation),
            )
            .as_bytes(self._session)
        )

    def _note(self, relations: Sequence[str], ids: Sequence[str], version: int) -> None:
        self._execute(
            "insert into {applied} (relation, id, version) select r, i, %s from unnest(%s::text[], %s::text[]) u (r, i)"
            " on conflict (relation, id) do update set version = excluded.version",
            (version, list(relations), list(ids)),
        )

    def _note_versions(self, gone: Sequence[Candidate]) -> None:
        self._execute(
            "insert into {applied} as a (relation, id, version) select %s, i, v from unnest(%s::text[], %s::bigint[])"
            " u (i, v) on conflict (relation, id) do update set version = greatest(a.version, excluded.version)",
            (self._relation, [one.id for one in gone], [one.version for one in gone]),
        )

    def _execute(self, statement: str, values: Sequence[object]) -> psycopg.Cursor[tuple[object, ...]]:
        return self._session.execute(sql.SQL(statement).format(applied=self._applied), values)

    def _taken(self, id: str, holder: str) -> KeyTaken:
        column = self._kind.column
        error = KeyTaken(
            f"the key column {self._table.name}.{column.name} ({column.native}) takes {id!r} for {holder!r}, another"
            " record that has the row: correct one of the two ids at their owner, let the table's owner declare the"
            " column as text that tells them apart, or name another `key:`"
        )
        error.column = column.name
        return error


def _is_stale(one: Candidate, row: _Row, *, again: bool) -> bool:
    """Whether the target has the record in this version, or a newer one."""
    if row.applied is None:
        return False
    return row.applied > one.version or (row.applied == one.version and not again)
