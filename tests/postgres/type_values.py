"""Every type of PostgreSQL's catalog with values at its edges: facts that PostgreSQL's own regression tests know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VALUES: Mapping[str, Sequence[str]] = {
    "aclitem": ["pg_monitor=r*w/pg_monitor"],
    "bit": ["1", "0"],
    "bool": ["t", "f"],
    "box": ["(3,4),(1,2)", "(Infinity,1e+300),(-Infinity,-1e-300)"],
    "bpchar": ["", "abc", "a b  ", "ß€𝄞"],
    "bytea": ["", "\\x00ff5c27", "\\x", "\\xdeadbeef"],
    "char": ["a", "\\377", "\\001", "", "'"],
    "cid": ["0", "4294967295"],
    "cidr": ["10.0.0.0/8", "192.168.100.128/25", "::ffff:1.2.3.0/120", "::/0", "10.1.2.3/32"],
    "circle": ["<(1,2),3>", "<(-0.1,1e-300),0>"],
    "date": [
        "2024-02-29", "0001-01-01", "9999-12-31", "0044-03-15 BC", "4713-01-01 BC", "5874897-12-31", "infinity",
        "-infinity", "10000-01-01", "1582-10-15",
    ],
    "float4": ["0", "-0", "1.1", "3.4028235e+38", "1e-45", "NaN", "Infinity", "-Infinity", "0.1", "16777217"],
    "float8": [
        "0", "-0", "1.1", "1.7976931348623157e+308", "5e-324", "NaN", "Infinity", "-Infinity", "0.1", "1e15", "1e16",
        "123456789012345680", "0.30000000000000004",
    ],
    "inet": ["10.0.0.1", "10.0.0.1/8", "::ffff:1.2.3.4", "2001:4f8:3:ba::/64", "::1", "0.0.0.0/0"],
    "int2": ["-32768", "32767", "0"],
    "int4": ["-2147483648", "2147483647", "0"],
    "int8": ["-9223372036854775808", "9223372036854775807", "0"],
    "interval": [
        "1 year 2 mons -3 days 04:05:06.789", "-00:00:00.000001", "178000000 years", "-178000000 years", "0",
        "1 mon -1 day", "100 hours", "24:00:00", "infinity", "-infinity", "1 day", "-1 year -2 mons +3 days -04:05:06",
        "00:00:00.1",
    ],
    "json": [
        '{"b": 1, "a":2, "b": 3}', "null", "[]", '"text"', "12345678901234567890.50", " [1,  2] ", '"\\u20ac"', "true",
    ],
    "jsonb": [
        '{"big": 12345678901234567890.5}', "null", "[]", '"text"', "12345678901234567890.50", "1.10", "{}", "true",
        '{"a": {"b": [null, 1e400]}}',
    ],
    "jsonpath": ["$.a[*] ? (@ > 1)", "lax $"],
    "line": ["{1,-1,0.1}"],
    "lseg": ["[(1,2),(3,4)]"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "money": ["-92233720368547758.08", "92233720368547758.07", "0", "-0.01", "1234.50"],
    "name": ["", "a name with blanks and \"quotes\"", "x" * 63],
    "numeric": [
        "0", "-0.00", "1.10", "NaN", "Infinity", "-Infinity", "1e-20",
        "123456789012345678901234567890.12345678901234567890",
        "1e39", "1e1000", "0." + "0" * 300 + "1", "-99999.5", "1000000", "0.1000",
    ],
    "oid": ["0", "4294967295"],
    "path": ["[(1,2),(3,4)]", "((1,2),(3,4))"],
    "pg_lsn": ["0/0", "FFFFFFFF/FFFFFFFF"],
    "pg_snapshot": ["10:20:10,14,15"],
    "point": ["(1,2)", "(1e+300,Infinity)", "(NaN,NaN)", "(-0,5e-324)"],
    "polygon": ["((0,0),(3,1),(3,3))"],
    "refcursor": ["a cursor"],
    "regclass": ["pg_class"],
    "regcollation": ['"C"'],
    "regconfig": ["simple"],
    "regdictionary": ["simple"],
    "regnamespace": ["pg_catalog"],
    "regoper": ["||/"],
    "regoperator": ["+(integer,integer)"],
    "regproc": ["now"],
    "regprocedure": ["abs(integer)"],
    "regrole": ["pg_monitor"],
    "regtype": ["timestamp with time zone"],
    "text": ["", " ", "NULL", "null", "\\N", "a\tb\nc\\d\r\b\f\v", "ß€𝄞", "{}", "'\"", "\\x41", "x" * 5000],
    "tid": ["(0,1)", "(4294967295,65535)"],
    "time": ["00:00:00", "23:59:59.999999", "24:00:00", "04:05:06.7"],
    "timestamp": [
        "2024-02-29 12:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC",
        "294276-12-31 23:59:59.999999", "infinity", "-infinity", "1999-12-31 24:00:00",
    ],
    "timestamptz": [
        "2024-02-29 12:00:00.000001+05:30", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00",
        "0044-03-15 12:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "infinity", "-infinity",
        "1883-11-18 12:03:58-04:56:02", "9999-12-31 23:59:59.999999-14",
    ],
    "timetz": ["00:00:00+15:59:59", "24:00:00-05", "04:05:06.789+05:30", "23:59:59.999999-15:59"],
    "tsquery": ["'fat' & ( 'rat':*B | !'cat' )", "'a''b' <2> 'c'"],
    "tsvector": ["'a':1A,2 'b c':3B", "'''quoted'''"],
    "txid_snapshot": ["10:20:10,14,15"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"],
    "varbit": ["", "1", "101010101"],
    "varchar": ["", "abc  ", "ß€𝄞"],
    "xid": ["0", "4294967295"],
    "xid8": ["0", "18446744073709551615"],
    "xml": ["<a>b</a>", "two <a/> parts", ""],
    "int4range": ["empty", "[1,5)", "(,)", "[-2147483648,)"],
    "int8range": ["[1,9223372036854775807)"],
    "numrange": ["[1.10,2.200]", "(,1)", "[NaN,NaN]"],
    "tsrange": ["[2020-01-01,infinity)", "[\"0044-03-15 00:00:00 BC\",)"],
    "tstzrange": ["[2020-01-01 00:00:00+00,)", "(,infinity]", "[2020-01-01 12:00:00+05:30,2020-01-02 00:00:00+00)"],
    "daterange": ["[2020-01-01,2020-02-01)", "empty", "(,)", "[2020-01-01,infinity)"],
    "int4multirange": ["{}", "{[1,3),[5,7)}"],
    "int8multirange": ["{[1,3)}"],
    "nummultirange": ["{[1.10,2.0),(5,)}"],
    "tsmultirange": ["{[2020-01-01,2021-01-01)}"],
    "tstzmultirange": ["{[2020-01-01 00:00:00+00,)}"],
    "datemultirange": ["{[2020-01-01,2020-02-01)}"],
    "mood": ["sad", "not so sad", "quote\"d, {x}"],
    "money_amount": ["1.50", "-99999.99"],
    "short_code": ["abc"],
    "with_currency": ["(1.50,\"E U,R\")", "(,)", "(0.00,\"\")", "(1,\"a\\\\b\"\"c\")"],
    "float8range": ["[0.1,0.2)", "[-Infinity,1e300]"],
    "float8multirange": ["{[0.1,0.2)}"],
    "numeric_domain_of_domain": ["1.5"],
}  # fmt: skip
"""Type -> values as text. Those of the catalog first, then types of a company's own (`OWN_TYPES`)."""

NO_INPUT = frozenset(
    {
        "gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_mcv_list",
        "pg_ndistinct", "pg_node_tree",
    }
)  # fmt: skip
"""Types whose values can't be written: the server keeps them for itself."""

OWN_TYPES = """
create type mood as enum ('sad', 'not so sad', 'quote"d, {x}');
create domain money_amount as numeric(7, 2);
create domain short_code as varchar(5);
create type with_currency as (amount numeric, currency text);
create type float8range as range (subtype = float8, multirange_type_name = float8multirange);
create domain numeric_domain_of_domain as money_amount check (value < 1000);
"""

ARRAYS: Mapping[str, Sequence[str]] = {
    "int4": ["{}", "{NULL}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={1,2}", "[0:1][2:3]={{1,2},{3,4}}"],
    "text": ['{"",NULL,"NULL","a,b","{x}","q\\"uote","back\\\\slash"," "}', "{}"],
    "numeric": ["{1.10,NaN,NULL,-0.00}", "{1e30}"],
    "timestamptz": ['{"2024-02-29 12:00:00.000001+00",NULL}', "{infinity}"],
    "interval": ['{"1 year 2 mons -3 days 04:05:06.789",NULL}'],
    "jsonb": ['{"{\\"a\\": 1.50}","null",NULL}'],
    "box": ["{(3,4),(1,2);(5,6),(4,4)}"],
    "bool": ["{t,NULL,f}"],
    "bytea": ['{"\\\\x00ff",NULL}'],
    "float8": ["{0.1,NaN,Infinity,-0,NULL}"],
    "uuid": ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"],
    "date": ["{2024-02-29,NULL}", "{infinity}"],
    "mood": ['{sad,NULL,"quote\\"d, {x}"}'],
    "with_currency": ['{"(1.50,\\"E U,R\\")",NULL}'],
}
"""Array values of their own; every type also has an array of all its values."""
