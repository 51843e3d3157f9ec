"""The erasure of one record: only when its owner has deleted it, then everywhere that Sorbus has brought it.

The data type's topic has one writer, its owner's producer, and so the delete is never written here: as long as the
topic's last event of the record is a live state the erasure is refused. What can be done again changes nothing.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime

from sorbus.abilities import SupportsErasure
from sorbus.avro.decode import Undecodable
from sorbus.bus.names import Names
from sorbus.deadletter import DeadLetter
from sorbus.errors import AuthError, ExitCode, PermanentError, SorbusError, TransientError
from sorbus.event import open_frame
from sorbus.map.loaded import LoadedMap
from sorbus.map.steps import step_of
from sorbus.mapfile.model import Flow, ProcessStep
from sorbus.ops.forget.receipt import Done, Left, Receipt
from sorbus.ops.forget.stored import Stored
from sorbus.ops.forget.topics import Bus, TopicTrace
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.two_way.expand import proposals_of

Say = Callable[[str], None]


class OwnerHasIt(SorbusError):
    """The system of record still has the record: it would only come again."""

    exit_code = ExitCode.REFUSED


class Erasure:
    """One record on its way out of everything."""

    def __init__(self, loaded: LoadedMap, settings: Settings, state: State, receipt: Receipt, *, say: Say) -> None:
        self._loaded, self._receipt, self._say = loaded, receipt, say
        self._names = Names(loaded.map.topic_prefix)
        self._bus = Bus(settings)
        others = [flow.id for flow in loaded.map.flows if flow.data_type != receipt.data_type]
        self._stored = Stored(state, receipt.data_type, receipt.id, others)
        self._key = receipt.id.encode()
        self._flows = [flow for flow in loaded.map.flows if flow.data_type == receipt.data_type]

    def run(self, *, wait: float) -> None:
        """Erases, and fills the receipt; `wait` is how many seconds the flows have to deliver the delete.

        OwnerHasIt, TransientError and AuthError: some of it may be done, and it may be run again.
        """
        receipt, topic = self._receipt, self._names.topic(self._receipt.data_type)
        trace = self.refuse_if_owned()
        receipt.was_seen, receipt.version = bool(trace.last), trace.version
        until = time.monotonic() + wait
        delivered = [flow for flow in self._flows if self._delivered(flow, trace, until)]
        if self._is_back(trace):
            raise OwnerHasIt(f"{self._named} came back while flows were waited for, and nothing was erased")
        for flow in delivered:
            self._target(flow)
        self._made()
        refused = self._letters()
        self._linked()
        receipt.erased += self._stored.erase(refused=refused, dry_run=receipt.dry_run)
        self._older(topic, trace.with_data, "older states of it")
        self._shown()
        self._posted()
        if not receipt.dry_run and self._is_back(trace):
            again = "; ".join(f"sorbus replay {flow.id} --id {shlex.quote(receipt.id)}" for flow in delivered)
            raise OwnerHasIt(
                f"{self._named} came back while it was erased; bring its new state to its targets: {again}"
            )
        receipt.ended_at = datetime.now(UTC)
        if not receipt.dry_run:
            self._bus.keep_erased(self._names, receipt)
            self._stored.record(receipt)

    def _is_back(self, trace: TopicTrace) -> bool:
        """Whether its owner has it again since `trace`."""
        return self._bus.trace(self._names.topic(self._receipt.data_type), self._key, trace.ends).is_live

    @property
    def _named(self) -> str:
        return f"{self._receipt.data_type} {self._receipt.id}"

    def refuse_if_owned(self) -> TopicTrace:
        """What the data type's topic has of the record. OwnerHasIt while its owner still has it."""
        trace = self._bus.trace(self._names.topic(self._receipt.data_type), self._key)
        letters = self._bus.letters(self._names.dead_letters(self._receipt.data_type), self._key)
        data_type, id = self._receipt.data_type, self._receipt.id
        two_way = self._loaded.two_way.get(data_type)
        owner = self._loaded.map.owner_of(data_type) if two_way is None else two_way.system_of_record
        fix = (
            f"delete it in {owner} first: its producer publishes the delete, and `sorbus forget` cleans up the rest"
            f" (if it is deleted there already, see that `sorbus produce {owner}` runs)"
        )
        if (step := step_of(self._loaded.map, owner)) is not None:
            fix = self._fix_of_step(step)
        if trace.is_live:
            raise OwnerHasIt(f"{data_type} {id}: {owner} still has it by the last event on its topic; {fix}")
        if any(not letter.flow for letter in letters):
            raise OwnerHasIt(f"{data_type} {id}: {owner} has a row of it that couldn't be made canonical; {fix}")
        return trace

    def _fix_of_step(self, step: ProcessStep) -> str:
        """Nobody deletes what a step made: it goes with what it is made of."""
        if step.per:
            return f"it is made of {step.source} records: delete those of {self._receipt.id} at their owner first"
        id, owner = self._receipt.id, self._loaded.map.owner_of(step.source)
        if self._bus.trace(self._names.topic(step.source), self._key).is_live:
            return f"it is made of {step.source} {id}: delete that in {owner} first"
        if step.on_leave == "delete":
            return f"see that `sorbus produce {step.id}` runs: {step.source} {id} is deleted, and so will this be"
        return (
            f"{step.source} {id} is gone, and the step keeps what it made (`on_leave: keep`): write `on_leave: delete`,"
            f" restart the step, run `sorbus backfill {step.makes} --id {id}`, and write `keep` again"
        )

    def _made(self) -> None:
        """What steps have made of it, under the same id, is a record of its own."""
        id = self._receipt.id
        for step in self._loaded.map.steps:
            if step.source != self._receipt.data_type or step.per:
                continue
            if self._bus.trace(self._names.topic(step.makes), self._key).is_live:
                what = f"{step.makes} {id}, which the step made of it"
                self._receipt.left.append(Left(step.id, what, f"run `sorbus forget {step.makes} {id}`, too"))

    def _shown(self) -> None:
        """What the systems of a two-way data type showed of it."""
        two_way = self._loaded.two_way.get(self._receipt.data_type)
        for system in two_way.systems if two_way is not None else ():
            shown = proposals_of(self._receipt.data_type, system)
            topic = self._names.topic(shown)
            trace = self._bus.trace(topic, self._key)
            self._older(topic, trace.with_data - trace.is_live, f"older states of it in {system}")
            if self._bus.letters(self._names.dead_letters(shown), self._key):
                do = f"delete it in {system}, and run this again"
                self._receipt.left.append(Left(system, "a row of it that couldn't be made canonical", do))

    def _posted(self) -> None:
        """What was posted of it stays in its system's inbox, whose messages Kafka removes by their age."""
        two_way = self._loaded.two_way.get(self._receipt.data_type)
        owner = self._loaded.map.owner_of(self._receipt.data_type)
        for system in two_way.systems if two_way is not None else [owner]:
            if self._loaded.map.systems[system].kind != "webhook":
                continue
            topic = self._names.inbox(system)
            key = f"{self._receipt.data_type}:{self._receipt.id}".encode()
            if count := self._bus.trace(topic, key).with_data:
                until = self._bus.removed_by(topic)
                do = "" if until else "nothing there ever expires: set its retention.ms, or delete them by hand"
                self._receipt.left.append(Left(f"Kafka, {topic}", f"{count} posts of it", do, until))

    def _delivered(self, flow: Flow, trace: TopicTrace, until: float) -> bool:
        """Whether the flow has delivered the delete. Its requeued letters of the record are deleted then."""
        left = self._receipt.left
        if not flow.runs:
            if flow.manual is not None:
                left.append(Left(flow.to, f"flow {flow.id} is carried out by people", f"erase it in {flow.to} by hand"))
            return False
        group, requeue = self._names.group(flow.id), self._names.requeue(flow.id)
        requeued = self._bus.trace(requeue, self._key)
        last = {**trace.last, **requeued.last}
        if not self._bus.delivered(group, last, until=0 if self._receipt.dry_run else until, say=self._say):
            do = f"see that `sorbus consume {flow.id}` runs and reaches {flow.to}, then run this again"
            left.append(Left(flow.to, f"flow {flow.id} hasn't delivered the delete yet", do))
            return False
        self._receipt.erased.append(Done(f"Kafka, {requeue}", "requeued dead letters of it", requeued.with_data))
        if requeued.with_data and not self._receipt.dry_run:
            self._bus.drop_read(requeue, group)
        return True

    def _target(self, flow: Flow) -> None:
        """What the delete leaves in the target: nothing where deletes are hard."""
        bound = self._loaded.flow(flow.id)
        consumer = self._loaded.consumer(flow.to)(bound)
        if not isinstance(consumer, SupportsErasure):
            return  # by the crosswalk it shows whether the application has it still
        try:
            consumer.open()
            erased = consumer.erase(self._receipt.id, dry_run=self._receipt.dry_run)
        except (AuthError, PermanentError, TransientError) as error:
            self._receipt.left.append(
                Left(flow.to, f"it can't be seen whether anything is left: {error}", "run it again")
            )
            return
        finally:
            consumer.close()
        self._receipt.erased.append(Done(flow.to, f"personal fields that flow {flow.id} leaves", erased.rows))
        if erased.left:
            self._receipt.left.append(Left(flow.to, f"flow {flow.id}", erased.left))

    def _linked(self) -> None:
        """What targets have by the crosswalk, a decision or a delete that waits."""
        receipt, left = self._receipt, self._receipt.left
        for link in self._stored.links():
            resource = f" --resource {link.resource}" if link.resource else ""
            left.append(
                Left(
                    link.system,
                    f"{receipt.data_type} {link.external_id or '(id unknown)'}, by the crosswalk {link.state}",
                    f"erase it in {link.system} by hand, then sorbus crosswalk unlink {link.system}"
                    f" {receipt.data_type} {receipt.id}{resource}, and run this again",
                )
            )
        for flow_id, system in self._stored.held_deletes().items():
            do = "see `sorbus waiting list`, resolve it, and run this again"
            left.append(Left(system, f"the delete waits in flow {flow_id}", do))
        for double in self._stored.doubles():
            do = (
                f"merge or delete it in {double.system}, then sorbus duplicates done {double.candidate}"
                f" {shlex.quote(double.external_id)}, and run this again"
            )
            left.append(Left(double.system, f"{double.external_id}, decided to be the same record", do))

    def _letters(self) -> list[str]:
        """Closes the letters but those of a delete that a target refuses, which is there still; the ids of these."""
        topic = self._names.dead_letters(self._receipt.data_type)
        letters = self._bus.letters(topic, self._key)
        refused = [letter for letter in letters if _is_delete(letter)]
        for letter in refused:
            do = f"see `sorbus dlq show {letter.id}`, fix it, requeue it, and run this again"
            self._receipt.left.append(Left(letter.system, f"it refuses the delete: {letter.reason}", do))
        gone = [letter for letter in letters if letter not in refused]
        copies = self._bus.trace(topic, self._key).with_data
        self._receipt.erased.append(Done(f"Kafka, {topic}", "open dead letters", len(gone)))
        if gone and not self._receipt.dry_run:
            self._bus.close_letters(topic, gone)
        self._older(topic, copies, "closed dead letters of it")
        return [letter.id for letter in refused]

    def _older(self, topic: str, count: int, what: str) -> None:
        """Superseded states, until Kafka's compaction takes them; nobody reads them as a state."""
        if count:
            by = self._bus.compacted_by(topic)
            when = "when its log cleaner next runs after the topic's next events"
            self._receipt.left.append(
                Left(f"Kafka, {topic}", f"{count} {what}, which compaction takes {when}", until=by)
            )


def _is_delete(letter: DeadLetter) -> bool:
    if not letter.value:
        return bool(letter.flow)
    try:
        return open_frame(letter.value).deleted
    except Undecodable:
        return False
