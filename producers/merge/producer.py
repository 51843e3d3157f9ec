"""The producer of a data type that several systems change: proposals in, merged records out.

A proposal's outcome is committed in Sorbus's database before its events are published, and every record whose newest
version may not be on the topic is published again after a restart: the version guard makes a repeat harmless.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast

from pydantic import BaseModel

from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.conflict.store import Conflict
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.errors import AuthError, LostPosition, TransientError, Unfinished
from sorbus.event import id_fault
from sorbus.producers.merge.contests import RECORD, ContestLog
from sorbus.producers.merge.joining import Joining, to_be_joined
from sorbus.producers.merge.loops import LoopBreaker
from sorbus.producers.merge.refused import Refused
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.two_way.expand import proposals_of
from sorbus.two_way.joined import Joined, joined_before
from sorbus.two_way.merge import Merging, Ruling, Verdict
from sorbus.two_way.options import MergeConnection, MergeSource
from sorbus.two_way.proposal_topics import ProposalMessage, ProposalTopics, UnreadProposal
from sorbus.two_way.record_codec import FrameDecoder, RecordCodec
from sorbus.two_way.store import MergeStore, StoredRecord

_MOST = 1000
_DECISIONS_EVERY, _UNLINKED_EVERY = 1.0, 30.0
_UNLINKED_AFTER = 3600.0
_STORE_EVERY, _IDLE_STORE = 3600.0, 10.0
"""Seconds after which the position of quiet topics is stored: again and again, and once they were read to the end."""


class MergeProducer:
    """Merges the proposals of one data type's systems."""

    Connection: type[BaseModel] = MergeConnection
    Source: type[BaseModel] = MergeSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        (source,) = sources
        assert isinstance(source.options, MergeSource)
        self._system, self._source, self._options = system, source, source.options
        self._names = Names(system.topic_prefix)
        self._settings = Settings()
        self._version = 0
        self._topics: ProposalTopics | None = None
        self._store: MergeStore | None = None
        self._floor, self._former = 0, ""
        self._owed_after: int | None = 0
        """Up to which version what may not be on the topic has been published again; None: all of it."""
        self._asked: list[bytes] = []
        self._looked_at = self._unlinked_at = self._stored_at = 0.0
        self._generation = self._newest = 0
        self._accepted = Joined(0, frozenset())
        self._joining: Joining | None = None
        self._published: dict[bytes, int] = {}
        self._told: list[bytes] = []
        """What was given out since the last `confirm`: versions, and records that have dead letters."""

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:  # noqa: ARG003 - the interface's
        """Its topics and Sorbus's own database are planned with all others."""
        return []

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:  # noqa: ARG003 - the interface's
        """A merge holds one kind of record."""
        return {"": "record"}

    @classmethod
    def read_record(cls, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """See `SupportsOwnerLookup`."""
        settings = Settings()
        schemas = SchemaResolver(settings, Names(system.topic_prefix), [source.schema])
        codec = RecordCodec(source.name, source.schema, schemas)
        store = MergeStore(
            State.of(system.topic_prefix), source.name, codec.encode, codec.decode, FrameDecoder(schemas)
        )
        if id_fault(id.encode()):
            return None
        values = store.load([id.encode()])[id.encode()].record.values
        return None if values is None else codec.encode(values)[1]

    @property
    def topics(self) -> dict[str, str]:
        """System -> the topic of what it shows."""
        return {system: self._names.topic(proposals_of(self._source.name, system)) for system in self._options.proposes}

    def succeed(self, data_type: str, former: str) -> None:  # noqa: ARG002 - it has one
        """What systems show may have changed one way since the merge read it."""
        self._former = former

    def take_over(self, floors: Mapping[str, int]) -> None:
        """All records are published again, above this version."""
        self._floor = floors[self._source.name]

    def open(self, position: Position | None) -> None:
        """Resumes after `position`. TransientError, AuthError, LostPosition."""
        if not self._settings.database:
            raise AuthError(f"{self._system.name} keeps merged records in Sorbus's own database: set SORBUS_DATABASE")
        state = State.of(self._system.topic_prefix)
        schemas = SchemaResolver(self._settings, self._names, [self._source.schema])
        codec = RecordCodec(self._source.name, self._source.schema, schemas)
        decoder = FrameDecoder(schemas)
        store = self._store = MergeStore(state, self._source.name, codec.encode, codec.decode, decoder)
        if (accepted := store.joined()).systems is None:
            joined_before(state, self._source.name, self._options.proposes)
            accepted = store.joined()
        if accepted.systems:
            accepted = store.keep_only(accepted.systems - self._left(accepted.systems, position or {}), accepted)
        self._accepted, self._generation, store.accepted = accepted, accepted.generation, accepted
        known = position if position and position.get("generation") == self._generation else {}
        self._check_state(position or {}, store)
        if known and self._former:
            raise LostPosition(
                f"{self._former} has published {self._source.name} meanwhile: it was one-way. Once every producer of"
                f" its systems runs (`sorbus status`): sorbus two-way join {self._source.name} --again --accept"
            )
        topics = {system: topic for system, topic in self.topics.items() if system in (accepted.systems or ())}
        self._topics = ProposalTopics(self._settings, topics, decoder, known, self._source.name)
        stored = (position or {}).get("version")
        self._newest = store.newest_version()
        self._version = max(stored if isinstance(stored, int) else 0, self._floor, self._newest)
        self._refused = Refused(self._source.name, self._options.system_of_record, self._new_version)
        self._merging_all = Merging(self._options.rules(accepted.systems), self._new_version, codec.fits)
        self._unfit = codec.unfit
        added = to_be_joined(known, topics, self._options.system_of_record)
        is_all = added == topics.keys()
        before = self._options.rules(topics.keys() - added)
        self._merging = self._merging_all if is_all else Merging(before, self._new_version, codec.fits)
        self._joining = Joining(store, self._merging_all, None if is_all else added) if added else None
        self._contests = ContestLog(state, self._source.name, self._options.flows)
        self._loops = LoopBreaker(self._options.system_of_record)
        self._owed_after = 0
        if self._floor:
            self.resnapshot([self._source.name])
            self._floor = 0

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Gives every record a new version."""
        if self._source.name in data_types:
            self._version, self._owed_after = self._opened.owe_all(self._version), 0

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """These records are published again."""
        if data_type == self._source.name:
            self._asked += ids

    @property
    def problem(self) -> str | None:
        """What waits for a person."""
        if self._generation and (new := sorted(self._options.proposes.keys() - (self._accepted.systems or ()))):
            return f"{', '.join(new)} isn't joined yet: sorbus two-way join {self._source.name}"
        if self._loops.stopped:
            id, name, one, other = self._loops.stopped
            what = f"{self._source.name} {id.decode(errors='replace')}: {name or 'the whole record'}"
            return (
                f"{what} is changed again and again between {one} and"
                f" {other}; it is stopped until a person decides: sorbus conflicts list"
            )
        return None

    def read(self, wait: float) -> Batch | None:
        """The next merged records; None when nothing came within `wait` seconds.

        Unfinished until a person has accepted how its systems' records are joined. TransientError.
        """
        store, topics = self._opened, self._topics
        assert topics is not None
        if not self._generation:
            if not store.joined().generation:
                command = f"sorbus two-way join {self._source.name}"
                raise Unfinished(f"see how its systems' records are joined, and accept it: {command}", retry_after=1.0)
            raise TransientError(f"the systems of {self._source.name} are joined", retry_after=0.0)
        if self._joining is not None:  # before what was owed by then, which may be over
            return self._joined(self._joining, topics, wait)
        if self._owed_after is not None:
            if owed := store.owed(self._owed_after, _MOST):
                self._owed_after = max(owed.values())
                return self._batch(store.load(owed).values(), caught_up=False)
            self._owed_after = None
        now = time.monotonic()
        if self._asked:
            ids, self._asked = self._asked[:_MOST], self._asked[_MOST:]
            return self._asked_for(ids)
        if now - self._looked_at > _DECISIONS_EVERY:
            self._looked_at = now
            if store.joined() != self._accepted:
                raise TransientError(f"the systems of {self._source.name} were joined again", retry_after=0.0)
            if decided := self._decided():
                return decided
        if now - self._unlinked_at > _UNLINKED_EVERY:
            self._unlinked_at = now
            if ids := store.unlinked(_UNLINKED_AFTER, _MOST):
                return self._batch(store.load(ids).values(), caught_up=False, tells_unlinked=True)
        messages = topics.read(min(wait, 0.5))
        if not messages:
            if topics.is_at_end and now - self._stored_at > (_STORE_EVERY if topics.is_end_stored else _IDLE_STORE):
                return self._batch((), caught_up=True)
            return None
        return self._merged(messages, caught_up=topics.is_at_end)

    def confirm(self, position: Position) -> None:  # noqa: ARG002 - all that was given out is on the topic
        """The versions that were given out are on the topic."""
        published, self._published = self._published, {}
        if published:
            self._opened.published(published)
        told, self._told = self._told, []
        if told:
            self._opened.told(told)

    def lag(self) -> int | None:
        """Proposals that aren't read yet."""
        return None if self._topics is None else self._topics.lag()

    def close(self) -> None:
        """Disconnects."""
        if self._topics is not None:
            self._topics.close()
            self._topics = None
        self._published.clear()
        self._told.clear()

    @property
    def _opened(self) -> MergeStore:
        assert self._store is not None
        return self._store

    def _new_version(self) -> int:
        self._version += 1
        return self._version

    def _left(self, systems: Collection[str], position: Position) -> set[str]:
        """Those that were read and aren't in the map any more; one of a newer map hasn't been read yet."""
        read, name = cast("Mapping[str, object]", position.get("topics") or {}), self._source.name
        gone = set(systems) - self._options.proposes.keys()
        return {system for system in gone if self._names.topic(proposals_of(name, system)) in read}

    def _check_state(self, position: Position, store: MergeStore) -> None:
        """LostPosition if Sorbus's database holds earlier records than were published: they would be sent again.

        Or if it holds records that were published, and Kafka knows nothing of it: deletes would be missed.
        """
        name = self._source.name
        again = (
            f"Once every producer of its systems runs (`sorbus status`): sorbus two-way join {name} --again --accept"
        )
        if not position and store.has_published():
            raise LostPosition(
                f"Kafka knows nothing of this merge, which has published records of {name}: it was emptied, or is"
                f" another cluster; deletes may be lost. {again}"
            )
        saved, generation = position.get("saved"), position.get("generation")
        is_older = isinstance(saved, int) and generation == self._generation and saved > store.newest_version()
        is_older = is_older or (isinstance(generation, int) and generation > self._generation > 0)
        if is_older:
            raise LostPosition(
                f"Sorbus's database holds earlier states of {name} than were published: it was restored. {again}"
            )

    def _joined(self, joining: Joining, topics: ProposalTopics, wait: float) -> Batch | None:
        """What is done until the systems are joined: see `Joining`. Others go on."""
        if not topics.has_read(self.topics if joining.systems is None else joining.systems):
            messages = topics.read(min(wait, 0.5))
            joining.show([one for one in messages if isinstance(one, ProposalMessage) and joining.shows(one.system)])
            others = [one for one in messages if isinstance(one, UnreadProposal) or not joining.shows(one.system)]
            return self._merged(others, caught_up=False) if messages else None
        found, rulings = joining.next(_MOST)
        if len(found) < _MOST:
            self._joining, self._merging = None, self._merging_all
        if joining.systems is None:  # what was asked before is asked again, if it is still in doubt
            self._contests.all_over([stored.record.id for stored in found])
        self._contests.note({stored.record.id: stored.record for stored in found}, rulings)
        refused = [self._refused.value(id, r) for id, r in rulings if r.verdict is Verdict.REFUSED]
        found = self._saved(found, refused)
        return self._batch(found, refused, caught_up=self._joining is None)

    def _saved(self, found: Sequence[StoredRecord], refused: list[RejectedRecord]) -> list[StoredRecord]:
        """Saves them; those that today's schema has no room for are refused, and stay what they were."""
        good = list(found)
        try:
            self._opened.save(good)
        except (ValueError, TypeError):
            unfit = {
                stored.record.id: why
                for stored in found
                if stored.record.values is not None and (why := self._unfit(stored.record.values)) is not None
            }
            if not unfit:
                raise
            good = [stored for stored in found if stored.record.id not in unfit]
            self._opened.save(good)
            refused += [self._refused.unfit(id, *why) for id, why in unfit.items()]
        self._newest = max([self._newest, *(stored.record.version for stored in good)])
        return good

    def _merged(self, messages: Sequence[ProposalMessage | UnreadProposal], *, caught_up: bool) -> Batch:
        store = self._opened
        found = store.load(message.id for message in messages if isinstance(message, ProposalMessage))
        rulings: list[tuple[bytes, Ruling]] = []
        refused: list[RejectedRecord] = []
        right: list[tuple[str, bytes]] = []
        for message in messages:
            if isinstance(message, UnreadProposal):
                refused.append(self._refused.unread(message))
                continue
            stored = found[message.id]
            record, proposal = stored.record, message.proposal
            shown, was_held = self._loops.shown(record), bool(record.held)
            made = self._merging.take(record, proposal)
            if record.views[proposal.system].version == proposal.version:
                stored.frames[proposal.system] = message.frame
            for ruling in made:
                if ruling.verdict is Verdict.REFUSED:
                    refused.append(self._refused.value(message.id, ruling, proposal.at))
                elif other := self._loops.turns(record, ruling, shown):
                    made = [*made, self._merging.hold(record, ruling.field, ruling.system, other)]
            if proposal.values is None and record.values is None and not record.is_unlinked:
                right.append((self._source.name, message.id))  # who told of it as unlinked
            if made and all(ruling.verdict is Verdict.EQUAL for ruling in made):
                right.append((self._source.name, message.id))  # no event says that a refused value was corrected
            if was_held and record.values is None:
                self._contests.over(message.id)
            rulings += [(message.id, ruling) for ruling in made]
        # First, so that nothing waits for a person who isn't asked: after a crash in between it is noted once more.
        self._contests.note({id: each.record for id, each in found.items()}, rulings)
        saved = self._saved(list(found.values()), refused)
        return self._batch(saved, refused, caught_up=caught_up)._replace(resolved=right)

    def _decided(self) -> Batch | None:
        """What people have decided; None where that is nothing."""
        decisions = self._contests.decisions()
        if not decisions:
            return None
        found = self._opened.load(one.id.encode() for one in decisions)
        refused: list[RejectedRecord] = []
        kept: list[Conflict] = []
        overwritten: list[Conflict] = []
        for one in decisions:
            record, name = found[one.id.encode()].record, "" if one.field == RECORD else one.field
            can_be = self._merging.decide(record, name, one.system, keep=one.state == "keep")
            (kept if one.state == "keep" and can_be else overwritten).append(one)
            if not can_be:
                ruling = Ruling(Verdict.REFUSED, one.system, name, one.theirs, one.ours)
                refused.append(self._refused.value(record.id, ruling))
        saved = self._saved(list(found.values()), refused)
        self._contests.carried_out(kept, overwritten)
        self._loops.decided((one.id.encode(), "" if one.field == RECORD else one.field) for one in decisions)
        return self._batch(saved, refused, caught_up=False)

    def _asked_for(self, ids: Sequence[bytes]) -> Batch:
        store = self._opened
        found = store.load(id for id in ids if not id_fault(id))
        for stored in found.values():
            self._merging.send_again(stored.record)
        refused: list[RejectedRecord] = []
        saved = self._saved(list(found.values()), refused)
        return self._batch(saved, refused, caught_up=False, tells_unlinked=True)

    def _batch(
        self,
        found: Iterable[StoredRecord],
        refused: Sequence[RejectedRecord] = (),
        *,
        caught_up: bool,
        tells_unlinked: bool = False,
    ) -> Batch:
        assert self._topics is not None
        changes: list[Change] = []
        rejects = list(refused)
        name = self._source.name
        encode = self._opened.encode
        for stored in found:
            record = stored.record
            if record.may_go:
                at = max((origin.at for origin in record.origins.values()), default=time.time_ns() // 1000)
                try:
                    data = None if record.values is None else encode(record.values)[1]
                except (ValueError, TypeError) as error:
                    why = self._unfit(record.values or {}) or ("", str(error))
                    rejects.append(self._refused.unfit(record.id, *why))
                    continue
                changes.append(Change(name, record.id, record.version, at, data))
                self._published[record.id] = record.version
            elif tells_unlinked and record.is_unlinked:
                rejects.append(self._refused.unlinked(record))
                self._told.append(record.id)
        self._stored_at = time.monotonic()
        position = {**self._topics.position(), "version": self._version, "generation": self._generation}
        position |= {"saved": self._newest, "joining": self._joining is not None and self._joining.told}
        return Batch(changes, rejects, (), position, caught_up)
