"""Every type of the server's catalog from a source to a target: the same value by the servers' own text, or refused.

One pair of databases whose defaults (DateStyle and the like) would alter text if a session let them. Each value is a
row of its own in a table with a column a type, so that one refusal hides nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from sorbus.connector import Consumer, Delivery, Producer
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import TransientError, Unfinished
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from tests.postgres.type_values import ARRAYS, NO_INPUT, OWN_TYPES, VALUES
from tests.replication_slots import drop_slots

HOSTILE = {
    "DateStyle": "German, DMY", "IntervalStyle": "sql_standard", "extra_float_digits": "-3", "bytea_output": "escape",
    "TimeZone": "America/St_Johns", "xmloption": "document", "array_nulls": "off", "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
}  # fmt: skip
"""Defaults of both databases, for every session that doesn't say otherwise."""
PLAIN = (
    "-c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c TimeZone=UTC"
    " -c xmloption=content -c array_nulls=on -c quote_all_identifiers=off -c standard_conforming_strings=on"
)
NEAREST: Mapping[str, object] = {
    "bool": "boolean", "bytea": "bytes", "int2": "int", "int4": "int", "int8": "long", "oid": "long",
    "float4": "float", "float8": "double",
    "numeric": {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 20},
    "money": {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 2},
    "money_amount": {"type": "bytes", "logicalType": "decimal", "precision": 7, "scale": 2},
    "date": {"type": "int", "logicalType": "date"}, "time": {"type": "long", "logicalType": "time-micros"},
    "timestamp": {"type": "long", "logicalType": "timestamp-micros"},
    "timestamptz": {"type": "long", "logicalType": "timestamp-micros"},
    "uuid": {"type": "string", "logicalType": "uuid"},
    "mood": {"type": "enum", "name": "Mood", "symbols": ["sad", "happy"]},
}  # fmt: skip
"""Type -> the Avro type that is nearest; text for the others."""


Connection = psycopg.Connection[tuple[object, ...]]


class Value(NamedTuple):
    """A row of the test: `column` holds `text`."""

    pk: int
    column: str
    text: str


class Columns(NamedTuple):
    """Column -> its type, and the values to try."""

    types: dict[str, str]
    values: list[Value]


def every_column(dsn: str) -> Columns:
    """A column for each type of the catalog and of our own, and arrays, domains and composites of each."""
    with psycopg.connect(dsn, options=PLAIN) as connection:
        found = connection.execute(
            "select typname, format_type(oid, null), typarray <> 0 from pg_type t where typtype in ('b', 'r', 'm')"
            " and typnamespace = 'pg_catalog'::regnamespace and typsubscript <> 'array_subscript_handler'::regproc"
            " order by oid"
        ).fetchall()
        names = {str(name): str(native) for name, native, _ in found}
        assert names.keys() - NO_INPUT <= VALUES.keys(), "a type of this server's that the test knows no value of"
        names = {name: names.get(name, name) for name in VALUES} | {"bpchar": "character(12)"}
        if not has_xml(dsn):
            del names["xml"]
        types: dict[str, str] = {}
        values: list[Value] = []

        def add(column: str, native: str, texts: list[str]) -> None:
            types[column] = native
            values.extend([Value(len(values) + place, column, text) for place, text in enumerate(texts, 1)])

        for name, native in names.items():
            texts = list(VALUES[name])
            add(f"c_{name}", native, texts)
            literals = sql.SQL(", ").join(sql.SQL("{}::{}").format(sql.Literal(t), sql.SQL(native)) for t in texts)
            whole = sql.SQL("select array[{}, null]::text").format(literals)
            array = connection.execute(whole).fetchone()
            assert array is not None
            add(f"a_{name}", f"{native}[]", [str(array[0]), *ARRAYS.get(name, ())])
            add(f"d_{name}", f"d_{name}", texts[:2])
            add(
                f"r_{name}",
                f"r_{name}",
                [
                    str(row[0])
                    for row in (
                        connection.execute(
                            sql.SQL("select row({}::{})::text").format(sql.Literal(text), sql.SQL(native))
                        ).fetchone()
                        for text in texts[:3]
                    )
                    if row
                ],
            )
            add(f"da_{name}", f"d_{name}[]", [str(array[0])])
    return Columns(types, values)


def has_xml(dsn: str) -> bool:
    """Whether the server was built with XML."""
    try:
        with psycopg.connect(dsn) as connection:
            connection.execute("select '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


class Pair:
    """Two databases, and flows from one to the other."""

    def __init__(self, folder: Path, dsns: tuple[str, str, str], columns: Columns, prefix: str) -> None:
        self.folder, self.columns = folder, columns
        self.source, self.target, self.made = (psycopg.connect(d, autocommit=True, options=PLAIN) for d in dsns)
        own = OWN_TYPES + "".join(
            f"create domain d_{name} as {columns.types[f'c_{name}']};"
            f"create type r_{name} as (v {columns.types[f'c_{name}']});"
            for name in (column[2:] for column in columns.types if column.startswith("c_"))
        )
        table = "create table every (pk int primary key, {});".format(
            ", ".join(f'"{column}" {native}' for column, native in columns.types.items())
        )
        for connection in (self.source, self.target, self.made):
            connection.execute((own + table if connection is self.source else own).encode())
            database = connection.info.dbname
            for name, value in HOSTILE.items():
                statement = sql.SQL("alter database {} set {} = {}")
                connection.execute(statement.format(sql.Identifier(database), sql.SQL(name), sql.Literal(value)))
        self.flows = {"as_text": False, "ruled": False, "nearest": False}
        for name in self.flows:
            self.target.execute(table.replace("table every", f"table {name}").encode())
        (folder / "schemas").mkdir()
        (folder / "mappings").mkdir()
        systems = {"a": dsns[0], "b": dsns[1], "c": dsns[2]}
        written = {
            "company": "types", "topic_prefix": f"{prefix}.",
            "systems": {
                name: {"kind": "postgres", "connection": {"dsn": f"${{{name.upper()}_DSN}}"}} for name in systems
            },
            "data_types": {name: {"system_of_record": "a", "source": {"table": "public.every"}} for name in self.flows},
            "flows": [
                {"data_type": name, "to": to, "target": {"table": f"public.{name}", **more}}
                for name in self.flows
                for to, more in (("b", {"existing": True, "key": "pk"}), ("c", {}))
            ],
        }  # fmt: skip
        (folder / "map.yaml").write_text(json.dumps(written))
        (folder / ".env").write_text("".join(f"{name.upper()}_DSN={dsn}\n" for name, dsn in systems.items()))
        sheet = ["Source System,Source Field,Target System,Target Field,Rule,Notes"]
        for flow in self.flows:
            fields = [self._field(flow, column, sheet) for column in columns.types]
            schema = {"type": "record", "name": flow, "fields": fields}
            (folder / "schemas" / f"{flow}.avsc").write_text(json.dumps(schema))
        (folder / "mappings" / "all.csv").write_text("\n".join(sheet) + "\n")
        self.loaded: LoadedMap = load_map(folder / "map.yaml")

    def _field(self, flow: str, column: str, sheet: list[str]) -> dict[str, object]:
        kind, _, name = column.partition("_")
        near: object = NEAREST.get(name, "string") if kind != "r" else "string"
        rule = ""
        if flow == "nearest":
            if kind in ("c", "d", "a", "da") and name == "timestamp":
                rule = 'value | datetime(tz="UTC")' if kind in ("c", "d") else ""
                near = near if rule else "string"
            if isinstance(near, dict) and near.get("type") == "enum":
                near = {**near, "name": f"Mood_{kind}", "symbols": ["sad"]}
            if kind in ("a", "da"):
                near = {"type": "array", "items": ["null", near]}
        else:
            bare = name in ("bool", "float4", "float8") and kind in ("c", "d")
            near = "bytes" if name == "bytea" and kind in ("c", "d") else "string"
            if near == "string" and kind in ("c", "d") and (flow == "ruled" or bare):
                rule = "value | text"
        quoted = rule.replace('"', '""')
        sheet.append(f'a,every.{column},canonical,{flow}.{column},"{quoted}",')
        return {"name": column, "type": ["null", near], "default": None}

    def fill(self, after: int) -> None:
        """Every value as a row, its key above `after`."""
        with self.source.transaction(), self.source.cursor() as cursor:
            for value in self.columns.values:
                native = self.columns.types[value.column]
                statement = sql.SQL("insert into every (pk, {}) values ({}, {}::{})")
                cursor.execute(
                    statement.format(
                        sql.Identifier(value.column),
                        sql.Literal(after + value.pk),
                        sql.Literal(value.text),
                        sql.SQL(native),
                    )
                )

    def texts(
        self, connection: Connection, table: str, key: str = "pk", *, cast: bool = False
    ) -> dict[tuple[int, str], str | None]:
        """Row and column -> the server's text of what is there; `cast`: of what the column's own type makes of it."""
        count, columns = len(self.columns.values), list(self.columns.types)
        names = sql.SQL(", ").join(
            _of_text(table, name, native) if cast else sql.SQL("{}::text").format(sql.Identifier(name))
            for name, native in self.columns.types.items()
        )
        out: dict[tuple[int, str], str | None] = {}
        query = sql.SQL("select {}, {} from {}").format(sql.Identifier(key), names, sql.Identifier(table))
        for row in connection.execute(query):
            pk = int(str(row[0]))
            column = self.columns.values[(pk - 1) % count].column
            text = row[1 + columns.index(column)]
            out[pk, column] = None if text is None else str(text)
        return out

    def run(self, until_rows: int) -> dict[tuple[str, str], str]:
        """Lets the producer read all rows and the consumers take them; what was refused, by data type and id."""
        refused: dict[tuple[str, str], str] = {}
        connector, bound = self.loaded.producer("a"), self.loaded.system("a", "producer")
        for step in connector.plan(bound, self.loaded.sources("a")):
            assert step.apply is not None, step
            step.apply()
        consumers: dict[str, Consumer] = {}
        for name, to in product(self.flows, "bc"):
            flow, kind = self.loaded.flow(f"{name}-to-{to}"), self.loaded.consumer(to)
            for step in kind.plan(flow):
                assert step.apply is not None, step
                step.apply()
            consumer = consumers[f"{name}-to-{to}"] = kind(flow)
            consumer.open()
        producer: Producer = connector(bound, self.loaded.sources("a"))
        producer.open(None)
        seen: set[tuple[str, bytes]] = set()
        streamed = False
        end = time.monotonic() + 60
        try:
            while len(seen) < until_rows * len(self.flows):
                assert time.monotonic() < end, f"{len(seen)} of {until_rows * len(self.flows)} events have come"
                try:
                    batch = producer.read(0.2)
                except (Unfinished, TransientError):
                    continue
                if batch is None:
                    continue
                for flow_name, consumer in consumers.items():
                    name = flow_name.partition("-")[0]
                    schema = self.loaded.schema(name)
                    taken = [
                        Delivery(change.id, change.version, change.data is None, schema, change.data or b"", 0)
                        for change in batch.changes
                        if change.data_type == name
                    ]
                    # The copied rows go by COPY, the streamed ones as arrays: apart those that were refused by COPY, as
                    # one that is refused sends all others by COPY too.
                    assert isinstance(consumer, PostgresConsumer)
                    assert consumer._target is not None
                    consumer._target.writing.few = 10_000 if streamed else 0
                    twins = {one.id: str(int(one.id) - len(self.columns.values)) for one in taken}
                    bad = [one for one in taken if (flow_name, twins[one.id]) in refused]
                    for some in ([one for one in taken if one not in bad], bad):
                        for refusal in consumer.apply(some):
                            refused[flow_name, some[refusal.place].id.decode()] = str(refusal.error)
                for reject in batch.rejects:
                    for to in "bc":
                        refused[f"{reject.data_type}-to-{to}", reject.id.decode()] = str(reject.error)
                seen |= {(change.data_type, change.id) for change in batch.changes}
                seen |= {(reject.data_type, reject.id) for reject in batch.rejects}
                producer.confirm(batch.position)
                if not streamed and len(seen) >= until_rows // 2 * len(self.flows):
                    streamed = True
                    self.fill(until_rows // 2)
        finally:
            producer.close()
            for consumer in consumers.values():
                consumer.close()
        return refused

    def close(self) -> None:
        drop_slots(self.source)
        for connection in (self.source, self.target, self.made):
            connection.close()


_BEYOND_PYTHON = re.compile(r"infinity|BC|\d{5,}-\d\d-\d\d|24:00:00")


def refusal(flow: str, to: str, column: str, text: str) -> str:
    """What the words of a refusal must hold; empty for a value that must arrive."""
    kind, _, name = column.partition("_")
    alone, in_list = kind in ("c", "d"), kind in ("a", "da")
    if flow != "nearest" and to == "b" and alone and name in ("float4", "float8"):
        return "only by a rule: value | float"
    if flow == "as_text" or (flow == "ruled" and not alone) or kind == "r":
        return ""
    if name in ("date", "time", "timestamp", "timestamptz") and _BEYOND_PYTHON.search(text):
        return "can't be read" if flow == "ruled" or in_list or name in ("time", "timestamp") else "between the years"
    if flow == "ruled":
        return ""
    if name == "numeric" and re.search(r"NaN|Infinity|\d{100}", text):
        return "finite number" if in_list else "decimal"
    if name == "mood" and text.replace("NULL", "").strip("{},") != "sad":
        return "is not one of sad"
    if column == "a_int4" and text.startswith("["):
        return "its elements are numbered"
    return "is not a valid whole number" if column == "a_int4" and text.startswith("{{") else ""


def _same_places(text: str | None, column: str) -> str | None:
    """A numeric without zeros behind its point: a canonical decimal has as many as its schema says."""
    if text is None or not column.endswith("_numeric") or column.startswith("r_"):
        return text
    return re.sub(r"(\.\d*?)0+(?=[,}]|$)", r"\1", text).replace(".,", ",").replace(".}", "}").removesuffix(".")


def _of_text(table: str, column: str, native: str) -> sql.Composed:
    """The column's own type's text of what a table that Sorbus made has; boxes are separated in their own way."""
    cast = (
        "(select array_agg(one::box) from unnest({}::text[]) one)::{}::text"
        if table == "nearest" and column in ("a_box", "da_box")
        else "{}::text::{}::text"
    )
    return sql.SQL(cast).format(sql.Identifier(column), sql.SQL(native))


@pytest.fixture
def pair(tmp_path: Path, make_database: Callable[[str], str], unique: str) -> Iterator[Pair]:
    dsns = make_database(""), make_database(""), make_database("")
    with psycopg.connect(dsns[0]) as scratch:  # own types, to ask for their arrays' text
        scratch.execute(OWN_TYPES.encode())
        scratch.commit()
        columns = every_column(dsns[0])
    with psycopg.connect(dsns[0], autocommit=True) as scratch:
        scratch.execute("drop schema public cascade; create schema public")
    made = Pair(tmp_path, dsns, columns, unique)
    try:
        yield made
    finally:
        made.close()


def test_every_value_arrives_as_it_is_or_is_refused_in_words(pair: Pair) -> None:
    count = len(pair.columns.values)
    pair.fill(0)
    refused = pair.run(2 * count)
    there = pair.texts(pair.source, "every")
    assert len(there) == 2 * count
    wrong: list[str] = []
    unexpected: list[str] = []
    for name, to in product(pair.flows, "bc"):
        arrived = pair.texts(pair.target, name) if to == "b" else pair.texts(pair.made, name, "id", cast=True)
        for (pk, column), text in there.items():
            words, shown = refused.get((f"{name}-to-{to}", str(pk))), f"{name} to {to}, {column} {text!r}"
            expected = refusal(name, to, column, text or "")
            if bool(expected) != (words is not None) or (words and (expected not in words or column not in words)):
                unexpected.append(f"{shown}: {words or 'arrived'}, not {expected or 'arriving'}")
            elif words is not None:
                assert (pk, column) not in arrived, f"{shown}: refused, and there all the same"
            elif _same_places(arrived.get((pk, column)), column) != _same_places(text, column):
                way = "copied" if pk <= count else "streamed"
                wrong.append(f"{shown}, {way}: is {arrived.get((pk, column))!r}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:150])
    assert not unexpected, "\n".join(unexpected[:400])
