"""Each type's values: the log and a query give the same, and it is what the server's own client prints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from struct import pack, unpack

import pytest

from sorbus.mysql.catalog import read_mysql_table
from sorbus.mysql.connection import MysqlConnection, Session
from sorbus.mysql.text_values import read_expression, value_maker
from sorbus.producers.mysql.binary_values import UNREAD
from sorbus.producers.mysql.gtids import gtids_of
from sorbus.producers.mysql.log_events import Committed, LogRows, TableDescription
from sorbus.producers.mysql.log_stream import LogStream
from sorbus.producers.mysql.row_images import RowReader
from sorbus.producers.mysql.server import read_charsets, read_server
from tests.mariadb import Mariadb

WHOLE = {
    "tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64,
}  # fmt: skip
TYPES: dict[str, list[str]] = {
    **{name: ["0", "1", "-1", str(-(1 << bits - 1)), str((1 << bits - 1) - 1)] for name, bits in WHOLE.items()},
    **{f"{name} unsigned": ["0", str((1 << bits) - 1), str(1 << bits - 1)] for name, bits in WHOLE.items()},
    "tinyint(1)": ["0", "1", "2"],
    "int(5) unsigned zerofill": ["42"],
    "decimal(1,0)": ["0", "-9", "9"],
    "decimal(19,4)": ["0", "-0.0001", "123456789012345.6789", "-999999999999999.9999"],
    "decimal(65,30)": ["0.000000000000000000000000000001", "-12345678901234567890123456789012345.5"],
    "decimal(9,9)": ["0.123456789", "-0.000000001"],
    "decimal(18,9) unsigned": ["123456789.987654321"],
    "float": ["0", "0.1", "-3.4e38", "16777217", "1e-38", "1234567.89"],
    "float(10,2)": ["1234567.89", "0.10"],
    "double": ["0", "0.1", "-1.7976931348623157e308", "5e-324", "123456789.123456789"],
    "double unsigned": ["1.5"],
    "date": ["'2024-02-29'", "'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2024-00-15'", "'2024-02-00'"],
    "datetime": ["'2024-02-29 23:59:59'", "'0000-00-00 00:00:00'", "'1000-01-01 00:00:00'", "'2024-00-00 01:02:03'"],
    "datetime(1)": ["'2024-02-29 23:59:59.9'"],
    "datetime(3)": ["'2024-02-29 23:59:59.999'", "'0000-00-00 00:00:00.000'", "'2024-00-10 01:02:03.450'"],
    "datetime(6)": ["'2024-02-29 23:59:59.000001'", "'9999-12-31 23:59:59.999999'"],
    "timestamp null": ["'2024-07-01 12:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "0"],
    "timestamp(2) null": ["'2024-07-01 12:00:00.25'"],
    "timestamp(6) null": ["'2024-07-01 12:00:00.000009'", "0"],
    "time": ["'00:00:00'", "'-00:00:01'", "'838:59:59'", "'-838:59:59'", "'23:59:59'"],
    "time(1)": ["'-00:00:01.1'", "'01:02:03.9'"],
    "time(3)": ["'-00:00:00.001'", "'12:00:00.123'", "'-838:59:58.999'"],
    "time(6)": ["'-00:00:00.000001'", "'838:59:58.999999'", "'-01:00:00.5'"],
    "year": ["2024", "1901", "2155", "0"],
    "char(10)": ["'a'", "'a  '", "''", "'äöü'", "'日本'", "'😀'"],
    "varchar(300)": ["'a'", "'a  '", "''", "'äöü😀'", "repeat('x', 300)"],
    "varchar(10) character set latin1": ["'äöü€'", "x'81'", "x'9d80'", "x'ff00'"],
    "varchar(10) character set latin2": ["'łż'"],
    "varchar(10) character set cp1250": ["'łż€'"],
    "varchar(10) character set cp1251": ["'Привет'"],
    "varchar(10) character set koi8r": ["'Привет'"],
    "varchar(10) character set greek": ["'αβγ'"],
    "varchar(10) character set cp850": ["'äßé'"],
    "varchar(10) character set utf8mb3": ["'日本ä'"],
    "varchar(10) character set ascii": ["'abc'"],
    "varchar(10) character set sjis": ["'日本'", "'ab'"],
    "varchar(10) character set gbk": ["'中文'"],
    "varchar(10) character set ucs2": ["'日本'"],
    "varchar(10) character set utf16": ["'日😀'"],
    "char(5) character set latin1": ["'äb'", "'b  '"],
    "text": ["'long'", "repeat('ä', 30000)"],
    "tinytext": ["'t'"],
    "mediumtext": ["repeat('z', 70000)"],
    "longtext character set latin1": ["'ä€'"],
    "binary(4)": ["x'01020304'", "x'0100'", "''"],
    "varbinary(300)": ["x'0100'", "x'00'", "''", "repeat('a', 300)"],
    "blob": ["x'00ff'", "repeat(x'fe', 70)"],
    "longblob": ["repeat(x'00', 70000)"],
    "bit(1)": ["b'0'", "b'1'"],
    "bit(12)": ["b'101010101010'", "5"],
    "bit(64)": ["18446744073709551615", "1"],
    "enum('a','b','ü','x,y','it''s')": ["'a'", "'ü'", "'x,y'", "'it''s'", "''"],
    "enum('small','groß') character set latin1": ["'groß'"],
    "set('a','b','ü')": ["''", "'a,ü'", "'b'"],
    "json": ["'{\"a\": [1, 2.50, null]}'", "'1'"],
    "inet6": ["'::1'"],
    "inet4": ["'10.0.0.1'"],
    "uuid": ["'123e4567-e89b-12d3-a456-426655440000'"],
    "point": ["point(1, 2)"],
    "varchar(20) compressed": ["'abcabc'"],
}  # fmt: skip
READ_BY_KEY = ("character set sjis", "character set gbk", "character set u", "inet", "uuid", "point", "compressed")
"""What the log alone doesn't tell exactly."""


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    return {f"c{place}": kind for place, kind in enumerate(TYPES)}


def test_the_log_and_a_query_give_what_the_client_prints(
    mariadb_server: Mariadb, mariadb: Callable[..., str], names: dict[str, str]
) -> None:
    columns = ", ".join(f"{name} {kind}{'' if 'null' in kind else ' null'}" for name, kind in names.items())
    database = mariadb(f"create table every (id int primary key, {columns}, s int as (id * 2) stored) engine = InnoDB")
    [(start,)] = mariadb_server.root("select @@gtid_binlog_pos")
    deepest = max(map(len, TYPES.values()))
    rows = ["insert into every (id) values (0)"]
    for place in range(deepest):
        given = {name: TYPES[kind][place] for name, kind in names.items() if place < len(TYPES[kind])}
        rows.append(
            f"insert ignore into every (id, {', '.join(given)}) values ({place + 1}, {', '.join(given.values())})"
        )
    mariadb_server.root("set names utf8mb4", "set time_zone = '+02:00'", *rows, database=database)

    session = Session(MysqlConnection.model_validate(mariadb_server.connection(database)), "test")
    table = read_mysql_table(session, "every", database)
    assert table is not None
    read = [column for column in table.columns.values() if column.type != "point"]
    makers = [value_maker(column) for column in read]
    query = f"select {', '.join(map(read_expression, read))} from every order by id"
    queried = [
        {column.name: make(value) for column, make, value in zip(read, makers, row, strict=True)}
        for row in session.query(query)
    ]
    printed = [
        dict(zip(names, row, strict=True)) for row in session.query(f"select {', '.join(names)} from every order by id")
    ]  # as the client library gets it, texts as the server wrote them

    logged = []
    connection = MysqlConnection.model_validate({**mariadb_server.connection(database), "replica_id": 77})
    stream = LogStream(connection, "test", "", gtids_of(str(start), is_mariadb=True))
    readers: dict[int, RowReader] = {}
    server = read_server(session)
    try:
        while len(logged) < deepest + 1:
            event = stream.next(20.0)
            assert event is not None, f"only {len(logged)} rows came"
            if isinstance(event.body, TableDescription) and event.body.database == database:
                readers[event.body.number] = RowReader(event.body, read_charsets(session), is_mariadb=server.is_mariadb)
            elif isinstance(event.body, LogRows) and event.body.table in readers:
                logged += [after for _, after in readers[event.body.table].images(event.body)]
            elif isinstance(event.body, Committed):
                continue
    finally:
        stream.close()
        session.close()

    wrong = []
    for by_log, by_query, by_client in zip(logged, queried, printed, strict=True):
        assert by_log is not None
        assert by_log["s"] == by_query["s"] == by_query["id"] * 2  # type: ignore[operator]
        for name, kind in names.items():
            value = by_log[name]
            if value is UNREAD:
                if not any(sign in kind for sign in READ_BY_KEY):
                    wrong.append(f"{kind}: the log's value {by_client[name]!r} wasn't read")
                continue
            if kind in ("point", "uuid", "inet4", "inet6"):
                continue
            if value != by_query[name] or type(value) is not type(by_query[name]):
                wrong.append(f"{kind}: {value!r} by the log, {by_query[name]!r} by a query")
            if shown(kind, value) != client(kind, by_client[name]):
                wrong.append(f"{kind}: {shown(kind, value)!r}, the client shows {client(kind, by_client[name])!r}")
    assert not wrong, "\n".join(wrong)


def shown(kind: str, value: object) -> object:
    """A value as the client prints it."""
    if isinstance(value, float) and kind.startswith("float"):
        return unpack("<f", pack("<f", float(f"{value:.6g}") if "(" not in kind else round(value, 2)))[0]
    if isinstance(value, datetime):
        places = int(kind.partition("(")[2][:1] or 0)
        text = value.replace(tzinfo=None).isoformat(" ", "microseconds")
        return text[: 19 + (places + 1 if places else 0)]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int) and kind.startswith("bit"):
        return value
    if kind == "year":
        return f"{value:04}" if value is not None else None
    if "zerofill" in kind:
        return f"{value:05}" if value is not None else None
    return f"{value:f}" if isinstance(value, Decimal) else value if isinstance(value, str | bytes) else as_number(value)


def as_number(value: object) -> object:
    return value if value is None or isinstance(value, float) else str(value)


def client(kind: str, printed: object) -> object:
    """What the client printed, numbers with a binary fraction as such."""
    if printed is None:
        return None
    if kind.startswith("float"):
        return unpack("<f", pack("<f", float(str(printed))))[0]
    if kind.startswith("double"):
        return float(str(printed))
    if kind.startswith("bit"):
        assert isinstance(printed, bytes)
        return int.from_bytes(printed, "big")
    return printed
