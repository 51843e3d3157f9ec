"""Merging what systems say of a record, field by field: no I/O, so that any order of events can be tried on it.

A system's log shows its states in order, and which of them Sorbus wrote (`delivered`). A change is what differs from
the state before and wasn't written by Sorbus: a target that rounds or trims what it is given has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, cast

from sorbus.two_way.rules import MergeRules

Values = dict[str, object]
DELETED, KEPT = "deleted", "kept"
"""In place of values: a record that was deleted where that doesn't count."""


class Verdict(Enum):
    """What became of a proposed value."""

    TAKEN = "taken"
    EQUAL = "equal"
    """The record had it already."""
    OVERRULED = "overruled"
    """Another value stands, and is sent to the system again."""
    TIED = "tied"
    """Overruled, where the clocks can't tell which change was later."""
    ASKED = "asked"
    """A person decides; until then the record isn't sent."""
    REFUSED = "refused"
    """The record can't have this value."""


class Proposal(NamedTuple):
    """A record's full state in one system. `values` None: it was deleted there.

    `version` grows with each state of the record in that system; `at` is the time there, in microseconds since 1970.
    `delivered`: Sorbus wrote this state, bringing this version of the merged record; None: others did.
    """

    system: str
    version: int
    at: int
    values: Values | None
    delivered: int | None = None


class Ruling(NamedTuple):
    """What became of one field's new value. `theirs` is the system's, `ours` what the record has now."""

    verdict: Verdict
    system: str
    field: str
    theirs: object
    ours: object
    in_turn_with: str = ""
    """Of a field that is held for a loop: the other system that changed it in turn."""


class Origin(NamedTuple):
    """Where a field's value comes from, when it was changed there, and the record's version since then."""

    system: str
    at: int
    version: int


class Held(NamedTuple):
    """A system's value that a person decides about, and what that system had before."""

    theirs: object
    before: object
    at: int


@dataclass(slots=True)
class View:
    """What a system showed last. `knows`: the newest version of the merged record that it has shown."""

    version: int
    values: Values | None
    knows: int = 0


@dataclass(slots=True)
class MergedRecord:
    """A record, its origins by field, and what each system shows. `values` None: there is no such record."""

    id: bytes
    version: int = 0
    values: Values | None = None
    origins: dict[str, Origin] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    """(Field, system) -> what waits for a person."""
    is_owed: bool = False
    """Whether this version has still to be published."""

    @property
    def is_unlinked(self) -> bool:
        """Whether a system has it that the system of record never had, or has it again since its owner deleted it.

        One that keeps it when it is deleted, until Sorbus's delete arrives or for good, doesn't have it again.
        """
        return self.values is None and any(
            view.values is not None and view.knows >= self.version for view in self.views.values()
        )

    @property
    def may_go(self) -> bool:
        """Whether it is to be published now."""
        return self.is_owed and not self.held


class Merging:
    """Applies one data type's rules. `new_version` gives numbers that only grow."""

    def __init__(
        self,
        rules: MergeRules,
        new_version: Callable[[], int],
        fits: Callable[[str, object], bool] = lambda name, value: True,  # noqa: ARG005
    ) -> None:
        """`fits`: whether a field can have a value at all."""
        self._rules, self._new_version, self._fits = rules, new_version, fits

    def take(self, record: MergedRecord, proposal: Proposal) -> list[Ruling]:
        """Takes a system's new state into the record. One that was taken before changes nothing.

        The newest one, read again after a crash, is refused again: its dead letter may not have been written.
        """
        system, before = proposal.system, record.views.get(proposal.system)
        if before is not None and proposal.version <= before.version:
            is_newest = proposal.version == before.version and record.values is not None
            return list(self._refusals(record, proposal)) if is_newest else []
        knew = before.knows if before is not None else 0
        knows = max(knew, proposal.delivered or 0)
        if record.values is None and before is not None and before.values is None:
            knows = max(knows, record.version)  # neither had it
        record.views[system] = View(proposal.version, proposal.values, knows)
        if system == self._rules.system_of_record:
            if proposal.values is None:
                return self._delete(record)
            if record.values is None:
                return self._create(record, proposal)
        elif record.values is None:
            return []  # a record that its system of record doesn't have: see `is_unlinked`
        elif proposal.values is None:
            return self._deleted_elsewhere(record, proposal)
        shown = before.values if before is not None else None
        if shown is None and proposal.delivered is None:
            return list(self._join(record, proposal))
        return list(self._changes(record, proposal, shown, knew))

    def decide(self, record: MergedRecord, name: str, system: str, *, keep: bool) -> None:
        """A person's decision: `keep` the system's value, or overwrite it with the record's."""
        held = record.held.pop((name, system), None)
        if held is None or record.values is None:
            return
        if name and (keep or self._rules.owner(name) == system):
            self._set(record, name, held.theirs, system, held.at)
        self._owe(record)

    def hold(self, record: MergedRecord, name: str, system: str, other: str) -> Ruling:
        """A person must decide about a field, or about a record that goes ("") before it is sent again.

        `other`: the system that changes it in turn with `system`.
        """
        if not name:
            record.held[name, system] = Held(None, None, 0)
            return Ruling(Verdict.ASKED, system, name, DELETED, KEPT, other)
        view, ours = record.views.get(system), (record.values or {}).get(name)
        theirs = (view.values or {}).get(name) if view is not None else None
        record.held[name, system] = Held(theirs, None, record.origins[name].at)
        return Ruling(Verdict.ASKED, system, name, theirs, ours, other)

    def send_again(self, record: MergedRecord) -> None:
        """Gives the record a new version."""
        if record.values is not None:
            self._owe(record)

    def _create(self, record: MergedRecord, proposal: Proposal) -> list[Ruling]:
        values = cast("Values", proposal.values)
        record.values, record.origins = dict(values), {}
        self._owe(record)
        for name in values:
            record.origins[name] = Origin(proposal.system, proposal.at, record.version)
        rulings: list[Ruling] = []
        for system, view in record.views.items():
            if system != proposal.system and view.values is not None:
                rulings += self._join(record, Proposal(system, view.version, 0, view.values))
        return rulings

    def _delete(self, record: MergedRecord) -> list[Ruling]:
        if record.values is not None:
            record.values, record.origins, record.held = None, {}, {}
            self._owe(record)
        return []

    def _deleted_elsewhere(self, record: MergedRecord, proposal: Proposal) -> list[Ruling]:
        """The system of record decides which records there are: it is sent again."""
        if proposal.delivered is not None:
            return []
        self._owe(record)
        return [Ruling(Verdict.OVERRULED, proposal.system, "", DELETED, KEPT)]

    def _refusals(self, record: MergedRecord, proposal: Proposal) -> Iterator[Ruling]:
        """The values that the record can't have."""
        for name, theirs in self._proposed(proposal):
            is_heard = self._rules.owner(name) in (None, proposal.system)
            if is_heard and theirs != self._value(record, name) and not self._fits(name, theirs):
                yield Ruling(Verdict.REFUSED, proposal.system, name, theirs, self._value(record, name))

    def _join(self, record: MergedRecord, proposal: Proposal) -> Iterator[Ruling]:
        """A system's first state of a record that others have too: gaps are filled, and no value is replaced."""
        for name, theirs in self._proposed(proposal):
            ours, owner = self._value(record, name), self._rules.owner(name)
            if theirs == ours:
                continue
            if owner in (None, proposal.system) and not self._fits(name, theirs):
                yield Ruling(Verdict.REFUSED, proposal.system, name, theirs, ours)
            elif owner == proposal.system:
                self._set(record, name, theirs, proposal.system, proposal.at)
                yield Ruling(Verdict.TAKEN, proposal.system, name, theirs, theirs)
            elif owner is not None or theirs is None:
                yield self._overruled(record, proposal, name, theirs)
            elif ours is None:
                self._set(record, name, theirs, proposal.system, proposal.at)
                yield Ruling(Verdict.TAKEN, proposal.system, name, theirs, theirs)
            elif self._rules.merges[name] == "union":
                yield self._unite(record, proposal, name, theirs, [])
            elif self._rules.merges[name] == "ask":
                yield self._ask(record, proposal, name, theirs, None)
            else:
                yield self._overruled(record, proposal, name, theirs)

    def _changes(self, record: MergedRecord, proposal: Proposal, before: Values | None, knew: int) -> Iterator[Ruling]:
        """`before` None: Sorbus made it there, and what the system owns begins anew."""
        system = proposal.system
        for name, theirs in self._proposed(proposal):
            was, owner = (before or {}).get(name), self._rules.owner(name)
            if theirs == was and (before is not None or owner != system):
                continue
            if proposal.delivered is not None and owner != system:
                continue  # what Sorbus wrote, as this system keeps it
            if owner in (None, system) and not self._fits(name, theirs):
                yield Ruling(Verdict.REFUSED, system, name, theirs, self._value(record, name))
            elif (name, system) in record.held:
                record.held[name, system] = record.held[name, system]._replace(theirs=theirs, at=proposal.at)
                yield Ruling(Verdict.ASKED, system, name, theirs, self._value(record, name))
            elif theirs == self._value(record, name):
                yield Ruling(Verdict.EQUAL, system, name, theirs, theirs)
            elif owner is not None and owner != system:
                yield self._overruled(record, proposal, name, theirs)
            elif owner == system:
                yield self._taken(record, proposal, name, theirs)
            elif self._rules.merges[name] == "union":
                yield self._unite(record, proposal, name, theirs, was)
            else:
                yield self._contested(record, proposal, name, theirs, was, knew)

    def _contested(
        self, record: MergedRecord, proposal: Proposal, name: str, theirs: object, was: object, knew: int
    ) -> Ruling:
        """A field that any of the systems may change, one value replacing another."""
        origin = record.origins.get(name)
        knew_it = origin is None or origin.system == proposal.system or origin.version <= knew
        if knew_it or was == self._value(record, name):  # it replaced the value that counts, whatever its clock says
            return self._taken(record, proposal, name, theirs)
        if self._rules.merges[name] == "ask":
            return self._ask(record, proposal, name, theirs, was)
        assert origin is not None
        apart = proposal.at - origin.at
        if abs(apart) > self._rules.tolerance:
            return self._taken(record, proposal, name, theirs) if apart > 0 else self._overruled(
                record, proposal, name, theirs
            )  # fmt: skip
        first = self._rules.system_of_record
        if proposal.system == first or (origin.system != first and proposal.system < origin.system):
            ours = self._value(record, name)
            self._set(record, name, theirs, proposal.system, proposal.at)
            return Ruling(Verdict.TIED, origin.system, name, ours, theirs)
        return self._overruled(record, proposal, name, theirs)._replace(verdict=Verdict.TIED)

    def _taken(self, record: MergedRecord, proposal: Proposal, name: str, theirs: object) -> Ruling:
        self._set(record, name, theirs, proposal.system, proposal.at)
        return Ruling(Verdict.TAKEN, proposal.system, name, theirs, theirs)

    def _overruled(self, record: MergedRecord, proposal: Proposal, name: str, theirs: object) -> Ruling:
        self._owe(record)
        return Ruling(Verdict.OVERRULED, proposal.system, name, theirs, self._value(record, name))

    def _ask(self, record: MergedRecord, proposal: Proposal, name: str, theirs: object, was: object) -> Ruling:
        record.held[name, proposal.system] = Held(theirs, was, proposal.at)
        return Ruling(Verdict.ASKED, proposal.system, name, theirs, self._value(record, name))

    def _unite(self, record: MergedRecord, proposal: Proposal, name: str, theirs: object, was: object) -> Ruling:
        """What the system has added is added, what it has taken out goes; the rest stays in its order."""
        ours = _items(self._value(record, name))
        added = [one for one in _items(theirs) if one not in _items(was) and one not in ours]
        gone = [one for one in _items(was) if one not in _items(theirs)]
        united = [one for one in ours if one not in gone] + added
        if united != ours:
            self._set(record, name, united, proposal.system, proposal.at)
        elif united != _items(theirs):
            self._owe(record)
        return Ruling(Verdict.TAKEN, proposal.system, name, theirs, united)

    def _proposed(self, proposal: Proposal) -> Iterator[tuple[str, object]]:
        values = proposal.values or {}
        for name in sorted(self._rules.proposes.get(proposal.system, ())):
            if name in values:
                yield name, values[name]

    def _value(self, record: MergedRecord, name: str) -> object:
        return cast("Values", record.values).get(name)

    def _set(self, record: MergedRecord, name: str, value: object, system: str, at: int) -> None:
        self._owe(record)
        cast("Values", record.values)[name] = value
        record.origins[name] = Origin(system, at, record.version)

    def _owe(self, record: MergedRecord) -> None:
        record.version, record.is_owed = self._new_version(), True


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else () if value is None else (value,)
