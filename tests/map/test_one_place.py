"""Two systems that are one: a note, whatever way their connections are written, and no finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sorbus.map.checks.check import check_to_run
from sorbus.map.checks.same_system import same_places, same_servers
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap

URL = "postgresql://anna@db.example.com/crm"


def two_systems(folder: Path, one: dict[str, object], other: dict[str, object], env: str = "") -> LoadedMap:
    folder.joinpath(".env").write_text(env)
    systems = {"crm": {**one, "owner": "Sales"}, "books": {**other, "owner": "Finance"}}
    owned = {"customer": {"system_of_record": "crm", "source": {"table": "customers", "resource": "issues"}}}
    flow = {"data_type": "customer", "to": "books", "timing": "real-time", "target": {"table": "debtors"}}
    written = {"company": "Test", "systems": systems, "data_types": owned, "flows": [flow]}
    folder.joinpath("map.yaml").write_text(json.dumps(written))
    return load_map(folder / "map.yaml")


def postgres(dsn: str) -> dict[str, object]:
    return {"kind": "postgres", "connection": {"dsn": dsn}}


@pytest.mark.parametrize(
    ("one", "other", "env"),
    [
        (URL, URL, ""),
        (URL, "postgresql://berta:${PASSWORD}@DB.example.com:5432/crm?sslmode=require", "PASSWORD=x"),
        (URL, "host=db.example.com dbname=crm user=carl", ""),
        ("postgresql://a@localhost/crm", "host=127.0.0.1 dbname=crm", ""),
        ("${CRM}", "${BOOKS}", f"CRM={URL}\nBOOKS={URL}"),
        ("${NOT_SET}", "${NOT_SET}", ""),
    ],
)
def test_one_database_is_noted(tmp_path: Path, one: str, other: str, env: str) -> None:
    loaded = two_systems(tmp_path, postgres(one), postgres(other), env)
    [note] = same_places(loaded)
    assert (
        "crm and books are one and the same postgres system (customer-to-books leads from one into the other)" in note
    )
    assert "example.com" not in note
    assert not [found for found in check_to_run(loaded) if "same" in found.message]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (URL, URL.replace("/crm", "/books")),
        (URL, URL.replace("db.", "db2.")),
        (URL, URL.replace(".com", ".com:5433")),
        ("${NOT_SET}", "${NOT_SET_EITHER}"),
    ],
)
def test_two_databases_are_not(tmp_path: Path, one: str, other: str) -> None:
    assert same_places(two_systems(tmp_path, postgres(one), postgres(other))) == []


def test_one_application_is_noted_and_two_accounts_of_it_are_not(tmp_path: Path) -> None:
    def account(key: str) -> dict[str, object]:
        return {"kind": "http", "connection": {"api": "redmine", "base_url": "https://r.example.com", "api_key": key}}

    assert same_places(two_systems(tmp_path, account("${A}"), account("${A}")))
    assert not same_places(two_systems(tmp_path, account("${A}"), account("${B}")))


def test_a_server_is_asked_which_it_is(tmp_path: Path, database: str) -> None:
    given = {**conninfo_to_dict(database), "options": "-c geqo=off"}
    again = make_conninfo(**{name: str(value) for name, value in given.items()})
    [note] = same_servers(two_systems(tmp_path, postgres(database), postgres(again)))
    assert "crm and books are one and the same" in note
    other = make_conninfo(database, dbname="postgres")
    assert same_servers(two_systems(tmp_path, postgres(database), postgres(other))) == []
    away = make_conninfo(database, port="1")
    assert same_servers(two_systems(tmp_path, postgres(database), postgres(away))) == []
