"""Tables of a made-up source, and the map that copies each into a table of the target."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from bench.processes import Child
from bench.servers import Servers

_TIME = {"type": "long", "logicalType": "timestamp-micros"}
_AVRO: Mapping[str, object] = {
    "text": "string",
    "int": "int",
    "boolean": "boolean",
    "numeric(12,2)": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
    "timestamptz": _TIME,
}
_SAMPLES: Mapping[str, str] = {
    "text": "'Text {at} of ' || n",
    "int": "n % 1000 + {at}",
    "boolean": "n % 2 = 0",
    "numeric(12,2)": "(n % 100000) / 100.0",
    "timestamptz": "timestamptz '2026-01-01' + n * interval '1 second'",
}


@dataclass(frozen=True, slots=True)
class Table:
    """`columns`: name -> SQL type; the key is `id bigint`. `fill`: an SQL expression over `n` where not the sample."""

    name: str
    columns: Mapping[str, str]
    rows: int
    fill: Mapping[str, str]

    def make(self, servers: Servers) -> None:
        """In the source, filled."""
        columns = ", ".join(f"{name} {type}" for name, type in self.columns.items())
        values = ", ".join(
            self.fill.get(name, _SAMPLES[type].replace("{at}", str(at)))
            for at, (name, type) in enumerate(self.columns.items())
        )
        with servers.connect("src") as source:
            source.execute(f"create table {self.name} (id bigint primary key, {columns})".encode())
            source.execute(
                f"insert into {self.name} select n, {values} from generate_series(1, {self.rows}) n".encode()
            )
            source.execute(sql.SQL("vacuum analyze {}").format(sql.Identifier(self.name)))
            source.execute("checkpoint")

    def schema(self) -> str:
        fields = [
            {"name": name, "type": ["null", _AVRO[type]], "default": None, "doc": name}
            for name, type in self.columns.items()
        ]
        return json.dumps(
            {"type": "record", "name": self.name, "namespace": "sorbus", "doc": "A made-up row.", "fields": fields}
        )


class Tables:
    """Sorbus with one flow for each table: `apply`, then a producer and consumers as its users start them."""

    def __init__(
        self,
        servers: Servers,
        folder: Path,
        tables: Sequence[Table],
        sorbus: Sequence[str],
        write_map: Callable[[Path, Sequence[Table]], None] | None = None,
    ) -> None:
        """`write_map`: writes another map than that which copies each table into one of the target."""
        folder.mkdir()
        self._folder, self._sorbus = folder, (*sorbus, "--map", str(folder / "map.yaml"))
        self._environment = {
            "SORBUS_KAFKA": servers.kafka, "SORBUS_REGISTRY": servers.registry,
            "SORBUS_DATABASE": servers.dsn("sorbus"), "SRC": servers.dsn("src"), "DST": servers.dsn("dst"),
            "API_KEY": "k",
        }  # fmt: skip
        self.running: dict[str, Child] = {}
        for table in tables:
            table.make(servers)
        (write_map or _write_map)(folder, tables)
        Child.start("apply", [*self._sorbus, "apply", "--yes"], folder, self._environment).finish(120)

    def start(self, *words: str) -> None:
        """`start("produce", "src")`, `start("consume", "wide-to-dst")`."""
        name = " ".join(words)
        self.running[name] = Child.start(words[0], [*self._sorbus, *words], self._folder, self._environment)

    def kill(self) -> None:
        """All of them, without warning."""
        for child in self.running.values():
            child.process.kill()
            child.process.wait()
        self.running.clear()

    def check(self) -> None:
        for child in self.running.values():
            child.check()

    def stop(self) -> None:
        while self.running:
            self.running.popitem()[1].stop()


def _write_map(folder: Path, tables: Sequence[Table]) -> None:
    def system(dsn: str) -> dict[str, object]:
        return {"kind": "postgres", "connection": {"dsn": dsn}, "owner": "bench"}

    written = {
        "company": "Bench",
        "systems": {"src": system("${SRC}"), "dst": system("${DST}")},
        "data_types": {
            table.name: {"system_of_record": "src", "source": {"table": f"public.{table.name}"}} for table in tables
        },
        "flows": [
            {"data_type": table.name, "to": "dst", "target": {"table": f"{table.name}_copy"}} for table in tables
        ],
    }
    (folder / "map.yaml").write_text(json.dumps(written, indent=1))  # JSON is YAML too
    for place in ("schemas", "mappings"):
        (folder / place).mkdir()
    header = "Source System,Source Field,Target System,Target Field,Rule,Notes\n"
    read, given = header, header
    for table in tables:
        (folder / "schemas" / f"{table.name}.avsc").write_text(table.schema())
        read += "".join(f"src,{table.name}.{one},canonical,{table.name}.{one},,\n" for one in table.columns)
        given += "".join(
            f"canonical,{table.name}.{one},dst,{table.name}_copy.{one},,\n" for one in ("id", *table.columns)
        )
    (folder / "mappings" / "src.csv").write_text(read)
    (folder / "mappings" / "dst.csv").write_text(given)
