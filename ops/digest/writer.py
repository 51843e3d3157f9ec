"""What each recipient's digest says: the sections of the decision kinds, and what concerns flows as a whole. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlencode

from sorbus.map.contact import Contact
from sorbus.mapfile.model import Map
from sorbus.ops.digest.collect import Facts
from sorbus.ops.digest.items import Digest, DigestItem, DigestSection
from sorbus.ops.digest.recipient import Recipient, Recipients
from sorbus.ops.monitoring.measure import GRAVE
from sorbus.ops.monitoring.status import ago


class DigestWriter:
    """Writes a map's digests."""

    def __init__(self, company: Map) -> None:
        self._company, self.recipients = company, Recipients(company)

    def digest(self, facts: Facts, contact: Contact | None = None) -> Digest:
        """What concerns `contact`; everything without."""
        recipient = self.recipients.of(contact)
        found: list[tuple[str, Iterable[DigestItem]]] = [
            ("Escalated to you" if contact else "Escalations", _escalations(facts, recipient)),
            ("What doesn't work", _faults(facts, recipient)),
            *((part.title, part.items(recipient)) for part in facts.parts),
            ("Flows that are behind", _late(facts, recipient)),
        ]
        sections = (DigestSection(title, tuple(items)) for title, items in found)
        systems = tuple(name for name in self._company.systems if recipient.owns(name))
        return Digest(contact, systems, facts.since, facts.until, tuple(each for each in sections if each.items))


def _escalations(facts: Facts, recipient: Recipient) -> Iterator[DigestItem]:
    for one in facts.measured.escalations:
        if recipient.is_escalated_to(one.flow):
            page = f"/letters?{urlencode({'flow': one.flow})}" if one.why == "letters" else f"/flows/{one.flow}"
            yield DigestItem(f"{one.flow}: {one.words}", page)


def _faults(facts: Facts, recipient: Recipient) -> Iterator[DigestItem]:
    """No lag shows them: of a producer that has stopped, or a topic that isn't there, nothing waits."""
    measured = facts.measured
    flows = {flow.flow for flow in measured.flows}
    for one in measured.problems:
        if one.kind == "dependency":
            is_theirs, page = recipient.contact is None, "/"
        elif one.kind == "consumer":
            is_theirs, page = recipient.owns_target(one.subject), f"/flows/{one.subject}"
        else:
            is_theirs, page = recipient.owns(one.subject), f"/systems/{one.subject}"
        if is_theirs:
            yield DigestItem(f"{one.name}: {one.words}", page)
    noted = [f"{name}: {words}" for (name, kind), words in sorted(measured.notes.items()) if kind in GRAVE]
    for words in (*measured.lost, *measured.without_offsets, *noted):
        subject = words.partition(": ")[0]
        is_flow = subject in flows
        if recipient.owns_target(subject) if is_flow else recipient.owns_data_type(subject):
            yield DigestItem(words, f"/flows/{subject}" if is_flow else "/")


def _late(facts: Facts, recipient: Recipient) -> Iterator[DigestItem]:
    for flow in facts.measured.flows:
        if flow.lag_records and flow.complaint and recipient.owns_target(flow.flow):
            late = f"{ago(flow.lag_seconds).removesuffix(' ago')} late; {flow.lag_records:,} changes wait"
            yield DigestItem(f"{flow.flow}: {late}", f"/flows/{flow.flow}")
