"""A made-up company with as many flows as asked for: databases and the tests' HTTP application, each target gets all.

Of the data types the last is owned by the HTTP application, three each by a database; every fifth target is the
application, the others are databases.
"""

import contextlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench.processes import Child
from sorbus.ops.embedded.stack import Addresses

HERE = Path(__file__).parent
APPLICATION = HERE.parent / "tests" / "http_api"
_TABLE = """create table public.{} (id text primary key, name text not null, email text, city text);
alter table public.{} replica identity full"""
_FIELDS = ("name", "email", "city")
_EVERY = 5
"""Every so many-th target is the HTTP application."""


@dataclass(frozen=True, slots=True)
class Company:
    """Its folder with map.yaml, the variables that it needs, and what to look at."""

    folder: Path
    environment: dict[str, str]
    flows: int
    owners: dict[str, str]
    """Data type -> the dsn of the database that owns it; those of the HTTP application aren't there."""
    targets: dict[str, str]
    """Target database -> its dsn."""

    def change(self, data_type: str, id: str, name: str) -> None:
        """Somebody writes a record into its owner."""
        with psycopg.connect(self.owners[data_type], autocommit=True) as connection:
            statement = "insert into public.{} (id, name) values (%s, %s) on conflict (id) do update set name = %s"
            connection.execute(sql.SQL(statement).format(sql.Identifier(data_type)), (id, name, name))

    def missing(self, data_type: str, id: str, name: str) -> list[str]:
        """The target databases that don't have this record so."""
        found = []
        for target, dsn in self.targets.items():
            with psycopg.connect(dsn, autocommit=True) as connection:
                statement = sql.SQL("select from public.{} where id = %s and name = %s")
                if connection.execute(statement.format(sql.Identifier(data_type)), (id, name)).fetchone() is None:
                    found.append(target)
        return found

    def drop(self, server: str) -> None:
        """Removes its databases, with what still uses them, and its slots."""
        databases = {dsn.rpartition("/")[2] for dsn in [*self.owners.values(), *self.targets.values()]}
        databases.add(self.environment["SORBUS_DATABASE"].rpartition("/")[2])
        with psycopg.connect(server, autocommit=True) as connection:
            slots = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = %s"
            for name in databases:
                connection.execute(slots, (name,))
                connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def shape(flows: int) -> tuple[int, int]:
    """How many data types and targets make so many flows: as few data types as targets, or fewer."""
    data_types = max(count for count in range(1, flows + 1) if flows % count == 0 and count * count <= flows)
    return data_types, flows // data_types


@contextlib.contextmanager
def company(flows: int, servers: Addresses, folder: Path, application: str) -> Iterator[Company]:
    """Makes databases and a map with `flows` flows; `application`: the HTTP application's base URL."""
    count, targets = shape(flows)
    names = [f"thing_{number}" for number in range(count)]
    prefix = f"bench{uuid.uuid4().hex[:8]}."

    def database(script: str = "") -> str:
        name = f"b{uuid.uuid4().hex[:12]}"
        with psycopg.connect(servers.database, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        dsn = f"{servers.database.rpartition('/')[0]}/{name}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(script.encode())
        return dsn

    systems: dict[str, object] = {}
    owners: dict[str, str] = {}
    data_types: dict[str, object] = {}
    api = {
        "kind": "http",
        "owner": "bench",
        "connection": {"api": "faulty.yaml", "base_url": application, "api_key": "${API_KEY}"},
    }
    for at, name in enumerate(names):
        by_api = at == count - 1 and count > 1
        owner = "shop" if by_api else f"owner_{at // 3}"
        if by_api:
            systems[owner] = api
        elif owner not in systems:
            own = [one for place, one in enumerate(names) if place // 3 == at // 3]
            dsn = database(";\n".join(_TABLE.replace("{}", one) for one in own))
            systems[owner] = {"kind": "postgres", "owner": "bench", "connection": {"dsn": dsn}}
        if not by_api:
            owners[name] = systems[owner]["connection"]["dsn"]  # type: ignore[index]
        source = {"resource": "contacts"} if by_api else {"table": f"public.{name}"}
        data_types[name] = {"system_of_record": owner, "source": source, "match": ["email"]}
    receivers: dict[str, str] = {}
    written: list[dict[str, object]] = []
    for at in range(targets):
        target, is_api = f"target_{at}", at % _EVERY == _EVERY - 1
        if is_api:
            systems[target] = api
        else:
            receivers[target] = database()
            systems[target] = {"kind": "postgres", "owner": "bench", "connection": {"dsn": receivers[target]}}
        for name in names:
            into = {"resource": "contacts"} if is_api else {"table": name}
            written.append({"data_type": name, "to": target, "target": into})
    (folder / "schemas").mkdir()
    (folder / "mappings").mkdir()
    for name in names:
        (folder / "schemas" / f"{name}.avsc").write_text(json.dumps(_schema(name)))
    for system in systems:
        (folder / "mappings" / f"{system}.csv").write_text(_sheet(system, systems, data_types, names))
    shutil.copy(APPLICATION / "faulty.yaml", folder)
    whole = {
        "company": "Bench", "topic_prefix": prefix, "systems": systems, "data_types": data_types,
        "flows": written,
    }  # fmt: skip
    (folder / "map.yaml").write_text(json.dumps(whole, indent=1))  # JSON is YAML too
    state = database()
    environment = {
        "SORBUS_KAFKA": servers.kafka, "SORBUS_REGISTRY": servers.registry, "SORBUS_DATABASE": state,
        "SORBUS_LOGS": "json", "API_KEY": "k",
    }  # fmt: skip
    made = Company(folder, environment, flows, owners, receivers)
    try:
        yield made
    finally:
        made.drop(servers.database)


@contextlib.contextmanager
def application(folder: Path) -> Iterator[str]:
    """The tests' HTTP application in a process of its own; its base URL."""
    child = Child.start(
        "application", [sys.executable, "-m", "bench.company"], folder, {"PYTHONPATH": str(HERE.parent)}
    )
    try:
        while not (said := child.log.read_text().strip()):
            child.check()
        yield said
    finally:
        child.stop()


def _schema(name: str) -> dict[str, object]:
    fields: list[dict[str, object]] = [{"name": "name", "type": "string", "doc": "Name."}]
    fields += [{"name": one, "type": ["null", "string"], "default": None, "doc": one} for one in _FIELDS[1:]]
    return {"type": "record", "name": name, "namespace": "sorbus", "doc": "A made-up thing.", "fields": fields}


def _sheet(system: str, systems: dict[str, object], data_types: dict[str, object], names: list[str]) -> str:
    lines = ["Source System,Source Field,Target System,Target Field,Rule,Notes"]
    for name in names:
        own = data_types[name]["system_of_record"] == system  # type: ignore[index]
        is_api = systems[system]["kind"] == "http"  # type: ignore[index]
        place = "contacts" if is_api else name
        if own:
            lines += [f"{system},{place}.{one},canonical,{name}.{one},," for one in _FIELDS]
        elif system.startswith("target"):
            ids = [] if is_api else [f"canonical,{name}.id,{system},{place}.id,,"]
            lines += [*ids, *(f"canonical,{name}.{one},{system},{place}.{one},," for one in _FIELDS)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import signal

    from tests.http_api.faulty import serving

    with serving() as served:
        served.api_key = "k"
        print(served.base_url, flush=True)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        signal.pause()
