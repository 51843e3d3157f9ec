"""Writing a batch in one transaction: versions are locked first, which orders concurrent writers; then rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pymysql

from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.isolate import Written
from sorbus.consumers.mysql.keys import key_value
from sorbus.consumers.mysql.options import MysqlTarget
from sorbus.consumers.mysql.record_rows import MysqlRow, RecordRows, fitting
from sorbus.consumers.mysql.tables import applied_name
from sorbus.errors import PermanentError, SorbusError
from sorbus.mysql.catalog import MysqlTable, read_mysql_table
from sorbus.mysql.connection import Session, quoted
from sorbus.mysql.faults import about_error, as_error, is_denied, refused_write
from sorbus.write_fault import About

_AT_ONCE = 500
_TAKEN = 1265
"""A value that a column would change, in the server's numbers: about the record."""
_ALTERED = 1412
"""A table's definition has changed: to be tried again."""


class MysqlEngine:
    """MySQL, as isolation sees it."""

    error: type[pymysql.Error] = pymysql.Error

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def is_closed(self) -> bool:
        return not self._session.is_open

    @contextmanager
    def transaction(self, *, force_rollback: bool = False) -> Iterator[None]:
        """Commits at its end, or rolls back."""
        raw = self._session.raw
        raw.begin()
        try:
            yield
            if force_rollback:
                raw.rollback()
            else:
                raw.commit()
        except BaseException:
            if raw.open:
                with _quiet():
                    raw.rollback()
            raise

    def about(self, error: pymysql.Error) -> About:
        """What a failure is about."""
        return about_error(error)

    def is_denied(self, error: pymysql.Error) -> bool:
        """Whether a grant is missing."""
        return is_denied(error)

    def as_error(self, error: pymysql.Error, doing: str) -> SorbusError:
        """The error as one of Sorbus's."""
        return as_error(error, doing)

    def refusal(self, error: pymysql.Error, field: str | None, doing: str) -> PermanentError:
        """The error as a single record's."""
        made = refused_write(error, doing)
        made.field = made.field or field
        return made


@contextmanager
def _quiet() -> Iterator[None]:
    try:
        yield
    except (pymysql.Error, OSError):
        return


class MysqlWriting:
    """Writes rows of one flow through one session."""

    def __init__(
        self, session: Session, flow: BoundFlow, tables: Mapping[str, MysqlTable], rows: RecordRows, largest: int
    ) -> None:
        options = flow.options
        assert isinstance(options, MysqlTarget)
        self._session, self._flow, self._options, self._tables = session, flow, options, tables
        self._rows, self._largest = rows, largest
        root = tables[""]
        self._applied, self._relation = applied_name(root), root.full_name.encode()
        self._root, self._key = root.sql, quoted(options.key)
        columns = [quoted(name) for name in rows.columns[""]]
        # A table whose flow marked deleted records once has the column still, and marks in it.
        self._is_marked = flow.flow.deletes == "soft" or (
            not options.existing and options.deleted_column in root.columns
        )
        sets = [*columns[1:], *([quoted(options.deleted_column)] if self._is_marked else [])]
        self._columns = [*columns, *([quoted(options.deleted_column)] if self._is_marked else [])]
        needs_more = [one for one in root.columns.values() if one.required and quoted(one.name) not in self._columns]
        # An INSERT of a row that is there sets off the triggers of new rows; a table that Sorbus made has none.
        self._can_upsert = not options.existing and root.key == (options.key,) and not needs_more
        self._key_value = key_value(root.columns[options.key])
        updated = ", ".join(f"{name} = values({name})" for name in sets) or f"{self._key} = values({self._key})"
        self._insert = f"insert into {self._root} ({', '.join(self._columns)}) values "  # noqa: S608 - quoted names
        self._upsert_end = f" on duplicate key update {updated}"
        self._update = f"update {self._root} set {', '.join(f'{name} = %s' for name in sets)} where {self._key} = %s"  # noqa: S608
        self._has_sets = bool(sets)
        self._declared, self._of = _declarations(tables, rows)
        self._as_declared = session.query(self._declared, self._of)
        self._again = False
        self.changed_nothing = False

    def begin(self, *, again: bool) -> None:
        """What the next writes are: `again` writes an equal version once more."""
        self._again = again

    def write(self, items: Sequence[MysqlRow], *, again: bool = False) -> Written:
        """In the transaction in progress. pymysql.Error."""
        again = again or self._again
        if self._flow.flow.deletes == "ignore":
            items = [item for item in items if not item.is_delete]
        known = self._locked_versions([item.delivery.id for item in items])
        due = [
            item for item in items
            if item.delivery.version > known[item.delivery.id]
            or (again and item.delivery.version == known[item.delivery.id])
        ]  # fmt: skip
        self.changed_nothing = len(due) < len(items)
        if not due:
            return Written()
        deleted = self._delete([item for item in due if item.is_delete])
        created, changed = self._put([item for item in due if not item.is_delete])
        self._note_versions(due)
        # Nobody can alter the tables from now on until the commit.
        if self._session.query(self._declared, self._of) != self._as_declared:
            raise pymysql.OperationalError(_ALTERED, "a table has changed since the flow started")
        return Written(created + changed, created, deleted, has_changed=True)

    def _locked_versions(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """Each record's version, -1 where there is none, locked until the transaction ends."""
        known = dict.fromkeys(ids, -1)
        ordered = sorted(known)
        for at in range(0, len(ordered), _AT_ONCE):
            some = ordered[at : at + _AT_ONCE]
            marks = ", ".join(["(%s, %s, -1)"] * len(some))
            self._session.execute(
                f"insert into {self._applied} (relation, id, version) values {marks}"  # noqa: S608 - quoted names
                " on duplicate key update version = version",
                [value for id in some for value in (self._relation, id)],
            )
            known.update(self._versions(some, lock=True))
        return known

    def _versions(self, ids: Sequence[bytes], *, lock: bool = False) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for at in range(0, len(ids), _AT_ONCE):
            some = ids[at : at + _AT_ONCE]
            rows = self._session.query(
                f"select id, version from {self._applied} where relation = %s and id in"  # noqa: S608 - quoted names
                f" ({', '.join(['%s'] * len(some))}){' for update' if lock else ''}",
                [self._relation, *some],
            )
            found.update({_bytes(id): int(str(version)) for id, version in rows})
        return found

    def versions(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """Id -> the version applied last. pymysql.Error."""
        return {id: version for id, version in self._versions(ids).items() if version >= 0}

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """Id -> the target's version, where that is newer. pymysql.Error."""
        known = self.versions([one.id for one in deliveries])
        return {one.id: known[one.id] for one in deliveries if known.get(one.id, -1) > one.version}

    def _note_versions(self, items: Sequence[MysqlRow]) -> None:
        for run in fitting(
            [(self._relation, item.delivery.id, item.delivery.version) for item in items], self._largest
        ):
            self._session.execute(
                f"insert into {self._applied} (relation, id, version) values "  # noqa: S608 - quoted names
                + ", ".join(["(%s, %s, %s)"] * len(run))
                + " on duplicate key update version = values(version)",
                [value for row in run for value in row],
            )

    def _found(self, keys: Sequence[object], *, lock: bool = True) -> set[object]:
        """The keys of the rows that the key column takes these for, locked until the transaction ends."""
        found: set[object] = set()
        for at in range(0, len(keys), _AT_ONCE):
            some = keys[at : at + _AT_ONCE]
            rows = self._session.query(
                f"select {self._key} from {self._root} where {self._key} in"  # noqa: S608 - quoted names
                f" ({', '.join(['%s'] * len(some))}){' for update' if lock else ''}",
                some,
            )
            found.update(self._key_value(row[0]) for row in rows)
        return found

    def is_anothers(self, key: object) -> bool:
        """Whether the key column takes a key for that of another row, which is there. pymysql.Error."""
        return bool(self._found([key], lock=False) - {self._key_value(key)})

    def _existing(self, keys: Mapping[int, object]) -> dict[int, bool]:
        """Which items have a row. pymysql.DataError where the key column takes an id for another one's."""
        found = self._found(list(keys.values()))
        own = {place: self._key_value(key) for place, key in keys.items()}
        if strange := found - set(own.values()):
            other, texts = str(next(iter(strange))), [str(key) for key in own.values()]
            culprit = next((text for text in texts if text.casefold() == other.casefold()), texts[0])
            raise pymysql.DataError(
                _TAKEN,
                f"the key column {self._options.key} takes {culprit!r} for {other!r}, another row's key:"
                " let its owner give the column a binary collation, or name another `key:`",
            )
        return {place: key in found for place, key in own.items()}

    def _delete(self, items: Sequence[MysqlRow]) -> int:
        if not items:
            return 0
        count = 0
        keys = {item.place: self._rows.key_of(item.id) for item in items}
        found = self._found(list(keys.values()))
        own = {place: self._key_value(key) for place, key in keys.items()}
        gone = [item for item in items if own[item.place] in found]
        if self._flow.flow.deletes != "soft":
            # Also of records whose rows a person has removed, and of no row that the key column takes one for.
            is_strange = not found <= set(own.values())
            self._delete_items([
                item.id for item in items
                if own[item.place] in found or not (is_strange and self.is_anothers(keys[item.place]))
            ])  # fmt: skip
        for at in range(0, len(gone), _AT_ONCE):
            some = [keys[item.place] for item in gone[at : at + _AT_ONCE]]
            where = f"where {self._key} in ({', '.join(['%s'] * len(some))})"
            if self._flow.flow.deletes == "soft":
                now, column = (
                    datetime.now(UTC).replace(tzinfo=None).isoformat(" "),
                    quoted(self._options.deleted_column),
                )
                count += self._session.execute(
                    f"update {self._root} set {column} = %s {where} and {column} is null",  # noqa: S608 - quoted names
                    [now, *some],
                )
                continue
            count += self._session.execute(f"delete from {self._root} {where}", some)  # noqa: S608 - quoted names
        return count

    def _delete_items(self, ids: Sequence[str]) -> None:
        for name, child in self._options.children.items():
            parents = [self._rows.key_of(id, name) for id in ids]
            for at in range(0, len(parents), _AT_ONCE):
                some = parents[at : at + _AT_ONCE]
                self._session.execute(
                    f"delete from {self._tables[name].sql} where {quoted(child.parent)} in"  # noqa: S608 - quoted names
                    f" ({', '.join(['%s'] * len(some))})",
                    some,
                )

    def _put(self, items: Sequence[MysqlRow]) -> tuple[int, int]:
        """How many rows were created, and changed."""
        if not items:
            return 0, 0
        keys = {item.place: item.values[0] for item in items if item.values is not None}
        existing = self._existing(keys)
        new = [self._whole(item) for item in items if not existing[item.place]]
        old = [self._whole(item) for item in items if existing[item.place]]
        self._insert_rows(self._insert, new, "")
        if self._can_upsert:
            self._insert_rows(self._insert, old, self._upsert_end)
        elif self._has_sets:
            for run in fitting([(*row[1:], row[0]) for row in old], self._largest, self._update):
                self._session.execute_each(self._update, run)
        if self._options.children:
            self._delete_items([item.id for item in items])  # also of new ones: another's delete may have left some
            for name in self._options.children:
                columns = ", ".join(quoted(column) for column in self._rows.columns[name])
                statement = f"insert into {self._tables[name].sql} ({columns}) values "  # noqa: S608 - quoted names
                self._insert_rows(statement, [row for item in items for row in item.items[name]], "")
        return len(new), len(old)

    def _whole(self, item: MysqlRow) -> tuple[object, ...]:
        assert item.values is not None
        return (*item.values, None) if self._is_marked else item.values

    def _insert_rows(self, statement: str, rows: Sequence[tuple[object, ...]], end: str) -> None:
        for run in fitting(rows, self._largest):
            marks = f"({', '.join(['%s'] * len(run[0]))})"
            self._session.execute(
                statement + ", ".join([marks] * len(run)) + end, [value for row in run for value in row]
            )

    def move(self, items: Sequence[MysqlRow]) -> list[tuple[MysqlRow, pymysql.Error]]:
        """Unique values can't move within a transaction of MySQL: each record by itself, in several rounds.

        A value that one record gives up is then free for the next.
        """
        engine, left = MysqlEngine(self._session), list(items)
        failed: list[tuple[MysqlRow, pymysql.Error]] = []
        for _ in range(len(items)):
            failed = []
            for item in left:
                try:
                    with engine.transaction():
                        self.write([item])
                except pymysql.Error as error:
                    if about_error(error) in (About.SYSTEM, About.LOAD, About.ACCESS):
                        raise
                    failed.append((item, error))
            if not failed or len(failed) == len(left):
                break
            left = [item for item, _ in failed]
        return failed

    def place_of(self, error: pymysql.Error, items: Sequence[MysqlRow]) -> int | None:  # noqa: ARG002 - halved
        """The server names rows of a statement, and a batch has several statements."""
        return None

    def field_of(self, error: pymysql.Error, item: MysqlRow) -> str | None:  # noqa: ARG002 - in the message
        """The server's message names it, where it does."""
        return None

    def obstacle(self) -> str | None:
        """What has come to keep every record out since the flow was opened."""
        for table in self._tables.values():
            now = read_mysql_table(self._session, table.full_name, table.database)
            if now is None or now.columns != table.columns:
                return f"{table.full_name} has changed since the flow started"
        return None


def _declarations(tables: Mapping[str, MysqlTable], rows: RecordRows) -> tuple[str, list[str]]:
    """The query for how the columns that the flow fills are declared, and its parameters."""
    some, values = [], list[str]()
    for part, table in tables.items():
        names = list(rows.columns[part])
        some.append(f"table_schema = %s and table_name = %s and column_name in ({', '.join(['%s'] * len(names))})")
        values += [table.database, table.name, *names]
    return (
        "select table_name, column_name, column_type, coalesce(collation_name, '')"  # noqa: S608 - marks alone
        f" from information_schema.columns where {' or '.join(f'({one})' for one in some)} order by 1, 2",
        values,
    )


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
