"""Where else a record may be: what people compared, merged, posted or replayed is erased, or named in the receipt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.record_inbox import PostedRecord
from sorbus.bus.sending import send
from sorbus.cli.context import Context
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.identity.crosswalk import Crosswalk
from sorbus.ops.forget import stored
from sorbus.state.database import State
from tests.privacy.people import People, eventually

PUT = "insert into people values ('p1', 'Xanthippe', 'xanthippe@x.org', 'k', null, 'Vexillum')"
THERE = "select 1 from persons where id = 'p1'"
MERGED = """
insert into {0}.duplicate_candidates (system, data_type, resource, id, version, why, record, candidates, state)
values ('shop', 'person', 'people', 'p1', 1, 'alike', '{{}}', '[]', 'done');
insert into {0}.duplicate_merged (
    system, data_type, resource, external_id, survivor, id, candidate, way, state, who
)
values ('shop', 'person', 'people', 'X9', 'X1', 'p1', 1, 'person', 'due', 'ann'),
    ('shop', 'person', 'people', 'X8', 'X1', 'p1', 1, 'person', 'done', 'ann')
"""


@pytest.fixture
def state(people: People) -> Iterator[State]:
    opened = State(people.dsns["state"], people.names.prefix)
    yield opened
    opened.close()


def test_what_reconciliations_and_unfinished_shadows_hold_is_erased(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in people.env.items():
        monkeypatch.setenv(name, value)
    people.execute("crm", PUT)
    with people.running():
        for where in ("books", "archive"):
            eventually(lambda where=where: people.rows(where, THERE), f"p1 in {where}")
        people.execute("books", "update persons set status = 'Zzyzx' where id = 'p1'")
        assert "Zzyzx" in people.sorbus("reconcile", "person-to-books", status=1)
        loaded = Context(people.folder / "map.yaml", verbose=False, quiet=False).load_sound()
        for flow, where in (("person-to-books", "books"), ("person-to-archive", "archive")):
            shadow = PostgresConsumer.shadow(loaded.flow(flow))
            shadow.prepare(keep=False)
            shadow.close()
            [(name,)] = people.rows(where, "select tablename from pg_tables where tablename like '%shadow%'")
            people.execute(where, f'insert into "{name}" select * from persons')
        people.execute("crm", "delete from people where id = 'p1'")
        eventually(lambda: not people.rows("books", THERE), "p1 gone from books")
        eventually(lambda: people.rows("archive", f"{THERE} and sorbus_deleted_at is not null"), "p1 marked")
        people.sorbus("forget", "person", "p1", "--yes")
    for where in ("state", "books", "archive"):
        dump = people.dump(where).casefold()
        assert [marker for marker in ("xanthippe", "zzyzx") if marker in dump] == [], where


def test_doubles_that_are_still_in_a_target_are_left_to_a_person(people: People, state: State) -> None:
    crosswalk = Crosswalk(state, "shop", "person", "people")
    crosswalk.link("p1", "X1", 1, {"name": "Xanthippe"})
    crosswalk.gone("p1", 2)
    people.execute("state", MERGED.format(state.schema))
    told = people.sorbus("forget", "person", "p1", "--yes", "--wait", "1", status=1)
    assert "sorbus duplicates done 1 X9" in told
    assert "X8" not in told, "it was taken away"


def test_what_was_posted_of_it_is_named_with_the_day_of_its_end(people: People) -> None:
    text = (people.folder / "map.yaml").read_text()
    form = '  form: {kind: webhook, connection: {webhook_secret: "${FORM_SECRET}"}, owner: Sales}\n'
    entry = "  entry: {system_of_record: form, source: {id: id}}\n"
    text = text.replace("data_types:\n", f"{form}data_types:\n{entry}")
    (people.folder / "map.yaml").write_text(text)
    schema = (people.folder / "schemas" / "person.avsc").read_text()
    (people.folder / "schemas" / "entry.avsc").write_text(schema.replace('"person"', '"entry"'))
    people.env["FORM_SECRET"] = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
    people.sorbus("apply", "--yes")
    posts = [PostedRecord("entry", id, "record", b'{"name": "Xanthippe"}', "", 1) for id in ("17", "17", "18")]
    producer = idempotent_producer(people.settings, "posts")
    send(producer, [post.message(people.names, "form") for post in posts], "posting")
    told = people.sorbus("forget", "entry", "17", "--yes", "--json")
    receipt = json.loads(next(line for line in told.splitlines() if line.startswith("{")))
    [left] = receipt["left"]
    assert (left["where"], left["what"]) == (f"Kafka, {people.names.inbox('form')}", "2 posts of it")
    assert left["until"]


HOLD_NO_VALUES = """
    audit breaker checklist checklist_round checklist_tick console_account console_attempt console_device
    console_session deferral digest_sent drift_shape duplicate_apart erasure history_run history_window joined_type
    key_filter letter_position linked_account manual_sheet migration own_write_count rate_flow rate_system rate_window
    reconcile_look reconcile_requests reconcile_run replay step_begin step_record token webhook_endpoint webhook_failing
    webhook_record
"""
"""Ids and versions at most. `merged_record` holds nothing of a deleted record, whose delete is waited for."""


def test_each_table_of_the_state_is_erased_from_or_holds_no_values(people: People, state: State) -> None:
    found = people.rows("state", f"select tablename from pg_tables where schemaname = '{state.schema}'")
    statements = " ".join(file.read_text() for file in (Path(stored.__file__).parent / "sql").glob("*.sql"))
    erased = set(re.findall(r"(?:update|delete from) (\w+)", statements))
    assert {str(name) for (name,) in found} - erased == {*HOLD_NO_VALUES.split(), "duplicate_merged", "merged_record"}
