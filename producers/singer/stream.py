"""One data type's stream: its schema messages and records become changes; what a whole reading lacks, deletes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import cast

from pydantic import JsonValue

from sorbus.abilities import PublishedState
from sorbus.connector import BoundSource
from sorbus.drift.watch import DriftWatch
from sorbus.errors import PermanentError, TransientError
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.mapping.errors import shown
from sorbus.mapping.meaning import meaning_of
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.polling.deletes import AbsenceCheck, Deletes
from sorbus.producers.polling.json_shape import JsonShape
from sorbus.producers.polling.known_key import require_known_key
from sorbus.producers.polling.list_report import ListReport
from sorbus.producers.polling.poll_state import NO_ID, PageResult, Rules, add
from sorbus.producers.record_keys import record_id
from sorbus.producers.singer.catalog import DELETED_AT, CatalogEntry, WantedStream
from sorbus.producers.singer.json_schema import FieldSchema, fields_of, has_field, readers_of, value_at
from sorbus.producers.singer.messages import BrokenLine, RecordMessage, SchemaMessage, digest_of
from sorbus.producers.singer.options import SingerSource
from sorbus.spelling import closest

_LONGEST_ID = 1000
_RAW = 10_000
_log = logging.getLogger(__name__)


class TapStream:
    """Reads one data type from its stream's messages. What it returns is taken as published."""

    def __init__(self, source: BoundSource, system: str) -> None:
        """MapError where the mapping doesn't fit."""
        options = source.options
        assert isinstance(options, SingerSource)
        self.name, self.options = source.name, options
        self._meaning = self._read_as = meaning_of(source, ("absent_fields", "lists", "time_zone"))
        """Of the map, and of the map as it was when all was read from the beginning last."""
        self.is_read = False
        """Whether a run has brought it to its end once."""
        self.is_complete = True
        """Whether the last run that read it came to its end."""
        self.owes_all = False
        """Whether the next run has to begin at the beginning."""
        self.records = 0
        """Of this run."""
        self._source, self._system = source, system
        self._what = f"{options.stream} of {system}"
        self._ruled: frozenset[str] = frozenset()
        self._shape = self._shaped({})
        self._same: dict[str, str] = {}
        self._once: set[str] = set()
        """Fields that fill those of the same name, and were in a schema."""
        self._mapped, self._ruled, self.fields = self._reads()
        self._memory = ChangeDetector(source.name, self._encode, lambda _: None, can_look=False)
        rules = Rules(
            name=self._what,
            id_of=self._id,
            updated=lambda _: None,
            is_deleted=lambda _: False,
            has_changes=False,
            can_look=False,
            max_deletes=options.max_deletes,
            weak_proof="and a tap may leave records out when a right or a setting has changed",
        )
        self.deletes = Deletes(rules, self._memory, _now)
        self._report = ListReport(self._what, source.name, options.stream, ())
        self._drift: DriftWatch | None = None
        self._floor: int | None = None
        self._entry = CatalogEntry({"stream": options.stream})
        self._schema: SchemaMessage | None = None
        self._described: dict[str, FieldSchema] = {}
        self._key: tuple[str, ...] = options.key
        self._known_key: tuple[str, ...] = ()
        self._missing: list[str] = []
        self._seen: set[bytes] = set()
        self._is_whole = self._from_beginning = self._has_schema = False
        self._is_decided = True
        self.is_left_out = False
        """Whether the last run came to its end without a word about it."""
        self._asked = self._asked_before = 0
        self._wanted: set[bytes] = set()
        """Records that are asked for."""
        self._sought = frozenset[bytes]()
        """Those that were when the run began."""
        self._version: int | None = None
        self._new_version: int | None = None

    def remember(self, published: Iterable[PublishedState]) -> None:
        """What is on the topic."""
        self._memory.remember(published)

    def take_over(self, floor: int) -> None:
        """With the next `restore` it publishes above this version."""
        self._floor = floor

    def restore(self, stored: JsonValue) -> None:
        """Resumes where the position said; None: from the beginning. LostPosition where the key is another."""
        found = cast("dict[str, object]", stored) if isinstance(stored, dict) and self._floor is None else {}
        deleted, floor, key, version = (found.get(name) for name in ("deleted_version", "floor", "key", "version"))
        self.is_read, self.is_complete = bool(found.get("read")), bool(found.get("complete", True))
        self._memory.deleted_version = deleted if isinstance(deleted, int) else 0
        self._known_key = tuple(map(str, key)) if isinstance(key, list) else ()
        if self.options.key and self.options.removed_records == "keep" and len(self._memory):
            require_known_key(self.name, key or None, self.options.key, "removed_records")
        once = found.get("once")
        self._once = {str(path) for path in once if path in self._same} if isinstance(once, list) else set()
        self._version = version if isinstance(version, int) else None
        self._floor = floor if isinstance(floor, int) else self._floor
        if self._floor is not None:
            self._memory.begin_above(self._floor)
        # Those of earlier releases don't say by which mapping; "read": also where it had left the map.
        self._read_as = str(found.get("meaning", self._meaning))
        self.owes_all = self._floor is not None or "read" not in found or self._read_as != self._meaning

    def position(self) -> JsonValue:
        """What `restore` needs."""
        return {
            "read": self.is_read,
            "complete": self.is_complete,
            "deleted_version": self._memory.deleted_version,
            "floor": self._floor,
            "key": list(self._known_key),
            "meaning": self._read_as,
            "version": self._version,
            "once": [*sorted(self._once)],
        }

    def begin(self, drift: DriftWatch) -> None:
        """From now on changed schemas, and deletes that need proof, are shown in drift."""
        self._drift = drift
        self._report.begin(drift)

    def doubt_all(self) -> None:
        """Publishes every record again."""
        self._memory.doubt_all()
        self.ask_all()

    def doubt(self, ids: Iterable[bytes]) -> None:
        """Publishes these again, or that one is gone; a tap reads no single record, so it reads all."""
        ids = list(ids)
        self._memory.doubt(ids)
        self._wanted.update(ids)
        self.ask_all()

    def ask_all(self) -> None:
        """A run that begins later has to begin at the beginning."""
        self.owes_all = True
        self._asked += 1

    @property
    def is_pressing(self) -> bool:
        """Whether a run should begin at once: it decides about deletes, or a person has confirmed them.

        A run after which nothing is decided, as where a tap no longer brings the stream, makes no other one urgent.
        """
        return self._is_decided and (self.deletes.waits_for_list or bool(self._report.confirmed_deletes()))

    @property
    def wanted(self) -> WantedStream:
        """What is to be selected of it."""
        return WantedStream(self.options, self.fields)

    def is_full(self, entry: CatalogEntry | None) -> bool:
        """Whether each run is to bring all records. TransientError where it can't, and deletes depend on it."""
        method = (entry or self._entry).replication(self.options)
        if self.options.removed_records == "delete" and method not in ("", "FULL_TABLE"):
            raise TransientError(
                f"{self._what} is read by {method}, so that a run never shows which records are gone: remove"
                f" `removed_records: delete` from {self.name}'s source, or write `replication: FULL_TABLE` if the tap"
                " allows it"
            )
        return method == "FULL_TABLE" or (not method and self.options.removed_records == "delete")

    def begin_run(self, entry: CatalogEntry | None, *, from_beginning: bool) -> None:
        """A run begins; `from_beginning`: without a bookmark for this stream."""
        self._entry = entry or self._entry
        self._from_beginning, self._is_whole, self._has_schema = from_beginning, True, False
        self._seen, self.records, self._new_version = set(), 0, None
        self._asked_before, self._sought = self._asked, frozenset(self._wanted)
        if confirmed := self._report.confirmed_deletes():
            self.deletes.confirmed = confirmed
        if entry is not None:
            self._tell(fields_of(entry.schema))

    def describe(self, message: SchemaMessage) -> None:
        """The records that follow look like this. TransientError where they can't be read as the map says."""
        self._has_schema = True
        if self._schema == message:
            return
        key = self.options.key or message.key or self._entry.key
        if not key:
            raise TransientError(
                f"{self._what} has no key: name the fields that identify a record with `key:` in {self.name}'s source"
            )
        if self._known_key and key != self._known_key and not self.options.key:
            raise TransientError(
                f"the key of {self._what} was {', '.join(self._known_key)} and is now {', '.join(key)}, so that"
                f" every record would have another id: write `key:` in {self.name}'s source to say which it is"
            )
        described = fields_of(message.schema)
        mapped = [path for path in self._mapped if described and not has_field(described, path)]
        if mapped and not self.is_read:
            raise TransientError(
                f"{self._what} has no field {mapped[0]!r}, which the mapping reads: {closest(mapped[0], described)}"
            )
        if described:
            self._once |= {path for path in self._same if has_field(described, path)}
        self._missing = mapped + sorted(path for path in self._once if described and not has_field(described, path))
        self._schema, self._described, self._key, self._known_key = message, described, key, key
        self._shape = self._shaped(message.schema)
        self._tell(fields_of(self._entry.schema) | described)

    def judge(self, message: RecordMessage, found: PageResult) -> None:
        """Takes one record in. TransientError for one before its schema, unless the map names the key."""
        if not self._key:
            raise TransientError(
                f"the tap wrote a record of {self._what} before its SCHEMA, so its key isn't known: write `key:` in"
                f" {self.name}'s source"
            )
        self.records += 1
        record = message.record
        try:
            id = self._id(record)
        except PermanentError as error:
            self._refuse(record, digest_of(repr(record).encode(errors="surrogatepass")), error, found)
            return
        if record.get(DELETED_AT) is not None:
            self._seen.discard(id)
            add(found, self._memory.gone(id, _now()))
            return
        if self._from_beginning:
            self._seen.add(id)
        add(found, self._memory.judge(id, record, _now(), trusted=True))

    def refuse_line(self, line: BrokenLine, found: PageResult) -> None:
        """A line that was a record, and can't be read."""
        error = PermanentError(
            f"the tap's line for a record of {self._what} can't be read: {line.why}; report it to the tap's authors",
            reason="not canonical",
        )
        self._refuse(line.text[:_RAW], line.digest, error, found)

    def activate(self, version: int) -> None:
        """Records of other copies of the table than this one are obsolete, once the run has come to its end.

        Taps say so before the first record, too, and again in every run that only continues a copy.
        """
        if version != self._version:
            self._new_version = version

    def end_run(self) -> PageResult:
        """The run came to its end: what it lacks may be deleted."""
        found = PageResult()
        self._is_decided = False
        self.is_left_out = not self._has_schema and not self.records
        if self.is_left_out:
            return found
        self.is_read = self.is_complete = True
        self.owes_all, self._floor, self._read_as = self._asked != self._asked_before, None, self._meaning
        is_all = self._from_beginning and (self.is_full(None) or self._new_version is not None)
        if is_all:
            gone = self._memory.ids() - self._seen
            lacking = sorted(id for id in gone if self.options.removed_records == "delete" or id.startswith(NO_ID))
            check = AbsenceCheck(len(self._memory), len(self._seen), None, self._is_whole)
            for step in self.deletes.settle(lacking, check):
                if isinstance(step, PageResult):
                    found.changes += step.changes
                    found.rejects += step.rejects
            if self._is_whole and self.options.removed_records == "delete":
                unknown = sorted(id for id in self._sought - self._seen if id not in self._memory)
                found.changes += [self._memory.absent(id, _now()) for id in unknown if not id.startswith(NO_ID)]
            self._report.tell(self.deletes, 0)
            self._is_decided = True
        if self._from_beginning:
            self._wanted -= self._sought
        self._version = self._new_version if self._new_version is not None else self._version
        self._seen = set()
        return found

    def _refuse(self, record: Json, digest: str, error: PermanentError, found: PageResult) -> None:
        self._is_whole = False
        id = NO_ID + digest.encode()
        self._seen.add(id)
        add(found, self._memory.refuse(id, record, _now(), error))

    def _encode(self, record: Json) -> bytes:
        for path in self._missing:
            self._hold(path, "is gone from the stream's schema")
        if self._rejects_absent:
            for path, made in self._now_mapped().items():
                head = path.partition("[")[0].partition(".")[0]
                if head not in record:
                    raise PermanentError(
                        f"field {made.partition(' = ')[0]}: the record leaves {head} out, and it may have"
                        " a value that has not changed: have the database log whole rows (PostgreSQL: REPLICA IDENTITY"
                        " FULL), or write `absent_fields: empty` if it means no value",
                        reason="incomplete",
                        field=head,
                    )
        return self._shape.encode(record)

    def _hold(self, path: str, why: str) -> None:
        mapped = self._now_mapped()
        if self._drift is not None:
            self._drift.held(self.name, self.options.stream, path, "", mapped)
        into = mapped[path].partition(" = ")[0]
        raise PermanentError(
            f"field {into}: {path} {why}: name the right one in the mapping sheet, or delete the row, and restart the"
            " producer",
            reason="drift",
            field=into,
        )

    @property
    def _rejects_absent(self) -> bool:
        said = self.options.absent_fields
        return said == "reject" or (said is None and self._entry.replication(self.options) == "LOG_BASED")

    def _tell(self, fields: dict[str, FieldSchema]) -> None:
        if self._drift is None or not fields:
            return
        shape = {path: field.native for path, field in fields.items() if path not in self._missing}
        mapped = {path: made for path, made in self._now_mapped().items() if path in self._missing or path in shape}
        self._drift.saw(self.name, self.options.stream, shape, mapped)

    def _shaped(self, schema: Record) -> JsonShape:
        options = self.options
        readers = readers_of(schema, options.lists, options.time_zone, self._ruled)
        return JsonShape(self._source, self._system, options.resources, options.lists, readers)

    def _now_mapped(self) -> dict[str, str]:
        """Path -> how it is mapped; fields that fill those of the same name once they were there."""
        return {**{path: made for path, made in self._same.items() if path in self._once}, **self._mapped}

    def _reads(self) -> tuple[dict[str, str], frozenset[str], frozenset[str]]:
        """Path -> how it is mapped; the paths that rules read; and the record's own fields that are needed."""
        mapped: dict[str, str] = {}
        ruled: set[str] = set()
        for each in self._shape.assignments:
            for path in {each.source or "", *(each.rule.uses if each.rule else ())} - {""}:
                if each.row is None:
                    self._same[path] = f"{each.into} = {path}"
                    continue
                if each.rule:
                    ruled.add(path)
                made = f"{each.into} = {each.rule.text if each.rule else path}"
                mapped[path] = "; ".join(filter(None, (mapped.get(path), made)))
        paths = {*mapped, *self._same, *self.options.lists.values(), *self.options.key}
        return mapped, frozenset(ruled), frozenset(path.partition("[")[0].partition(".")[0] for path in paths)

    def _id(self, record: Record) -> bytes:
        parts = []
        for name in self._key:
            value = record[name] if name in record else value_at(record, name)
            if isinstance(value, Decimal) and value == value.to_integral_value():
                value = int(value)
            text = (
                ""
                if isinstance(value, InvalidValue | bool) or not isinstance(value, str | int | Decimal)
                else str(value)
            )
            try:
                part = text.encode()
            except UnicodeEncodeError:
                part = b""
            if not part or not text.isprintable():
                raise PermanentError(
                    f"its key {name} is {shown(value)}: a number or a text without control characters is needed; fix"
                    f" the record in {self._system}, or `key:` in {self.name}'s source",
                    reason="no id",
                    field=name,
                    value=None if value is None else str(value)[:200],
                )
            parts.append(part)
        id = record_id(parts)
        if len(id) > _LONGEST_ID:
            raise PermanentError(
                f"its key is {len(id):,} bytes long, and {_LONGEST_ID:,} are the most",
                reason="no id",
                field=self._key[0],
            )
        return id


def _now() -> int:
    return time.time_ns() // 1000
