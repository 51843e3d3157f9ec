"""SQLite as a target: each record a JSON object, its version beside it, a batch in one transaction."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel

from sorbus.connector import BoundFlow, Delivery, RejectedDelivery, Step
from sorbus.errors import PermanentError, TransientError
from sorbus.mapping.record import target_maker

TABLE = "create table records (resource, id, version, record check (length(record) < 1e7), primary key (resource, id))"
# A deleted record leaves its version behind, so that a late older event can't bring it back.
WRITE = """insert into records values (?1, ?2, ?3, ?4)
on conflict do update set version = excluded.version, record = excluded.record
where excluded.version > version or (excluded.version = version and ?5)"""


class File(BaseModel, extra="forbid"):  # what a map's system says under `connection:`
    file: Path


class Records(BaseModel, extra="forbid"):  # what a flow says under `target:`
    resource: str


class SqliteConsumer:
    Connection, Target = File, Records

    def __init__(self, flow: BoundFlow) -> None:
        self._file, self._resource = flow.system.connection.file.absolute(), flow.options.resource
        self._fields = target_maker(flow, self._resource)  # the map's sheet, ready to be called

    def open(self) -> None: ...  # this one has nothing to keep open
    def close(self) -> None: ...

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        refusals = []
        try:
            with closing(sqlite3.connect(f"{self._file.as_uri()}?mode=rw", uri=True, timeout=1)) as file, file:
                for place, one in enumerate(deliveries):
                    try:
                        record = None if one.deleted else json.dumps(self._fields(one), default=str)
                        file.execute(WRITE, [self._resource, one.id.decode(), one.version, record, again])
                    except PermanentError as error:  # the sheet can't make this record: a dead letter
                        refusals.append(RejectedDelivery(place, error))
                    except sqlite3.IntegrityError as error:  # SQLite refuses this one, and no other
                        refusals.append(RejectedDelivery(place, PermanentError(f"refused: {error}", reason="refused")))
        except sqlite3.OperationalError as error:  # locked, or gone: the batch comes again
            raise TransientError(f"{self._file}: {error}; is it free, and has `sorbus apply` made it?") from error
        return refusals

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:  # what `sorbus apply` has to make
        file = flow.system.connection.file
        return [] if file.exists() else [Step(flow.system.name, f"file {file}", apply=lambda: make(file))]

    @classmethod
    def resources_of(cls, options: Records) -> dict[str, str]:  # the name before the dot in sheets: things.name
        return {"": options.resource}


def make(file: Path) -> None:
    sqlite3.connect(file).execute(TABLE).connection.close()
