"""The rules' expressions: what they compute, what they refuse, what is known of them beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.mapping.filters import FILTERS
from sorbus.mapping.rule import Rule, RuleError, compile_rule
from sorbus.schema import Kind

D = Decimal
FIELDS: Mapping[str, Kind | None] = {"first_name": "string", "price": "decimal", "count": "int", "at": "timestamp"}


def compiled(text: str, value_type: Kind | None = None, fields: Mapping[str, Kind | None] | None = None) -> Rule:
    return compile_rule(text, lookups={"status": {"a": "b"}}, value_type=value_type, fields=fields)


@pytest.mark.parametrize(
    ("rule", "value", "record", "result"),
    [
        ("value", 5, {}, 5),
        ('"GB"', None, {}, "GB"),
        ('record.first ~ " " ~ record.last', None, {"first": "A", "last": "B"}, "A B"),
        ('record.first ~ "-" ~ record.last', None, {"first": None, "last": 7}, "-7"),
        ('record["first name"]', None, {"first name": "A"}, "A"),
        ("record.items", None, {"items": 3}, 3),
        ("value.address.city", {"address": {"city": "Oslo"}}, {}, "Oslo"),
        ("value[1]", ["a", "b"], {}, "b"),
        ('(value | split(" "))[-1]', "a b c", {}, "c"),
        ("value.address.city", None, {}, None),
        ('value.gone | default("x")', {}, {}, "x"),
        ('record.gone | default("x")', None, {}, "x"),
        ("record.gone is none", None, {}, True),
        ('"yes" if value > 3 else "no"', 4, {}, "yes"),
        ('"yes" if value', 0, {}, None),
        ("value * 1.2 + 1", D("3.30"), {}, D("4.960")),
        ("value - 1", 3, {}, 2),
        ("-value", D("1.10"), {}, D("-1.10")),
        ("record.a + record.b", None, {"a": 1, "b": None}, None),
        ("(value / 3) | round(2)", 10, {}, D("3.33")),
        ("0.1 + 0.2", None, {}, D("0.3")),
        ("1 < value < 3", 2, {}, True),
        ("1 < value < 3", 3, {}, False),
        ('value in ["a", "b"]', "b", {}, True),
        ('value not in ("a", record.x)', "b", {"x": "b"}, False),
        ('"b" in value', "abc", {}, True),
        ("value is none", None, {}, True),
        ("value is not none and not false", 1, {}, True),
        ('value or "x"', "", {}, "x"),
        ("value == 1", D("1.00"), {}, True),
    ],
)
def test_a_rule_gives(rule: str, value: object, record: Mapping[str, object], result: object) -> None:
    assert compiled(rule)(value, record) == result


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("", "can't be read"),
        ("value |", "can't be read"),
        ("value 3", "continues after its end"),
        ("value }} {{ 3", "continues after its end"),
        ("valu", "'valu' is not known in a rule; write value"),
        ("record", "can't give the whole record"),
        ("value | trm", "did you mean trim?"),
        ("value | attr('__class__')", "there is no filter 'attr'"),
        ("value | map('upper')", "there is no filter 'map'"),
        ("value | trim(1)", "trim: too many positional arguments; write trim"),
        ("value | truncate", "missing a required argument: 'length'; write truncate(length, end='')"),
        ("value | truncate('a')", "argument length must be a whole number, written out"),
        ("value | truncate(true)", "argument length must be a whole number, written out"),
        ("value | truncate(record.n)", "argument length must be a whole number, written out"),
        ("value | lookup('stauts')", "did you mean status?"),
        ("value | lookup(record.x)", "argument table must be text"),
        ("value | date('%q')", "is not a valid date format"),
        ("value | date('%d/%m')", "has no year"),
        ("value | datetime(tz='Europe/Lundon')", "no time zone is called"),
        ("value | round(2, 'sideways')", "no mode is called"),
        ("value | default(*record.x)", "* and ** are not allowed"),
        ("value.strip()", "call is not allowed in a rule; rules call nothing; use a filter: value | trim"),
        ("range(10)", "call is not allowed"),
        ("value ** 9", "write the multiplication out"),
        ("value // 2", "floordiv is not allowed"),
        ("value % 2", "mod is not allowed"),
        ("value[1:2]", "slice is not allowed"),
        ("value[record.x]", "takes a field's name in quotes or a place"),
        ("{'a': 1}", "dict is not allowed"),
        ("value is even", "`is even` is not a test"),
        ("value / 3 | round(2)", "put brackets around the arithmetic"),
        ("'a' * 3", "takes exact numbers, not text"),
        ("value + 0.12345678901234567", "more digits than a number in a rule may have"),
        ("(" * 900 + "value" + ")" * 900, "nested too deeply"),
        (" + ".join(["value"] * 100), "nested too deeply"),
        ("value ~ " * 500 + "value", "characters long"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_the_cure(rule: str, words: str) -> None:
    with pytest.raises(RuleError) as refused:
        compiled(rule)

    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [
        ("record.gone", None, "the record has no field 'gone'"),
        ("record.__class__", None, "the record has no field '__class__'"),
        ("value.__class__", "x", "nothing inside to take as '__class__'"),
        ('value["__class__"]', {}, "no entry '__class__'"),
        ("value[7]", [1], "no entry 7"),
        ("value * 2", 1.5, "write (… | decimal)"),
        ("value * 2", True, "takes exact numbers"),
        ("1 / value", 0, "can't be divided by 0"),
        ("value * value", D(f"1{'0' * 89}1"), "has no exact result"),
        ("value < 3", "2", "have no order"),
        ("value < 3", None, "test for nothing with `is none`"),
        ("value < record.at", datetime(2026, 1, 1), "can't"),
        ("3 in value", 3, "looks into a list or a text"),
    ],
)
def test_a_value_that_a_rule_can_not_take_is_refused_in_plain_words(rule: str, value: object, words: str) -> None:
    record = {} if "gone" in rule or "__" in rule else {"at": datetime.fromisoformat("2026-01-01T00:00:00+00:00")}

    with pytest.raises(RuleError) as refused:
        compiled(rule)(value, record)

    assert words in str(refused.value)


def test_a_rule_tells_what_it_reads() -> None:
    rule = compiled('value if record.kind == "a" else record.other | default(record["third field"])')

    assert rule.uses == {"kind", "other", "third field"}
    assert rule.uses_value
    assert not compiled("record.a").uses_value


@pytest.mark.parametrize(
    ("rule", "value_type", "result"),
    [
        ("value", "date", "date"),
        ("value", None, None),
        ("record.price", None, "decimal"),
        ("record.count * 2", None, "long"),
        ("record.count / 2", None, "decimal"),
        ("record.count * 1.5", None, "decimal"),
        ("value ~ 1", "int", "string"),
        ('value | default("x")', "string", "string"),
        ("value | default(none)", "string", "string"),
        ("value | default(0)", "string", None),
        ('value | nullif("")', "string", "string"),
        ("value if record.count > 1 else 2.5", "decimal", "decimal"),
        ('value | split(",")', "string", "array"),
        ("value | integer", "string", "long"),
        ("value is none", "string", "boolean"),
        ("record.count in [1, 2]", None, "boolean"),
    ],
)
def test_the_kind_a_rule_gives_is_known_beforehand(rule: str, value_type: Kind | None, result: Kind | None) -> None:
    assert compiled(rule, value_type, FIELDS).result == result


@pytest.mark.parametrize(
    ("rule", "value_type", "words"),
    [
        ("record.first", None, "did you mean first_name?"),
        ("value | trim", "decimal", "trim takes text, not a decimal number"),
        ("value | round(2)", "string", "make it a number first: … | decimal | round"),
        ("value + 1", "double", "write (… | decimal)"),
        ("value == 1", "string", "text is never equal to a whole number"),
        ("record.at > 5", None, "a point in time is never equal"),
        ("value.x", "string", "text has nothing inside"),
    ],
)
def test_kinds_that_do_not_fit_are_found_when_the_rule_is_read(rule: str, value_type: Kind, words: str) -> None:
    with pytest.raises(RuleError) as refused:
        compiled(rule, value_type, FIELDS)

    assert words in str(refused.value)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**4400, 10**4401),
    st.floats(),
    st.decimals(),
    st.text(),
    st.binary(),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.times(),
    st.uuids(),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
ARGUMENTS = {
    "truncate": ["(3)", '(2, "…")'],
    "replace": ['("a", "b")', '("1", "")'],
    "split": ['(",")'],
    "join": ["", '("")'],
    "concat": ['(" ", record.b)'],
    "text": ["", '("%d/%m/%Y %H:%M", tz="Asia/Tokyo")'],
    "decimal": ["", '(point=",", group=".")'],
    "round": ["", "(2)", "(-3)", '(1, "floor")'],
    "date": ["", '("%d/%m/%Y")', '(tz="America/New_York")'],
    "datetime": ["", '("%d/%m/%y", tz="UTC")', '(tz="Europe/London")', '("epoch")', '("epoch_ms")'],
    "boolean": ["", '("Ja", "Nein")'],
    "lookup": ['("status")', '("status", "pass")'],
    "default": ["(record.b)"],
    "coalesce": ["(record.b, 1)"],
    "nullif": ["(record.b)"],
    "name_part": ['("given")', '("family", "family first")'],
    "full_name": ["(record.b)", '(record.a, title=record.b, style="family, given")'],
    "phone": ["", '("GB")'],
    "phone_text": ["", '("national", "US")'],
    "phone_extension": ['("DE")'],
    "iban": [""],
    "tax_number": ["", '("DE")', '("CH")'],
    "money": ["", '("de_DE")', '("fr_FR")', '("de_CH")'],
    "money_currency": ["", '("USD")'],
    "minor_units": ['("EUR")', '("JPY")'],
    "from_minor_units": ['("KWD")'],
    "money_text": ['("de_DE")', '("en_IN", "INR")'],
    "any_date": ["", '("DMY")', '("YMD")', '(language="fr")'],
    "any_datetime": ['("MDY")', '(tz="Asia/Tokyo")'],
    "postcode": ['("GB")', "(record.b)"],
    "address_part": ['("city", "GB")', '("region", "US")'],
    "address_text": ['(record.a, record.b, "DE")', '(record.b, "x", record.a)'],
    "country_name": ["", '("fr")'],
}
ATOMS = st.sampled_from(
    ["value", "record.a", 'record["b"]', "value.x", "value[0]", '"text"', "1", "2.5", "none", "[1, 2]"]
)
FILTER = st.sampled_from([f"{name}{call}" for name in sorted(FILTERS) for call in ARGUMENTS.get(name, [""])])
OPERATOR = st.sampled_from(["+", "-", "*", "/", "~", "==", "!=", "<", "<=", ">", "and", "or", "in", "not in"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("({} | {})".format, inner, FILTER),
        st.builds("({} {} {})".format, inner, OPERATOR, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("(not {})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("({} is none)".format, inner),
    ),
    max_leaves=6,
)
RESULTS: Mapping[Kind, type | tuple[type, ...]] = {
    "string": str,
    "long": int,
    "decimal": D,
    "boolean": bool,
    "double": float,
    "date": date,
    "timestamp": datetime,
    "array": list,
}


@given(text=EXPRESSIONS, value=VALUES, a=VALUES, b=VALUES)
def test_a_rule_gives_a_value_or_a_rule_error_and_the_kind_it_said(
    text: str, value: object, a: object, b: object
) -> None:
    try:
        rule = compiled(text)
        result = rule(value, {"a": a, "b": b})
    except RuleError:
        return
    if rule.result is not None and result is not None and "and" not in text and "or" not in text:
        assert isinstance(result, RESULTS[rule.result]), f"{text}: {result!r} is not {rule.result}"


@given(
    text=st.text(st.sampled_from("value record.()[]{}|\"'~*+-/%<>=!_:,0159 \n\t#"), max_size=60) | st.text(max_size=60)
)
def test_any_text_is_a_rule_or_a_rule_error(text: str) -> None:
    try:
        compiled(text)("x", {})
    except RuleError:
        return


@given(name=st.sampled_from(sorted(FILTERS)), value=VALUES, data=st.data())
def test_each_filter_takes_any_value_or_refuses_it(name: str, value: object, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(ARGUMENTS.get(name, [""])))
    try:
        compiled(f"value | {name}{call}")(value, {"b": 1})
    except RuleError:
        return


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("value | default(“UK”)", "UK"),
        ("value | default(„UK“)", "UK"),
        ("value | default(‘it“s’)", "it“s"),
        ('value | default("„x“")', "„x“"),
        ("value\u00a0|\u00a0default(«UK»)", "UK"),
        ('value | default(“a\\b"c”)', 'a\\b"c'),
    ],
)
def test_quotes_that_a_spreadsheet_turned_round_delimit_texts_too(written: str, made: str) -> None:
    assert compile_rule(written, lookups={})(None, {}) == made


@pytest.mark.parametrize("rule", ["record.status.is_closed", "value if record.status.is_closed else none"])
def test_a_field_inside_another_is_named_as_it_has_to_be_written(rule: str) -> None:
    fields: Mapping[str, Kind | None] = {"status.id": "int", "status.is_closed": "boolean", "statuses": None}
    with pytest.raises(RuleError) as refused:
        compiled(rule, fields=fields)
    assert refused.value.fix.endswith('record["status.id"] or record["status.is_closed"]')
    assert compiled('record["status.is_closed"]', fields=fields).uses == {"status.is_closed"}
