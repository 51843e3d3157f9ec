"""`sorbus discover` on tables that people really have: drafts, and words about required fields."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sorbus.errors import ExitCode
from sorbus.schema import read_schema

if TYPE_CHECKING:
    from typer.testing import Result

Run = Callable[..., "Result"]
WIDE = ", ".join(f"c{number} text" for number in range(199))
TABLES = f"""
create type mood as enum ('sad', 'happy');
create domain amount as numeric(7, 2);
create table "Price List" (id int primary key, "Unit Price" numeric(7, 2) not null, least amount,
                           "Gültig ab" date, "order" text,
                           moods mood[], "Moods" mood, tags text[], nested int[][], at timestamp,
                           "2nd" text, big numeric);
create table meters (region int, serial text, built date not null, primary key (region, serial));
create table readings (region int, serial text, no int, value double precision, primary key (region, serial, no),
                       foreign key (region, serial) references meters);
create table notes (body text, made timestamptz);
create table "select" (id uuid primary key, meter_of int references "Price List", doc jsonb, raw bytea);
create table visits (id bigint, on_day date, primary key (id, on_day)) partition by range (on_day);
create table visits_2024 partition of visits for values from ('2024-01-01') to ('2025-01-01');
create table wide (id int primary key, {WIDE});
create table customers (id int primary key, name text, email text);
insert into customers select n, case when n <= 10 then 'Name ' || n end from generate_series(1, 59) n;
"""
MAP = """
company: odd
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
data_types: {}
"""
TYPES = {
    "price_list": "Price List", "meter": "meters", "note": "notes", "select": "select", "visit": "visits",
    "wide": "wide",
}  # fmt: skip


@pytest.fixture
def odd(tmp_path: Path, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRM_DSN", make_database(TABLES))
    (tmp_path / "map.yaml").write_text(MAP)
    return tmp_path / "map.yaml"


def test_every_table_has_a_draft_or_is_a_known_data_type_or_a_list(sorbus: Run, odd: Path) -> None:
    look = json.loads(sorbus("--map", odd, "discover", "crm", "--json").stdout)
    drafts = {each["data_type"]: each for each in look["drafts"]}
    assert {name: each["resource"] for name, each in drafts.items()} == {
        name: f"public.{table}" for name, table in TYPES.items()
    }
    assert [each["data_type"] for each in look["proposals"]] == ["customer"]
    assert drafts["meter"]["source"] == {
        "table": "public.meters",
        "children": {"readings": {"table": "public.readings", "parent": ["region", "serial"]}},
    }
    assert len(drafts["wide"]["fields"]) == 199
    fields = {each["name"]: each for each in drafts["price_list"]["schema"]["fields"]}
    assert fields["unit_price"]["type"] == {"type": "bytes", "logicalType": "decimal", "precision": 7, "scale": 2}
    assert fields["least"]["type"] == ["null", "string"], "a domain doesn't say how many places it keeps"
    assert {"gultig_ab", "order", "moods", "moods_2", "n_2_nd"} <= fields.keys()
    selected = {each["name"]: each for each in drafts["select"]["schema"]["fields"]}
    assert selected["meter_of"]["doc"] == "The price list's id."


def test_required_fields_that_are_empty_in_rows_are_told_in_words_and_in_the_sheet(sorbus: Run, odd: Path) -> None:
    result = sorbus("--map", odd, "discover", "crm", "--sheet")
    assert result.exit_code == ExitCode.FINE, result.output
    assert "empty in 49 of 59 rows" in " ".join(result.stdout.split())
    assert "no primary key" in result.stdout
    rows = list(csv.DictReader((odd.parent / "mappings" / "crm.csv").open(encoding="utf-8")))
    (name,) = (row for row in rows if row["Target Field"] == "customer.name")
    assert "required, and empty in 49 of 59 rows" in name["Notes"]


def test_the_drafts_are_schemas_and_rows_that_the_check_accepts(sorbus: Run, odd: Path) -> None:
    look = json.loads(sorbus("--map", odd, "discover", "crm", "--json").stdout)
    assert sorbus("--map", odd, "discover", "crm", "--save", "--sheet").exit_code == ExitCode.FINE
    for name in TYPES:
        assert read_schema(odd.parent / "schemas" / f"{name}.avsc").fields
    types = {
        each["data_type"]: {"system_of_record": "crm", "source": each["source"]}
        for each in [*look["proposals"], *look["drafts"]]
    }
    types["note"]["source"]["key"] = ["body"]
    odd.write_text(MAP.replace("data_types: {}", "data_types: " + json.dumps(types)))
    findings = json.loads(sorbus("--map", odd, "map", "check", "--json").stdout)["findings"]
    assert findings == []


def test_what_was_drafted_once_is_known_afterwards(sorbus: Run, odd: Path) -> None:
    assert sorbus("--map", odd, "discover", "crm", "--sheet").exit_code == ExitCode.FINE
    look = json.loads(sorbus("--map", odd, "discover", "crm", "--json").stdout)
    assert look["drafts"] == []
    assert set(TYPES) - {"note"} < {each["data_type"] for each in look["proposals"]}
