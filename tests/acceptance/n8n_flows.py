"""Workflows of n8n for seven flows of the year, as an experienced user of it builds them.

Each flow is a workflow: every 10 s it reads the rows changed since its cursor, maps them in *Edit Fields*, and inserts
or updates by key. The cursor is kept in the workflow's static data, is moved after the last write alone, and is read
with an overlap of 0.2 s (a week of business takes seconds), so that nothing is skipped; repeats do no harm. Nodes that
talk to a system try three times. A failed run starts the error workflow, which records it. A webhook runs each from the
beginning again. The query names its columns, so that a renamed one is an error and not an empty value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.n8n_nodes import (
    Node,
    code,
    fields,
    http,
    into,
    into_mysql,
    link,
    node,
    placed,
    query,
    retried,
    workflow,
)  # fmt: skip

EVERY = 10
"""Seconds between two polls."""
_STATUS = "{{ ({lead: 'PROSPECT', active: 'ACTIVE', closed: 'INACTIVE'})[$json.stage] }}"
_CUSTOMERS = """select customer_id, customer_no, trim(company) as company, lower(email) as email, phone, street,
postcode, town, country, stage, terms, newsletter, updated_at::text as updated_at from customers"""
_ORDER = {
    "id": "order_id::text", "number": "order_no", "customer_id": "customer_id::text", "status": "upper(state)",
    "ordered_on": "ordered_on::text", "currency": "currency",
}  # fmt: skip
_ORDER_LINE = {
    "order_id": "l.order_id::text", "position": "line_no", "line_number": "line_no", "product_id": "sku",
    "quantity": "quantity::text", "unit_price": "unit_price::text", "discount_rate": "discount::text",
    "tax_rate": "tax_rate::text",
}  # fmt: skip
_INVOICE = {
    "id": "invoice_no", "number": "invoice_no", "kind": "'SALES_INVOICE'",
    "status": "case status when 'open' then 'SENT' when 'part' then 'PARTLY_PAID' else 'PAID' end",
    "customer_id": "party_id::text", "order_id": "sales_order_id::text", "issued_on": "issued_on::text",
    "due_on": "due_on::text", "currency": "currency", "net_amount": "net::text", "tax_amount": "tax::text",
    "total_amount": "total::text", "paid_amount": "paid::text",
}  # fmt: skip
_INVOICE_LINE = {
    "invoice_id": "l.invoice_no", "position": "line_no", "line_number": "line_no", "sku": "sku", "description": "text",
    "quantity": "quantity::text", "unit_price": "unit_price::text", "net_amount": "l.net::text",
    "tax_amount": "l.tax::text", "project_id": "project_id::text",
}  # fmt: skip
_SINCE = "where updated_at >= $1::timestamptz - interval '200 milliseconds' order by updated_at"
_BEGIN = """const data = $getWorkflowStaticData('global');
const fromTheBeginning = $input.first().json.headers !== undefined;
return [{ json: { since: fromTheBeginning || !data.since ? '1970-01-01T00:00:00Z' : data.since } }];"""
_END = """const data = $getWorkflowStaticData('global');
data.since = $('Changed rows').last().json.updated_at;
return [];"""


@dataclass(frozen=True)
class Access:
    """Ids of n8n's credentials, the URL of its support desk, the price list."""

    crm: str
    erp: str
    accounting: str
    projects: str
    reporting: str
    support: str
    support_url: str
    prices: Path


def error_workflow(access: Access) -> dict[str, object]:
    """Records what failed, in the table errors of the project tool's database."""
    values = {
        "workflow": "={{ $json.workflow.name }}",
        "node": "={{ $json.execution?.lastNodeExecuted }}",
        "message": "={{ $json.execution?.error?.message ?? $json.trigger?.error?.message }}",
    }
    return workflow(
        "errors",
        [
            node("Error", "errorTrigger", 1),
            fields("What failed", values),
            into("Record it", access.projects, "errors", [], operation="insert"),
        ],
    )


def flows(access: Access) -> dict[str, dict[str, object]]:
    """Name -> workflow."""
    person = {"ours": "={{ String($json.customer_id) }}", "number": "={{ $json.customer_no }}"}
    person |= {"name": "={{ $json.company }}", "email": "={{ $json.email }}"}
    client = {
        "id": "={{ String($json.customer_id) }}", **{key: person[key] for key in ("number", "name", "email")},
        "kind": "ORGANIZATION", "status": f"={_STATUS}", "phone": "={{ $json.phone }}",
        "billing_address_line1": "={{ $json.street }}", "billing_address_postal_code": "={{ $json.postcode }}",
        "billing_address_city": "={{ $json.town }}", "billing_address_country": "={{ $json.country }}",
        "payment_terms_days": "={{ $json.terms }}", "tags": "={{ $json.newsletter ? ['newsletter'] : [] }}",
    }  # fmt: skip
    debtor = {
        "debtor_no": "={{ $json.customer_id }}", "account": "={{ $json.customer_no }}", "name": "={{ $json.company }}",
        "email": "={{ $json.email }}", "country": "={{ $json.country }}", "terms": "={{ $json.terms }}",
        "blocked": "={{ $json.stage === 'closed' ? 1 : 0 }}",
    }  # fmt: skip
    product = {
        "id": "={{ $json.SKU }}", "sku": "={{ $json.SKU }}", "name": "={{ $json.Article }}",
        "unit_price": "={{ $json['Net price'] }}", "tax_rate": "={{ $json.VAT }}", "currency": "EUR",
        "kind": "GOODS", "status": "ACTIVE", "tags": "={{ [] }}",
    }  # fmt: skip
    customers = _changed(access.crm, f"{_CUSTOMERS} {_SINCE}, customer_id")
    found = {
        name: workflow(name, [*_polled(name), customers, fields("Mapping", values), into, code("Keep cursor", _END)])
        for name, values, into in (
            ("customers to accounting", debtor, into_mysql("Debtor", access.accounting, "debtors", "debtor_no")),
            ("customers to projects", client, into("Client", access.projects, "clients", ["id"])),
            ("customers to reporting", client, into("Customer", access.reporting, "customers", ["id"])),
        )
    }
    found["customers to support"] = _to_support(access, customers, {**person, "status": f"={_STATUS}"})
    for name, source, table, key, values, line, more in (
        ("orders to reporting", access.crm, "orders", "order_id", _ORDER, _ORDER_LINE, {"tags": "={{ [] }}"}),
        ("invoices to reporting", access.erp, "invoices", "invoice_no", _INVOICE, _INVOICE_LINE, {}),
    ):
        rows = _select({**values, "updated_at": "updated_at::text"}, table)
        lines = _select(line, f"{table[:-1]}_lines l join {table} using ({key})")
        their = query("Their lines", source, f"{lines} {_SINCE}", "$('Begin').first().json.since")
        found[name] = workflow(name, [
            *_polled(name),
            _changed(source, f"{rows} {_SINCE}"),
            fields("Mapping", {**{one: f"={{{{ $json.{one} }}}}" for one in values}, **more}),
            into("Write", access.reporting, table, ["id"]),
            {**their, "executeOnce": True},
            into("Write lines", access.reporting, f"{table[:-1]}_lines", [f"{table[:-1]}_id", "position"]),
            code("Keep cursor", _END),
        ])  # fmt: skip
    read = node(
        "Price list", "readWriteFile", 1, {"operation": "read", "fileSelector": str(access.prices), "options": {}}
    )
    found["prices to reporting"] = workflow("prices to reporting", [
        *_polled("prices to reporting"),
        retried(read),
        node("Rows", "extractFromFile", 1, {"operation": "xlsx", "options": {}}),
        fields("Mapping", product),
        into("Product", access.reporting, "products", ["id"]),
    ])  # fmt: skip
    return found


def _select(values: Mapping[str, str], table: str) -> str:
    return f"select {', '.join(f'{sql} as {name}' for name, sql in values.items())} from {table}"


def _to_support(access: Access, customers: Node, values: Mapping[str, str]) -> dict[str, object]:
    """Looks for the person by our number, and changes it or makes a new one."""
    name, body = "customers to support", "={{ JSON.stringify($('Mapping').item.json) }}"
    find = http(
        "Find",
        access.support,
        "GET",
        f"{access.support_url}/people",
        query={"field": "ours", "value": "={{ $json.ours }}"},
    )
    condition = {
        "leftValue": "={{ $json.total }}", "rightValue": 0,
        "operator": {"type": "number", "operation": "gt"}, "id": "there",
    }  # fmt: skip
    options = {"caseSensitive": True, "leftValue": "", "typeValidation": "loose", "version": 2}
    is_there = node("There?", "if", 2.2, {
        "conditions": {"options": options, "combinator": "and", "conditions": [condition]}, "options": {},
    })  # fmt: skip
    change = http(
        "Change", access.support, "PATCH", f"{access.support_url}/people/{{{{ $json.data[0].id }}}}", body=body
    )
    create = http("Create", access.support, "POST", f"{access.support_url}/people", body=body)
    both = node("Both", "merge", 3, {})
    end = code("Keep cursor", _END)
    flow = workflow(name, [*_polled(name), customers, fields("Mapping", values), find, is_there])
    nodes, links = flow["nodes"], flow["connections"]
    assert isinstance(nodes, list)
    assert isinstance(links, dict)
    nodes += [placed(one, 8 + at) for at, one in enumerate((change, create, both, end))]
    links["There?"] = {"main": [[link("Change")], [link("Create")]]}
    links["Change"] = {"main": [[link("Both")]]}
    links["Create"] = {"main": [[link("Both", 1)]]}
    links["Both"] = {"main": [[link("Keep cursor")]]}
    return flow


def _polled(name: str) -> list[Node]:
    """Schedule, webhook, cursor."""
    rule = {"interval": [{"field": "seconds", "secondsInterval": EVERY}]}
    hook = node("From the beginning", "webhook", 2, {"httpMethod": "POST", "path": path(name), "options": {}})
    return [
        node("Every 10 s", "scheduleTrigger", 1.2, {"rule": rule}),
        {**hook, "webhookId": path(name)},
        code("Begin", _BEGIN),
    ]


def path(name: str) -> str:
    """Of the webhook that runs a flow from the beginning."""
    return name.replace(" ", "-")


def _changed(credential: str, text: str) -> Node:
    return query("Changed rows", credential, text, "$json.since")
