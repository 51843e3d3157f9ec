"""SQLite as a target: one transaction a batch, the version beside each record."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from pydantic import BaseModel

from sorbus.connector import BoundFlow, BoundSystem, Delivery, Refusal, Resource, Step
from sorbus.errors import PermanentError
from sorbus.mapping.record import target_maker
from sorbus_sqlite.file import File, Records, as_json, plan_file, session

# A deleted record leaves its version behind, so that a late older event can't bring it back.
_WRITE = """
insert into records (resource, id, version, record) values (?1, ?2, ?3, ?4)
on conflict (resource, id) do update set version = excluded.version, record = excluded.record
where excluded.version > version or (excluded.version = version and ?5)
"""


class SqliteConsumer:
    """Delivers one flow into the records of one resource."""

    Connection: type[BaseModel] = File
    Target: type[BaseModel] = Records

    def __init__(self, flow: BoundFlow) -> None:
        assert isinstance(flow.options, Records)
        assert isinstance(flow.system.connection, File)
        self._file, self._resource = flow.system.connection.file, flow.options.resource
        self._fields = target_maker(flow, self._resource)

    def open(self) -> None:
        with session(self._file) as connection:
            connection.execute("select 1 from records limit 1")

    def apply(self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False) -> list[Refusal]:
        refusals: list[Refusal] = []
        with session(self._file) as connection:
            for place, one in enumerate(deliveries):
                try:
                    record = None if one.deleted else as_json(self._fields(one))
                    connection.execute(_WRITE, [self._resource, one.id.decode(), one.version, record, again])
                except PermanentError as error:
                    refusals.append(Refusal(place, error))
                except sqlite3.IntegrityError as error:  # refused by the file itself: this record's fault alone
                    refusals.append(Refusal(place, PermanentError(str(error), reason="refused", words=str(error))))
        return refusals

    def close(self) -> None:
        """Nothing stays open between batches."""

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        assert isinstance(flow.system.connection, File)
        return plan_file(flow.system.name, flow.system.connection.file)

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        return []

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        assert isinstance(options, Records)
        return {"": options.resource}

    @classmethod
    def makes_tables(cls, options: BaseModel) -> bool:
        return True

    @classmethod
    def fills(cls, options: BaseModel) -> dict[str, frozenset[str]]:
        return {"": frozenset({"id"})}
