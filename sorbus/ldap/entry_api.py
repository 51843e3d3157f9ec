"""A directory's entries as the records of an `Api` (`sorbus.http_api.interface`)."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sorbus.errors import PermanentError, TransientError
from sorbus.http_api.interface import Call, CutShort, FoundRecord, Json, Page, Record
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.ldap.attribute_types import DirectorySchema
from sorbus.ldap.entry_set import EntryRecord, EntrySet, equality, names_in, only, record_of, replace_references
from sorbus.ldap.entry_writer import EntryWriter
from sorbus.ldap.results import LIMITS, SUCCESS, UNSEARCHABLE, error_of
from sorbus.ldap.search import Entry, Raw, ask
from sorbus.ldap.session import Directory
from sorbus.ldap.syntaxes import UnusableValue, read_value

_LONGEST_PAUSE = 900.0
"""Seconds that a list may wait for its next page to be asked for."""
_MOST_FOUND = 1000
_KEYS_AT_ONCE = 50
_NOT_OURS = frozenset({10, 34, 50})
"""Of a name in an entry: it is on another server, is no name, or may not be read."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Reading:
    """A list under way: its connection, on which alone its cookie counts, and the names that were looked up."""

    made: Raw
    filter: str
    cookie: bytes
    at: float
    names: dict[str, Json | None]


class EntryApi:
    """One data type's entries. Safe for threads."""

    def __init__(self, directory: Directory, entries: EntrySet, writer: EntryWriter | None = None) -> None:
        self._directory, self._entries, self._writer = directory, entries, writer
        self._readings: dict[str, _Reading] = {}
        self._lock = threading.Lock()
        self.key_of: dict[str, str] = {}
        """Identity -> key, of the entries that lists have shown, where the two differ."""

    @property
    def schema(self) -> DirectorySchema:
        """The directory's."""
        return self._directory.schema

    def page(self, resource: str, *, since: datetime | None = None, after: str | None = None) -> Page:
        """See `Api`. PermanentError where `after` is a page of a list that is no longer known: begin it again."""
        doing = f"listing {resource} of {self._directory.system}"
        reading = self._begun(since) if after is None else self._resumed(after, doing)
        entries = self._entries
        try:
            page = self._directory.page(
                reading.made,
                entries.base,
                entries.scope,
                reading.filter,
                entries.asked,
                doing=doing,
                cookie=reading.cookie,
            )
            records = self._records(page.entries, doing, reading.names)
        except BaseException:
            _end(reading)
            raise
        if not page.cookie:
            _end(reading)
            return Page(records, None)
        reading.cookie, reading.at = page.cookie, time.monotonic()
        token = secrets.token_hex(8)
        with self._lock:
            self._readings[token] = reading
        return Page(records, token)

    def get(self, resource: str, id: str) -> FoundRecord | None:
        """See `Api`. PermanentError where several entries have the key."""
        record = self.find_one(resource, id)
        return None if record is None else FoundRecord(record)

    def find_one(self, resource: str, id: str) -> EntryRecord | None:
        """The entry with this key. An entry that is delivered to is found wherever people have moved it."""
        doing = f"reading {resource} {id} of {self._directory.system}"
        entries, scope = self._entries, self._entries.scope
        filter = equality(self.schema, entries.key, id)
        if filter is None:
            return None
        if self._writer is None:
            base, filter = entries.base, f"(&{entries.filter}{filter})"
        else:
            base, scope = self._directory.options.base, "subtree"
        found = self._directory.find(base, scope, filter, entries.asked, doing=doing, most=3)
        if len(found) > 1:
            raise PermanentError(
                f"{doing}: {len(found)} entries have this {entries.key}: {'; '.join(one.dn for one in found)}."
                " Correct one of them, or take another key:",
                reason="doubled key",
                field=entries.key,
                value=id,
            )
        if not found:
            return None
        [record] = self._records(found, doing, {})
        # A directory takes Anna for anna; as keys of records they are two.
        is_other = entries.key != entries.identity and str(record[entries.key]) != id
        return None if is_other else record

    def search(self, resource: str, field: str, value: str) -> Sequence[Record] | None:
        """See `Api`. The directory's own matching rules decide, most of which ignore case."""
        doing = f"searching {resource} of {self._directory.system} by {field}"
        wanted = equality(self.schema, field, value)
        if wanted is None:
            return []
        entries = self._entries
        with self._directory.borrowed() as made:
            outcome, found, _ = ask(
                made,
                self._directory.options.timeout,
                entries.base,
                entries.scope,
                f"(&{entries.filter}{wanted})",
                entries.asked,
                doing=doing,
                most=_MOST_FOUND,
            )
        if outcome.code in UNSEARCHABLE:
            return None
        if outcome.code in LIMITS:
            return CutShort(self._records(found, doing, {}))
        if outcome.code != SUCCESS:
            raise error_of(outcome, doing=doing, is_write=False)
        return self._records(found, doing, {})

    def create(self, resource: str, fields: Record, *, key: str) -> Record:  # noqa: ARG002 - a name is unique
        """See `Api`."""
        dn = self._writes.add(resource, fields)
        doing = f"reading {resource} {dn} of {self._directory.system}, just made"
        entry = self._directory.read(dn, self._entries.asked, doing=doing)
        if entry is None:
            raise TransientError(f"{doing}: it isn't there; the server may be a replica: write the provider's url:")
        return record_of(entry, self._entries, self.schema)

    def update(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> None:
        """See `Api`."""
        self._writes.change(resource, id, fields, self._current(resource, id, current))

    def delete(self, resource: str, id: str, *, current: FoundRecord | None = None) -> None:
        """See `Api`."""
        self._writes.remove(resource, id, self._current(resource, id, current))

    def creating(self, resource: str, fields: Record, *, key: str) -> Call:  # noqa: ARG002
        """See `Api`."""
        return self._writes.adding(resource, fields)

    def updating(self, resource: str, id: str, fields: Record, *, current: FoundRecord | None) -> Call:
        """See `Api`."""
        return self._writes.changing(resource, fields, self._current(resource, id, current))

    def deleting(self, resource: str, id: str, *, current: FoundRecord | None = None) -> Call:
        """See `Api`."""
        return Call("DELETE", self._current(resource, id, current).entry.dn)

    def close(self) -> None:
        """Ends lists that are under way."""
        with self._lock:
            readings, self._readings = list(self._readings.values()), {}
        for reading in readings:
            _end(reading)

    @property
    def _writes(self) -> EntryWriter:
        assert self._writer is not None
        return self._writer

    def _current(self, resource: str, id: str, current: FoundRecord | None) -> EntryRecord:
        if current is not None and isinstance(current.record, EntryRecord):
            return current.record
        found = self.find_one(resource, id)
        if found is None:
            raise PermanentError(
                f"{resource} {id} of {self._directory.system} isn't there any more", reason="gone", value=id
            )
        return found

    def _begun(self, since: datetime | None) -> _Reading:
        now = time.monotonic()
        with self._lock:
            old = [token for token, one in self._readings.items() if now - one.at > _LONGEST_PAUSE]
            forgotten = [self._readings.pop(token) for token in old]
        for one in forgotten:
            _end(one)
        filter = self._entries.filter
        if since is not None:
            filter = f"(&{filter}{self._entries.changed(since)})"
        return _Reading(self._directory.connect(), filter, b"", now, {})

    def _resumed(self, after: str, doing: str) -> _Reading:
        with self._lock:
            reading = self._readings.pop(after, None)
        if reading is None:
            raise PermanentError(f"{doing}: the list's next page is no longer known; it begins again", reason="gone")
        return reading

    def _records(self, found: Sequence[Entry], doing: str, names: dict[str, Json | None]) -> list[EntryRecord]:
        entries = self._entries
        records = [record_of(one, entries, self.schema) for one in found]
        if entries.key != entries.identity:
            self._mark_doubles(records, doing)
            self.key_of |= {
                str(one[entries.identity]): str(one[entries.key])
                for one in records
                if not isinstance(one[entries.key], InvalidValue)
            }
        for name in entries.attributes:
            if name.lower() in entries.references:
                self._look_up({dn for record in records for dn in names_in(record, name)}, name, names)
                looked_up = {dn: names[f"{name} {dn}"] for record in records for dn in names_in(record, name)}
                for record in records:
                    replace_references(record, name, looked_up, entries)
        return records

    def _look_up(self, dns: Iterable[str], name: str, names: dict[str, Json | None]) -> None:
        attribute = self._entries.references[name.lower()]
        kind, spellings = self.schema.type_of(attribute), self.schema.spellings(attribute)
        for dn in dns:
            if f"{name} {dn}" in names:
                continue
            doing = f"reading {dn}, which {name} names"
            found = self._directory.read(dn, [attribute], doing=doing, none=_NOT_OURS)
            values = found.values(spellings) if found else ()
            names[f"{name} {dn}"] = only([read_value(one, kind) for one in values], attribute)

    def _mark_doubles(self, records: Sequence[EntryRecord], doing: str) -> None:
        """An entry whose key another one has, too, gets no id: it is refused, in place of either one's state."""
        entries = self._entries
        for at in range(0, len(records), _KEYS_AT_ONCE):
            some = {str(one[entries.key]).casefold(): one[entries.key] for one in records[at : at + _KEYS_AT_ONCE]}
            wanted = [
                equality(self.schema, entries.key, str(one)) for one in some.values() if isinstance(one, str | int)
            ]
            if not (asked := [one for one in wanted if one]):
                continue
            filter = f"(&{entries.filter}(|{''.join(asked)}))"
            found = self._directory.find_all(entries.base, entries.scope, filter, [entries.key], doing=doing)
            self._mark(records[at : at + _KEYS_AT_ONCE], found)

    def _mark(self, records: Sequence[EntryRecord], found: Sequence[Entry]) -> None:
        key, kind = self._entries.key, self.schema.type_of(self._entries.key)
        holders: dict[str, list[str]] = {}
        for one in found:
            for value in one.values(self.schema.spellings(key)):
                holders.setdefault(str(read_value(value, kind)).casefold(), []).append(one.dn)
        for record in records:
            who = holders.get(str(record[key]).casefold(), [])
            if len(who) > 1:
                why = f"is the {key} of {len(who)} entries: {'; '.join(sorted(who)[:5])}. Correct one of them"
                record[key] = UnusableValue(str(record[key]), why)


def _end(reading: _Reading) -> None:
    try:
        reading.made.unbind()
    except Exception as error:  # noqa: BLE001 - it is gone either way
        _log.debug("unbinding: %s", error)
