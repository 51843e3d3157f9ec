"""Errors of records, and raw rows: what isn't known to be open is masked, what is wrong is still told."""

from __future__ import annotations

import json

import pytest

from sorbus.errors import AuthError, PermanentError, TransientError
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.errors import RuleError
from sorbus.privacy.errors import raw_privacy, rows_privacy
from sorbus.privacy.raw import RawRow
from sorbus.schema import parse_schema
from tests.consumers.gadgets import GADGET, Writer, gadget

TAGGED = parse_schema(
    GADGET.text.replace('{"name":"name","type":"string"}', '{"name":"name","type":"string","tags":["personal"]}')
)
WRITER = Writer(TAGGED)
FRAME, _ = WRITER.event("g1", 1, gadget("Xanthippe Zzyzx", note="open words"))
ROWS = [("gadget.name", "shop", "things.label", "value | upper"), ("gadget.note", "shop", "things.remark", "")]


def target_row(source: str, system: str, target: str, rule: str) -> FieldMapping:
    return FieldMapping(
        source_system="canonical", source_field=source, target_system=system, target_field=target, rule=rule
    )


def source_row(column: str, field: str, rule: str = "") -> FieldMapping:
    return FieldMapping(
        source_system="crm", source_field=column, target_system="canonical", target_field=field, rule=rule
    )


def told(message: str, *, field: str | None = None, words: str | None = None, value: object = None) -> PermanentError:
    privacy = rows_privacy(TAGGED, [target_row(*row) for row in ROWS], lambda _: TAGGED)
    return privacy.error(PermanentError(message, reason="refused", field=field, words=words, value=value), b"g1", FRAME)


def test_what_a_target_says_loses_the_records_own_values_and_keeps_the_rest() -> None:
    error = told("no: XANTHIPPE ZZYZX is on a list", words="zzyzx is on a list", field="label", value="XANTHIPPE")
    assert (str(error), error.words) == ("no: X••• is on a list", "z••• is on a list")
    assert (error.reason, error.field, error.value) == ("refused", "label", "X•••")


def test_quoted_words_stay_only_where_the_field_is_known_not_to_be_personal() -> None:
    assert "'open words'" in str(told("field remark: 'open words' is too long", field="remark"))
    assert "'o•••'" in str(told("field label: 'open words' is too long", field="label"))
    assert "'o•••'" in str(told("'open words' is too long"))
    assert "Xanthippe" not in str(told("field remark: 'Xanthippe' is too long", field="remark"))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Xanthippe Zzyzx", "X•••"),
        ("entries.zzyzx.label", "entries.z•••.label"),
        ("anna%40example.org", "a••••••"),
        ("label", "label"),
        ("gadgets_name_key", "gadgets_name_key"),
    ],
)
def test_a_target_that_names_values_in_place_of_fields_tells_none(field: str, expected: str) -> None:
    error = told(f"{field} is taken", words=f"{field} is taken", field=field)
    assert (error.field, str(error), error.words) == (expected, f"{expected} is taken", f"{expected} is taken")


def test_what_a_rule_was_given_is_masked_though_no_field_holds_it() -> None:
    error = PermanentError("field remark: half-made-up can't be read", reason="mapping", field="remark")
    error.__cause__ = RuleError("no", filter="date", value="half-made-up")
    privacy = rows_privacy(TAGGED, [], lambda _: TAGGED)
    assert "half-made-up" not in str(privacy.error(error, b"g1", FRAME))


def test_a_fault_of_a_whole_batch_stays_the_fault_it_is() -> None:
    privacy = rows_privacy(TAGGED, [], lambda _: TAGGED)
    deliveries = [WRITER.delivery("g1", 1, gadget("Xanthippe"))]
    later = privacy.fault(TransientError("busy with Xanthippe", retry_after=3.0), deliveries)
    assert isinstance(later, TransientError)
    assert (str(later), later.retry_after) == ("busy with X•••", 3.0)
    assert isinstance(privacy.fault(AuthError("not Xanthippe"), deliveries), AuthError)


def test_a_data_type_without_personal_fields_is_left_alone() -> None:
    error = PermanentError("'Xanthippe' is no name", reason="refused")
    assert rows_privacy(GADGET, [], lambda _: GADGET).error(error, b"g1", FRAME) is error


def test_a_raw_row_shows_only_what_is_copied_into_fields_that_are_not_personal() -> None:
    rows = [
        source_row("things.label", "gadget.name"),
        source_row("things.remark", "gadget.note"),
        source_row("things.cost", "gadget.price", "value | round(2)"),
        source_row("things.made.on", "gadget.made_on"),
    ]
    row = {"id": "g1", "label": "Xanthippe", "remark": "open", "cost": 5, "made": {"on": "2026-01-02", "by": "Zzyzx"}}
    raw = RawRow(TAGGED, rows, {"": "things"})
    assert raw.masked({**row, "unknown": ["Vexillum"]}, "g1") == {
        "id": "g1",
        "label": "X•••",
        "remark": "open",
        "cost": "•••",
        "made": {"on": "2026-01-02", "by": "Z•••"},
        "unknown": ["V•••"],
    }
    privacy = raw_privacy(TAGGED, rows, {"": "things"})
    said = privacy.words("field note: Zzyzx made it, 'open'", "note", b"g1", json.dumps(row).encode())
    assert said == "field note: Z••• made it, 'open'"


def test_without_a_mapping_columns_are_called_like_fields() -> None:
    raw = RawRow(TAGGED, [], {"": "things"})
    assert raw.masked({"name": "Xanthippe", "note": "open", "other": "x"}) == {
        "name": "X•••",
        "note": "open",
        "other": "•••",
    }
