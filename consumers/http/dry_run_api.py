"""An application for a dry run: it is read as it is, and what is written to it stays in memory, over what was read."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime
from typing import NamedTuple

import stamina

from sorbus.consumers.http.presence import FORBIDDEN
from sorbus.dry_run import ListReading
from sorbus.errors import AuthError, PermanentError, TransientError
from sorbus.http_api.description import Description
from sorbus.http_api.interface import Api, Call, CutShort, FoundRecord, Json, Page, Record
from sorbus.http_api.path import read_path, write_path
from sorbus.http_api.records import is_deleted
from sorbus.http_api.whole_list import WholeList

KEY = "(made when it is sent)"
TRIES = 5
_LONGEST = 30.0
_NEW = "(new "
UNREAD = "unread"
"""The reason of what couldn't be read."""


class Write(NamedTuple):
    """A call that would have been sent, and the record as it was; None for one to be made."""

    call: Call
    current: FoundRecord | None


class DryRunApi:
    """See `sorbus.http_api.interface.Api`. No writing request is ever sent. Not for threads."""

    def __init__(self, api: Api, description: Description, *, searches: bool = True) -> None:
        """Not `searches`: a search finds nothing, and asks nobody."""
        self._api, self._resources, self._has_hook = api, description.resources, bool(description.hook)
        self.searches = searches
        self._over: dict[str, dict[str, FoundRecord | None]] = {}
        """By resource, by id: a record as it would be, None for one that would be gone."""
        self._listed: dict[str, FoundRecord | None] = {}
        self._reading: ListReading | None = None
        self._hidden = self._made = 0
        self.writes: list[Write] = []
        """What has been written since it was last emptied."""

    def read_list(self, resource: str, *, most_requests: int | None = None) -> ListReading | None:
        """Keeps a resource's records as its list shows them, for `get`; None where there is no list.

        A list that takes more requests is left at once. What it doesn't show proves nothing: it is asked for alone.
        TransientError where even its first page can't be read.
        """
        described = self._resources[resource]
        if described.list is None:
            return None
        after: str | None = None
        whole, requests = WholeList(), 0
        reading = self._reading = ListReading(0)
        while True:
            try:
                page = self._page(resource, after)
            except (TransientError, PermanentError, AuthError) as error:
                if after is None and not is_forbidden(error):
                    raise
                reading.why_short = f"it was cut short after {len(whole.seen):,} records: {error}"
                break
            requests += 1
            ids = [(str(id), one) for one in page.records if (id := read_path(one, described.id)) is not None]
            whole.add(page, [id for id, _ in ids])
            for id, record in ids:
                self._listed[id] = None if is_deleted(described, record) else FoundRecord(record)
            after = page.after
            if after is None:
                reading.why_short = whole.why_short
                break
            if most_requests is not None and requests + _pages_left(page, len(whole.seen)) > most_requests:
                self._reading, self._listed = None, {}
                return None
        reading.records = sum(one is not None for one in self._listed.values())
        return reading

    def shown(self) -> list[str]:
        """The ids of the live records that the list has shown."""
        return [id for id, one in self._listed.items() if one is not None]

    def is_absent(self, id: str) -> bool:
        """Whether a list was read, and doesn't show the record."""
        return self._reading is not None and self._listed.get(id) is None

    def page(self, resource: str, *, since: datetime | None = None, after: str | None = None) -> Page:
        if not self.searches:
            return Page((), None)
        page, over = self._api.page(resource, since=since, after=after), self._over.get(resource, {})
        records = [one for one in page.records if self._id(resource, one) not in over]
        if after is None:
            records += self._written(resource)
        # What was made here counts besides, and what was deleted here no longer.
        more = sum((found is not None) - (not id.startswith(_NEW)) for id, found in over.items())
        return page._replace(records=records, total=None if page.total is None else page.total + more)

    def get(self, resource: str, id: str) -> FoundRecord | None:
        over = self._over.get(resource, {})
        if id in over:
            return over[id]
        if self._reading is None:
            return self._alone(resource, id)
        if id in self._listed:
            return self._listed[id]
        if not (self._resources[resource].get or self._has_hook):
            self._require_whole(resource, id, self._reading)
            return None
        found = self._alone(resource, id)
        if found is not None and found.other_id is None:
            self._hidden += 1
            self._reading.why_short = (
                f"it lacks {self._hidden:,} record{'s' * (self._hidden != 1)} that can be read alone, such as {id}"
            )
        return found

    def _alone(self, resource: str, id: str) -> FoundRecord | None:
        try:
            return self._api.get(resource, id)
        except (PermanentError, AuthError) as error:
            if self.searches or not is_forbidden(error):
                raise
            # That it was deleted can't be proven without asking for more.
            raise PermanentError(str(error), reason=UNREAD, value=id) from error

    def _require_whole(self, resource: str, id: str, reading: ListReading) -> None:
        if reading.why_short:
            raise PermanentError(
                f"{resource} {id} can't be read: the list doesn't show it and is not whole ({reading.why_short}), and"
                " no record can be asked for alone; describe its `get:` in the API's description",
                reason=UNREAD,
                value=id,
            )

    def _page(self, resource: str, after: str | None) -> Page:
        for attempt in stamina.retry_context(on=is_passing, attempts=TRIES, wait_initial=0.2, wait_max=5.0):
            with attempt:
                return self._api.page(resource, after=after)
        raise AssertionError("stamina ends with a return or the last error")

    def search(self, resource: str, field: str, value: str) -> Sequence[Record] | None:
        found = self._api.search(resource, field, value) if self.searches else []
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
        write_path(record, self._resources[resource].id, f"{_NEW}{self._made})")
        self._put(resource, f"{_NEW}{self._made})", FoundRecord(record))
        return record

    def update(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> None:
        self.writes.append(Write(self._api.updating(resource, id, fields, current=current), current))
        before = current or self._over.get(resource, {}).get(id) or FoundRecord({})
        record = _merged(before.record, fields)
        if read_path(record, self._resources[resource].id) is None:
            write_path(record, self._resources[resource].id, id)
        is_gone = is_deleted(self._resources[resource], record)
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


def is_forbidden(error: Exception) -> bool:
    """Whether the application refuses just this, whoever asks again."""
    return isinstance(error, PermanentError | AuthError) and error.status == FORBIDDEN


def is_passing(error: Exception) -> bool | float:
    """Whether it is worth asking once more, and after how many seconds."""
    if not isinstance(error, TransientError):
        return False
    return True if error.retry_after is None else min(error.retry_after, _LONGEST)


def _pages_left(page: Page, read: int) -> int:
    """How many requests the rest of a list takes, as far as its total tells."""
    if page.total is None or not page.records:
        return 1
    return max(1, -(-(page.total - read) // len(page.records)))


def _merged(record: Json, fields: Json) -> Json:
    """`fields` over `record`: objects field by field, all else whole."""
    if not isinstance(record, dict) or not isinstance(fields, dict):
        return deepcopy(fields)
    return {**record, **{name: _merged(record.get(name), value) for name, value in fields.items()}}
