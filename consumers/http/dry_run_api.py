"""An application for a dry run: it is read as it is, and what is written to it stays in memory, over what was read."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime
from typing import NamedTuple

from sorbus.errors import PermanentError
from sorbus.http_api.description import Description
from sorbus.http_api.interface import Api, Call, CutShort, FoundRecord, Json, Page, Record
from sorbus.http_api.path import read_path, write_path

KEY = "(made when it is sent)"


class Write(NamedTuple):
    """A call that would have been sent, and the record as it was; None for one to be made."""

    call: Call
    current: FoundRecord | None


class DryRunApi:
    """See `sorbus.http_api.interface.Api`. No writing request is ever sent. Not for threads."""

    def __init__(self, api: Api, description: Description) -> None:
        self._api, self._resources, self._has_hook = api, description.resources, bool(description.hook)
        self._over: dict[str, dict[str, FoundRecord | None]] = {}
        """By resource, by id: a record as it would be, None for one that would be gone."""
        self._listed: dict[str, dict[str, FoundRecord]] = {}
        self._made = 0
        self.writes: list[Write] = []
        """What has been written since it was last emptied."""

    def read_list(self, resource: str) -> bool:
        """Keeps a resource's records as its list shows them, for `get`; False where there is no list.

        What the list doesn't show proves nothing: it is asked for alone.
        """
        described = self._resources[resource]
        if described.list is None:
            return False
        after: str | None = None
        found: dict[str, FoundRecord] = {}
        while True:
            page = self._api.page(resource, after=after)
            for record in page.records:
                if not any(read_path(record, path) == value for path, value in described.deleted.items()):
                    found[self._id(resource, record)] = FoundRecord(record)
            if (after := page.after) is None:
                self._listed[resource] = found
                return True

    def page(self, resource: str, *, since: datetime | None = None, after: str | None = None) -> Page:
        page, over = self._api.page(resource, since=since, after=after), self._over.get(resource, {})
        records = [one for one in page.records if self._id(resource, one) not in over]
        if after is None:
            records += self._written(resource)
        return page._replace(records=records)

    def get(self, resource: str, id: str) -> FoundRecord | None:
        over = self._over.get(resource, {})
        if id in over:
            return over[id]
        return self._listed.get(resource, {}).get(id) or self._api.get(resource, id)

    def search(self, resource: str, field: str, value: str) -> Sequence[Record] | None:
        found = self._api.search(resource, field, value)
        if found is None:
            return None
        over = self._over.get(resource, {})
        wanted = value.casefold()
        records = [one for one in found if self._id(resource, one) not in over]
        records += [one for one in self._written(resource) if str(read_path(one, field)).casefold() == wanted]
        return CutShort(records) if isinstance(found, CutShort) else records

    def create(self, resource: str, fields: Record, *, key: str) -> Record:
        self.writes.append(Write(self._api.creating(resource, fields, key=key), None))
        self._made += 1
        record = deepcopy(fields)
        write_path(record, self._resources[resource].id, f"(new {self._made})")
        self._put(resource, f"(new {self._made})", FoundRecord(record))
        return record

    def update(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> None:
        self.writes.append(Write(self._api.updating(resource, id, fields, current=current), current))
        before = current or self._over.get(resource, {}).get(id) or FoundRecord({})
        record = _merged(before.record, fields)
        if read_path(record, self._resources[resource].id) is None:
            write_path(record, self._resources[resource].id, id)
        is_gone = any(read_path(record, path) == value for path, value in self._resources[resource].deleted.items())
        self._put(resource, id, None if is_gone else FoundRecord(record, before.etag))

    def delete(self, resource: str, id: str, *, current: FoundRecord | None = None) -> None:
        if (self._resources[resource].get or self._has_hook) and self.get(resource, id) is None:
            raise PermanentError(f"{resource} {id} is gone", reason="gone", value=id)
        self.writes.append(Write(self._api.deleting(resource, id, current=current), current))
        self._put(resource, id, None)

    def creating(self, resource: str, fields: Record, *, key: str) -> Call:
        return self._api.creating(resource, fields, key=key)

    def updating(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> Call:
        return self._api.updating(resource, id, fields, current=current)

    def deleting(self, resource: str, id: str, *, current: FoundRecord | None = None) -> Call:
        return self._api.deleting(resource, id, current=current)

    def _put(self, resource: str, id: str, found: FoundRecord | None) -> None:
        self._over.setdefault(resource, {})[id] = found

    def _written(self, resource: str) -> list[Record]:
        return [found.record for found in self._over.get(resource, {}).values() if found is not None]

    def _id(self, resource: str, record: Record) -> str:
        return str(read_path(record, self._resources[resource].id))


def _merged(record: Json, fields: Json) -> Json:
    """`fields` over `record`: objects field by field, all else whole."""
    if not isinstance(record, dict) or not isinstance(fields, dict):
        return deepcopy(fields)
    return {**record, **{name: _merged(record.get(name), value) for name, value in fields.items()}}
