"""`sorbus certify` on real servers: what its paper says is so, and an independent program can check it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sorbus.map.load import load_map
from sorbus.ops.certify.cut import Certification
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.acceptance.office import Office, execute, rows_of
from tests.commands import type_command
from tests.databases import new_database

CHECK = Path(__file__).parents[2] / "examples" / "certificate" / "check.py"
OWNER = """
create table bills (id numeric primary key, n bigint, amount numeric, payer text);
insert into bills select g + 0.5, g, g * 1.5, 'p' || g from generate_series(1, 40) g;
create table twins (code text not null, n bigint);
alter table twins replica identity full;
insert into twins values ('a', 1), ('b', 2), ('b', 2), ('c', 3), ('c', 4);
create table kept (id text primary key, v text);
insert into kept select g, 'v' || g from generate_series(1, 20) g;
"""
TARGET = "create table their_bills (id numeric(10,2) primary key, n text, amount numeric, payer text);"
AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 6}
BILL = [
    {"name": name, "type": ["null", type], "default": None}
    for name, type in (("n", "long"), ("amount", AMOUNT), ("payer", "string"))
]


@pytest.fixture(scope="module")
def office(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Bills whose key the target spells otherwise, one field of them by a rule, and records that stay when deleted."""
    dsns = [new_database(stack.database) for _ in range(3)]
    execute(dsns[0], OWNER)
    execute(dsns[1], TARGET)
    env = dict(zip(("CRM_DSN", "THERE_DSN", "SORBUS_DATABASE"), dsns, strict=True))
    made = Office(Path(tmp_path_factory.mktemp("paper")), dsns[0].rpartition("/")[2], {**stack.env(), **env})
    made.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}},
                "there": {"kind": "postgres", "connection": {"dsn": "${THERE_DSN}"}},
            },
            "data_types": {
                "bill": {"system_of_record": "crm", "source": {"table": "bills"}},
                "keep": {"system_of_record": "crm", "source": {"table": "kept"}},
                "twin": {"system_of_record": "crm", "source": {"table": "twins", "key": ["code"]}},
            },
            "flows": [
                {"data_type": "bill", "to": "there", "target": {"table": "their_bills", "existing": True}},
                {"data_type": "keep", "to": "there", "deletes": "ignore", "target": {"table": "kept"}},
                {"data_type": "twin", "to": "there", "target": {"table": "made_twins"}},
            ],
        },
        [
            ("canonical", "bill.n", "there", "their_bills.n", ""),
            ("canonical", "bill.amount", "there", "their_bills.amount", ""),
            ("canonical", "bill.payer", "there", "their_bills.payer", "value | upper"),
        ],
        {"bill": BILL, "keep": [{"name": "v", "type": "string"}], "twin": BILL[:1]},
    )
    made.sorbus("apply", "--yes", status=None)  # a key that isn't unique is for a person to correct
    with made.up():
        made.until(lambda: _lacks(made), 60, every=0.2)
        yield made


def _lacks(office: Office) -> str:
    wanted = {"their_bills": 40, "kept": 20, "made_twins": 3}
    found = {name: rows_of(office.env["THERE_DSN"], f"select count(*) n from {name}")[0]["n"] for name in wanted}
    return "" if found == wanted else str(found)


def _checked(file: Path) -> str:
    """What the independent program says of a sound certificate."""
    done = subprocess.run([sys.executable, "-I", str(CHECK), str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_flow_with_rules_is_certified_and_ids_spelled_otherwise_are_not_on_their_way(
    office: Office, tmp_path: Path
) -> None:
    file = tmp_path / "bills.json"
    told = office.sorbus("certify", "bill", "--out", str(file)).splitlines()
    assert told[1] == "  bill-to-there: 40 records, agrees"
    assert "    80: there writes its id in another way" in told
    assert "    compared with what the topic held afterwards: field payer: rule value | upper" in told
    assert told[-1] == "Certified: all systems agree."
    assert "in no sum, compared with what the topic held: field payer" in _checked(file)


def test_a_wrong_field_with_a_rule_is_in_the_paper(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "bills.json"
    execute(office.env["THERE_DSN"], "update their_bills set payer = 'nobody' where id = 3.5")
    told = office.sorbus("certify", "bill", "--out", str(file), status=1).splitlines()
    execute(office.env["THERE_DSN"], "update their_bills set payer = 'P3' where id = 3.5")
    assert told[1] == "  bill-to-there: 40 records, agrees but for 1 record"
    assert told[-1] == "Not certified in full: 1 records differ."
    [found] = json.loads(file.read_text())["flows"][0]["from_topic"]["differences"]
    assert (found["id"], found["kind"], found["fields"]) == ("3.5", "different", [["payer", "P3", "nobody"]])
    assert "of those, 1 records differ" in _checked(file)


@pytest.mark.parametrize(
    ("column", "text"), [*(("n", text) for text in ("abc", "1e5", " 7", "NaN", "")), ("amount", "NaN")]
)
def test_a_value_that_is_no_number_is_no_flaw_of_the_paper(
    office: Office, tmp_path: Path, column: str, text: str
) -> None:
    there = office.env["THERE_DSN"]
    execute(there, f"update their_bills set {column} = '{text}' where id = 7.5")
    office.sorbus("certify", "bill", "--out", str(tmp_path / "bills.json"), status=1)
    execute(there, "update their_bills set n = '7', amount = 10.5 where id = 7.5")
    assert "'differences': 1" in _checked(tmp_path / "bills.json")


def test_the_rows_of_a_key_that_is_not_unique_are_in_the_totals(office: Office, tmp_path: Path) -> None:
    told = office.sorbus("certify", "twin", "--out", str(tmp_path / "twins.json"), status=1).splitlines()
    assert told[1] == "  twin-to-there: 5 records, agrees but for 2 records"
    _checked(tmp_path / "twins.json")


def test_what_the_flow_keeps_is_not_on_its_way(office: Office, tmp_path: Path) -> None:
    execute(office.env["CRM_DSN"], "delete from kept where id in ('1', '2')")
    told = office.sorbus("certify", "keep", "--out", str(tmp_path / "kept.json"), status=1).splitlines()
    assert told[1] == "  keep-to-there: 18 records, no difference found"
    assert "    2: only there has it: the flow ignores deletes" in told
    assert json.loads((tmp_path / "kept.json").read_text())["flows"][0]["moved"] == []
    _checked(tmp_path / "kept.json")


def test_all_systems_are_connected_before_the_moment(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in office.env.items():
        monkeypatch.setenv(name, value)
    connected: list[object] = []

    def at() -> None:
        with psycopg.connect(office.env["CRM_DSN"], autocommit=True) as owner:
            query = "select datname from pg_stat_activity where application_name like '%reconcile bill%'"
            connected.extend(name for (name,) in owner.execute(query))
            owner.execute("insert into bills values (41.5, 41, 1, 'the last')")

    made = Certification(load_map(office.folder / "map.yaml"), "bill", Settings(), lambda *_: None, wait=30).run(at)
    assert {office.env[name].rpartition("/")[2] for name in ("CRM_DSN", "THERE_DSN")} <= set(connected)
    assert made.flows[0].records == 41
    assert made.agrees


def test_a_file_that_cannot_be_written_is_said_before_the_moment(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "no" / "paper.json"
    done = type_command("certify", "bill", "--as-of", "2999-01-01", "--out", str(file), env=office.env)
    assert done.exit_code == 2
    assert "can't be written: No such file or directory" in done.output


def test_an_id_moves_no_cursor(office: Office) -> None:
    """A single C1 character, which click doesn't strip as it does whole sequences where nobody looks."""
    there = office.env["THERE_DSN"]
    execute(office.env["CRM_DSN"], "insert into kept values (U&'\\009b2J', 'new')")
    office.until(lambda: "" if rows_of(there, "select from kept where v = 'new'") else "it isn't there", 30, every=0.2)
    execute(there, "delete from kept where v = 'new'")
    told = office.sorbus("certify", "keep", status=1)
    assert "missing" in told
    assert "\x9b" not in told
