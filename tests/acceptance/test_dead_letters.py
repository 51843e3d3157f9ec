"""Poisoned messages and rows go alone to the dead letters, their neighbours land, and a mended one goes through."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import psycopg
from confluent_kafka import Producer

if TYPE_CHECKING:
    from tests.acceptance.conftest import Plant

FLOWS = ("customer-to-accounting", "customer-to-reporting")
TABLES = ("accounting.debtors", "reporting.customers")
NEIGHBOURS = [f"N{number:04}" for number in range(40)]
UNKNOWN_SCHEMA = b"\0" + struct.pack(">I", 987_654) + b"\2a"


def test_four_poisons_become_dead_letters_and_their_neighbours_land(northwind_plant: Plant) -> None:
    plant = northwind_plant
    plant.execute("accounting", "alter table debtors add constraint somewhere check (town <> 'Nowhere')")
    with plant.up("--only", "northwind", "--only", FLOWS[0], "--only", FLOWS[1]):
        plant.wait_until_equal(*TABLES)
        _poison_topic(plant, {b"GARBLED": b"these bytes are no Avro", b"STRANGE": UNKNOWN_SCHEMA})
        _insert_customers(plant, {"REFUS": ("Nowhere", "Germany"), "ATLAN": ("Poseidonis", "Atlantis")})

        wanted = {
            ("GARBLED", "customer-to-accounting"),
            ("GARBLED", "customer-to-reporting"),
            ("STRANGE", "customer-to-accounting"),
            ("STRANGE", "customer-to-reporting"),
            ("REFUS", "customer-to-accounting"),
            ("ATLAN", ""),
        }
        plant.wait_until(
            lambda: {(letter["record"], letter["flow"]) for letter in _letters(plant)} == wanted,
            60,
            lambda: f"wanted letters {sorted(wanted)}, found {_letters(plant)}",
        )
        plant.wait_until(
            lambda: _arrived(plant) == {("debtors", 40), ("customers", 41)}, 60, lambda: f"arrived: {_arrived(plant)}"
        )
        by_record = {letter["record"]: letter for letter in _letters(plant)}
        assert "somewhere" in by_record["REFUS"]["words"], "a letter holds the target's own words"
        assert by_record["ATLAN"]["rule"] == "value | country"
        assert by_record["ATLAN"]["field"] == "billing_address_country"
        shown = plant.sorbus("dlq", "show", "--show-personal", by_record["ATLAN"]["id"])
        assert "Atlantis" in shown
        assert "Atlantis" not in plant.sorbus("dlq", "show", by_record["ATLAN"]["id"])

        # One mended in the target and requeued, one mended in the source: the new change supersedes its letter.
        plant.execute("accounting", "alter table debtors drop constraint somewhere")
        done = json.loads(plant.sorbus("dlq", "requeue", by_record["REFUS"]["id"], "--json"))
        assert done["requeued"] == [by_record["REFUS"]["id"]]
        plant.execute("northwind", "update customers set country = 'Ireland' where customer_id = 'ATLAN'")
        plant.wait_until(
            lambda: {letter["record"] for letter in _letters(plant)} == {"GARBLED", "STRANGE"},
            60,
            lambda: f"letters still open: {_letters(plant)}",
        )
        plant.wait_until_equal(*TABLES)


def _poison_topic(plant: Plant, messages: dict[bytes, bytes]) -> None:
    producer = Producer({"bootstrap.servers": plant.env["SORBUS_KAFKA"]})
    for key, value in messages.items():
        producer.produce(f"{plant.prefix}customer", key=key, value=value)
    assert producer.flush(30) == 0


def _insert_customers(plant: Plant, poisoned: dict[str, tuple[str, str]]) -> None:
    """The poisoned ones in the middle of their neighbours, in one transaction: code -> (town, country)."""
    middle = len(NEIGHBOURS) // 2
    codes = [*NEIGHBOURS[:middle], *poisoned, *NEIGHBOURS[middle:]]
    rows = [(code, f"Shop {code}", *poisoned.get(code, ("Cork", "Ireland"))) for code in codes]
    with psycopg.connect(plant.source) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into customers (customer_id, company_name, city, country) values (%s, %s, %s, %s)", rows
        )


def _letters(plant: Plant) -> list[dict[str, str]]:
    return [json.loads(line) for line in plant.sorbus("dlq", "list", "--json").splitlines()]


def _arrived(plant: Plant) -> set[tuple[str, int]]:
    """How many of the new customers each target has."""
    found = set()
    for database, table, key in (("accounting", "debtors", "debtor_no"), ("reporting", "customers", "id")):
        with psycopg.connect(plant.dsns[database]) as connection:
            query = f"select count(*) from {table} where {key} = any(%s)"
            row = connection.execute(query.encode(), [[*NEIGHBOURS, "REFUS", "ATLAN"]]).fetchone()
        assert row is not None
        found.add((table, int(str(row[0]))))
    return found
