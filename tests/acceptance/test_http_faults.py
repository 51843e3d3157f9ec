"""The whole line to and from an application that breaks in every way we know: nothing lost, nothing double, no storm.

What is compared is SQL on one side and the application's own records on the other; Sorbus's code has no part in it.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.map.load import load_map
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.acceptance.office import Office, execute, rows_of, unlike
from tests.conftest import Report
from tests.http_api.faulty import Faulty
from tests.http_api.faulty_http import Fault
from tests.producers.shop import Event, Tape

FAULTS: dict[Fault, float] = {
    "429": 0.001,
    "429-date": 0.001,
    "429-bare": 0.001,
    "500": 0.01,
    "502": 0.005,
    "503": 0.005,
    "timeout-before": 0.004,
    "timeout-after": 0.006,
    "reset": 0.01,
    "reset-after": 0.01,
    "cut": 0.01,
    "html": 0.004,
    "renamed": 0.004,
    "retyped": 0.004,
    "empty": 0.004,
}
HOOK = "whsec_" + "YSBzZWNyZXQgb2YgdGhlIHRlc3RzLCAzMiBieXRlcyEh"
HEARING = r"http://127\.0\.0\.1:\d+/webhooks/"
FIELDS = ("name", "email", "tax_number", "amount", "city")
SCHEMA: list[object] = [
    {"name": "name", "type": "string"},
    {"name": "email", "type": ["null", "string"], "default": None},
    {"name": "tax_number", "type": ["null", "string"], "default": None},
    {
        "name": "amount",
        "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}],
        "default": None,
    },
    {"name": "city", "type": ["null", "string"], "default": None},
]
TABLE = """
create table contacts (id bigint generated always as identity primary key, name text not null, email text,
                       tax_number text, amount numeric(12, 2), city text)
"""
MAKE = """
insert into contacts (name, email, tax_number, amount, city)
select 'Contact ' || n, 'contact' || n || '@example.test', case when n % 3 = 0 then 'DE' || 100000000 + n end,
       n * 1.25, (array['Köln', 'Łódź', 'São Paulo', null])[1 + n % 4]
  from generate_series({first}, {last}) n
"""
WAVES = (
    "update contacts set amount = amount + {wave}, city = 'wave {wave}' where id % 3 = {wave} % 3",
    "update contacts set name = name || ' ({wave})' where id % 5 = {wave} % 5",
    "delete from contacts where id % 47 = {wave}",
)


def desk(faulty: Faulty, folder: Path, limits: list[tuple[int, float]], **description: object) -> dict[str, object]:
    """The faulty application as a system of a map: OAuth2, limits that it enforces and that its description names."""
    faulty.auth, faulty.limits = "oauth2", limits
    faulty.tokens.lasts, faulty.tokens.previous_lasts = 20.0, 60.0
    api = faulty.describe(
        folder,
        auth={
            "kind": "oauth2",
            "token_url": f"{faulty.base_url}/oauth/token",
            "grants": ["refresh_token"],
            "client_auth": "client_secret_basic",
        },
        limits=[{"requests": requests, "per": per} for requests, per in limits],
        **description,
    )
    connection = {
        "api": api,
        "base_url": faulty.base_url,
        "client_id": faulty.tokens.client_id,
        "client_secret": "${DESK_SECRET}",
        "refresh_token": "${DESK_REFRESH}",
        "webhook_secret": "${DESK_HOOK}",
    }
    return {"kind": "http", "connection": connection, "owner": "Sales"}


@pytest.fixture
def office(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, faulty: Faulty
) -> Office:
    env = {
        **stack.env(),
        "CRM_DSN": make_database(TABLE),
        "SORBUS_DATABASE": make_database(""),
        "DESK_SECRET": faulty.tokens.client_secret,
        "DESK_REFRESH": faulty.tokens.refresh_token,
        "DESK_HOOK": HOOK,
        "SORBUS_WEBHOOKS_PORT": "0",
    }
    return Office(tmp_path, unique, env)


def figures(faulty: Faulty, changes: int, seconds: float, office: Office) -> str:
    requests = len(faulty.asked)
    faults = sum(one.fault is not None for one in faulty.asked)
    return (
        f"{changes} changes, {seconds:.0f} s: {requests} requests ({requests / seconds:.0f}/s), {faults} with a fault,"
        f" {len(faulty.writes)} writes, 429 by the limits {faulty.too_many} ({faulty.too_many / requests:.2%}),"
        f" {faulty.tokens.issued} tokens ({faulty.tokens.refused} refused),"
        f" {office.said('trying again')} pauses of the loops, {office.said('dead letter')} dead letters"
    )


@pytest.mark.parametrize(
    ("contacts", "has_keys"),
    [
        pytest.param(50, False, id="a slice"),
        pytest.param(4000, True, id="with idempotency keys", marks=pytest.mark.slow),
        pytest.param(4000, False, id="without", marks=pytest.mark.slow),
    ],
)
def test_every_change_reaches_a_faulty_application_once(
    contacts: int, has_keys: bool, faulty: Faulty, office: Office, report: Report
) -> None:
    crm = office.env["CRM_DSN"]
    faulty.idempotent, faulty.settle, faulty.slow = has_keys, 0.5, 0.002
    system = desk(
        faulty,
        office.folder,
        [(100, 1.0), (4000, 60.0)],
        idempotency_header="Idempotency-Key" if has_keys else "",
        resources=with_settle(2),
    )
    office.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}, "owner": "Sales"},
                "desk": system,
            },
            "data_types": {
                "contact": {
                    "system_of_record": "crm",
                    "source": {"table": "contacts"},
                    "match": ["email", "tax_number"],
                    "partitions": 2,
                }
            },
            "flows": [{"data_type": "contact", "to": "desk", "target": {"resource": "contacts"}}],
        },
        [("canonical", f"contact.{name}", "desk", f"contacts.{name}", "") for name in FIELDS],
        {"contact": SCHEMA},
    )
    known = contacts // 8
    execute(crm, MAKE.format(first=1, last=contacts))
    faulty.add_many({"name": f"contact {n}", "email": f"CONTACT{n}@example.test"} for n in range(1, known + 1))
    office.sorbus("apply", "--yes")
    faulty.faults = FAULTS
    began, changes = time.monotonic(), contacts

    def missing() -> str:
        return unlike(there(faulty), here(crm, "contacts"))

    with office.up():
        office.until(missing, seconds=60 + contacts / 4)
        for wave in (1, 2, 3):
            faulty.tokens.expire()
            for statement in WAVES:
                changes += changed(crm, statement.format(wave=wave))
            more = contacts // 20
            execute(crm, MAKE.format(first=wave * 100_000, last=wave * 100_000 + more - 1))
            changes += more
            office.until(missing, seconds=60 + contacts / 4)
        seconds = time.monotonic() - began
    faulty.faults = {}
    report(figures(faulty, changes, seconds, office))
    assert missing() == ""
    assert faulty.doubles("our_id") == {}
    assert faulty.doubles("email") == {}
    assert made(faulty) == contacts + 3 * (contacts // 20) - known, "each that was not there is made once"
    assert office.said("is a dead letter") == 0, office.last_words()
    assert faulty.too_many <= 0.01 * len(faulty.asked)


@pytest.mark.parametrize(
    "contacts", [pytest.param(60, id="a slice"), pytest.param(3000, id="whole", marks=pytest.mark.slow)]
)
def test_every_change_of_a_faulty_application_arrives(
    contacts: int, faulty: Faulty, office: Office, stack: Addresses, report: Report
) -> None:
    """Polled, and told of by webhooks of which some are lost, and others come twice and in any order."""
    crm, chance = office.env["CRM_DSN"], random.Random(3)
    system = desk(faulty, office.folder, [(60, 1.0), (2000, 60.0)])
    office.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}, "owner": "Sales"},
                "desk": system,
            },
            "data_types": {
                "contact": {
                    "system_of_record": "desk",
                    "source": {"resource": "contacts", "every": "every 1s", "compare": "every 5s"},
                    "partitions": 2,
                }
            },
            "flows": [{"data_type": "contact", "to": "crm", "target": {"table": "shown_contacts"}}],
        },
        [("desk", f"contacts.{name}", "canonical", f"contact.{name}", "") for name in FIELDS],
        {"contact": SCHEMA},
    )
    faulty.order, faulty.lists_lag = "shuffled", 0.3
    faulty.faults = FAULTS
    faulty.add_many(by_hand(n) for n in range(contacts))
    office.sorbus("apply", "--yes")
    began = time.monotonic()

    def missing() -> str:
        return unlike(here(crm, "shown_contacts"), by_id(faulty))

    answers = Counter[int]()
    with office.up():
        office.until(missing, seconds=60 + contacts / 10)
        office.until(lambda: "" if office.found(HEARING) else "no webhooks are received", seconds=30)
        [address] = set(office.found(HEARING))
        faulty.webhooks(f"{address}desk", HOOK, lost=1.0)  # what was made before is known already

        def people() -> None:
            for number in range(contacts * 7 // 3):
                ids = list(faulty.contacts())
                what, id = chance.random(), chance.choice(ids)
                if what < 0.8:
                    faulty.change(id, amount=f"{number}.50", city=f"change {number}")
                elif what < 0.9:
                    faulty.add(**by_hand(contacts + number))
                else:
                    faulty.remove(id)
                time.sleep(0.002)
                if number % 25 == 0:
                    answers.update(faulty.webhooks(f"{address}desk", HOOK, doubled=0.3, lost=0.2, shuffled=True))

        busy = threading.Thread(target=people)
        busy.start()
        busy.join()
        faulty.order = "updated"
        office.until(missing, seconds=60 + contacts / 10)
        seconds = time.monotonic() - began
    faulty.faults = {}
    events = published(office, stack)
    told = f"{answers.total()} webhooks (a fifth lost, three in ten twice), {len(events)} events"
    report(f"{figures(faulty, contacts + contacts * 7 // 3, seconds, office)}; {told}")
    assert missing() == ""
    assert set(answers) == {200}
    assert office.said("is a dead letter") == 0, office.last_words()
    assert faulty.too_many <= 0.01 * len(faulty.asked)
    latest: dict[str, object] = {}
    for event in events:
        assert event.id not in latest or latest[event.id] != event.record, f"{event} says nothing new"
        latest[event.id] = event.record


def published(office: Office, stack: Addresses) -> list[Event]:
    """The contacts' topic, from its beginning; it fails if a version or an event comes twice."""
    company = load_map(office.folder / "map.yaml")
    settings, names = Settings(kafka=stack.kafka, registry=stack.registry), Names(company.map.topic_prefix)
    tape = Tape(settings, names.topic("contact"), SchemaResolver(settings, names, [company.schema("contact")]))
    with closing(tape):
        tape.wait(lambda: not tape.read(1.0) and bool(tape.events), "no event")
    return tape.events


def with_settle(seconds: int) -> dict[str, object]:
    from ruamel.yaml import YAML

    from tests.http_api.faulty import DESCRIPTION

    resources = YAML(typ="safe").load(DESCRIPTION)["resources"]
    return {"contacts": {**resources["contacts"], "settle": seconds}}


def by_hand(number: int) -> dict[str, object]:
    return {"name": f"Person {number}", "email": f"person{number}@example.test", "amount": f"{number}.25"}


def changed(dsn: str, statement: str) -> int:
    import psycopg

    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).rowcount


def plain(record: dict[str, object]) -> dict[str, object]:
    """The fields that are compared, whatever type the amount comes in."""
    found = {name: record[name] or None for name in FIELDS}
    return {**found, "amount": None if record["amount"] in (None, "") else Decimal(str(record["amount"]))}


def here(dsn: str, table: str) -> dict[str, dict[str, object]]:
    """A table's contacts by id."""
    return {str(row["id"]): plain(row) for row in rows_of(dsn, f"select * from {table}")}


def there(faulty: Faulty) -> dict[str, dict[str, object]]:
    """The application's contacts by our id; those without go by their own."""
    return {
        str(one["our_id"] or f"unlinked {one['id']}"): plain(one) for one in faulty.records.all() if not one["archived"]
    }


def by_id(faulty: Faulty) -> dict[str, dict[str, object]]:
    return {id: plain(one) for id, one in faulty.contacts().items()}


def made(faulty: Faulty) -> int:
    """How many contacts were made through the API."""
    return sum(write.did == "create" and write.by != "hand" for write in faulty.writes)
