"""Flows of people and teams into a real slapd, without Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from sorbus.conformance.sample_type import Deliveries
from sorbus.connector import BoundFlow, BoundSystem, Delivery
from sorbus.consumers.ldap.consumer import LdapConsumer
from sorbus.errors import PermanentError, Unfinished
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from sorbus.schema import RecordSchema, parse_schema
from tests.ldap.slapd import BASE, Entry, Slapd

_TEXTS = ("given", "family", "user", "email", "number", "phone", "manager_id", "title")
PERSON = parse_schema(
    {
        "type": "record",
        "name": "person",
        "namespace": "sorbus",
        "fields": [
            {"name": "name", "type": "string"},
            *({"name": name, "type": ["null", "string"], "default": None} for name in _TEXTS),
            {"name": "emails", "type": {"type": "array", "items": "string"}, "default": []},
        ],
    }
)
TEAM = parse_schema(
    {
        "type": "record",
        "name": "team",
        "namespace": "sorbus",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "members", "type": {"type": "array", "items": "string"}, "default": []},
        ],
    }
)
PEOPLE = [
    ("user", "inetOrgPerson.uid", ""),
    ("name", "inetOrgPerson.cn", ""),
    ("family", "inetOrgPerson.sn", "value or record.name"),
    ("email", "inetOrgPerson.mail", ""),
    ("number", "inetOrgPerson.employeeNumber", ""),
    ("phone", "inetOrgPerson.telephoneNumber", ""),
    ("manager_id", "inetOrgPerson.manager", ""),
    ("title", "inetOrgPerson.title", ""),
]
TEAMS = [("name", "groupOfNames.cn", ""), ("members", "groupOfNames.member", "")]
PEOPLE_TARGET: Mapping[str, object] = {
    "resource": "inetOrgPerson",
    "dn": "uid={uid},ou=people,{base}",
    "references": {"manager": "person"},
}
TEAMS_TARGET: Mapping[str, object] = {
    "resource": "groupOfNames",
    "dn": "cn={cn},ou=groups,{base}",
    "references": {"member": "person"},
}
RESOURCES = {"person": ("inetOrgPerson",), "team": ("groupOfNames",)}


class Staff:
    """Delivers one data type."""

    def __init__(
        self,
        server: Slapd,
        *,
        data_type: str = "person",
        rows: Sequence[tuple[str, str, str]] | None = None,
        target: Mapping[str, object] | None = None,
        match: Sequence[str] = ("number", "email"),
        connection: Mapping[str, object] | None = None,
        **flow: object,
    ) -> None:
        self.server, self.data_type = server, data_type
        is_team = data_type == "team"
        self.schema: RecordSchema = TEAM if is_team else PERSON
        self.events = Deliveries(self.schema)
        self.version = 0
        options = {**(TEAMS_TARGET if is_team else PEOPLE_TARGET), **(target or {})}
        self.flow = BoundFlow(
            Flow.model_validate({"data_type": data_type, "to": "directory", **flow}),
            DataType(match=list(match)),
            self.schema,
            tuple(
                FieldMapping(
                    source_system="canonical",
                    source_field=f"{data_type}.{field}",
                    target_system="directory",
                    target_field=into,
                    rule=rule,
                )
                for field, into, rule in rows or (TEAMS if is_team else PEOPLE)
            ),
            LdapConsumer.Target.model_validate(options),
            BoundSystem(
                "directory",
                System(kind="ldap", owner="IT"),
                LdapConsumer.Connection.model_validate(connection or server.connection),
            ),
            resources=RESOURCES,
        )
        self._consumer: LdapConsumer | None = None

    def prepare(self) -> None:
        """Does what `sorbus apply` does."""
        for step in LdapConsumer.plan(self.flow):
            if step.apply:
                step.apply()

    @property
    def consumer(self) -> LdapConsumer:
        if self._consumer is None:
            self._consumer = LdapConsumer(self.flow)
            self._consumer.open()
        return self._consumer

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def event(self, id: str, record: Mapping[str, object] | None) -> Delivery:
        self.version += 1
        given = None if record is None else {"emails": [], "members": [], **record}
        return self.events.make(id, self.version, given)

    def deliver(self, *events: Delivery, again: bool = False) -> dict[str, PermanentError]:
        """Id -> why it was refused."""
        for _ in range(60):
            with suppress(Unfinished):
                found = self.consumer.apply(events, again=again)
                return {events[one.place].id.decode(): one.error for one in found}
        raise AssertionError("not finished")

    def put(self, **people: Mapping[str, object] | None) -> dict[str, PermanentError]:
        """Delivers these states."""
        return self.deliver(*(self.event(id, record) for id, record in people.items()))

    def entries(self, object_class: str = "inetOrgPerson") -> dict[str, Entry]:
        return self.server.search(f"(objectClass={object_class})")


def someone(name: str, **more: object) -> dict[str, object]:
    user = name.split()[0].lower()
    return {"name": name, "user": user, "email": f"{user}@example.test", "number": f"n-{user}", **more}


def dn(uid: str) -> str:
    return f"uid={uid},ou=people,{BASE}"


def texts(entry: Entry, name: str) -> list[str]:
    return sorted(one.decode() for one in entry.get(name, []))
