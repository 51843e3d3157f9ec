"""Merging what systems say of a record, field by field: no I/O, so that any order of events can be tried on it.

A system's log shows its states in order, and which of them Sorbus wrote (`delivered`). A change is what differs from
the state before and wasn't written by Sorbus: a target that rounds or trims what it is given has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, cast

from sorbus.two_way.merged_record import DELETED, KEPT, Held, MergedRecord, Origin, Values, View, same
from sorbus.two_way.rules import MergeRules


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
    `is_copied`: a snapshot showed it, so that nobody knows when it was changed, nor by whom.
    """

    system: str
    version: int
    at: int
    values: Values | None
    delivered: int | None = None
    is_copied: bool = False


class Ruling(NamedTuple):
    """What became of one field's new value. `theirs` is the system's, `ours` what the record has now."""

    verdict: Verdict
    system: str
    field: str
    theirs: object
    ours: object
    in_turn_with: str = ""
    """Of a field that is held for a loop: the other system that changed it in turn."""


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
        elif record.values is None and proposal.values is not None and knows >= record.version > 0:
            knows = knew  # Sorbus's delete left it there: a soft one
        record.views[system] = View(proposal.version, proposal.values, knows)
        if system == self._rules.system_of_record:
            if proposal.values is None:
                return self._delete(record)
            if record.values is None:
                return self._create(record, proposal, {}, record.version)
        elif record.values is None:
            return []  # a record that its system of record doesn't have: see `is_unlinked`
        elif proposal.values is None:
            return self._deleted_elsewhere(record, proposal)
        shown = before.values if before is not None else None
        if shown is None and proposal.delivered is None:
            return list(self._join(record, proposal))
        return list(self._changes(record, proposal, shown, knew))

    def join(self, record: MergedRecord, at: Mapping[str, int], systems: Collection[str] | None = None) -> list[Ruling]:
        """Makes the record of what its systems show now; `at`: system -> when it was changed there.

        The system of record's values count, others fill gaps; what is so already isn't sent again. `systems`: what
        these show comes to a record that the others have made.
        """
        if systems is not None:
            return [] if record.values is None else self._join_all(record, systems, at)
        first, before = record.views.get(self._rules.system_of_record), (record.values, record.origins, record.version)
        record.held = {}
        if first is None or first.values is None:
            return self._delete(record)
        was_owed = record.is_owed
        rulings = self._create(record, Proposal(self._rules.system_of_record, first.version, 0, first.values), at)
        values, origins, version = before
        if values is not None:
            record.origins |= {
                name: origin for name, origin in origins.items() if same(values.get(name), self._value(record, name))
            }
            if same(values, record.values) and not record.held and self._agree(record):
                record.version, record.is_owed = version, was_owed
        return rulings

    def _agree(self, record: MergedRecord) -> bool:
        """Whether every system shows the record's values."""
        for system, names in self._rules.proposes.items():
            view = record.views.get(system)
            if view is None or view.values is None:
                return False
            if not all(same(view.values.get(name), self._value(record, name)) for name in names):
                return False
        return True

    def decide(self, record: MergedRecord, name: str, system: str, *, keep: bool) -> bool:
        """A person's decision: `keep` the system's value, or overwrite it with the record's.

        False: the record can't have the value that was to be kept, so that its own stays.
        """
        held = record.held.pop((name, system), None)
        if held is None or record.values is None:
            return True
        is_kept = bool(name) and (keep or self._rules.owner(name) == system)
        can_be = not is_kept or self._fits(name, held.theirs)
        if is_kept and can_be:
            self._set(record, name, held.theirs, system, held.at)
        self._owe(record)
        return can_be

    def hold(self, record: MergedRecord, name: str, system: str, other: str) -> Ruling:
        """A person must decide about a field, or about a record that goes ("") before it is sent again.

        `other`: the system that changes it in turn with `system`.
        """
        if not name:
            record.held[name, system] = Held(None, None, 0)
            return Ruling(Verdict.ASKED, system, name, DELETED, KEPT, other)
        view, ours = record.views.get(system), (record.values or {}).get(name)
        theirs = (view.values or {}).get(name) if view is not None else None
        origin = record.origins.get(name)
        record.held[name, system] = Held(theirs, None, 0 if origin is None else origin.at)
        return Ruling(Verdict.ASKED, system, name, theirs, ours, other)

    def send_again(self, record: MergedRecord) -> None:
        """Gives the record a new version."""
        if record.values is not None:
            self._owe(record)

    def _create(
        self, record: MergedRecord, proposal: Proposal, at: Mapping[str, int], deleted: int = 0
    ) -> list[Ruling]:
        """`deleted`: the version that deleted it; a system that hasn't seen that shows the record that was before."""
        values, first = cast("Values", proposal.values), at.get(proposal.system, proposal.at)
        record.values, record.origins = dict(values), {}
        self._owe(record)
        for name in values:
            record.origins[name] = Origin(proposal.system, first, record.version)
        return self._join_all(record, self._rules.proposes.keys() - {proposal.system}, at, deleted)

    def _join_all(
        self, record: MergedRecord, systems: Collection[str], at: Mapping[str, int], deleted: int = 0
    ) -> list[Ruling]:
        """What these systems show of a record that there is."""
        rulings: list[Ruling] = []
        for system in [name for name in self._rules.proposes if name in systems]:
            view = record.views.get(system)
            if view is not None and view.values is not None:
                shown = Proposal(system, view.version, at.get(system, 0), view.values)
                rulings += self._join(record, shown, is_old=view.knows < deleted)
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
            if is_heard and not same(theirs, self._value(record, name)) and not self._fits(name, theirs):
                yield Ruling(Verdict.REFUSED, proposal.system, name, theirs, self._value(record, name))

    def _join(self, record: MergedRecord, proposal: Proposal, *, is_old: bool = False) -> Iterator[Ruling]:
        """A system's first state of a record that others have too: gaps are filled, and no value is replaced.

        `is_old`: it is of a record that was deleted, so only what the system itself owns counts.
        """
        for name, theirs in self._proposed(proposal):
            if is_old and self._rules.owner(name) != proposal.system:
                if _items(theirs) and not same(theirs, self._value(record, name)):
                    yield self._overruled(record, proposal, name, theirs)
            elif (ruling := self._joined(record, proposal, name, theirs)) is not None:
                yield ruling

    def _joined(self, record: MergedRecord, proposal: Proposal, name: str, theirs: object) -> Ruling | None:
        """A field that a system shows for the first time."""
        system, ours, owner = proposal.system, self._value(record, name), self._rules.owner(name)
        if same(theirs, ours):
            return None
        if owner in (None, system) and not self._fits(name, theirs):
            return Ruling(Verdict.REFUSED, system, name, theirs, ours)
        if (name, system) in record.held:  # of the record that it had before: the question stays
            return None if theirs is None else self._asked_again(record, proposal, name, theirs)
        if owner == system:
            return self._taken(record, proposal, name, theirs)
        if owner is not None or theirs is None:
            return self._overruled(record, proposal, name, theirs)
        rule = self._rules.merges[name]
        if ours is None or (rule == "latest" and system == self._rules.system_of_record):
            return self._taken(record, proposal, name, theirs)
        if rule == "union":
            return self._unite(record, proposal, name, theirs, [], 0)
        if rule == "ask":
            return self._ask(record, proposal, name, theirs, None)
        return self._overruled(record, proposal, name, theirs)

    def _changes(self, record: MergedRecord, proposal: Proposal, before: Values | None, knew: int) -> Iterator[Ruling]:
        """`before` None: Sorbus made it there, and what the system owns begins anew."""
        system = proposal.system
        for name, theirs in self._proposed(proposal):
            was, owner = (before or {}).get(name), self._rules.owner(name)
            is_first = before is not None and name not in before
            if same(theirs, was) and not is_first and (before is not None or owner != system):
                continue
            if proposal.delivered is not None and owner != system:
                continue  # what Sorbus wrote, as this system keeps it
            if is_first:
                if (ruling := self._joined(record, proposal, name, theirs)) is not None:
                    yield ruling
            elif owner in (None, system) and not self._fits(name, theirs):
                yield Ruling(Verdict.REFUSED, system, name, theirs, self._value(record, name))
            elif (name, system) in record.held:
                yield self._asked_again(record, proposal, name, theirs)
            elif same(theirs, self._value(record, name)):
                yield Ruling(Verdict.EQUAL, system, name, theirs, theirs)
            elif owner is not None and owner != system:
                yield self._overruled(record, proposal, name, theirs)
            elif owner == system:
                yield self._taken(record, proposal, name, theirs)
            elif self._rules.merges[name] == "union":
                yield self._unite(record, proposal, name, theirs, was, knew)
            else:
                yield self._contested(record, proposal, name, theirs, was, knew)

    def _contested(
        self, record: MergedRecord, proposal: Proposal, name: str, theirs: object, was: object, knew: int
    ) -> Ruling:
        """A field that any of the systems may change, one value replacing another."""
        origin = record.origins.get(name)
        knew_it = origin is None or origin.system == proposal.system or origin.version <= knew
        knew_it = knew_it or same(was, self._value(record, name))
        if knew_it:  # it replaced the value that counts, whatever its clock says
            return self._taken(record, proposal, name, theirs)
        if self._rules.merges[name] == "ask":
            return self._ask(record, proposal, name, theirs, was)
        if proposal.is_copied:
            return self._overruled(record, proposal, name, theirs)
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

    def _asked_again(self, record: MergedRecord, proposal: Proposal, name: str, theirs: object) -> Ruling:
        """Another value of what a person decides about."""
        held = record.held[name, proposal.system]
        record.held[name, proposal.system] = held._replace(theirs=theirs, at=proposal.at)
        return Ruling(Verdict.ASKED, proposal.system, name, theirs, self._value(record, name))

    def _unite(
        self, record: MergedRecord, proposal: Proposal, name: str, theirs: object, was: object, knew: int
    ) -> Ruling:
        """What the system has added is added, what it has taken out goes; the rest stays in its order.

        Overruled where it takes out what only it writes so: which item of the record that is, nothing says.
        """
        ours, origin = _items(self._value(record, name)), record.origins.get(name)
        added = [one for one in _items(theirs) if not _has(_items(was), one) and not _has(ours, one)]
        gone = [one for one in _items(was) if not _has(_items(theirs), one)]
        united = [one for one in ours if not _has(gone, one)] + added
        is_own_form = origin is not None and origin.version <= knew and any(not _has(ours, one) for one in gone)
        if not same(united, list(ours)):
            self._set(record, name, united, proposal.system, proposal.at)
        elif not same(united, list(_items(theirs))):
            self._owe(record)
        verdict = Verdict.OVERRULED if is_own_form and not same(united, list(_items(theirs))) else Verdict.TAKEN
        return Ruling(verdict, proposal.system, name, theirs, united)

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


def _has(items: Sequence[object], one: object) -> bool:
    return any(same(each, one) for each in items)
