"""A company whose owner has a column of every type that can be compared, for tests of reconciliation."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.acceptance.office import Office

OWNER = """
create type mood as enum ('low', 'high');
create table things (
    id bigint primary key, name text, code char(6), short varchar(40), qty integer, amount numeric, price numeric(12,4),
    ratio float8, single real, active boolean, at timestamptz, day date, noon time, tag uuid, raw bytea, doc jsonb,
    words text[], nums integer[], feeling mood, net inet, rank smallint
);
create table parts (thing bigint, n integer, sku text, weight numeric, primary key (thing, n));
create table places (country text, city text, people bigint, primary key (country, city));
"""
FILL = """
insert into things
select g, 'Thing ' || g || case when g % 7 = 0 then ' é中😀' else '' end, 'c' || g % 100, nullif('s' || g % 9, 's0'),
    g % 50 - 25, (g * 7 % 1000)::numeric / (10 ^ (g % 4)), g * 1.2500, g / 3.0, g / 7.0, g % 2 = 0,
    '2026-01-01 12:00:00.123456+02'::timestamptz + g * interval '1 minute', '2026-01-01'::date + g % 400,
    '08:00'::time + g % 600 * interval '1 minute', md5(g::text)::uuid, decode(md5(g::text), 'hex'),
    jsonb_build_object('b', g, 'a', array['x', g::text]), array['w' || g, null, 'a "b" \\ c', ''], array[g, -g],
    (case when g % 2 = 0 then 'low' else 'high' end)::mood, ('10.0.' || g % 250 || '.1')::inet, g % 5
from generate_series(1, {rows}) g;
update things set ratio = '-0', single = 'NaN', amount = 0.000, words = '{{}}' where id = 1;
update things set ratio = 1e300, single = 1e-30, amount = 100, name = null where id = 2;
update things set name = e' \t\n"quo\\ted", (a,b) {{}} ', code = '', short = '', qty = 2147483647,
    amount = 12345678901234.567891,
    price = -99999999.9999, ratio = 'NaN', single = 'Infinity', at = '0001-01-01 00:00:00+00', day = '0001-01-01',
    noon = '23:59:59.999999', raw = '',
    words = array['{{}}', ',', '"', '\', 'NULL', e'\n'], nums = array[-1, 2147483647],
    doc = '{{"z": 1e400, "a": {{"é": "\u4e2d", "n": null}}, "l": [1.0, 1.50]}}' where id = 3;
update things set name = e'e\u0301 \u00e9 \u200b', code = ' a b', qty = -2147483648, amount = -0.000001, price = 0,
    ratio = '-Infinity', single = '-0', at = '9999-12-31 23:59:59.999999+00', day = '9999-12-31', noon = '00:00',
    nums = '{{}}', doc = '"text"', rank = -32768, net = '::1/128' where id = 4;
update things set ratio = 5e-324, single = 1.17549435e-38, amount = 1e13, price = 1, doc = '[]', words = array['']
    where id = 5;
update things set ratio = 1.7976931348623157e308, single = 3.4028235e38, doc = '0.10', net = 'fe80::/10' where id = 6;
insert into parts select g, n, 'sku' || n, n * 1.50 from generate_series(1, {rows}) g, generate_series(1, g % 4) n;
insert into places select c, t, length(c || t) from unnest(array['de', 'DE', 'fr', 'Ö', 'a|b', 'a%7Cb', '1', '10', '9'])
    c, unnest(array['x', 'X', 'ä', '|', '%', '-1']) t;
"""
_FIELDS: Mapping[str, object] = {
    "name": "string", "code": "string", "short": "string", "qty": "int",
    "amount": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 6},
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4},
    "ratio": "double", "single": "double", "active": "boolean",
    "at": {"type": "long", "logicalType": "timestamp-micros"}, "day": {"type": "int", "logicalType": "date"},
    "noon": {"type": "long", "logicalType": "time-micros"}, "tag": {"type": "string", "logicalType": "uuid"},
    "raw": "bytes", "doc": "string", "words": {"type": "array", "items": ["null", "string"]},
    "nums": {"type": "array", "items": "long"}, "feeling": "string", "net": "string", "rank": "long",
}  # fmt: skip
_ITEM = {
    "type": "record",
    "name": "part",
    "fields": [
        {"name": "sku", "type": "string"},
        {
            "name": "weight",
            "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}],
            "default": None,
        },
    ],
}
SCHEMAS = {
    "thing": [
        *({"name": name, "type": ["null", type], "default": None} for name, type in _FIELDS.items()),
        {"name": "parts", "type": {"type": "array", "items": _ITEM}, "default": []},
        {"name": "unused", "type": ["null", "string"], "default": None},
    ],
    "place": [
        {"name": "country", "type": "string"},
        {"name": "city", "type": "string"},
        {"name": "people", "type": "long"},
    ],
}
THEIRS = """
create table their_things (
    no integer primary key, name varchar(100), code char(10), amount numeric(24,6), price numeric(14,6), qty bigint,
    at timestamp, tag text, rank text, doc jsonb, label varchar(20), kept numeric(14,2)
);
"""
ROWS = [
    ("canonical", f"thing.{name}", "books", f"their_things.{name}", "")
    for name in ("name", "code", "amount", "price", "qty", "at", "tag", "rank", "doc")
] + [
    ("canonical", "thing.short", "books", "their_things.label", 'value | upper | default("NONE")'),
    ("canonical", "thing.qty", "books", "their_things.kept", "value / 4"),
]


def write(office: Office, **flow: object) -> None:
    """The map: things and places to tables that Sorbus makes, things also to a table of the target's own."""
    office.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}, "owner": "Sales"},
                "reporting": {"kind": "postgres", "connection": {"dsn": "${REPORTING_DSN}"}, "owner": "Data"},
                "books": {"kind": "postgres", "connection": {"dsn": "${BOOKS_DSN}"}, "owner": "Finance"},
            },
            "data_types": {
                "thing": {
                    "system_of_record": "crm",
                    "source": {"table": "things", "children": {"parts": {"table": "parts", "parent": ["thing"]}}},
                },
                "place": {"system_of_record": "crm", "source": {"table": "places"}},
            },
            "flows": [
                {
                    "data_type": "thing",
                    "to": "reporting",
                    "target": {"table": "things", "children": {"parts": {"table": "parts"}}},
                    **flow,
                },
                {
                    "data_type": "thing",
                    "to": "books",
                    "target": {"table": "their_things", "existing": True, "key": "no"},
                },
                {"data_type": "place", "to": "reporting", "target": {"table": "places"}},
            ],
        },
        ROWS,
        SCHEMAS,
    )


def reconcile(office: Office, flow: str, *options: str) -> dict[str, object]:
    """The report of `sorbus reconcile FLOW --json`."""
    told = office.sorbus("reconcile", flow, "--json", *options, status=None)
    if not told:
        office.sorbus("reconcile", flow, "--json", *options)  # which fails with what was said
    return dict(json.loads(told))
