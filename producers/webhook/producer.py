"""The producer of a system that posts its records: publishes what is in the system's inbox."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b

from pydantic import BaseModel, JsonValue

from sorbus.abilities import PublishedState, Resource
from sorbus.bus.names import Names
from sorbus.bus.record_inbox import MOST_AT_ONCE, PostedRecord, RecordInbox
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.diagnosis import Diagnosis
from sorbus.errors import LostPosition
from sorbus.mapping.meaning import meaning_of
from sorbus.producers.webhook.inbox_history import discover_fields, inbox_of_system, read_newest, sample_records
from sorbus.producers.webhook.intake import RecordIntake
from sorbus.producers.webhook.record_feed import RecordFeed
from sorbus.settings import Settings
from sorbus.telemetry.metrics import WebhookMetrics
from sorbus.webhook.connection import WebhookConnection, WebhookSourceConnection
from sorbus.webhook.options import WebhookSource

_MEANT = ("absent", "deleted", "fields", "lists")
_REMEMBERED = 50_000
"""Posts whose repetitions are known, also after a restart."""
_SAY_AGAIN = 60.0
_log = logging.getLogger(__name__)


class WebhookProducer:
    """Captures the data types that one system posts."""

    Connection: type[BaseModel] = WebhookSourceConnection
    Source: type[BaseModel] = WebhookSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        """MapError where a mapping doesn't fit."""
        self._system = system
        self._feeds = {source.name: RecordFeed(RecordIntake(source, system.name)) for source in sources}
        self._made_by = {source.name: meaning_of(source, _MEANT) for source in sources}
        self._left: dict[str, int] = {}
        """Data types that have left the map: the highest version of any delete."""
        self._inbox: RecordInbox | None = None
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: list[PostedRecord] = []
        self._metrics = WebhookMetrics(system.name)
        self._older, self._said_at = 0, -_SAY_AGAIN

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:  # noqa: ARG003 - the interface's
        """The inbox is one of the map's topics: there is nothing else to create."""
        return []

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The record, and RECORD.LIST for each list field."""
        assert isinstance(options, WebhookSource)
        return options.resources

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """The fields of what was posted so far. TransientError."""
        return discover_fields(system)

    @classmethod
    def sample(cls, system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:  # noqa: ARG003 - has one
        """Some of what was posted. TransientError."""
        return sample_records(system, limit)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """What has arrived. TransientError."""
        connection = system.connection
        assert isinstance(connection, WebhookConnection)
        inbox = inbox_of_system(system)
        try:
            count = inbox.behind()
        finally:
            inbox.close()
        yield Diagnosis(
            system.name, "inbox", f"{count:,} posts of the last 30 days; verified by {connection.verify.signature}"
        )

    @classmethod
    def canonical(cls, system: BoundSystem, source: BoundSource, record: dict[str, object]) -> dict[str, object]:
        """One record as it would be published. PermanentError, MapError."""
        return RecordIntake(source, system.name).canonical(record)

    @classmethod
    def scan(cls, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """The newest post of each record, of the last 30 days. TransientError, MapError."""
        feed = RecordFeed(RecordIntake(source, system.name))
        found = [feed.judge(one) for one in read_newest(system, feed).values()]
        yield [one._replace(version=0) for one in found if one is not None and not _is_delete(one)]

    @classmethod
    def ids(cls, system: BoundSystem, source: BoundSource) -> Iterable[bytes]:
        """The ids of these. TransientError, MapError."""
        return (one.id for batch in cls.scan(system, source) for one in batch if isinstance(one, Change))

    @classmethod
    def read_record(cls, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """One record as it was posted last. PermanentError, TransientError, MapError."""
        feed = RecordFeed(RecordIntake(source, system.name))
        posted = read_newest(system, feed, frozenset((id,))).get(id)
        judged = None if posted is None else feed.judge(posted)
        if isinstance(judged, RejectedRecord):
            raise judged.error
        return None if judged is None else judged.data

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:
        """What is on the data type's topic."""
        if data_type in self._feeds:
            self._feeds[data_type].remember(published)

    def open(self, position: Position | None) -> None:
        """Resumes in the inbox. TransientError; MissingInbox before `sorbus apply`; LostPosition."""
        stored = (position or {}).get("inbox")
        place = stored if isinstance(stored, dict) else None
        deleted = (position or {}).get("deleted_versions")
        types = (position or {}).get("types", [*deleted] if isinstance(deleted, dict) else None)
        for name, version in (deleted if isinstance(deleted, dict) else {}).items():
            if name in self._feeds and isinstance(version, int):
                self._feeds[name].memory.deleted_version = version
            elif isinstance(version, int):
                self._left[name] = version
        settings, names = Settings(), Names(self._system.topic_prefix)
        self._inbox = RecordInbox(settings, names, self._system.name, place)
        if self._inbox.lost:
            self._after_loss(self._inbox.lost)
        self._learn(self._inbox)
        made_by = (position or {}).get("meaning")
        known = made_by if isinstance(made_by, dict) else {}
        self._require_known_ids((position or {}).get("ids"))
        if isinstance(types, list):
            self._publish_skipped(
                [
                    name
                    for name in self._feeds
                    if name not in types or known.get(name, self._made_by[name]) != self._made_by[name]
                ]
            )

    def read(self, wait: float) -> Batch | None:
        """What was posted. TransientError."""
        assert self._inbox is not None
        changes, rejects = list[Change](), list[RejectedRecord]()
        resolved = list[tuple[str, bytes]]()
        passed = Counter[str]()
        arrived = self._inbox.read(0.0 if self._waiting else wait)
        posts, self._waiting = self._waiting, []
        for one in arrived:
            if one.record is None:
                self._skip(one.offset)
            elif one.record.data_type not in self._feeds:
                passed[one.record.data_type] += 1
            elif not self._is_repeated(one.record):
                posts.append(one.record)
        for name, count in passed.items():
            _log.warning(
                "%s: %d posts that were accepted for %s are not published, since the map has no such data type any"
                " more: the inbox keeps them for 30 days, and a data type of that name gets them",
                self._system.name, count, name,
            )  # fmt: skip
        for posted in posts:
            feed = self._feeds[posted.data_type]
            judged = feed.judge(posted)
            if isinstance(judged, Change):
                changes.append(judged)
            elif isinstance(judged, RejectedRecord):
                rejects.append(judged)
                self._seen.pop(_key(posted), None)  # sent again once the map is right, it is taken
            elif posted.kind == "delete":
                resolved.append((posted.data_type, posted.id.encode()))
        self._tell_older()
        if not arrived and not posts:
            return None
        caught_up = len(arrived) < MOST_AT_ONCE
        return Batch(changes, rejects, (), self._position(), caught_up, None, resolved)

    def confirm(self, position: Position) -> None:
        """The inbox keeps everything for 30 days."""

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Publishes again what was posted in the last 30 days, the newest of each record."""
        for name in data_types:
            if (feed := self._feeds.get(name)) is not None:
                newest = read_newest(self._system, feed, until=self._read_until())
                feed.memory.doubt_all()
                self._waiting += newest.values()
                _log.info("%s: %d records of %s are published again", self._system.name, len(newest), name)

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Judges again what was posted last of these records."""
        feed = self._feeds.get(data_type)
        if feed is None or not ids:
            return
        wanted = frozenset(id.decode(errors="replace") for id in ids)
        newest = read_newest(self._system, feed, wanted, until=self._read_until())
        feed.memory.doubt(ids)
        self._waiting += newest.values()
        if missing := sorted(wanted - newest.keys()):
            _log.warning(
                "%s: %s %s was posted more than 30 days ago: have it sent again",
                self._system.name,
                data_type,
                ", ".join(missing[:10]),
            )

    def lag(self) -> int | None:
        """Posts that wait."""
        return None if self._inbox is None else self._inbox.behind()

    def close(self) -> None:
        """Stops reading."""
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.close()

    def _learn(self, inbox: RecordInbox) -> None:
        """What was read before: the last posts, whose repetitions are known, and all deletes that have a time."""
        recent = inbox.position_before(_REMEMBERED)
        has_times = any(feed.intake.options.updated for feed in self._feeds.values())
        for arrived in inbox.history(None if has_times else recent):
            posted = arrived.record
            if posted is None or posted.data_type not in self._feeds:
                continue
            if not posted.why and arrived.offset >= recent.get(arrived.partition, 0):
                self._is_repeated(posted)
            self._feeds[posted.data_type].learn(posted)

    def _publish_skipped(self, names: Sequence[str]) -> None:
        """What was posted while these data types weren't in the map, or were mapped otherwise: it has been passed."""
        for name in names:
            newest = read_newest(self._system, self._feeds[name], until=self._read_until())
            self._waiting += newest.values()
            if newest:
                _log.info(
                    "%s: %s is mapped otherwise than before: %d records are judged again",
                    self._system.name,
                    name,
                    len(newest),
                )

    def _require_known_ids(self, before: JsonValue) -> None:
        """LostPosition where posts would get other ids than what they are published by, unless the map says to
        continue.
        """
        for name, feed in self._feeds.items():
            known, now = before.get(name) if isinstance(before, dict) else None, list(feed.intake.options.id)
            if not isinstance(known, list) or known == now or not len(feed.memory):
                continue
            told = (
                f"{self._system.name}: the records of {name} were published by the id {', '.join(map(str, known))}. By"
                f" {', '.join(now)} what is posted again has another one, and what has the former stays in every target"
            )
            if self._system.system.on_lost_slot == "stop":
                raise LostPosition(
                    f"{told}: put the id back; or, if it is to be so, write `on_lost_slot: resnapshot` under"
                    f" {self._system.name} in the map, restart its producer, and have the former ones deleted (a post"
                    " that deletes them, or by hand in the targets)"
                )
            _log.warning("%s", told)

    def _after_loss(self, lost: str) -> None:
        """LostPosition with advice, unless the map says to continue."""
        name = self._system.name
        if self._system.system.on_lost_slot == "stop":
            raise LostPosition(
                f"{name}: {lost}. They can't be read again: have their sender send again what is missing; to publish"
                f" what the inbox holds, write `on_lost_slot: resnapshot` under {name} in the map, and restart its"
                " producer"
            )
        _log.error("%s: %s; what the inbox holds is published. Have the rest sent again", name, lost)

    def _read_until(self) -> Mapping[int, int] | None:
        return None if self._inbox is None else dict(self._inbox.next)

    def _position(self) -> Position:
        assert self._inbox is not None
        deleted: dict[str, JsonValue] = {**self._left}
        deleted |= {name: feed.memory.deleted_version for name, feed in self._feeds.items()}
        position: Position = {"inbox": self._inbox.position(), "deleted_versions": deleted, "types": [*self._feeds]}
        ids: dict[str, JsonValue] = {name: list(feed.intake.options.id) for name, feed in self._feeds.items()}
        return {**position, "meaning": dict(self._made_by), "ids": ids}

    def _is_repeated(self, posted: PostedRecord) -> bool:
        """Whether the same post came before: the same delivery id and the same content."""
        if not posted.delivery:
            return False
        key = _key(posted)
        if key in self._seen:
            self._metrics.events("repeated", 1)
            return True
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return False

    def _skip(self, offset: int) -> None:
        _log.warning(
            "skipped offset %d of the inbox of %s: it is no post; check what else writes there",
            offset,
            self._system.name,
        )

    def _tell_older(self) -> None:
        older = sum(feed.older for feed in self._feeds.values())
        self._metrics.events("older", older - self._older)
        if older > self._older and time.monotonic() - self._said_at >= _SAY_AGAIN:
            self._said_at = time.monotonic()
            _log.info("%s: %d posts were older than what is known, and changed nothing", self._system.name, older)
        self._older = older


def _key(posted: PostedRecord) -> bytes:
    told = "\0".join((posted.delivery, posted.data_type, posted.id, posted.kind)).encode()
    return blake2b(told + b"\0" + posted.body, digest_size=16).digest()


def _is_delete(one: Change | RejectedRecord) -> bool:
    return isinstance(one, Change) and one.data is None
