"""What each owner's digest says. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from sorbus.map.contact import Contact, called_for, owner_of
from sorbus.map.contact import contact as contact_of
from sorbus.mapfile.model import Map
from sorbus.ops.digest.collect import Cause, Facts
from sorbus.ops.monitoring.status import ago


@dataclass(frozen=True, slots=True)
class DigestItem:
    """One line. `path` is the console's page, "" where there is none; `grave`: it needs action."""

    words: str
    path: str = ""
    grave: bool = True


@dataclass(frozen=True, slots=True)
class DigestSection:
    title: str
    items: tuple[DigestItem, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """What one person or team is told; `contact` None: the operators of Sorbus, who get everything."""

    contact: Contact | None
    systems: tuple[str, ...]
    since: datetime
    until: datetime
    sections: tuple[DigestSection, ...]

    @property
    def grave(self) -> int:
        """How many lines need action."""
        return sum(item.grave for section in self.sections for item in section.items)


class Shares:
    """Who owns what in a map, and each one's digest."""

    def __init__(self, company: Map) -> None:
        self._company = company
        self._flows = {flow.id: flow for flow in company.flows if flow.none is None}
        self._owners = {system: owner_of(company, system) for system in company.systems}
        self._called = {flow.id: called_for(company, flow) for flow in self._flows.values()}
        self._responsible = {
            flow.id: contact_of(flow.manual.responsible) for flow in self._flows.values() if flow.manual
        }

    def contacts(self) -> list[Contact]:
        """Everybody named in the map, in its order; one entry an address, or a name where there is none."""
        named = [*self._owners.values(), *self._called.values(), *self._responsible.values()]
        found: dict[str, Contact] = {}
        for contact in named:
            if contact is not None:
                found.setdefault(contact.address or contact.name, contact)
        return list(found.values())

    def digest(self, facts: Facts, contact: Contact | None = None) -> Digest:
        """What concerns `contact`; everything without."""
        mine = _Mine(self, contact)
        systems = tuple(name for name in self._company.systems if mine.system(name))
        ways = (
            ("Escalated to you" if contact else "Escalations", _called),
            ("Dead letters", _letters),
            ("Incomplete records", _missing),
            ("Possible duplicates", _duplicates),
            ("Conflicts: fields edited in the wrong system", _conflicts),
            ("Changed sources", _drifts),
            ("Flows that are behind", _late),
            ("Manual checklists", _by_hand),
        )
        sections = [DigestSection(title, tuple(write(self._company, facts, mine))) for title, write in ways]
        return Digest(contact, systems, facts.since, facts.until, tuple(each for each in sections if each.items))

    def is_owner(self, contact: Contact | None, system: str) -> bool:
        return contact is None or _same(self._owners.get(system), contact)

    def is_called(self, contact: Contact | None, flow: str) -> bool:
        return contact is None or _same(self._called.get(flow), contact)

    def does(self, contact: Contact | None, flow: str) -> bool:
        return contact is None or _same(self._responsible.get(flow), contact)

    def target(self, flow: str) -> str:
        return self._flows[flow].to if flow in self._flows else ""


class _Mine:
    """What is one contact's."""

    def __init__(self, shares: Shares, contact: Contact | None) -> None:
        self._shares, self._contact = shares, contact

    def system(self, name: str) -> bool:
        return self._shares.is_owner(self._contact, name)

    def target_of(self, flow: str) -> bool:
        return self.system(self._shares.target(flow))

    def called(self, flow: str) -> bool:
        return self._shares.is_called(self._contact, flow)

    def by_hand(self, flow: str) -> bool:
        return self._shares.does(self._contact, flow) or self.target_of(flow)


def _called(_: Map, facts: Facts, mine: _Mine) -> Iterator[DigestItem]:
    for one in facts.measured.escalations:
        if mine.called(one.flow):
            page = f"/letters?{urlencode({'flow': one.flow})}" if one.why == "letters" else f"/flows/{one.flow}"
            yield DigestItem(f"{one.flow}: {one.words}", page)


def _letters(company: Map, facts: Facts, mine: _Mine) -> Iterator[DigestItem]:
    for cause in facts.letters:
        owner = company.data_types[cause.data_type].system_of_record if cause.data_type in company.data_types else ""
        if mine.system(str(owner)) or (cause.flow and mine.target_of(cause.flow)):
            yield DigestItem(_cause(cause, facts), _letters_page(cause), grave=cause.open > 0)


def _cause(cause: Cause, facts: Facts) -> str:
    where = f"to {cause.flow}" if cause.flow else f"from {cause.system}"
    field = f" on {cause.field}" if cause.field else ""
    told = [f"{cause.open:,} open" if cause.open else "none open"]
    told += [f"{cause.new:,} new"] if cause.new else []
    told += [f"{cause.closed:,} closed"] if cause.closed else []
    since = f", oldest {ago((facts.until - cause.oldest).total_seconds())}" if cause.oldest else ""
    return f"{cause.data_type} {where}: {cause.reason}{field}: {', '.join(told)}{since}"


def _letters_page(cause: Cause) -> str:
    asked = {"flow": cause.flow} if cause.flow else {"data_type": cause.data_type}
    return f"/letters?{urlencode({**asked, 'reason': cause.reason})}"


def _missing(company: Map, facts: Facts, mine: _Mine) -> Iterator[DigestItem]:
    flows = {flow.id: flow for flow in company.flows}
    for one in facts.missing:
        flow = flows.get(one.flow)
        owner = str(company.data_types[flow.data_type].system_of_record) if flow else ""
        if flow and (mine.system(owner) or mine.system(flow.to)):
            lack = "records lack" if one.records != 1 else "record lacks"
            words = (
                f"{one.records:,} {flow.data_type} {lack} {one.field}, which {flow.to} needs; add it in {owner}."
                f" The oldest has waited since {one.since.astimezone():%Y-%m-%d %H:%M}"
            )
            yield DigestItem(words, f"/waiting?{urlencode({'flow': one.flow, 'why': 'incomplete'})}")


def _duplicates(_: Map, facts: Facts, mine: _Mine) -> Iterator[DigestItem]:
    for flow, count in facts.measured.duplicates.items():
        if count and mine.target_of(flow):
            yield DigestItem(f"{flow}: {count:,} need a decision", "/duplicates")


def _conflicts(_: Map, facts: Facts, mine: _Mine) -> Iterator[DigestItem]:
    for (flow, state), count in facts.measured.conflicts.items():
        if count and mine.target_of(flow):
            is_open = state == "open"
            words = "need a decision" if is_open else "overwritten with the owner's values within a day"
            yield DigestItem(f"{flow}: {count:,} {words}", f"/conflicts?{urlencode({'state': state})}", grave=is_open)


def _drifts(_: Map, facts: Facts, mine: _Mine) -> Iterator[DigestItem]:
    for one in facts.drifts:
        if mine.system(one.system):
            held = "; records are held back" if one.severity == "held" else ""
            words = f"{one.system}, {one.data_type}: {one.words}{held}"
            yield DigestItem(words, f"/drift?{urlencode({'system': one.system})}", grave=one.severity == "held")


def _late(_: Map, facts: Facts, mine: _Mine) -> Iterator[DigestItem]:
    for flow in facts.measured.flows:
        if flow.lag_records and flow.complaint and mine.target_of(flow.flow):
            yield DigestItem(f"{flow.flow}: {flow.complaint}; {flow.lag_records:,} changes wait", f"/flows/{flow.flow}")


def _by_hand(_: Map, facts: Facts, mine: _Mine) -> Iterator[DigestItem]:
    for one in facts.measured.checklists:
        if not mine.by_hand(one.flow):
            continue
        if one.overdue_since is not None:
            words = (
                f"overdue since {one.overdue_since.astimezone():%Y-%m-%d %H:%M}; responsible: {one.responsible.name}"
            )
            yield DigestItem(f"{one.flow}: {words}", f"/checklists/{one.flow}")
        elif one.due is not None and not one.is_done:
            words = f"due by {one.due.astimezone():%Y-%m-%d %H:%M}; responsible: {one.responsible.name}"
            yield DigestItem(f"{one.flow}: {words}", f"/checklists/{one.flow}", grave=False)


def _same(one: Contact | None, other: Contact) -> bool:
    return one is not None and (one.address or one.name) == (other.address or other.name)
