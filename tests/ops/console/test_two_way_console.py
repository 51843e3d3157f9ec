"""Two-way data types in the console: the map as people wrote it, whose change counts, and conflicts side by side."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import Page

from sorbus.avro.encode import encoder
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.conflict.store import Conflicts, Contest
from sorbus.event import event_encoder
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.ops.conflicts.masking import ConflictMask
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.schema import FieldType
from sorbus.settings import Settings
from sorbus.state import State
from sorbus.two_way.expand import proposals_of
from sorbus.two_way.merged_record import Held, MergedRecord, Origin, View
from sorbus.two_way.record_codec import FrameDecoder, RecordCodec
from sorbus.two_way.store import MergeStore, StoredRecord
from tests.ops.console.browser import faults
from tests.ops.console.visitor import Served

MAP = """
topic_prefix: {prefix}.
systems:
  crm: {{kind: postgres, connection: {{dsn: "{dsn}"}}, owner: Sales}}
  books: {{kind: postgres, connection: {{dsn: "{dsn}"}}, owner: Finance}}
  desk: {{kind: postgres, connection: {{dsn: "{dsn}"}}, owner: Support}}
  wiki: {{kind: postgres, connection: {{dsn: "{dsn}"}}}}
data_types:
  customer:
    system_of_record: crm
    source: {{table: customers, key: [id]}}
    field_owners: {{tax_number: books}}
    merge: {{phone: ask, email: latest}}
flows:
  - {{data_type: customer, to: books, direction: two-way, target: {{table: partners, key: code, existing: true}}}}
  - {{data_type: customer, to: desk, direction: two-way, target: {{table: contacts, key: code, existing: true}}}}
  - {{data_type: customer, to: wiki, timing: cron 30 18 * * 1-5 Europe/Berlin, target: {{table: contacts}}}}
"""
SHEET = """Source System,Source Field,Target System,Target Field,Rule
canonical,customer.name,books,partners.title,
canonical,customer.phone,books,partners.email,
canonical,customer.currency,books,partners.phone,
books,partners.email,canonical,customer.phone,
books,partners.tax,canonical,customer.tax_number,
canonical,customer.email,books,partners.mail,
books,partners.mail,canonical,customer.email,
canonical,customer.phone,desk,contacts.tel,
desk,contacts.tel,canonical,customer.phone,
canonical,customer.email,desk,contacts.email,
desk,contacts.email,canonical,customer.email,
canonical,customer.phone,crm,customers.phone,
canonical,customer.email,crm,customers.email,
canonical,customer.tax_number,crm,customers.tax_number,
"""
AT = 1_767_225_600_000_000
"""2026-01-01 in microseconds."""


@pytest.fixture
def loaded(tmp_path: Path, unique: str, database: str, stack: Addresses) -> LoadedMap:
    (tmp_path / "map.yaml").write_text(MAP.format(prefix=unique, dsn=database))
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "sheet.csv").write_text(SHEET)
    found = load_map(tmp_path / "map.yaml")
    for step in plan_topics(admin(Settings(kafka=stack.kafka)), topics_of(found.map)):
        if step.apply:
            step.apply()
    return found


def merged(loaded: LoadedMap, settings: Settings, state: State) -> None:
    """Customer C1: its phone comes from the desk, the books changed it at a time, and the CRM has it already."""
    schema = loaded.schema("customer")
    schemas = SchemaResolver(settings, Names(loaded.map.topic_prefix), [schema])
    codec = RecordCodec("customer", schema, schemas)
    blank = {field.name: [] if field.type.kind == "array" else field.default for field in schema.fields}
    values = {**blank, "name": "Ada", "phone": "222"}
    record = MergedRecord(b"C1", 3, values, {"phone": Origin("desk", AT, 3)})
    encode, frames = encoder(FieldType("record", fields=schema.fields)), dict[str, bytes | None]()
    for system, phone in (("crm", "222"), ("books", "333"), ("desk", "222")):
        record.views[system] = View(1, values)
        name = proposals_of("customer", system)
        head, data = schemas.prefix(name, schema), encode({**values, "phone": phone})
        frames[system], _ = event_encoder(head, system, name)(b"C1", 1, AT, AT, data)
    record.held["phone", "books"] = Held("333", "111", AT + 60_000_000)
    state.run(b"insert into joined_type (data_type, joined_by) values ('customer', 'test')")
    store = MergeStore(state, "customer", codec.encode, codec.decode, FrameDecoder(schemas))
    store.accepted = store.joined()
    store.save([StoredRecord(record, frames)])


def test_the_map_is_drawn_as_people_wrote_it(console: Served) -> None:
    visitor = console.visitor()
    home = visitor.get("/").text
    drawing = home[home.index("<svg") : home.rindex("</svg>")]
    assert "customer-merge" not in drawing
    assert "proposals" not in drawing
    assert drawing.count("l11 -5.5v11z") == 2, "an arrow's head at both ends"
    assert "Monday to Friday at 18:30 (Europe/Berlin)" in drawing
    flow = visitor.get("/flows/customer-to-books").text
    assert 'from <a href="/systems/crm">crm</a>' in flow
    assert "customer-merge" not in flow
    assert "What comes back from books" in flow
    assert "if two change it at a time, a person decides" in flow
    back = visitor.get("/flows/customer-to-crm").text
    assert "books: email; desk: tel" in back
    assert "only crm deletes records" in back
    field = visitor.get("/flows/customer-to-crm/fields/tax_number").text
    assert "books decides; what is changed elsewhere is replaced by the value of books" in field
    assert "customer, as it is in books" in visitor.get("/systems/books").text


def test_a_conflict_shows_what_each_system_has_and_what_each_choice_does(
    console: Served, loaded: LoadedMap, stack: Addresses, state: State, database: str, page: Page
) -> None:
    merged(loaded, Settings(kafka=stack.kafka, registry=stack.registry, database=database), state)
    found = [Contest("phone", "111", "333", "222")]
    number = Conflicts(state, "books", "customer", "").put("C1", 3, "customer-to-books", "C1", found, asks=True)[0]
    visitor, here = console.visitor(), f"/conflicts/{number}"
    masked = visitor.get(here).text
    assert not re.search(r"\b(111|222|333)\b", masked), "phones are personal"
    shown = visitor.post(f"{here}/values", form=here).text
    rows = [" ".join(unescape(re.sub(r"<[^>]*>", " ", row)).split()) for row in re.findall(r"(?s)<tr>.*?</tr>", shown)]

    assert "crm 222 – 333 222" in rows
    assert "books 333 2026-01-01 00:01:00 UTC (waits for a decision) 333 222" in rows
    assert "desk 222 2026-01-01 00:00:00 UTC (the record's value comes from here) 333 222" in rows
    assert "books had before" in shown
    assert "customer-merge" not in shown
    assert "Take the value of books: 333" in shown
    assert faults(console.url, page, [here, "/conflicts"]) == []
    assert visitor.post(here, {"choice": "keep", "reason": "asked her"}).headers["location"] == "/conflicts"
    assert "this system&#39;s value will become the record&#39;s" in visitor.get(here).text


def test_a_loop_is_told_with_what_to_do_first(console: Served, state: State) -> None:
    conflicts = Conflicts(state, "books", "customer", "")
    [field] = conflicts.put("C1", 3, "f", "C1", [Contest("email", None, "x", "y", "crm")], asks=True)
    [record] = conflicts.put("C2", 3, "f", "C2", [Contest("(record)", None, "deleted", "kept", "crm")], asks=True)
    visitor = console.visitor()

    assert "loop with crm" in visitor.get("/conflicts").text
    told = visitor.get(f"/conflicts/{field}").text
    assert "books and crm change this field in turn, without an end" in told
    assert 'href="/runbooks/two-way-loop"' in told
    assert visitor.get("/runbooks/two-way-loop").status_code == 200
    gone = visitor.get(f"/conflicts/{record}").text
    assert "Send it again" in gone
    assert 'value="keep"' not in gone, "both choices would do the same"


def test_a_field_of_the_record_is_masked_by_the_record_not_by_a_column_of_that_name(
    loaded: LoadedMap, state: State
) -> None:
    """The books call the currency `phone`, and the phone number `email`."""
    conflicts = Conflicts(state, "books", "customer", "")
    for name in ("phone", "email", "name"):
        conflicts.put("C1", 3, "f", "C1", [Contest(name, None, "theirs", "ours")], asks=True)
    conflicts.put("C1", 3, "f", "C1", [Contest("currency", None, "EUR", "GBP")], asks=True)
    conflicts.put("C2", 3, "f", "C2", [Contest("(record)", None, "deleted", "kept")], asks=True)

    shown = {one.field: one.theirs for one in map(ConflictMask(loaded), conflicts.page())}

    assert shown.pop("currency") == "EUR"
    assert shown.pop("(record)") == "deleted"
    assert "theirs" not in shown.values()
