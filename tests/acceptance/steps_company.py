"""A company whose orders make deliveries and invoices, and whose payments make balances; and its ledger, in SQL."""

from __future__ import annotations

from tests.acceptance.office import Office, Row, execute

AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 2}
LINE = {
    "type": "record",
    "name": "line",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "long"},
    ],
}
PAID = {
    "type": "record",
    "name": "paid",
    "fields": [{"name": "reference", "type": "string"}, {"name": "amount", "type": AMOUNT}],
}
SCHEMAS = {
    "order": [
        {"name": "customer", "type": "string"},
        {"name": "status", "type": "string"},
        {"name": "amount", "type": AMOUNT},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "lines", "type": {"type": "array", "items": LINE}, "default": []},
    ],
    "delivery": [
        {"name": "order_id", "type": "string"},
        {"name": "customer", "type": "string"},
        {"name": "words", "type": "string"},
        {"name": "items", "type": {"type": "array", "items": {**LINE, "name": "item"}}, "default": []},
    ],
    "invoice": [
        {"name": "customer", "type": "string"},
        {"name": "total", "type": AMOUNT},
        {"name": "state", "type": "string"},
    ],
    "payment": [
        {"name": "customer", "type": ["null", "string"], "default": None},
        {"name": "amount", "type": ["null", AMOUNT], "default": None},
        {"name": "reference", "type": ["null", "string"], "default": None},
    ],
    "balance": [
        {"name": "customer", "type": "string"},
        {"name": "paid", "type": AMOUNT},
        {"name": "payments", "type": "long"},
        {"name": "lines", "type": {"type": "array", "items": PAID}, "default": []},
    ],
}
CRM = """
create table orders (id int primary key, customer text, status text, amount numeric(19,2), note text);
create table order_lines (order_id int, n int, sku text, quantity int, primary key (order_id, n));
create table payments (id int primary key, customer text, amount numeric(19,2), reference text);
alter table orders replica identity full;
alter table order_lines replica identity full;
"""
SHEET: list[Row] = [
    ("canonical", "order.id", "canonical", "delivery.order_id", ""),
    ("canonical", "order.customer", "canonical", "delivery.customer", ""),
    ("canonical", "", "canonical", "delivery.words", '"for " ~ record.customer ~ ": " ~ (record.note or "-")'),
    ("canonical", "order.lines[].sku", "canonical", "delivery.items[].sku", "value | upper"),
    ("canonical", "order.lines[].quantity", "canonical", "delivery.items[].quantity", ""),
    ("canonical", "delivery.customer", "canonical", "invoice.customer", "value | upper"),
    ("canonical", "delivery.order_id", "canonical", "invoice.total", "value | integer"),
    ("canonical", "", "canonical", "invoice.state", '"open"'),
    ("canonical", "payment.customer", "canonical", "balance.customer", ""),
    ("canonical", "payment.reference", "canonical", "balance.lines[].reference", 'value | default("none")'),
    ("canonical", "payment.amount", "canonical", "balance.lines[].amount", ""),
]


def children(list: str) -> dict[str, object]:
    """A table for a list's items, of the list's name."""
    return {list: {"table": list}}


def steps_map(prefix: str) -> dict[str, object]:
    """The map; its names in the databases carry the prefix."""
    return {
        "systems": {
            "crm": {"kind": "postgres", "owner": "Sales", "connection": {"dsn": "${CRM_DSN}"}},
            "books": {"kind": "postgres", "owner": "Finance", "connection": {"dsn": "${BOOKS_DSN}"}},
        },
        "data_types": {
            "order": {
                "system_of_record": "crm",
                "source": {
                    "table": "public.orders",
                    "children": {"lines": {"table": "public.order_lines", "parent": ["order_id"], "order": ["n"]}},
                },
            },
            "payment": {"system_of_record": "crm", "source": {"table": "public.payments"}},
            "delivery": {},
            "invoice": {},
            "balance": {},
        },
        "steps": [
            {
                "from": "order", "makes": "delivery", "owner": "Logistics", "begin": "beginning",
                "where": 'status in ["confirmed", "shipped"]', "on_leave": "delete",
            },
            {
                "from": "delivery", "makes": "invoice", "owner": "Finance", "begin": "beginning", "on_leave": "delete",
            },
            {
                "from": "payment", "makes": "balance", "owner": "Finance", "begin": "beginning", "on_leave": "delete",
                "per": ["customer"], "sum": {"paid": "amount"}, "count": "payments", "list": "lines",
            },
        ],
        "flows": [
            {"data_type": "delivery", "to": "books", "target": {"table": "deliveries", "children": children("items")}},
            {"data_type": "invoice", "to": "books", "target": {"table": "invoices"}},
            {"data_type": "balance", "to": "books", "target": {"table": "balances", "children": children("lines")}},
        ],
    }  # fmt: skip


def found(company: Office, *dsns: str) -> None:
    """Founds it: its CRM's tables, its map, and what `sorbus apply` makes."""
    execute(dsns[0], CRM)
    company.write(steps_map(company.prefix), SHEET, SCHEMAS)
    company.sorbus("map", "check")
    company.sorbus("apply", "--yes")
