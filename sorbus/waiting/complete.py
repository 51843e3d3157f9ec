"""What happens to records before any connector sees them: filtered by `where`, completed, or deferred."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from sorbus.abilities import (
    KeepsProgress,
    Preview,
    Progress,
    SupportsAppliedVersions,
    SupportsHealthCheck,
    SupportsOutcomes,
    SupportsPreview,
    SupportsRequiredFields,
    SupportsVersions,
    TellsSubmitted,
)
from sorbus.avro.decode import Undecodable, read_record
from sorbus.avro.encode import encoder
from sorbus.connector import BoundFlow, Consumer, ConsumerConnector, Delivery, RejectedDelivery
from sorbus.dry_run import DryRunReads, ListReading, SupportsDryRun, SupportsLinkListing, SupportsUncompared
from sorbus.errors import MustWait, PermanentError, SorbusError
from sorbus.mapping.blank import is_blank
from sorbus.mapping.convert import convert
from sorbus.mapping.default import default_values, encoded_default
from sorbus.mapping.record_filter import Filtered, RecordFilter
from sorbus.schema import RecordSchema


def consumer_of(connector: ConsumerConnector, flow: BoundFlow) -> Consumer:
    """The flow's consumer, which gets only records that fit the flow's `where`, and only complete ones, unless the flow
    says on_incomplete: pass.
    """
    return completing(connector(flow), flow)


def completing(consumer: Consumer, flow: BoundFlow) -> Consumer:
    """The same for a consumer that is made already."""
    is_plain = flow.flow.on_incomplete == "pass" and flow.flow.where is None
    if is_plain:
        return consumer
    if isinstance(consumer, KeepsProgress):
        return (_Submitting if isinstance(consumer, TellsSubmitted) else _Noting)(consumer, flow)
    return Completing(consumer, flow)


def lacking(flow: BoundFlow, id: str, fields: Sequence[str]) -> MustWait:
    """The error of a record without these canonical fields."""
    told = f"{flow.flow.data_type} {id} lacks {' and '.join(fields)}, needed by {flow.system.name}"
    ask = f"; ask {flow.ask}" if flow.ask else ""
    return MustWait(told + ask, why="incomplete", needs=[(field, "") for field in fields], field=fields[0])


class _Ready(NamedTuple):
    """A delivery for the connector."""

    delivery: Delivery
    is_outside: bool


class Completing:
    """A flow's consumer that leaves out records outside of `where`, defers incomplete ones with MustWait, and delivers
    the others.
    """

    def __init__(self, consumer: Consumer, flow: BoundFlow) -> None:
        self._consumer, self._flow = consumer, flow
        self._filter = RecordFilter(flow) if flow.flow.where is not None else None
        self._filtered = self._kept = 0
        self.left_alone: set[bytes] | None = None
        """Where it is asked for: the records that were left as they are, since they are outside of `where`."""
        self._completes = flow.flow.on_incomplete != "pass"
        self._needs = {*flow.data_type.required, *flow.flow.required}
        fields = flow.schema.by_name
        self._filled: dict[str, object] = {}
        if flow.flow.on_incomplete == "default":
            self._filled = {
                name: convert(value, fields[name].type) for name, value in flow.flow.defaults.items() if name in fields
            }
        self._unsaid = default_values(flow.schema.fields)
        if (batch := getattr(consumer, "batch", None)) is not None:
            self.batch = cast("int", batch)

    def open(self) -> None:
        """Opens the consumer; its target's own required fields count too."""
        self._consumer.open()
        self._count_needs()

    def begin_dry_run(self, reads: DryRunReads) -> ListReading | None:
        """Likewise, for a dry run."""
        listed = self._dry().begin_dry_run(reads)
        self._count_needs()
        return listed

    def listed_links(self) -> Iterator[str]:
        """See `SupportsLinkListing`; none where the connector can't tell."""
        return self._consumer.listed_links() if isinstance(self._consumer, SupportsLinkListing) else iter(())

    def uncompared(self) -> Iterator[str]:
        """See `SupportsUncompared`; none where the connector compares every field."""
        return self._consumer.uncompared() if isinstance(self._consumer, SupportsUncompared) else iter(())

    def _count_needs(self) -> None:
        if isinstance(self._consumer, SupportsRequiredFields):
            self._needs |= self._consumer.needs().keys()
        self._needs.discard("id")

    def close(self) -> None:
        self._consumer.close()

    def check(self) -> None:
        """Whether the target answers, if its connector can tell."""
        if isinstance(self._consumer, SupportsHealthCheck):
            self._consumer.check()

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        """See `sorbus.connector.Consumer`; incomplete records are rejected with MustWait."""
        refusals: list[RejectedDelivery] = []
        places: list[int] = []
        complete: list[Delivery] = []
        outside = kept = 0
        for place, delivery in enumerate(deliveries):
            try:
                one = self.filtered(delivery)
                outside += one.is_outside
                self._note_left(delivery.id, is_left=one.delivery is None)
                if one.delivery is None:
                    kept += 1
                    continue
                complete.append(self.completed(one.delivery))
                places.append(place)
            except PermanentError as error:
                refusals.append(RejectedDelivery(place, error))
        if complete:
            refused = self._consumer.apply(complete, again=again, alone=alone)
            refusals += [RejectedDelivery(places[one.place], one.error) for one in refused]
        self._filtered += outside
        self._kept += kept
        return refusals

    def _note_left(self, id: bytes, *, is_left: bool) -> None:
        if self.left_alone is not None:
            (self.left_alone.add if is_left else self.left_alone.discard)(id)

    def newer(self, deliveries: Sequence[Delivery]) -> Mapping[bytes, int]:
        """See `SupportsVersions`; none where the connector can't tell."""
        return self._consumer.newer(deliveries) if isinstance(self._consumer, SupportsVersions) else {}

    def versions(self, deliveries: Sequence[Delivery]) -> Mapping[bytes, int]:
        """See `SupportsAppliedVersions`; none where the connector can't tell."""
        return self._consumer.versions(deliveries) if isinstance(self._consumer, SupportsAppliedVersions) else {}

    def take_outcomes(self) -> Mapping[str, int] | None:
        """The connector's, and those that are outside of `where`; None if the connector can't tell."""
        filtered, kept, self._filtered, self._kept = self._filtered, self._kept, 0, 0
        found = self._consumer.take_outcomes() if isinstance(self._consumer, SupportsOutcomes) else None
        if found is None:
            return None
        return {**found, "skipped": found.get("skipped", 0) + kept, "filtered": filtered}

    def preview(self, delivery: Delivery) -> Preview:
        """The preview of the completed record; "hold" if it is incomplete, "filter" if it is outside of `where`."""
        if not isinstance(self._consumer, SupportsPreview):
            raise self._unable()
        one = self._prepared(delivery)
        if isinstance(one, Preview):
            return one
        return self._seen(one, self._consumer.preview(one.delivery))

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `SupportsDryRun`; likewise."""
        prepared = [self._prepared(delivery) for delivery in deliveries]
        ready = [one for one in prepared if not isinstance(one, Preview)]
        shown = iter(self._dry().preview_all([one.delivery for one in ready]))
        return [one if isinstance(one, Preview) else self._seen(one, next(shown)) for one in prepared]

    def _prepared(self, delivery: Delivery) -> _Ready | Preview:
        try:
            one = self.filtered(delivery)
            if one.delivery is None:
                return self._outside()
            return _Ready(self.completed(one.delivery), one.is_outside)
        except MustWait as error:
            return Preview("hold", str(error))
        except PermanentError as error:
            return Preview("refuse", str(error))

    def _seen(self, one: _Ready, shown: Preview) -> Preview:
        if one.is_outside and shown.action == "nothing":
            return self._outside()
        return shown._replace(why=f"it is outside of where {self._flow.flow.where}") if one.is_outside else shown

    def _outside(self) -> Preview:
        return Preview("filter", f"it is outside of where {self._flow.flow.where}")

    def _dry(self) -> SupportsDryRun:
        if not isinstance(self._consumer, SupportsDryRun):
            raise self._unable()
        return self._consumer

    def _unable(self) -> SorbusError:
        return SorbusError(f"systems of kind {self._flow.system.system.kind} can't show what they would do")

    def filtered(self, delivery: Delivery) -> Filtered:
        """What `where` makes of the delivery. PermanentError where it can't be decided."""
        return Filtered(delivery, is_outside=False) if self._filter is None else self._filter.apply(delivery)

    def completed(self, delivery: Delivery) -> Delivery:
        """The delivery with the defaults filled in. MustWait if it lacks a field without one."""
        if delivery.deleted or not self._completes:
            return delivery
        try:
            found, end = read_record(delivery.schema, delivery.data, delivery.at)
        except Undecodable:
            return delivery  # the connector reports it, like everything that can't be decoded
        if end != len(delivery.data):
            return delivery
        record = {**self._unsaid, **found}
        filled = {name: value for name, value in self._filled.items() if is_blank(record.get(name))}
        missing = sorted(name for name in self._needs if name not in filled and is_blank(record.get(name)))
        if missing:
            raise lacking(self._flow, delivery.id.decode(errors="replace"), missing)
        return self._with(delivery, found, filled) if filled else delivery

    def _with(self, delivery: Delivery, found: Mapping[str, object], filled: Mapping[str, object]) -> Delivery:
        writer = delivery.schema
        schema = writer if filled.keys() <= writer.by_name.keys() else self._flow.schema
        return delivery._replace(schema=schema, data=_encoded(schema, {**found, **filled}), at=0)


class _Noting(Completing):
    """Of a connector that `KeepsProgress`."""

    def progress(self, topic: str) -> Mapping[int, Progress]:
        """See `KeepsProgress`."""
        return self._keeper.progress(topic)

    def note_progress(self, topic: str, offsets: Mapping[int, Progress]) -> None:
        """See `KeepsProgress`."""
        self._keeper.note_progress(topic, offsets)

    @property
    def _keeper(self) -> KeepsProgress:
        assert isinstance(self._consumer, KeepsProgress)
        return self._consumer


class _Submitting(_Noting):
    """Of one that `TellsSubmitted`, too."""

    @property
    def on_submitted(self) -> Callable[[], None] | None:
        """See `TellsSubmitted`."""
        return self._teller.on_submitted

    @on_submitted.setter
    def on_submitted(self, value: Callable[[], None] | None) -> None:
        self._teller.on_submitted = value

    @property
    def _teller(self) -> TellsSubmitted:
        assert isinstance(self._consumer, TellsSubmitted)
        return self._consumer


def _encoded(schema: RecordSchema, record: Mapping[str, object]) -> bytes:
    """The record in Avro; missing fields get the schema's default."""
    made = []
    for field in schema.fields:
        unsaid = None if field.name in record else encoded_default(field)
        made.append(encoder(field.type)(record.get(field.name)) if unsaid is None else unsaid)
    return b"".join(made)
