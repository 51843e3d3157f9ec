"""Each value is kept as it is or refused; what is refused, the server itself would have refused or changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal

from sorbus.consumers.mysql.cells import cell_maker
from sorbus.mysql.catalog import read_mysql_table
from sorbus.mysql.connection import MysqlConnection, Session
from sorbus.mysql.text_values import read_expression, shortest_float, value_maker
from tests.mariadb import Mariadb

MOMENT = datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
KEPT: dict[str, list[object]] = {
    "tinyint": [0, -128, True],
    "bigint unsigned": [2**64 - 1, Decimal(5)],
    "decimal(6,2)": [Decimal("1234.5"), 7, "3.10", Decimal("-0.01")],
    "float": [0.1, 1.5, 16777216.0, 0.10000000149011612],
    "double": [0.1, 1e300, Decimal("0.5"), 3],
    "double(8,2)": [1.25, 3, -0.5],
    "date": [date(2024, 2, 29), "2024-02-29"],
    "datetime": [MOMENT.replace(microsecond=0), "2024-01-01 00:00:00"],
    "datetime(6)": [MOMENT],
    "timestamp(6) null": [MOMENT],
    "time": [time(1, 2, 3), "-10:00:00"],
    "time(3)": [time(1, 2, 3, 4000)],
    "char(3)": ["ab", "äöü"],
    "varchar(3)": ["ab ", "日本"],
    "varchar(5) character set latin1": ["äé€"],
    "longtext": ["x" * 100_000, {"a": [1, None]}, ["b"]],
    "varbinary(4)": [b"\0\1", b""],
    "binary(2)": [b"ab"],
    "enum('a','B')": ["a", "B"],
    "enum('a\\\\b','it''s')": ["a\\b", "it's"],
    "set('a','b')": ["a,b", ""],
    "tinytext": ["é" * 120 + " " * 10],
    "int not null auto_increment unique": [0, 5],
    "bit(4)": [15],
    "year": [2024, 1901, 2155, 0],
}
REFUSED: dict[str, list[object]] = {
    "tinyint": [Decimal("1.5"), 128, "12a", "", "1_0", "\u0661\u0662"],
    "bigint": [2**63, 1.5],
    "decimal(6,2)": [Decimal("1.234"), Decimal(12345), 0.005, "1.999", float("nan")],
    "float": [0.123456789123, Decimal("16777217")],
    "double": [Decimal("0.12345678901234567890"), float("inf"), 2**53 + 1],
    "double(8,2)": [1.239, 0.005, Decimal("1.239"), 1e7],
    "float(8,2)": [1.239],
    "date": [MOMENT, "2024-02-30", "0000-00-00", "2024-01-01 10:00:00", "24-01-02", "10:11:12", "240102"],
    "datetime": [
        MOMENT,
        "2024-01-01 00:00:00.5",
        "24-01-02 10:00",
        "2024-01-01T10:00:00+02:00",
        "2024-01-01T10:00:00Z",
    ],
    "datetime(3)": [MOMENT],
    "timestamp null": [datetime(2050, 1, 1, tzinfo=UTC), datetime(1960, 1, 1, tzinfo=UTC)],
    "timestamp not null default '2024-01-01'": [None],
    "int not null auto_increment unique": [None],
    "time": [time(1, 2, 3, 4), "01:02:03.9", "1112", "12", "2024-01-01 10:00:00", "10:00 PM"],
    "char(3)": ["ab ", "abcd"],
    "varchar(3)": ["abcd", "abc  "],
    "varchar(5) character set latin1": ["日本"],
    "tinytext": ["é" * 125 + " " * 10, "x" * 256],
    "binary(4)": [b"ab"],
    "varbinary(2)": [b"abc"],
    "enum('a','b')": ["A", "1", "c"],
    "set('a','b')": ["A", "a,c", "3"],
    "bit(4)": [16],
    "year": [5, 70, 99, 1900, 2156],
}


def test_kept_values_come_back_and_refused_ones_would_not(mariadb_server: Mariadb, mariadb: Callable[..., str]) -> None:
    wrong = []
    database = mariadb()
    session = Session(MysqlConnection.model_validate(mariadb_server.connection(database)), "test")
    for number, (kind, values, is_kept) in enumerate(
        [*((kind, values, True) for kind, values in KEPT.items()), *((k, v, False) for k, v in REFUSED.items())]
    ):
        name = f"t{number}"
        session.execute(f"create table {name} (c {kind}) engine = InnoDB")
        table = read_mysql_table(session, name, database)
        assert table is not None
        column = table.columns["c"]
        make, read = cell_maker(column, "UTC"), value_maker(column)
        for value in values:
            session.execute(f"delete from {name}")
            try:
                cell = make(value)
                session.execute(f"insert into {name} values (%s)", [cell])
            except Exception as error:  # noqa: BLE001 - the checks' or the server's own
                if is_kept:
                    wrong.append(f"{kind}: {value!r} was refused: {error}")
                continue
            [(raw,)] = session.query(f"select {read_expression(column)} from {name}")
            if not is_kept:
                wrong.append(f"{kind}: {value!r} was taken, and is {read(raw)!r} now")
            elif not same(read(raw), value, cell):
                wrong.append(f"{kind}: {value!r} became {read(raw)!r}")
    session.close()
    assert not wrong, "\n".join(wrong)


def same(found: object, value: object, cell: object) -> bool:
    if isinstance(value, datetime):
        return isinstance(found, datetime) and found.replace(tzinfo=None) == value.replace(tzinfo=None)
    if isinstance(value, time):
        return str(found) == value.isoformat()[: len(str(found))]
    if isinstance(value, dict | list):
        return found == cell
    if isinstance(found, Decimal | int | float) and not isinstance(value, float):
        return Decimal(str(found)) == Decimal(str(int(value) if isinstance(value, bool) else value))
    if isinstance(value, float):
        return found in (value, shortest_float(value))
    return found == value or str(found) == value
