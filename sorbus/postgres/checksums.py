"""Checksums of a PostgreSQL database's records: see `sorbus.checksums`; the same for owners and targets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from psycopg import sql
from psycopg.pq.abc import PGresult

from sorbus.checksums import FieldTotal, HashFunction, RecordTexts, RowDigest, SegmentSum, item_order
from sorbus.errors import TransientError
from sorbus.postgres.catalog import Column
from sorbus.postgres.connection import Connection, postgres_errors
from sorbus.postgres.exported_snapshot import join_snapshot
from sorbus.postgres.rewritten import table_files

_PROBE = "Sorbus: \u00e9\u4e2d\U0001f600"
_CONVERTED = frozenset({"LATIN1", "LATIN2", "LATIN5", "LATIN9"})
"""Encodings whose every byte is a letter in UTF-8."""
_ANY_BYTES = "SQL_ASCII"
"""Takes whatever programs write: nothing is converted, so that bytes that aren't text stop no comparison."""
_FETCHED = 10_000
_INTEGER_LIMITS = {20: 1 << 63, 21: 1 << 15, 23: 1 << 31}
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


class CheckedTable(NamedTuple):
    """Where a part's rows are and what is compared of them.

    `rows`: what follows `from`, `condition` what follows `where`; `id`: the record's id as text; `key`: the columns and
    their expressions that make the id, to find records by; `place`: an item's place in its list, if it counts.
    `tables`: the oids of the tables that are read, for their size.
    """

    rows: sql.Composable
    condition: sql.Composable
    id: sql.Composable
    key: Sequence[tuple[Column, sql.Composable]]
    values: Sequence[tuple[str, sql.Composable]]
    place: sql.Composable | None
    tables: Sequence[int]


def hash_algorithms(session: Connection) -> list[str]:
    """The hashes that a database can compute of text in UTF-8, the fastest first; the name holds a probe's result.

    None where text is stored in an encoding that has bytes without a letter: converting them would fail.
    """
    encoding = session.info.parameter_status("server_encoding")
    if encoding in _CONVERTED:
        return ["md5"]
    if encoding not in ("UTF8", _ANY_BYTES):
        return []
    row = session.execute('select hashtextextended(%s::text collate "C", 0)', (_PROBE,)).fetchone()
    assert row is not None
    return [f"hashtextextended {row[0]}", "md5"]


_UNHURRIED = {
    "idle_session_timeout": "0",
    "lock_timeout": "60s",
    "row_security": "off",
}
"""A scan takes as long as the table is large, and a snapshot is held while changes arrive, whatever the role's limits;
a table that stays locked, or of which policies would hide rows, is an error.
"""


def prepare(session: Connection) -> None:
    """Settings for comparing that a server of this version has, in a session that was opened `unhurried`.

    Ends the transaction in progress, and begins none: the role's limit of one may be shorter than a statement.
    """
    session.commit()
    session.autocommit = True
    session.execute(
        "select set_config(name, value, false) from unnest(%s::text[], %s::text[]) s (name, value) join pg_settings"
        " using (name)",
        (list(_UNHURRIED), list(_UNHURRIED.values())),
    )
    session.autocommit = False


class PostgresChecksums:
    """Reads one database's checksums, in one session."""

    def __init__(
        self, session: Connection, doing: str, parts: Mapping[str, CheckedTable], hashing: HashFunction
    ) -> None:
        self._session, self._doing, self._parts, self._hashing = session, doing, parts, hashing
        self.rows_fetched = 0
        self.bytes_scanned = 0
        self.nameless = 0
        if session.info.parameter_status("server_encoding") == _ANY_BYTES:
            with postgres_errors(doing):
                session.execute(sql.SQL("set client_encoding = {}").format(sql.Literal(_ANY_BYTES)))
                session.commit()

    def snapshot(self, shared: str | None = None) -> None:
        """Begins a read-only transaction whose snapshot is taken now, or is the `shared` one."""
        with postgres_errors(self._doing):
            self._session.rollback()
            self._session.execute("set transaction isolation level repeatable read read only")
            if shared is not None:
                join_snapshot(self._session, shared)
            self._session.execute("select 1")

    def share(self) -> str:
        """The exported snapshot's name."""
        with postgres_errors(self._doing):
            row = self._session.execute("select pg_export_snapshot()").fetchone()
        assert row is not None
        return plain_text(row[0])

    def totals(self, part: str, fields: Sequence[str]) -> dict[str, FieldTotal]:
        """In one scan; text that isn't a number doesn't count."""
        table = self._parts[part]
        values = [value for name, value in table.values if name in fields]
        if not values:
            return {}
        number = "case when ({0})::text ~ '^-?[0-9]+([.][0-9]+)?$' then ({0})::text::numeric end"
        sums = [
            sql.SQL("count({0}), coalesce(trim_scale(sum({0})), 0)::text").format(sql.SQL(number).format(value))
            for value in values
        ]
        query = sql.SQL("select {} from {} where {}").format(sql.SQL(", ").join(sums), table.rows, table.condition)
        with postgres_errors(self._doing):
            self._measure(part)
            row = self._session.execute(query).fetchone()
            self._check_files()
        assert row is not None
        names = [name for name, _ in table.values if name in fields]
        return {name: FieldTotal(_whole(row[2 * at]), plain_text(row[2 * at + 1])) for at, name in enumerate(names)}

    def count(self) -> int:
        """From the planner's statistics; exact where there are none."""
        table = self._parts[""].tables[0]
        with postgres_errors(self._doing):
            row = self._session.execute("select reltuples::bigint from pg_class where oid = %s", (table,))
            found = row.fetchone()
            if found is not None and _whole(found[0]) > 0:
                return _whole(found[0])
            query = sql.SQL("select count(*) from {} where {}").format(*self._parts[""][:2])
            counted = self._session.execute(query).fetchone()
        return _whole(counted[0]) if counted else 0

    def sums(self, part: str, segments: int) -> dict[int, SegmentSum]:
        query = sql.SQL("select segment, count(*), sum(digest)::text from ({}) x group by 1").format(
            self._digested(part, segments)
        )
        with postgres_errors(self._doing):
            self._measure(part)
            rows = self._session.execute(query).fetchall()
            self._check_files()
        self.rows_fetched += len(rows)
        return {_whole(row[0]): SegmentSum(_whole(row[1]), _whole(row[2])) for row in rows}

    def digests(self, part: str, segments: int, among: Sequence[int]) -> Iterator[RowDigest]:
        digested = self._digested(part, segments, among if len(among) < segments else None)
        grouped = "select segment, id, count(*), sum(digest)::text from ({}) x group by 1, 2 order by 1"
        single = "select segment, id, 1, digest::text from ({}) x order by 1"
        query = sql.SQL(grouped if part else single).format(digested)
        with postgres_errors(self._doing), self._session.cursor(name="sorbus_digests") as cursor:
            self._measure(part)
            cursor.itersize = _FETCHED
            cursor.execute(query)
            for segment, id, count, digest in cursor:
                self.rows_fetched += 1
                try:
                    name = plain_text(id)
                except UnicodeDecodeError:
                    self.nameless += 1
                    continue
                yield RowDigest(_whole(segment), name, _whole(count), _whole(digest))
            self._check_files()

    def records(self, ids: Sequence[str]) -> dict[str, RecordTexts]:
        with postgres_errors(self._doing):
            rows: dict[str, list[Mapping[str, str | None]]] = {}
            for id, row, _ in sorted(self._texts("", ids), key=item_order):
                rows.setdefault(id, []).append(row)
            items: dict[str, dict[str, list[Mapping[str, str | None]]]] = {}
            for part in self._parts.keys() - {""}:
                for id, row, _ in sorted(self._texts(part, ids), key=item_order):
                    items.setdefault(id, {}).setdefault(part, []).append(row)
            self._check_files()
        found = {id: RecordTexts(row[0], items.get(id, {}), len(row), tuple(row[1:])) for id, row in rows.items()}
        for id in items.keys() - found.keys():  # items of a record that isn't there
            found[id] = RecordTexts(None, items[id])
        return found

    def cancel(self) -> None:
        """See `sorbus.checksums.ChecksumReader`."""
        self._session.cancel()

    def close(self) -> None:
        """Ends the session."""
        self._session.close()

    def _check_files(self) -> None:
        """TransientError where what was read looks empty since a table was rewritten after the snapshot."""
        oids = [oid for part in self._parts.values() for oid in part.tables]
        if any(file.seen != file.now for file in table_files(self._session, oids)):
            raise TransientError(f"{self._doing}: a table was truncated or rewritten meanwhile; compare again")

    def _digested(self, part: str, segments: int, among: Sequence[int] | None = None) -> sql.Composed:
        """Each row's segment, id and digest."""
        table = self._parts[part]
        place = [table.place] if table.place is not None else []
        text = sql.SQL("row({})::text").format(
            sql.SQL(", ").join([table.id, *place, *(value for _, value in table.values)])
        )
        segment = sql.SQL("({} & {})").format(self._hash(table.id), sql.Literal(segments - 1))
        where = table.condition
        if among is not None:
            where = sql.SQL("({}) and {} = any({}::bigint[])").format(where, segment, sql.Literal(list(among)))
        return sql.SQL("select {} as segment, {} as id, {} as digest from {} where {}").format(
            segment, table.id, self._hash(text), table.rows, where
        )

    def _hash(self, text: sql.Composable) -> sql.Composed:
        algorithm, seed = self._hashing
        if algorithm != "md5":
            return sql.SQL('hashtextextended({} collate "C", {})').format(text, sql.Literal(seed))
        salted = sql.SQL("{} || {}").format(sql.Literal(f"{seed} "), text)
        if self._session.info.parameter_status("server_encoding") in _CONVERTED:
            salted = sql.SQL("convert_to({}, 'UTF8')").format(salted)
        return sql.SQL("('x' || substr(md5({}), 1, 16))::bit(64)::bigint").format(salted)

    def _texts(self, part: str, ids: Sequence[str]) -> Iterator[tuple[str, dict[str, str | None], int]]:
        """The compared values of these records' rows, with each item's place."""
        table = self._parts[part]
        place = table.place if table.place is not None else sql.SQL("0")
        query = sql.SQL("select {} from {} where ({}) and {}").format(
            sql.SQL(", ").join([table.id, place, *(value for _, value in table.values)]),
            table.rows,
            table.condition,
            _among(table, ids),
        )
        result = self._session.execute(query).pgresult
        assert result is not None
        self.rows_fetched += result.ntuples
        for row in range(result.ntuples):
            values = {name: text_of(result, row, at + 2) for at, (name, _) in enumerate(table.values)}
            yield text_of(result, row, 0) or "", values, int(text_of(result, row, 1) or 0)

    def _measure(self, part: str) -> None:
        for table in self._parts[part].tables:
            row = self._session.execute("select pg_table_size(%s::oid)", (table,)).fetchone()
            self.bytes_scanned += _whole(row[0]) if row else 0


def text_of(result: PGresult, row: int, column: int) -> str | None:
    """A value of a result as the server wrote it; bytes that aren't UTF-8 as surrogates."""
    value = result.get_value(row, column)
    return None if value is None else value.decode(errors="surrogateescape")


def plain_text(value: object) -> str:
    """A text that psycopg gives as bytes where it isn't told the encoding. UnicodeDecodeError for what isn't UTF-8."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _whole(value: object) -> int:
    return int(plain_text(value))


def _among(table: CheckedTable, ids: Sequence[str]) -> sql.Composable:
    """The condition that finds records by id: through the key's index where each id can be a value of its type."""
    if len(table.key) == 1:
        column, value = table.key[0]
        able = [id for id in ids if _fits(id, column)]
        if _is_searchable(column):
            native = sql.SQL(column.unbounded)
            return sql.SQL("{} = any({}::text[]::{}[])").format(value, sql.Literal(able), native)
    elif all(_is_searchable(column) for column, _ in table.key):
        keys = [_key(id, table) for id in ids]
        rows = [key for key in keys if key is not None]
        if not rows:
            return sql.SQL("false")
        values = sql.SQL(", ").join(
            sql.SQL("({})").format(
                sql.SQL(", ").join(
                    sql.SQL("{}::{}").format(sql.Literal(part), sql.SQL(column.unbounded))
                    for part, (column, _) in zip(key, table.key, strict=True)
                )
            )
            for key in rows
        )
        return sql.SQL("({}) in ({})").format(sql.SQL(", ").join(value for _, value in table.key), values)
    return sql.SQL("{} = any({}::text[])").format(table.id, sql.Literal(list(ids)))


def _key(id: str, table: CheckedTable) -> list[str] | None:
    """The parts of a composite id (see `producers/record_keys.py`); None for one that isn't of this key."""
    parts = [part.replace("%7C", "|").replace("%25", "%") for part in id.split("|")]
    is_key = len(parts) == len(table.key) and all(
        _fits(part, column) for part, (column, _) in zip(parts, table.key, strict=False)
    )
    return parts if is_key else None


def _is_searchable(column: Column) -> bool:
    return column.base in _INTEGER_LIMITS or column.base in (25, 1043, 2950)


def _fits(id: str, column: Column) -> bool:
    """Whether a text is a value of the column's type as it writes it."""
    if (limit := _INTEGER_LIMITS.get(column.base)) is not None:
        return re.fullmatch(r"-?[0-9]{1,19}", id) is not None and -limit <= int(id) < limit
    if column.base == 2950:
        return _UUID.fullmatch(id) is not None
    return "\0" not in id
