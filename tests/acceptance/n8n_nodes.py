"""Nodes and connections of n8n's workflows, as its editor writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

Node = dict[str, object]


def workflow(name: str, nodes: Sequence[Node]) -> dict[str, object]:
    """One node after the other; a webhook is a second beginning beside the first node."""
    beginnings = [one for one in nodes if one["name"] == "From the beginning"]
    chain = [one for one in nodes if one not in beginnings]
    links = {str(one["name"]): {"main": [[link(str(after["name"]))]]} for one, after in pairwise(chain)}
    for one in beginnings:
        links[str(one["name"])] = {"main": [[link(str(chain[1]["name"]))]]}
    shown = [placed(one, at) for at, one in enumerate(nodes)]
    return {"name": name, "nodes": shown, "connections": links, "settings": {"executionOrder": "v1"}}


def node(name: str, kind: str, version: float, parameters: Mapping[str, object] | None = None) -> Node:
    """A node by its kind in n8n-nodes-base."""
    return {
        "id": name.lower().replace(" ", "-"), "name": name, "type": f"n8n-nodes-base.{kind}", "typeVersion": version,
        "parameters": dict(parameters or {}), "position": [0, 0],
    }  # fmt: skip


def placed(node: Node, place: int) -> Node:
    """At its place from the left."""
    return {**node, "position": [220 * place, 0]}


def link(name: str, index: int = 0) -> dict[str, object]:
    """To a node's input."""
    return {"node": name, "type": "main", "index": index}


def retried(node: Node) -> Node:
    """*Retry on fail*: three tries, a second between them."""
    return {**node, "retryOnFail": True, "maxTries": 3, "waitBetweenTries": 1000}


def code(name: str, text: str) -> Node:
    """JavaScript, once for all items."""
    return node(name, "code", 2, {"jsCode": text})


def fields(name: str, values: Mapping[str, str]) -> Node:
    """*Edit Fields*: each of its type, and nothing else is kept."""
    kinds = {"debtor_no": "number", "terms": "number", "payment_terms_days": "number", "blocked": "number"}
    kinds |= {"unit_price": "number", "tax_rate": "number", "tags": "array"}
    rows = [{"id": key, "name": key, "value": text, "type": kinds.get(key, "string")} for key, text in values.items()]
    return node(name, "set", 3.4, {"assignments": {"assignments": rows}, "options": {}})


def query(name: str, credential: str, text: str, value: str) -> Node:
    """PostgreSQL's *Execute query*; `value`: JavaScript, what $1 is."""
    parameters = {"operation": "executeQuery", "query": text, "options": {"queryReplacement": f"={{{{ [{value}] }}}}"}}
    made = node(name, "postgres", 2.6, parameters)
    return retried({**made, "credentials": {"postgres": {"id": credential, "name": credential}}})


def into(name: str, credential: str, table: str, keys: Sequence[str], operation: str = "upsert") -> Node:
    """PostgreSQL's *Insert or update* into schema n8n, columns by name."""
    columns = {"mappingMode": "autoMapInputData", "value": {}, "matchingColumns": list(keys), "schema": []}
    made = node(name, "postgres", 2.6, {
        "operation": operation, "schema": {"__rl": True, "mode": "list", "value": "n8n"},
        "table": {"__rl": True, "mode": "list", "value": table}, "columns": columns, "options": {},
    })  # fmt: skip
    return retried({**made, "credentials": {"postgres": {"id": credential, "name": credential}}})


def into_mysql(name: str, credential: str, table: str, key: str) -> Node:
    """MySQL's *Insert or update*, columns by name."""
    made = node(name, "mySql", 2.4, {
        "operation": "upsert", "table": {"__rl": True, "mode": "list", "value": table},
        "dataMode": "autoMapInputData", "columnToMatchOn": key, "options": {},
    })  # fmt: skip
    return retried({**made, "credentials": {"mySql": {"id": credential, "name": credential}}})


def http(
    name: str, credential: str, method: str, url: str, query: Mapping[str, str] | None = None, body: str = ""
) -> Node:
    """*HTTP request* with the key in a header."""
    parameters: dict[str, object] = {
        "method": method, "url": f"={url}", "authentication": "genericCredentialType",
        "genericAuthType": "httpHeaderAuth", "options": {},
    }  # fmt: skip
    if query:
        rows = [{"name": key, "value": value} for key, value in query.items()]
        parameters |= {"sendQuery": True, "queryParameters": {"parameters": rows}}
    if body:
        parameters |= {"sendBody": True, "contentType": "json", "specifyBody": "json", "jsonBody": body}
    made = node(name, "httpRequest", 4.2, parameters)
    return retried({**made, "credentials": {"httpHeaderAuth": {"id": credential, "name": credential}}})
