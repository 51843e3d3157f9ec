"""Who is told what: the people that the map names, and what each of them owns. No I/O."""

from __future__ import annotations

from sorbus.map.contact import Contact, called_for, owner_of
from sorbus.map.contact import contact as contact_of
from sorbus.mapfile.model import Map


class Recipients:
    """Everybody whom a map names."""

    def __init__(self, company: Map) -> None:
        self.company = company
        self.targets = {flow.id: flow.to for flow in company.flows if flow.none is None}
        self.owners = {system: owner_of(company, system) for system in company.systems}
        self.escalations = {flow.id: called_for(company, flow) for flow in company.flows if flow.none is None}
        self.responsible = {
            flow.id: contact_of(flow.manual.responsible) for flow in company.flows if flow.manual and flow.none is None
        }

    def contacts(self) -> list[Contact]:
        """In the map's order; one entry an address, or a name where there is none."""
        found: dict[str, Contact] = {}
        for contact in (*self.owners.values(), *self.escalations.values(), *self.responsible.values()):
            if contact is not None:
                found.setdefault(contact.address or contact.name, contact)
        return list(found.values())

    def of(self, contact: Contact | None) -> Recipient:
        """One of them; None: the operators of Sorbus, who get everything."""
        return Recipient(self, contact)


class Recipient:
    """Whose digest is written, and so which lines are in it."""

    def __init__(self, recipients: Recipients, contact: Contact | None) -> None:
        self._recipients, self.contact = recipients, contact

    def owns(self, system: str) -> bool:
        return self._is(self._recipients.owners.get(system))

    def owns_data_type(self, data_type: str) -> bool:
        """Whether the data type's system of record is theirs."""
        data_types = self._recipients.company.data_types
        return self.owns(str(data_types[data_type].system_of_record) if data_type in data_types else "")

    def owns_target(self, flow: str) -> bool:
        return self.owns(self._recipients.targets.get(flow, ""))

    def is_escalated_to(self, flow: str) -> bool:
        """Whether it is they who are called when the flow is late."""
        return self._is(self._recipients.escalations.get(flow))

    def is_responsible_for(self, flow: str) -> bool:
        """Whether they do the flow by hand."""
        return self._is(self._recipients.responsible.get(flow))

    def _is(self, other: Contact | None) -> bool:
        mine = self.contact
        return mine is None or (other is not None and (other.address or other.name) == (mine.address or mine.name))
