"""Our LDAP connectors pass the conformance suite, at a real slapd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sorbus.conformance import ConsumerConformance, ProducerConformance, Source, Target, Thing
from sorbus.consumers.ldap.consumer import LdapConsumer
from sorbus.ldap.distinguished_name import escape_value
from sorbus.producers.ldap.producer import LdapProducer
from tests.ldap.slapd import BASE, Entry, Slapd, ldif, replacing

TEXT = "EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE"
DEFINITIONS = f"""
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'thingId' {TEXT} )
attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'thingName' {TEXT} )
attributetype ( 1.3.6.1.4.1.99999.1.3 NAME 'thingNote' {TEXT} )
attributetype ( 1.3.6.1.4.1.99999.1.4 NAME 'amount' {TEXT} )
attributetype ( 1.3.6.1.4.1.99999.1.5 NAME 'count' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27
  SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.99999.1.6 NAME 'active' EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7
  SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.99999.1.7 NAME 'madeOn' {TEXT} )
attributetype ( 1.3.6.1.4.1.99999.1.8 NAME 'seenAt' EQUALITY generalizedTimeMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'thing' SUP top STRUCTURAL MUST thingId
  MAY ( thingName $ thingNote $ amount $ count $ active $ madeOn $ seenAt ) )
"""
COLUMNS = {
    "name": "thingName",
    "note": "thingNote",
    "amount": "amount",
    "count": "count",
    "active": "active",
    "made_on": "madeOn",
    "seen_at": "seenAt",
}
# The short run has the connectors' own tests.
pytestmark = pytest.mark.slow
MAPPING = [(field, f"thing.{column}", "") for field, column in COLUMNS.items()]


def stored(value: object) -> object:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y%m%d%H%M%S.%fZ")
    return value


def attributes(thing: Thing) -> dict[str, object]:
    return {COLUMNS[name]: stored(value) for name, value in thing.items() if value is not None and value != ""}


class EntryThings(Source):
    """Things as entries, changed by ldapmodify."""

    connector = LdapProducer
    mapping = MAPPING
    patience = 20.0
    longest = 30_000

    def __init__(self, server: Slapd) -> None:
        self.server = server
        self.connection = server.connection
        self.options = {
            "resource": "thing",
            "key": "thingId",
            "every": "every 1s",
            "compare": "every 1s",
            "max_deletes": 100,
        }

    def put(self, things: Mapping[str, Thing]) -> None:
        there = self.server.search("(objectClass=thing)", "thingId").values()
        known = {entry["thingId"][0].decode() for entry in there}
        text = ""
        for id, thing in things.items():
            dn = f"thingId={escape_value(id)},{BASE}"
            if id in known:
                text += replacing(dn, {column: attributes(thing).get(column) for column in COLUMNS.values()})
            else:
                text += ldif(dn, {"objectClass": "thing", "thingId": id, **attributes(thing)})
        self.server.modify(text)

    def remove(self, id: str) -> None:
        self.server.modify(f"dn: thingId={escape_value(id)},{BASE}\nchangetype: delete\n")

    def spoil(self, id: str) -> None:
        self.server.modify(replacing(f"thingId={escape_value(id)},{BASE}", {"madeOn": "soon"}))

    def broken(self) -> AbstractContextManager[None]:
        return self.server.away()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Slapd]:
    sizes = "moduleload constraint"
    limits = "overlay constraint\nconstraint_attribute thingName size 200000"
    made = Slapd(tmp_path / "slapd", definitions=DEFINITIONS, global_lines=sizes, lines=limits)
    made.start()
    made.modify(f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n")
    yield made
    made.stop()


def thing_of(entry: Entry) -> Thing:
    text = {name: entry[column][0].decode() if column in entry else None for name, column in COLUMNS.items()}
    return {
        "name": text["name"],
        "note": text["note"],
        "amount": None if text["amount"] is None else Decimal(text["amount"]),
        "count": None if text["count"] is None else int(text["count"]),
        "active": None if text["active"] is None else text["active"] == "TRUE",
        "made_on": None if text["made_on"] is None else date.fromisoformat(text["made_on"]),
        "seen_at": None if text["seen_at"] is None else moment(text["seen_at"]),
    }


def moment(text: str) -> datetime:
    form = "%Y%m%d%H%M%S.%fZ" if "." in text else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC)


class TestProducer(ProducerConformance):
    @pytest.fixture
    def source(self, server: Slapd) -> Source:
        return EntryThings(server)


class EntryTarget(Target):
    """Things as entries, read by ldapsearch."""

    connector = LdapConsumer
    options = {"resource": "thing", "dn": "thingId={thingId},{base}", "marker": "thingId"}  # noqa: RUF012 - read only
    mapping = [("id", "thing.thingId", ""), *MAPPING]  # noqa: RUF012 - read only
    longest = 30_000
    many = 200

    def __init__(self, server: Slapd) -> None:
        self.server = server
        self.connection = server.connection

    def entries(self) -> dict[str, Entry]:
        return self.server.search("(objectClass=thing)", "*", "entryCSN")

    def read(self) -> Mapping[str, Thing]:
        found = self.entries()
        made = {entry["thingId"][0].decode(): thing_of(entry) for entry in found.values()}
        assert len(made) == len(found)
        return made

    def broken(self) -> AbstractContextManager[None]:
        return self.server.away()

    def refused(self) -> Thing:
        return {"name": "x" * 210_000}  # more than the constraint overlay takes

    def damage(self, id: str) -> None:
        self.server.modify(replacing(f"thingId={escape_value(id)},{BASE}", {"thingName": "damaged"}))

    def writes(self) -> int:
        return max(int(entry["entryCSN"][0].replace(b".", b"")[:20]) for entry in self.entries().values())


@pytest.mark.usefixtures("state")
class TestConsumer(ConsumerConformance):
    @pytest.fixture
    def target(self, server: Slapd) -> Target:
        return EntryTarget(server)


@pytest.fixture
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the crosswalk is kept."""
    monkeypatch.setenv("SORBUS_DATABASE", database)
