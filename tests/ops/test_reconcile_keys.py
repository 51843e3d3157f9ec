"""Reconciliation where keys and names are awkward: what is one record on both sides, and what only looks like it.

The owner's database takes any bytes for text, the target's is in LATIN1, tables' names need quotes, and key columns
spell ids in their own way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute, rows_of
from tests.ops.reconcile_company import reconcile

OWNER = """
create table "Odd Prices 100%" (id numeric primary key, "select" text);
insert into "Odd Prices 100%" values (1.0, 'é'), (2.50, 'b'), (3, 'c');
create table rates (id numeric primary key, v text, w text);
insert into rates values (1.0, 'a', 'x'), (2.50, 'b', 'y');
create table codes (id text primary key, v text);
insert into codes values ('007', 'old'), ('7', 'new'), ('12', 'x'), ('x ', 'y'), ('Ä', 'z');
create table twins (code text not null, v text);
alter table twins replica identity full;
insert into twins values ('a', '1'), ('b', '2'), ('b', '2');
create table men (id int primary key, v text);
create table women (id int primary key, v text);
insert into men values (1, 'Adam'), (2, 'Bob');
insert into women values (11, 'Cleo'), (12, 'Dora');
create table raw (id text primary key, v text);
insert into raw values ('good', 'ö'), ('bad', E'\\xe9'), (E'\\xe9', 'v');
"""
TARGET = """
create table "Their Prices" (id numeric(10,2) primary key, "select" text);
create table their_rates (id numeric(10,2) primary key, v text, w text);
create table int_codes (id int primary key, v text);
create table char_codes (id char(8) primary key, v text);
create table people (id text primary key, v text);
"""
V = [{"name": "v", "type": "string"}]


@pytest.fixture(scope="module")
def office(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The company with its flows delivered, and running."""
    names = [f"t{uuid.uuid4().hex[:12]}" for _ in range(3)]
    with psycopg.connect(stack.database, autocommit=True) as connection:
        provider = "locale_provider libc" if connection.info.server_version >= 150_000 else ""
        for name, encoding in zip(names, ("SQL_ASCII", "LATIN1", "UTF8"), strict=True):
            connection.execute(
                sql.SQL("create database {} encoding {} {} lc_collate 'C' lc_ctype 'C' template template0").format(
                    sql.Identifier(name), sql.Literal(encoding), sql.SQL(provider)
                )
            )
    dsns = [stack.database.rpartition("/")[0] + f"/{name}" for name in names]
    execute(dsns[0], OWNER)
    execute(dsns[1], TARGET)
    env = dict(zip(("CRM_DSN", "THERE_DSN", "SORBUS_DATABASE"), dsns, strict=True))
    made = Office(Path(tmp_path_factory.mktemp("keys")), names[0], {**stack.env(), **env})
    tables = {
        "price": "Odd Prices 100%",
        "rate": "rates",
        "code": "codes",
        "twin": "twins",
        "man": "men",
        "woman": "women",
        "raw": "raw",
    }
    theirs = {"price": "Their Prices", "rate": "their_rates", "code": "int_codes", "man": "people", "woman": "people"}
    made.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}},
                "there": {"kind": "postgres", "connection": {"dsn": "${THERE_DSN}"}},
            },
            "data_types": {
                name: {
                    "system_of_record": "crm",
                    "source": {"table": table, **({"key": ["code"]} if name == "twin" else {})},
                }
                for name, table in tables.items()
            },
            "flows": [
                *(
                    {
                        "name": name,
                        "data_type": name,
                        "to": "there",
                        "target": {"table": table, "existing": True, "shared": table == "people"},
                    }
                    for name, table in theirs.items()
                ),
                {
                    "name": "padded",
                    "data_type": "code",
                    "to": "there",
                    "target": {"table": "char_codes", "existing": True},
                },
                {"name": "twin", "data_type": "twin", "to": "there", "target": {"table": "Made Twins"}},
                {"name": "raw", "data_type": "raw", "to": "there", "target": {"table": "raw"}},
            ],
        },
        [
            ("canonical", "rate.v", "there", "their_rates.v", "value | upper"),
            ("canonical", "rate.w", "there", "their_rates.w", ""),
        ],
        {
            "price": [{"name": "select", "type": "string"}],
            "rate": [*V, {"name": "w", "type": "string"}],
            **dict.fromkeys(("code", "twin", "man", "woman", "raw"), V),
        },
    )
    made.sorbus("apply", "--yes", status=None)
    with made.up():
        made.until(lambda: _lacks(made), 60, every=0.2)
        yield made


def _lacks(office: Office) -> str:
    wanted = {
        '"Their Prices"': 3,
        "their_rates": 2,
        "int_codes": 2,
        "char_codes": 5,
        '"Made Twins"': 2,
        "people": 4,
        "raw": 1,
    }
    found = {name: rows_of(office.env["THERE_DSN"], f"select count(*) n from {name}")[0]["n"] for name in wanted}
    return "" if found == wanted else str(found)


@pytest.mark.parametrize("flow", ["price", "padded"])
def test_an_id_that_the_target_spells_otherwise_is_the_same_record(office: Office, flow: str) -> None:
    report = reconcile(office, flow)
    assert report["counts"] == {}, report["differences"]
    assert (report["in_flight"], report["undecided"], report["not_compared"]) == (0, 0, [])


def test_a_difference_in_a_record_that_is_spelled_otherwise_is_found(office: Office) -> None:
    there = office.env["THERE_DSN"]
    execute(there, """update "Their Prices" set "select" = 'e' where id = 1""")
    (one,) = reconcile(office, "price")["differences"]
    assert (one["id"], one["kind"], one["fields"]) == (
        "1.0",
        "different",
        [{"field": "select", "owner": "é", "target": "e"}],
    )
    execute(there, """update "Their Prices" set "select" = U&'\\00e9' where id = 1""")


def test_a_field_with_a_rule_of_such_a_record_is_compared_too(office: Office) -> None:
    there = office.env["THERE_DSN"]
    clean = reconcile(office, "rate")
    assert (clean["counts"], clean["not_compared"]) == ({}, [])
    execute(office.env["CRM_DSN"], "update rates set w = 'new' where id = 1")
    office.until(lambda: "" if rows_of(there, "select from their_rates where w = 'new'") else "no event", 30, every=0.2)
    execute(there, "update their_rates set v = 'wrong' where id = 1")
    for how in ((), ("--changed",)):
        [found] = reconcile(office, "rate", *how)["differences"]  # type: ignore[misc]
        assert (found["id"], found["kind"], [field["field"] for field in found["fields"]]) == (
            "1.0",
            "different",
            ["v"],
        )
    execute(there, "update their_rates set v = 'A' where id = 1")


def test_records_that_the_target_takes_for_one_are_told_apart(office: Office) -> None:
    found = {one["id"]: (one["kind"], one["cause"]) for one in reconcile(office, "code")["differences"]}
    clashing = {id: kind for id, (kind, cause) in found.items() if cause == "same_key"}
    assert clashing.keys() <= {"007", "7"}
    assert clashing
    assert {id: found[id] for id in ("x ", "Ä")} == dict.fromkeys(("x ", "Ä"), ("stale", "dead_letter"))
    assert '"records": []' in office.sorbus("reconcile", "code", "--heal", "--yes", "--json", status=1)


def test_two_rows_with_one_key_are_a_difference(office: Office) -> None:
    (one,) = reconcile(office, "twin")["differences"]
    assert (one["id"], one["cause"], one["fields"]) == (
        "b",
        "same_key",
        [{"field": "[]", "owner": "2 rows", "target": "1 rows"}],
    )


def test_healing_one_flow_never_deletes_what_another_wrote_into_the_same_table(office: Office) -> None:
    report = reconcile(office, "man")
    assert {one["id"]: (one["kind"], one["cause"]) for one in report["differences"]} == {
        "11": ("extra", "foreign"),
        "12": ("extra", "foreign"),
    }
    assert '"records": []' in office.sorbus("reconcile", "man", "--heal", "--yes", "--json", status=1)


def test_a_certificate_names_what_is_spelled_otherwise(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "price.json"
    assert "price: 3 records, agrees" in office.sorbus("certify", "price", "--out", str(file))
    check = Path(__file__).parents[2] / "examples" / "certificate" / "check.py"
    done = subprocess.run([sys.executable, "-I", str(check), str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert json.loads(file.read_text())["flows"][0]["differences"] == []


def test_bytes_that_are_not_text_stop_no_comparison(office: Office) -> None:
    report = reconcile(office, "raw")
    assert {one["id"]: (one["kind"], one["cause"]) for one in report["differences"]} == {
        "bad": ("stale", "dead_letter")
    }
    assert report["not_compared"] == ["rows of the owner whose key is not text in UTF-8, which are no records: 1"]
