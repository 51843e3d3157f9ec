"""All records with the same values of `per` make one record: sums, their number, a list of them.

What each record adds is kept in memory, by its id, and rebuilt from the topic at each start: so a repeated, changed or
deleted record corrects the sum exactly, and nothing has to agree with anything that is stored elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from sorbus.abilities import PublishedState
from sorbus.connector import BoundSource, Change
from sorbus.errors import PermanentError
from sorbus.map.steps import step_sums
from sorbus.mapping.errors import RuleError, shown
from sorbus.mapping.filters.text import as_text
from sorbus.mapping.rule import Rule
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.polling.json_shape import JsonShape
from sorbus.producers.polling.poll_state import PageResult
from sorbus.producers.record_keys import key_fault, record_id
from sorbus.producers.step.group import Contribution, Fields, Group, is_addable
from sorbus.producers.step.maker import StepCondition, put, resolve
from sorbus.producers.step.options import StepSource
from sorbus.producers.step.source_event import SourceEvent

_NO_GROUP = b"(no group) "
"""Before the id of a record that belongs to no group, in the id of its dead letter."""


class GroupMaker:
    """Makes a step's records with `per`."""

    def __init__(self, source: BoundSource, system: str) -> None:
        """MapError, RuleError."""
        step = source.options
        assert isinstance(step, StepSource)
        assert source.reads is not None
        self._step, self._name = step, source.name
        self._condition = StepCondition(source, step)
        self._sums: dict[str, Rule] = step_sums(step, source.reads, source.lookups)
        shape = JsonShape(source, system, step.resources, step.lists, {})
        self._detector = ChangeDetector(source.name, shape.encode, lambda _: None, can_look=False)
        self._added: dict[bytes, Contribution] = {}
        self._groups: dict[bytes, Group] = {}
        self._changed: dict[bytes, None] = {}
        """Groups, in the order in which they changed."""
        self._without_group: set[bytes] = set()
        """Records that are dead letters of their own, since nothing says where they belong."""
        self._unplaced: dict[bytes, tuple[Fields, PermanentError]] = {}
        """Those of them that the next flush refuses."""
        self._placed: dict[bytes, None] = {}
        """Those whose dead letters it closes."""
        self._newest: dict[bytes, int] = {}
        """While all is added up, record -> version: in a topic that got more partitions older states may come later."""
        self._is_rebuilding = False

    @property
    def deleted_version(self) -> int:
        """The highest version of any delete."""
        return self._detector.deleted_version

    @deleted_version.setter
    def deleted_version(self, version: int) -> None:
        self._detector.deleted_version = version

    def __contains__(self, id: object) -> bool:
        return id in self._detector

    def remember(self, published: Iterable[PublishedState]) -> None:
        """What is published."""
        self._detector.remember(published)

    def begin(self) -> None:
        """Adds up from nothing; nothing is made until everything has come."""
        self._added, self._groups, self._changed, self._is_rebuilding = {}, {}, {}, True
        for noted in (self._without_group, self._unplaced, self._placed, self._newest):
            noted.clear()

    def take(self, event: SourceEvent, now: int, out: PageResult) -> None:  # noqa: ARG002 - `flush` makes
        """Adds the record to its group, in place of what it added before."""
        part = None
        if self._is_rebuilding:
            newest = self._newest.get(event.id, 0)
            if 0 < event.version < newest:
                return
            self._newest[event.id] = max(newest, event.version)
        try:
            part = self._unreadable(event) or self._contribution(event)
            self._without_group.discard(event.id)
            self._unplaced.pop(event.id, None)
            if _NO_GROUP + event.id in self._detector:
                self._placed[event.id] = None
        except PermanentError as error:
            self._without_group.add(event.id)
            self._placed.pop(event.id, None)
            self._unplaced[event.id] = event.record or {}, error
        before = self._added.pop(event.id, None)
        if before is not None:
            group = self._groups[before.group]
            group.remove(event.id, before)
            self._has_changed(before.group, group, event)
        if part is not None:
            self._added[event.id] = part
            group = self._groups.setdefault(part.group, Group(part.own, len(self._sums)))
            group.add(event.id, part)
            self._has_changed(part.group, group, event)

    def _has_changed(self, id: bytes, group: Group, event: SourceEvent) -> None:
        group.occurred_at = event.occurred_at
        self._changed[id] = None

    def flush(self, now: int, out: PageResult) -> None:
        """Makes the groups that have changed."""
        if self._is_rebuilding:
            return
        for id in self._placed:
            self._resolve(_NO_GROUP + id, now, out)
        for id, (record, error) in self._unplaced.items():
            put(out, self._detector.refuse(_NO_GROUP + id, record, now, error), now)
        for id in self._changed:
            self._make(id, now, out)
        self._placed, self._unplaced, self._changed = {}, {}, {}

    def finish(self, now: int, out: PageResult, *, is_whole: bool) -> None:
        """Makes every group that differs from what is published."""
        self._is_rebuilding, self._newest = False, {}
        self.flush(now, out)
        if is_whole:
            for id in sorted(self._detector.ids() - self._groups.keys()):
                if not id.startswith(_NO_GROUP):
                    put(out, self._detector.gone(id, now), now)
                elif id.removeprefix(_NO_GROUP) not in self._without_group:
                    self._resolve(id, now, out)

    def again(self, ids: Iterable[bytes] | None) -> None:
        """These groups are made again by the next flush."""
        wanted = list(self._groups if ids is None else ids)
        if ids is None:
            self._detector.doubt_all()
        self._detector.doubt(wanted)
        self._changed.update((id, None) for id in wanted if id in self._groups)

    def nothing(self, id: bytes, now: int) -> Change | None:
        """Its delete, unless the group is made, or refused."""
        is_other = id in self._detector or id.startswith(_NO_GROUP)
        return None if is_other else self._detector.absent(id, now)

    def sources(self, ids: Iterable[bytes]) -> set[bytes]:
        """Of dead letters of a record without a group; groups are made from memory."""
        return {id.removeprefix(_NO_GROUP) for id in ids if id.startswith(_NO_GROUP)}

    def absent(self, id: bytes, now: int, out: PageResult) -> None:
        """A record that was asked for isn't in the topic."""
        self._resolve(_NO_GROUP + id, now, out)

    def _resolve(self, letter: bytes, now: int, out: PageResult) -> None:
        """A dead letter of a record without a group is obsolete; nothing was ever published of it."""
        self._without_group.discard(letter.removeprefix(_NO_GROUP))
        if self._detector.gone(letter, now) is not None:
            resolve(out, letter)

    def _unreadable(self, event: SourceEvent) -> Contribution | None:
        """A record that was added up and can't be read any more holds its group, as one without an amount does."""
        before = self._added.get(event.id)
        if event.error is None or before is None:
            return None
        return Contribution(before.group, before.own, (), None, self._of(event, event.error))

    def _contribution(self, event: SourceEvent) -> Contribution | None:
        """What a record adds; None if it is outside. PermanentError if nothing says where it belongs."""
        if event.error is not None:
            raise event.error
        if event.record is None:
            return None
        own: Fields = {name: event.record.get(name) for name in self._step.per}
        texts = [None if value is None else as_text(value).encode() for value in own.values()]
        if record_id(texts).startswith(_NO_GROUP):
            field = self._step.per[0]
            told = f"field {field}: {shown(own[field])} begins as ids of dead letters without a group do: change it"
            raise PermanentError(told, reason="no group", field=field, value=own[field])
        try:
            if not self._condition.is_met(event):
                return None
        except PermanentError as error:
            if None in texts:
                raise
            return Contribution(record_id(texts), own, (), None, self._of(event, error))
        if wrong := key_fault(texts, list(own)):
            field, why = wrong
            told = f"field {field}: {why}, so that it belongs to no {self._name}: give it a value"
            raise PermanentError(told, reason="no group", field=field, value=own[field])
        id, line = record_id(texts), event.record if self._step.lines else None
        try:
            amounts = tuple(self._amount(name, rule, event.record) for name, rule in self._sums.items())
        except PermanentError as error:
            return Contribution(id, own, (), None, self._of(event, error))
        return Contribution(id, own, amounts, line)

    def _amount(self, name: str, rule: Rule, record: Fields) -> Decimal:
        field = min(rule.uses)
        try:
            value = rule(None, record)
        except RuleError as error:
            told = f"field {name}: {rule.text}: {error}"
            raise PermanentError(
                told, reason="mapping", field=field, value=record.get(field), rule=rule.text
            ) from error
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            told = f"field {name}: {rule.text} has no value, and a sum without it would be wrong"
            raise PermanentError(told, reason="mapping", field=field, value=record.get(field), rule=rule.text)
        if not is_addable(amount := Decimal(value)):
            told = f"field {name}: {rule.text} is {amount}, which can't be added up exactly"
            raise PermanentError(told, reason="mapping", field=field, value=record.get(field), rule=rule.text)
        return amount

    def _of(self, event: SourceEvent, error: PermanentError) -> PermanentError:
        id = event.id.decode(errors="replace")
        told = f"{self._step.source} {id} can't be added to it: {error}"
        return PermanentError(told, reason=error.reason, field=error.field, value=error.value, rule=error.rule)

    def _make(self, id: bytes, now: int, out: PageResult) -> None:
        group = self._groups[id]
        if not group:
            del self._groups[id]
            gone = self._detector.gone(id, now)
            if gone is None:
                resolve(out, id)
            put(out, gone, group.occurred_at)
            return
        row: Fields = {**group.own, **dict(zip(self._sums, group.sums, strict=True))}
        if self._step.count:
            row[self._step.count] = group.count
        if self._step.lines:
            row[self._step.lines] = [group.lines[one] for one in sorted(group.lines)]
        if group.faults:
            fault = group.faults[min(group.faults)]
            more = len(group.faults) - 1
            told = f"{fault}; and {more} more" if more else str(fault)
            error = PermanentError(told, reason=fault.reason, field=fault.field, value=fault.value, rule=fault.rule)
            put(out, self._detector.refuse(id, {**row, "": told}, now, error), now)
        else:
            put(out, self._detector.judge(id, row, now, trusted=True), group.occurred_at)
