"""The consumer of a system that is asked and written record by record: side by side, each made once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from threading import Lock

from pydantic import BaseModel, JsonValue

from sorbus.abilities import Preview, SupportsRecordReading
from sorbus.avro.decode import read_record
from sorbus.conflict.store import Conflicts
from sorbus.connector import BoundFlow, BoundSystem, Delivery, RejectedDelivery, producer_connector
from sorbus.consumers.http.adopt import settle_links
from sorbus.consumers.http.decide import Decider, is_settled
from sorbus.consumers.http.deliver import Deliverer
from sorbus.consumers.http.delivery_round import DeliveryRound, Outcome
from sorbus.consumers.http.dry_run import DryRun, RecordingDecider
from sorbus.consumers.http.dry_run_api import DryRunApi
from sorbus.consumers.http.finder import Finder
from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.presence import Presence
from sorbus.consumers.http.preview import Previewer
from sorbus.consumers.http.references import References
from sorbus.consumers.http.retire import Retirer, Way
from sorbus.consumers.http.shape import Shape
from sorbus.consumers.http.two_way import TwoWayWrites
from sorbus.dry_run import DryRunReads, ListReading
from sorbus.errors import PermanentError, SorbusError, TransientError, Unfinished
from sorbus.http_api.description import Description
from sorbus.http_api.interface import Api, Record
from sorbus.identity.account import require_account
from sorbus.identity.candidates import Candidates
from sorbus.identity.crosswalk import Crosswalk, Link
from sorbus.identity.left_links import require_none_left
from sorbus.identity.match import Matcher
from sorbus.state.database import State
from sorbus.state.scratch import ScratchState
from sorbus.two_way.known import KnownRecords
from sorbus.two_way.merged_record import Values
from sorbus.two_way.own_writes import OwnWrites

_RETURN = 18.0
"""Seconds in which `apply` answers, whatever is still under way."""
_LINKS = 1000
_NO_READS = DryRunReads()


class ApiConsumer(ABC):
    """Delivers one flow into one resource of an `Api`; the flow's options are an `HttpTarget`."""

    batch = 200
    compares = True

    def __init__(self, flow: BoundFlow, state: State | None = None) -> None:
        assert isinstance(flow.options, HttpTarget)
        self._flow, self._options = flow, flow.options
        self._state = state or State.of(flow.system.topic_prefix)
        names = flow.system.name, flow.flow.data_type, flow.options.resource
        self._crosswalk = Crosswalk(self._state, *names, shared=flow.options.shared)
        self._pool: ThreadPoolExecutor | None = None
        self._scratch: ScratchState | None = None
        self._dry_run: DryRun | None = None
        self._dry_api: DryRunApi | None = None
        self._reading: ListReading | None = None
        self._done: dict[tuple[bytes, int], PermanentError | None] = {}
        self._newer: dict[bytes, int] = {}
        self._outcomes: Counter[str] = Counter()

    @abstractmethod
    def _describe(self) -> Description:
        """What the system holds. MapError; asks nobody."""

    @classmethod
    @abstractmethod
    def account_of(cls, system: BoundSystem) -> str:
        """See `sorbus.identity.account.HasAccount`."""

    @abstractmethod
    def _connect(self, reads: DryRunReads, *, is_dry: bool) -> Api:
        """Where the records are asked for and written."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Ends all connections; may come without `_connect`."""

    def _shape(self, description: Description) -> Shape:
        return Shape(self._flow, description)

    @classmethod
    def makes_tables(cls, options: BaseModel) -> bool:  # noqa: ARG003
        """Never: the application's resources are its own."""
        return False

    def open(self) -> None:
        """Gets ready; asks nothing yet. TransientError without the state's tables, MapError.

        LostPosition where the links are of another account, or there are some of names that the map had before.
        """
        self._assemble()
        self._pool = ThreadPoolExecutor(self._side_by_side, thread_name_prefix=f"deliver {self._flow.flow.id}")

    def begin_dry_run(self, reads: DryRunReads) -> ListReading | None:
        """Likewise, with a state and an application that keep what they are told to themselves; see `dry_run.py`.

        A resource whose records can't be asked for alone is always read by its list.
        """
        self._scratch = ScratchState(self._state, self._flow.system.name)
        described = self._describe()
        is_alone = bool(described.resources[self._options.resource].get or described.hook)
        self._assemble(self._scratch, reads, reads_by_list=not is_alone)
        assert self._dry_api is not None
        self._reading = None
        if reads.reads_list or not is_alone:
            most = reads.most_requests if is_alone else None
            self._reading = self._dry_api.read_list(self._options.resource, most_requests=most)
        return self._reading

    def listed_links(self) -> Iterator[str]:
        """See `sorbus.dry_run.SupportsLinkListing`; also counts what is linked to none."""
        assert self._dry_api is not None
        shown = self._dry_api.shown()
        linked = 0
        for at in range(0, len(shown), _LINKS):
            chunk = shown[at : at + _LINKS]
            known = self._crosswalk.known_of(chunk)
            linked += len(known.keys() | self._crosswalk.owners_of(chunk).keys())
            yield from known.values()
        if self._reading is not None:
            self._reading.unlinked = len(shown) - linked

    def uncompared(self) -> Iterator[str]:
        """See `sorbus.dry_run.SupportsUncompared`."""
        return self._shape(self._describe()).uncompared()

    def _assemble(
        self, scratch: ScratchState | None = None, reads: DryRunReads = _NO_READS, *, reads_by_list: bool = False
    ) -> None:
        flow = self._flow
        description = self._describe()
        shape = self._shape(description)
        names = flow.system.name, flow.flow.data_type, self._options.resource
        state = scratch or self._state
        self._crosswalk = Crosswalk(state, *names, shared=self._options.shared)
        self._crosswalk.find(["-"])
        is_dry = scratch is not None
        require_account(self._state, flow.system.name, self.account_of(flow.system), keeps=not is_dry)
        settle_links(state, flow)
        require_none_left(self._state, flow, self._options.resource)
        api = self._connect(reads, is_dry=is_dry)
        if is_dry:
            api = self._dry_api = DryRunApi(api, description, searches=reads.searches)
        candidates = Candidates(state, *names)
        matcher = Matcher(flow.data_type, flow.schema)
        can_read = reads_by_list or bool(shape.resource.get or description.hook)
        presence = Presence(
            api, self._options.resource, shape.resource, self._crosswalk, reads=can_read, most=self._options.indexed
        )
        finder = Finder(api, presence, self._options, shape, matcher, self._crosswalk)
        conflicts = Conflicts(state, *names)
        known = (matcher, self._crosswalk, candidates, conflicts)
        kind = RecordingDecider if is_dry else Decider
        writes = OwnWrites(self._state, flow.system.name, flow.flow.data_type)
        two_way = None if is_dry else self._two_way(api, shape, writes)
        decider = kind(
            flow,
            description,
            presence,
            shape,
            finder,
            *known,
            reads=can_read,
            two_way=flow.shown is not None,
            kept=None if flow.shown is None else writes.kept,
        )
        self._needs = shape.needs
        self._make = References(state, flow, shape)
        self._deliverer = Deliverer(flow, api, presence, shape, self._make, finder, decider, *known, two_way)
        self._previewer = Previewer(self._options.resource, api, shape, self._make, decider, self._crosswalk)
        self._retirer = Retirer(self._options.resource, api, shape, has_hook=bool(description.hook))
        self._side_by_side = description.concurrency
        if isinstance(decider, RecordingDecider) and self._dry_api is not None:
            self._dry_run = DryRun(self._deliverer, decider, self._dry_api, self._make, self._crosswalk)

    def _two_way(self, api: Api, shape: Shape, writes: OwnWrites) -> TwoWayWrites | None:
        flow, shown = self._flow, self._flow.shown
        if shown is None:
            return None
        data_type, system = flow.flow.data_type, flow.system
        reader = producer_connector(system.system.kind)
        assert isinstance(reader, SupportsRecordReading)
        encode = reader.record_reader(system, shown)

        def canonical(record: Record) -> Values:
            return read_record(shown.schema, encode(record), 0)[0]

        known = KnownRecords(self._state, system.topic_prefix, data_type, system.name, shown.schema)
        return TwoWayWrites(api, system.name, self._options.resource, shape, writes, known, canonical)

    def close(self) -> None:
        """Leaves. Requests under way end by themselves; what they did is looked up when their records come again."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._disconnect()
        if self._scratch is not None:
            self._scratch.close()
        self._pool = self._scratch = None

    def needs(self) -> dict[str, str]:
        """The canonical fields without which the application takes no record."""
        return self._needs

    def ways(self) -> frozenset[Way]:
        """How records that are doubles can be taken away."""
        return self._retirer.ways()

    def retire(self, external_id: str, survivor: str, way: Way) -> str:
        """See `sorbus.abilities.SupportsMerge`."""
        return self._retirer.retire(external_id, survivor, way)

    def preview(self, delivery: Delivery) -> Preview:
        """What `apply` would do with it now. TransientError, AuthError."""
        self._make.prepare([delivery])
        return self._previewer.preview(delivery)

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `sorbus.dry_run.SupportsDryRun`."""
        assert self._dry_run is not None
        return self._dry_run.preview_all(deliveries)

    def look(self, id: str) -> Mapping[str, JsonValue] | None:
        """See `SupportsLookup`. TransientError, AuthError; PermanentError if it can't be asked for records."""
        return self._previewer.look(id)

    def apply(
        self,
        deliveries: Sequence[Delivery],
        *,
        again: bool = False,
        alone: bool = False,  # noqa: ARG002
    ) -> list[RejectedDelivery]:
        """Delivers what it can in some seconds; see `sorbus.connector.Consumer`."""
        if self._pool is None:
            raise TransientError(f"flow {self._flow.flow.id} is not open")
        left = [one for one in deliveries if (one.id, one.version) not in self._done]
        if left:
            self._apply(left, self._pool, again)
        refusals = [
            RejectedDelivery(place, error)
            for place, one in enumerate(deliveries)
            if (error := self._done[one.id, one.version]) is not None
        ]
        self._done.clear()
        return refusals

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsVersions`."""
        given = {one.id for one in deliveries}
        found, self._newer = {id: version for id, version in self._newer.items() if id in given}, {}
        return found

    def versions(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsAppliedVersions`; what has only been begun has not landed."""
        links = self._crosswalk.find([one.id.decode(errors="replace") for one in deliveries])
        found = {one.id: link for one in deliveries if (link := links.get(one.id.decode(errors="replace"))) is not None}
        return {id: link.version - (link.state == "intended") for id, link in found.items()}

    def take_outcomes(self) -> dict[str, int]:
        """See `SupportsOutcomes`."""
        found, self._outcomes = self._outcomes, Counter()
        if self._pool is not None:
            found += self._deliverer.take_outcomes()
        return dict(found)

    def _apply(self, deliveries: Sequence[Delivery], pool: ThreadPoolExecutor, again: bool) -> None:
        ids = {one.id.decode(errors="replace"): one for one in deliveries}
        with ExitStack() as claim:
            ours = claim.enter_context(self._crosswalk.claim(list(ids)))
            links = self._crosswalk.find(list(ours))
            new = [one for id, one in ids.items() if id in ours and not is_settled(one, links.get(id), again=again)]
            self._make.prepare(new)
            ours -= self._taken_keys(claim, [one for one in new if not _is_linked(one, links)])
            round = DeliveryRound(self._deliverer, self._flow.system.name, again, self._side_by_side)
            futures: dict[Future[Outcome], Delivery] = {}
            for id, one in ids.items():
                if id not in ours:
                    continue
                if is_settled(one, link := links.get(id), again=again):
                    self._done[one.id, one.version] = None
                    self._outcomes["skipped"] += 1
                    if link is not None and link.version > one.version:
                        self._newer[one.id] = link.version
                else:
                    futures[pool.submit(round.run, one)] = one
            wait(futures, timeout=_RETURN)
            for future in futures:
                future.cancel()
            running = [future for future in futures if not future.done()]
            if running:
                # Their records stay claimed until they are through: nobody begins them a second time meanwhile.
                _close_when_done(claim.pop_all(), running)
        others = len(ids) - len(ours)
        self._conclude(futures, others)

    def _taken_keys(self, claim: ExitStack, new: Sequence[Delivery]) -> set[str]:
        """Claims what the records to be made are matched by; those another process has now."""
        keys = {one.id.decode(errors="replace"): self._deliverer.keys(one) for one in new}
        held = claim.enter_context(
            self._crosswalk.claim({key for found in keys.values() for key in found}, any_type=True)
        )
        return {id for id, found in keys.items() if not found <= held}

    def _conclude(self, futures: dict[Future[Outcome], Delivery], others: int) -> None:
        """Notes what was finished and raises what keeps the rest: the worst first."""
        faults: list[SorbusError] = []
        begun_later = len(futures)
        for future, one in futures.items():
            if not future.done() or future.cancelled():
                continue
            outcome = future.result()
            if isinstance(outcome, PermanentError | None):
                self._done[one.id, one.version] = outcome
                begun_later -= 1
            elif isinstance(outcome, SorbusError):
                faults.append(outcome)
        transient = [fault for fault in faults if isinstance(fault, TransientError)]
        unfinished = [fault for fault in faults if isinstance(fault, Unfinished)]
        for fault in faults:
            if not isinstance(fault, TransientError | Unfinished):
                raise fault
        if transient:
            raise transient[0]
        if unfinished:
            raise min(unfinished, key=lambda fault: fault.retry_after)
        what = f"{len(self._done)} records of flow {self._flow.flow.id} are delivered, {begun_later + others} are left"
        if others:
            raise Unfinished(f"{what}, of which {others} are in another process's hands", retry_after=1.0)
        if begun_later:
            raise Unfinished(what, retry_after=0.0 if all(future.done() for future in futures) else 1.0)


def _is_linked(delivery: Delivery, links: Mapping[str, Link]) -> bool:
    link = links.get(delivery.id.decode(errors="replace"))
    return link is not None and link.state == "linked"


def _close_when_done(claim: ExitStack, running: Sequence[Future[Outcome]]) -> None:
    left, lock = set(running), Lock()

    def ended(future: Future[Outcome]) -> None:
        with lock:
            left.discard(future)
            is_last = not left
        if is_last:
            claim.close()

    for future in running:
        future.add_done_callback(ended)
