"""While a schema changes, consumers on the older and the newer version run side by side on one topic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from sorbus.consumers.loop import ConsumeLoop
from sorbus.map.load import load_map
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.planning import plan
from sorbus.schema import AvroType
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics
from sorbus.telemetry.stop import Stop
from tests.consumers.line import Running, eventually
from tests.producers.shop import Running as Producing

NAME: AvroType = {"name": "name", "type": "string"}
OLD: list[AvroType] = [NAME, {"name": "fax", "type": ["null", "string"], "default": None}]
NEW: list[AvroType] = [NAME, {"name": "mobile", "type": ["null", "string"], "default": None}]
SOURCE = "create table people (id int primary key, name text not null, fax text, mobile text)"
Rows = list[tuple[object, ...]]


class House:
    """One map in two folders, with the older schema and the newer; each has a flow and a target of its own."""

    def __init__(self, folder: Path, prefix: str, dsns: dict[str, str], settings: Settings) -> None:
        self.settings, self.dsns = settings, dsns
        self.folders = {"old": folder / "old", "new": folder / "new"}
        for version, fields in (("old", OLD), ("new", NEW)):
            self._write(self.folders[version], fields, prefix)

    def _write(self, folder: Path, fields: list[AvroType], prefix: str) -> None:
        (folder / "schemas").mkdir(parents=True)
        written = {
            "topic_prefix": f"{prefix}.",
            "systems": {name: {"kind": "postgres", "connection": {"dsn": dsn}} for name, dsn in self.dsns.items()},
            "data_types": {"person": {"system_of_record": "crm", "source": {"table": "people"}, "partitions": 2}},
            "flows": [{"data_type": "person", "to": name, "target": {"table": "people"}} for name in self.folders],
        }
        (folder / "map.yaml").write_text(json.dumps(written))
        schema = {"type": "record", "name": "person", "fields": fields}
        (folder / "schemas" / "person.avsc").write_text(json.dumps(schema))

    def apply(self, version: str, *where: str) -> None:
        for step in plan(load_map(self.folders[version] / "map.yaml"), self.settings):
            if step.apply is not None and step.where in where:
                step.apply()

    @contextmanager
    def producing(self, version: str) -> Iterator[None]:
        running = Producing(load_map(self.folders[version] / "map.yaml"), self.settings, "crm")
        running.thread.start()
        try:
            yield
        finally:
            running.stop.set()
            running.thread.join(30)
        assert running.error is None, running.error

    @contextmanager
    def consuming(self, version: str) -> Iterator[None]:
        """The flow to the target `version`, on the schema `version`."""
        loaded = load_map(self.folders[version] / "map.yaml")
        flow, connector = loaded.flow(f"person-to-{version}"), loaded.consumer(version)
        health, stop = Health(), Stop()
        metrics = ConsumerMetrics(flow.flow.id, "person", version)
        loop = ConsumeLoop(lambda: connector(flow), flow, self.settings, health=health, metrics=metrics, stop=stop)
        running = Running(loop, health, stop)
        try:
            yield
        finally:
            running.stop(30)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.dsns["crm"], autocommit=True) as connection:
            connection.execute(statement.encode())

    def wait(self, version: str, query: str, wanted: Rows) -> None:
        with psycopg.connect(self.dsns[version], autocommit=True) as connection:
            eventually(
                lambda: connection.execute(query.encode()).fetchall() == wanted,
                f"{version}: {wanted}; there is {connection.execute(query.encode()).fetchall()}",
            )


def test_consumers_on_the_older_and_the_newer_schema_are_both_right(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path
) -> None:
    settings = Settings(kafka=stack.kafka, registry=stack.registry)
    dsns = {"crm": make_database(SOURCE), "old": make_database(""), "new": make_database("")}
    house = House(tmp_path, unique, dsns, settings)
    house.execute("insert into people values (1, 'First', 'f1', 'm1'), (2, 'Second', 'f2', null)")
    house.apply("old", "kafka", "registry", "crm", "old")
    with house.consuming("old"):
        with house.producing("old"):
            house.wait("old", "select name, fax from people order by 1", [("First", "f1"), ("Second", "f2")])
        house.apply("new", "registry", "new")
        with house.consuming("new"), house.producing("new"):
            house.execute("update people set name = 'Changed', mobile = 'm9' where id = 1")
            house.execute("insert into people values (3, 'Third', 'f3', 'm3')")
            # What the newer schema writes has no fax, and the older reader takes its default; with another mapping each
            # record is read and written once more, the unchanged one too.
            house.wait(
                "new",
                "select name, mobile from people order by 1",
                [("Changed", "m9"), ("Second", None), ("Third", "m3")],
            )
            house.wait(
                "old", "select name, fax from people order by 1", [("Changed", None), ("Second", None), ("Third", None)]
            )
            house.execute("delete from people where id = 2")
            house.wait("new", "select count(*) from people", [(2,)])
            house.wait("old", "select count(*) from people", [(2,)])
