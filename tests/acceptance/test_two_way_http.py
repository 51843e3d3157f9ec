"""Applications behind HTTP that change the records they are sent: nothing lost, nothing echoed, whatever fails."""

from __future__ import annotations

import random
import time

import psycopg
import pytest

from tests.acceptance.office import rows_of
from tests.acceptance.two_way_http import TwoWayHttp, all_work, as_desk_keeps, at_work, fill, office, written
from tests.acceptance.two_way_office import Edit, Ledger, latest
from tests.conftest import Report
from tests.http_api.faulty_http import Fault

__all__ = ["office"]

FAULTS: dict[Fault, float] = {
    "429": 0.002,
    "500": 0.01,
    "503": 0.003,
    "timeout-before": 0.002,
    "timeout-after": 0.004,
    "reset": 0.01,
    "reset-after": 0.01,
    "cut": 0.01,
    "html": 0.003,
    "empty": 0.003,
}


def may_win(office: TwoWayHttp, id: str, edits: list[Edit]) -> list[object]:
    """The latest, and others that are as late within the tolerance: an application tells a record's last change.

    So the time of a field's change is at most that of the last one that people made to the record there.
    """
    last = {edit.system: edit for edit in sorted(edits, key=lambda edit: edit.at)}
    found = latest(edits, within=3.2)
    for system, edit in last.items():
        at_most = max([edit.at, *office.changed.get((id, system), ())])
        if all(other.at - at_most <= 3.2 for other in last.values()):
            found.append(edit.value)
    return found


def unlike_ledger(office: TwoWayHttp, ledger: Ledger) -> str:
    """What the CRM shows otherwise than the rules make of what people did."""
    crm, lines = office.customers(), []
    for (id, name), edits in ledger.edits.items():
        if id not in crm or (name == "city" and id in ledger.deleted):
            continue
        right = [edits[-1].value] if name == "city" else may_win(office, id, edits)
        if crm[id][name] not in right:
            lines.append(f"{id}: {name} is {crm[id][name]!r}, not {right!r}; {edits}\n{office.story(id, name)}")
    for id, row in crm.items():
        wanted = ledger.tags.get(id, set()) - ledger.removed.get(id, set())
        if set(row["tags"]) != wanted or len(row["tags"]) != len(set(row["tags"])):
            lines.append(f"{id}: tags are {row['tags']}, not {sorted(wanted)}")
    return "\n".join([f"{len(lines)} differences from the ledger, the first:", *lines[:6]]) if lines else ""


def test_a_change_in_an_application_reaches_all_and_its_own_form_comes_back_from_nowhere(office: TwoWayHttp) -> None:
    written(office)
    fill(office, 3)
    office.desk.add(name="Customer 2", email="2@example.com", tax_number="77")
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(office.unlike, 60, every=0.1)
        assert office.customers()["C2"]["phone"] == "77"
        shop = {one["our_id"]: str(one["id"]) for one in office.shop.records.all()}
        office.shop.change(shop["C1"], amount="3.14159"[:6], city="Wien")
        office.until(lambda: "" if office.contacts(office.desk)["C1"]["city"] == "Wien" else "no Wien", 30, every=0.1)
        office.until(office.unlike, 30, every=0.1)
    assert str(office.customers()["C1"]["rate"]) == "3.1415"
    assert str(office.contacts(office.desk)["C1"]["rate"]) == "3.14"


@pytest.mark.slow
def test_an_application_is_the_system_of_record(office: TwoWayHttp) -> None:
    written(office, owner="shop")
    first, second = (office.shop.add(name=f"Customer {n}", email=f"{n}@example.com", amount="1.2345") for n in (1, 2))
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(lambda: "" if len(office.desk.records) == 2 else "not created", 60, every=0.1)
        (there,) = office.desk.records.find("email", "1@example.com")
        office.desk.change(str(there["id"]), email="new@desk.example", tax_number=" 77 ")
        office.shop.change(second, tax_number="  a long number  ")
        office.until(lambda: same_in_both(office, {first: "new@desk.example"}), 60, every=0.1)
        assert office.shop.records.get(int(first))["amount"] == "1.2345", "the desk's own form came back"
        office.desk.remove(str(there["id"]))
        office.until(lambda: same_in_both(office, {first: "new@desk.example"}), 60, every=0.1)
        office.shop.remove(second)
        office.until(lambda: "" if len(office.desk.records) == 1 else "still there", 60, every=0.1)
    assert "they agree" in office.sorbus("reconcile", "customer-to-desk")


def same_in_both(office: TwoWayHttp, emails: dict[str, str]) -> str:
    """What the desk has otherwise than it keeps what the shop has."""
    lines, there = [], {str(one["our_id"]): one for one in office.desk.records.all()}
    for one in office.shop.records.all():
        id = str(one["id"])
        kept = as_desk_keeps({path: one[path] for path in ("email", "tax_number", "amount")})
        if id not in there or {path: there[id][path] for path in kept} != kept:
            lines.append(f"{id}: {kept} in the shop, {there.get(id)} at the desk")
        if id in emails and one["email"] != emails[id]:
            lines.append(f"{id}: {one['email']}")
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("records", "changes", "kills"),
    [pytest.param(60, 300, 1, id="few"), pytest.param(200, 1200, 3, id="some"), pytest.param(1000, 6000, 6, id="many")],
)
def test_three_systems_at_random_end_as_the_rules_say(
    office: TwoWayHttp, report: Report, records: int, changes: int, kills: int
) -> None:
    written(office)
    ids = fill(office, records)
    office.sorbus("apply", "--yes")
    ledger = Ledger()
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(office.unlike, 60 + records / 5)
    began = time.monotonic()
    clerks = at_work(office, ledger)
    for of in (office.shop, office.desk):
        of.faults, of.lists_lag, of.order = FAULTS, 0.7, "shuffled"
    for number in range(kills):
        with office.killed():
            threads = all_work(clerks, ids, changes // kills // 3, 0.02)
            if number == 2:
                office.sorbus("backfill", "customer-proposals-shop", status=None)
            for thread in threads:
                thread.join(300)
    with office.up():
        for thread in all_work(clerks, ids[:20], 60, 0.02):
            thread.join(60)
        office.until(office.unlike, 900, every=1.0)  # what somebody changed and deleted at once, no poll has seen
        gone = random.Random(1).sample(ids[20:], 10)
        with psycopg.connect(office.dsns["crm"], autocommit=True) as crm:
            crm.execute("delete from customers where id = any (%s)", [gone])
            crm.execute(
                "insert into customers (id, name, email) select 'N' || n, 'New ' || md5(n::text), n || '@new.example'"
                " from generate_series(1, 10) n"
            )
        for id in ids[:5]:
            with office.shop.records.lock:
                office.shop.remove(str(office.shop.records.find("our_id", id)[0]["id"]))
            ledger.deleted.add(id)
        for of in (office.shop, office.desk):
            of.faults = {}
        took = office.until(office.unlike, 900, every=1.0)
        quiet = versions(office)
        office.until(lambda: "" if office.unlike() == "" else "still at work", 30)
        time.sleep(5)  # several polls of everything: who would write back would have done so
        assert office.unlike() == ""
        assert versions(office) == quiet, "something still turns"
    told = unlike_ledger(office, ledger)
    writes = sum(write.by != "hand" for of in (office.shop, office.desk) for write in of.writes)
    requests = sum(len(of.asked) for of in (office.shop, office.desk))
    report(
        f"two-way over HTTP: {ledger.count} changes in 3 systems to {records} records, {kills} kills of everything,"
        f" {writes} writes, {requests} requests, {time.monotonic() - began:.0f} s, quiet {took:.0f} s after the last"
    )
    assert told == "", told
    assert office.shop.doubles("our_id") == office.desk.doubles("our_id") == {}


def versions(office: TwoWayHttp) -> object:
    schema = rows_of(
        office.dsns["state"], "select table_schema from information_schema.tables where table_name = 'merged_record'"
    )
    name = schema[0]["table_schema"]
    return rows_of(
        office.dsns["state"], f'select max(version), count(*) filter (where owed) from "{name}".merged_record'
    )
