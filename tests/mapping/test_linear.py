"""What reads people's text takes a time that grows with its length, not with its square: no value can hold a process.

The adversaries are runs of what each kind of expression tries again from every place: blanks, digits, marks, and the
beginnings of what it looks for without their ends.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from sorbus.avro.decode import Undecodable, read_record
from sorbus.mapping.filters import FILTERS
from sorbus.mapping.filters.text import as_text
from sorbus.mapping.rule import RuleError, compile_rule
from sorbus.privacy.mask import masked_text
from sorbus.privacy.words import without
from sorbus.producers.mysql.statements import effect_of
from sorbus.producers.singer.secret_values import SecretValues
from sorbus.schema import parse_schema
from sorbus.spreadsheet.cells import escaped, is_shortened, number_format, unescaped
from sorbus.spreadsheet.written_values import ColumnOfDates, ColumnOfNumbers
from sorbus.telemetry.logs import redact_text

UNITS = (
    *(" ", "a", "1", "-", ".", "a-", "a ", "1-", "1/", "@", "a@", "(", '"', "<style", "a://", "token=", "Bearer ", "é"),
    *("[", "[h", "_x", "1 ", "( ", "1,", "'", "%", "/*", "/* ", "-- "),
    *(", ", "; ", "{a", "a\n", "0.", "Street ", "No. ", "12 bis ", "rue ", "1.000.", "2026-", "٣", "1e"),
)
LENGTH = 20_000
SECONDS = 0.5
"""CPU, for any of them. What grows with the square of the length takes many times that at this length."""
ADVERSARIES = ["x" + unit * (LENGTH // len(unit)) + "x" for unit in UNITS]

RULES = [
    *(name for name, each in FILTERS.items() if not each.signature.parameters.keys() - {"value"}),
    *('postcode("DE")', 'address_part("city", "DE")', 'phone("GB")', 'phone_text("national", "US")'),
    *('tax_number("DE")', 'any_date("DMY", language="de")', 'any_datetime(tz="UTC")', 'money("de_DE")'),
    *('decimal(point=",", group=".")', 'integer(group=",")', 'name_part("family")', "last_name(surnames=2)"),
    *('split(";")', "date", "datetime", "boolean"),
]


def slowest(run: Callable[[str], object]) -> tuple[float, str]:
    """CPU seconds of the worst text, and what it is made of."""
    worst = (0.0, "")
    for text in ADVERSARIES:
        begun = time.process_time()
        run(text)
        worst = max(worst, (time.process_time() - begun, text[:12]))
    return worst


@pytest.mark.parametrize("rule", sorted(set(RULES)))
def test_a_rule_is_done_with_any_text_in_no_time(rule: str) -> None:
    made = compile_rule(f"value | {rule}", lookups={})

    def run(text: str) -> None:
        with contextlib.suppress(RuleError):
            made(text, {})

    seconds, text = slowest(run)
    assert seconds < SECONDS, f"{seconds:.1f} s for {text!r}..."


@pytest.mark.parametrize(
    "read",
    [
        redact_text,
        masked_text,
        lambda text: without(text, ["Anna Smith"], quotes=True),
        SecretValues({"token": "Anna Smith"}, {}).masked,
    ],
)
def test_what_masks_a_text_is_done_with_any_in_no_time(read: Callable[[str], object]) -> None:
    seconds, text = slowest(read)

    assert seconds < SECONDS, f"{seconds:.1f} s for {text!r}..."


def _read_column(text: str) -> None:
    for column in (numbers := ColumnOfNumbers(), ColumnOfDates(), ColumnOfDates(has_time=True)):
        numbers.see(text, 1) if column is numbers else column.see(text)  # type: ignore[union-attr]
        with contextlib.suppress(ValueError):
            column.read(text)


@pytest.mark.parametrize("read", [_read_column, number_format, is_shortened, unescaped, escaped])
@pytest.mark.parametrize("begin", ["", "1", "(", "["])
def test_a_cell_is_read_in_no_time(read: Callable[[str], object], begin: str) -> None:
    seconds, text = slowest(lambda text: read(begin + text[1:]))

    assert seconds < SECONDS, f"{seconds:.1f} s for {begin + text!r}..."


@pytest.mark.parametrize(
    "begin", ["", "alter table t add a int comment '", "insert into t values ('", "create definer=a"]
)
def test_a_statement_of_the_log_is_read_in_no_time(begin: str) -> None:
    seconds, text = slowest(lambda text: effect_of(begin + text * 2, "books"))

    assert seconds < SECONDS, f"{seconds:.1f} s for {begin + text!r}..."


def test_a_number_of_any_size_is_written_out_or_refused_in_no_time() -> None:
    assert as_text(Decimal("1E+1000")) == "1" + "0" * 1000
    for text in ("1E+99999999999", "-1E-99999999999"):
        with pytest.raises(ValueError, match="too many digits"):
            as_text(Decimal(text))


def test_an_avro_decimal_of_any_length_is_refused_in_no_time() -> None:
    field = {"name": "a", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}}
    schema = parse_schema({"type": "record", "name": "thing", "fields": [field]})
    size = 400_000
    written = bytes([(size << 1) & 127 | 128, (size << 1) >> 7 & 127 | 128, (size << 1) >> 14 & 127])
    begun = time.process_time()

    with pytest.raises(Undecodable, match="a decimal of 400000 bytes"):
        read_record(schema, written + b"\x7f" * size)
    assert time.process_time() - begun < 0.5
