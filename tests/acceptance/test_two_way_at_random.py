"""Three systems change the same records at random, one of them rounding and trimming, while everything is killed.

The oracle is a ledger of what people did, in SQL's own words, and the tables themselves: no code of Sorbus.
"""

from __future__ import annotations

import random
import threading
import time

import pytest

from tests.acceptance.office import rows_of
from tests.acceptance.two_way_office import Ledger, TwoWayOffice, fill, latest, office, people, written
from tests.conftest import Report

__all__ = ["office"]


def unlike_ledger(office: TwoWayOffice, ledger: Ledger) -> str:
    """What the CRM shows otherwise than the rules make of what people did."""
    crm, books = office.rows("crm"), office.rows("books")
    lines = []
    for (id, name), edits in ledger.edits.items():
        if id not in crm or (name == "credit" and id in ledger.deleted):
            continue  # what the books own begins again with their default where they deleted the record
        shown = books[id]["limit"] if name == "credit" else crm[id][name]
        right = latest(edits) if name != "credit" else [edits[-1].value]
        if shown not in right:
            lines.append(f"{id}: {name} is {shown!r}, not {right!r}; {edits}")
    for id, row in crm.items():
        added, removed = ledger.tags.get(id, set()), ledger.removed.get(id, set())
        tags = row["tags"]
        assert isinstance(tags, list)
        if set(tags) != added - removed or len(tags) != len(set(tags)):
            lines.append(f"{id}: tags are {tags}, not {sorted(added - removed)}")
    return "\n".join([f"{len(lines)} differences from the ledger, the first:", *lines[:6]]) if lines else ""


@pytest.mark.slow
def test_three_systems_at_random_end_as_the_rules_say(office: TwoWayOffice, report: Report) -> None:
    records, changes, kills = 1000, 6000, 6
    written(office)
    ids = fill(office, records)
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    ledger = Ledger()
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(office.unlike, 120)
    began = time.monotonic()
    with people(office, ledger) as made:
        for number in range(kills):
            with office.killed():
                threads = [
                    threading.Thread(target=person.work, args=(ids, changes // kills // 3, 0.005)) for person in made
                ]
                for thread in threads:
                    thread.start()
                if number == 2:
                    time.sleep(2)
                    office.sorbus("backfill", "customer-proposals-books", status=None)
                for thread in threads:
                    thread.join(120)
        with office.up():
            for person in made:
                person.work(ids[:50], 100)
            gone = random.Random(1).sample(ids[50:], 30)
            made[0].session.execute("delete from customers where id = any (%s)", [gone])
            made[1].session.execute("delete from partners where code = any (%s)", [ids[:10]])
            ledger.deleted |= set(ids[:10])
            made[0].session.execute(
                "insert into customers (id, name) select 'N' || n, 'New' from generate_series(1, 20) n"
            )
            took = office.until(office.unlike, 300, every=1.0)
            quiet = versions(office)
            office.until(lambda: "" if office.unlike() == "" else "still at work", 30)
            conflicts = office.sorbus("conflicts", "list", "--json", status=None)
        assert versions(office) == quiet, "something still turns"
    told = unlike_ledger(office, ledger)
    report(
        f"two-way: {ledger.count} changes in 3 systems to {records} records, {kills} kills of everything,"
        f" {time.monotonic() - began:.0f} s, quiet {took:.0f} s after the last one"
    )
    assert told == "", told
    assert len(office.rows("crm")) == records - 30 + 20
    assert conflicts is not None


def versions(office: TwoWayOffice) -> object:
    schema = rows_of(
        office.dsns["state"], "select table_schema from information_schema.tables where table_name = 'merged_record'"
    )
    name = schema[0]["table_schema"]
    return rows_of(
        office.dsns["state"], f'select max(version), count(*) filter (where owed) from "{name}".merged_record'
    )
