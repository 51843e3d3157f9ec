"""`sorbus api new`: what it guesses from vendors' files and answers, says why, leaves open, and refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from sorbus.cli.app import application
from sorbus.errors import MapError
from sorbus.http_api.draft.from_answers import Answered, draft_answers
from sorbus.http_api.draft.from_openapi import collections, draft_openapi
from sorbus.http_api.draft.paging import Seen, guess_paging
from sorbus.http_api.draft.write import write_draft
from sorbus.http_api.load import load_description, read_description
from sorbus.http_api.openapi import Spec, read_spec
from sorbus.http_api.openapi_diff import compare
from tests.http_api.applications import Asked, Reply, answering, as_json
from tests.http_api.vendors.mock import HERE

# Answered fields that the vendors' own files give another type, or none, in another place of the same record.
UNLIKE = r"is \w+ here, and|can't be"
SPECS = sorted(HERE.glob("*.json"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application("api"), ["api", "new", *arguments])


@pytest.mark.parametrize("file", SPECS, ids=lambda file: file.stem)
def test_a_draft_of_any_vendors_file_loads_and_agrees_with_it(file: Path, tmp_path: Path) -> None:
    """The comparison is code of its own: what it finds, the draft got wrong."""
    spec = read_spec(file)
    for one in collections(spec):
        draft = draft_openapi("x", spec, [one.path])
        draft.data |= {"auth": {"kind": "none"}, "base_url": "https://x.test" + urlsplit(spec.server).path}
        text = write_draft(draft, "the vendor's file")
        (tmp_path / "x.yaml").write_text(text, "utf-8")
        if "TODO: " in text.partition("api: x")[2]:
            with pytest.raises(MapError, match="is unfinished"):
                read_description("x.yaml", tmp_path)
            continue
        made = compare(*read_description("x.yaml", tmp_path), spec)
        assert [found for found in made.findings if not re.search(UNLIKE, found.message)] == []


SHOP: dict[str, Any] = {
    "openapi": "3.0.0",
    "info": {"title": "Shop", "version": "4"},
    "externalDocs": {"url": "https://docs.shop.test"},
    "servers": [{"url": "https://{shop}.test/api/"}],
    "paths": {
        "/customers": {
            "get": {
                "parameters": [
                    {"name": "page", "in": "query", "schema": {"type": "integer"}},
                    {
                        "name": "limit",
                        "in": "query",
                        "description": "Records a page; the maximum is 250.",
                        "schema": {"type": "integer"},
                    },
                    {
                        "name": "updatedSince",
                        "in": "query",
                        "description": "Changed at or after this time.",
                        "schema": {"type": "string", "format": "date-time"},
                    },
                    {"name": "email", "in": "query", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {
                                        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Customer"}},
                                        "meta": {"type": "object", "properties": {"total": {"type": "integer"}}},
                                    },
                                }
                            }
                        }
                    }
                },
            },
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {"customer": {"$ref": "#/components/schemas/Sent"}},
                            }
                        }
                    }
                },
                "responses": {
                    "201": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"data": {"$ref": "#/components/schemas/Customer"}},
                                }
                            }
                        }
                    }
                },
            },
        },
        "/customers/{customerId}": {
            "get": {"responses": {"200": {"$ref": "#/components/responses/One"}}},
            "put": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {"customer": {"$ref": "#/components/schemas/Changed"}},
                            }
                        }
                    }
                },
                "responses": {"204": {"description": ""}},
            },
            "delete": {"responses": {"204": {"description": ""}}},
        },
        "/customers/{customerId}/notes": {
            "get": {
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "array",
                                    "items": {"type": "object", "properties": {"id": {"type": "integer"}}},
                                }
                            }
                        }
                    }
                }
            }
        },
    },
    "components": {
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
        "responses": {
            "One": {
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"data": {"$ref": "#/components/schemas/Customer"}}}
                    }
                }
            }
        },
        "schemas": {
            "Customer": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "name": {"type": "string", "maxLength": 80},
                    "email": {"type": "string"},
                    "kind": {"type": "string", "enum": ["person", "company"]},
                    "country": {
                        "type": "object",
                        "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
                    },
                    "balance": {"type": "number"},
                    "updatedAt": {"type": "string", "format": "date-time"},
                    "createdAt": {"type": "string", "format": "date-time"},
                    "deletedAt": {"type": "string", "format": "date-time", "nullable": True},
                },
            },
            "Changed": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 60},
                    "email": {"type": "string"},
                    "country": {"type": "integer"},
                },
            },
            "Sent": {
                "type": "object",
                "required": ["name", "password"],
                "properties": {
                    "name": {"type": "string", "maxLength": 60},
                    "email": {"type": "string"},
                    "kind": {"type": "string", "enum": ["person", "company"]},
                    "country": {"type": "integer"},
                    "password": {"type": "string"},
                    "newsletter": {"type": "boolean"},
                },
            },
        },
    },
}


def test_what_a_file_tells_is_described_and_each_guess_says_why(tmp_path: Path) -> None:
    draft = draft_openapi("shop", Spec(SHOP), [])
    text = write_draft(draft, "shop.json")
    (tmp_path / "shop.yaml").write_text(text, "utf-8")
    shop = load_description("shop.yaml", tmp_path)
    assert (shop.title, shop.base_url, shop.docs) == ("Shop", "https://{shop}.test/api", "https://docs.shop.test")
    assert list(shop.settings) == ["shop"]
    assert (shop.auth.kind, shop.auth.header) == ("api-key", "X-Key")
    customers = shop.resources["customers"]
    assert (customers.id, customers.updated, customers.deleted) == (
        "id",
        ("updatedAt", "createdAt"),
        {"deletedAt": "*"},
    )
    assert customers.list is not None
    paging = customers.list.pagination
    assert (paging.style, paging.parameter, paging.size_parameter, paging.size, paging.total) == (
        "page",
        "page",
        "limit",
        250,
        "meta.total",
    )
    assert customers.changes is not None
    assert customers.changes.parameters == {"updatedSince": "{since}"}
    assert not customers.changes.inclusive
    assert (customers.create and customers.create.fields_at, customers.create and customers.create.record) == (
        "customer",
        "data",
    )
    assert customers.update is not None
    assert (customers.update.method, customers.update.partial, customers.update.returns) == ("PUT", False, "nothing")
    assert customers.search["email"].parameters == {"email": "{value}"}
    fields = customers.fields
    assert fields["name"].required
    assert fields["name"].largest == 60
    assert fields["kind"].once
    assert fields["kind"].values == ["person", "company"]
    assert fields["country.id"].sent_as == "country"
    assert fields["balance"].kind == "decimal"
    assert fields["balance"].read_only
    assert fields["password"].required
    assert fields["password"].write_only
    assert "newsletter" not in fields
    assert any("newsletter is sent" in each for each in draft.left_out)
    for said in ('"updatedSince" looks like a cursor', "at or after this time", "whether an update empties", "limits:"):
        assert said in text, text
    assert any("/customers/{customerId}/notes" in each for each in draft.left_out)


def test_what_is_answered_inside_attributes_and_sent_without_them_is_one_field(tmp_path: Path) -> None:
    text, moment = {"type": "string"}, {"type": "string", "format": "date-time", "readOnly": True}
    kind = {**text, "enum": ["asset", "revenue"]}
    sent = {
        "type": "object",
        "required": ["name", "secret"],
        "properties": {"name": text, "type": kind, "secret": text},
    }
    inside = {"type": "object", "properties": {"name": text, "type": kind, "balance": text, "updated_at": moment}}
    record = {"type": "object", "properties": {"id": text, "type": text, "attributes": inside}}

    def as_answer(schema: Mapping[str, Any]) -> dict[str, Any]:
        data = {"type": "object", "properties": {"data": schema}}
        return {"responses": {"200": {"content": {"application/json": {"schema": data}}}}}

    body = {"requestBody": {"content": {"application/json": {"schema": sent}}}}
    paths = {
        "/autocomplete/accounts": {"get": as_answer({"type": "array", "items": inside})},
        "/accounts": {"get": as_answer({"type": "array", "items": record}), "post": {**body, **as_answer(record)}},
        "/accounts/{id}": {"get": as_answer(record), "put": {**body, **as_answer(record)}},
    }
    spec = Spec({"openapi": "3.0.0", "info": {}, "servers": [{"url": "https://x.test"}], "paths": paths})
    assert [one.path for one in collections(spec) if one.name == "accounts"] == ["/accounts"]
    draft = draft_openapi("x", spec, [])
    draft.data["auth"] = {"kind": "none"}
    (tmp_path / "x.yaml").write_text(write_draft(draft, "x.json"), "utf-8")
    description, document = read_description("x.yaml", tmp_path)
    accounts = description.resources["accounts"]
    assert accounts.updated == ("attributes.updated_at",)
    assert {path: field.model_dump(exclude_defaults=True) for path, field in accounts.fields.items()} == {
        "id": {"read_only": True},
        "type": {"read_only": True},
        "attributes.name": {"sent_as": "name", "required": True},
        "attributes.type": {"sent_as": "type", "values": ["asset", "revenue"]},
        "attributes.balance": {"read_only": True},
        "attributes.updated_at": {"kind": "datetime", "read_only": True},
        "secret": {"required": True, "write_only": True},
    }
    assert compare(description, document, spec).findings == []


def test_a_header_that_every_request_needs_times_as_numbers_and_paging_of_which_only_answers_tell(
    tmp_path: Path,
) -> None:
    """What a draft of Invoice Ninja's file lacked."""
    number = {"type": "number", "format": "integer", "example": 1434342123}
    client = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "updated_at": number,
            "archived_at": {**number, "example": 1434342123000},
            "paid_to_date": {"type": "number", "format": "float"},
        },
    }
    answer = {
        "type": "object",
        "properties": {
            "data": {"type": "array", "items": client},
            "meta": {
                "type": "object",
                "properties": {"pagination": {"type": "object", "properties": {"current_page": {"type": "integer"}}}},
            },
        },
    }
    xhr = {"name": "X-Requested-With", "in": "header", "required": True, "schema": {"type": "string"}}
    token = {"name": "X-TOKEN", "in": "header", "required": True, "schema": {"type": "string"}}
    since = {"name": "updated_at", "in": "query", "description": "Changed since.", "schema": {"type": "integer"}}
    paths = {
        "/clients": {
            "get": {
                "parameters": [{**xhr, "example": "XMLHttpRequest"}, token, since],
                "responses": {"200": {"content": {"application/json": {"schema": answer}}}},
            }
        }
    }
    schemes = {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-TOKEN"}}}
    file = tmp_path / "ninja.json"
    security: list[object] = [{"key": []}]
    file.write_text(json.dumps({"openapi": "3.0.0", "paths": paths, "components": schemes, "security": security}))
    draft = draft_openapi("ninja", read_spec(file), ["/clients"])
    text = write_draft(draft, "ninja.json")
    found = YAML(typ="safe").load(text)
    assert found["headers"] == {"X-Requested-With": "XMLHttpRequest"}
    clients = found["resources"]["clients"]
    assert clients["updated_format"] == "epoch"
    assert {name: field["kind"] for name, field in clients["fields"].items() if "kind" in field} == {
        "updated_at": "epoch",
        "archived_at": "epoch-ms",
        "paid_to_date": "decimal",
    }
    assert clients["list"]["pagination"]["style"].startswith("TODO: how pages are asked for: the answer has meta")
    assert clients["changes"]["pagination"] == clients["list"]["pagination"]
    assert text.count("style:") == 1  # written once, with an anchor


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen({"page": {}, "per_page": {"maximum": 50}}), {"style": "page", "parameter": "page", "size": 50}),
        (Seen({"pageSize": {}}, ["nextPageToken"], ()), {"style": "cursor", "parameter": "", "token": "nextPageToken"}),
        (Seen({}, ["has_more"]), {"style": ""}),
        (Seen({}, ["result.page", "result.pages", "result.count"]), {"style": ""}),
        (
            Seen({"pageToken": {}, "pageSize": {}}, ["nextPageToken"]),
            {"style": "cursor", "parameter": "pageToken", "token": "nextPageToken"},
        ),
        (Seen({"limit": {}}, ['["@odata.nextLink"]', "value"]), {"style": "next-url", "token": '["@odata.nextLink"]'}),
        (Seen({}, ["links.next", "links.prev"]), {"style": "next-url", "token": "links.next"}),
        (
            Seen({"starting_after": {}, "limit": {}}, ["has_more"]),
            {"style": "cursor", "parameter": "starting_after", "last_id": True, "more": "has_more"},
        ),
        (Seen({"skip": {}, "take": {}}, ["total"]), {"style": "offset", "parameter": "skip", "total": "total"}),
        (Seen({"per_page": {}}, (), ["Link", "X-Total"]), {"style": "link-header", "size_parameter": "per_page"}),
        (Seen({"q": {}}, ["name"]), None),
    ],
)
def test_paging_is_recognized_by_its_names(seen: Seen, expected: Mapping[str, object] | None) -> None:
    found = guess_paging(seen)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found[0].items() >= expected.items()


def test_answers_alone_make_a_source(tmp_path: Path) -> None:
    rows = [
        {
            "uuid": f"u{number}",
            "name": f"n{number}",
            "total": 1.5,
            "paid": True,
            "tags": [],
            "address": {"city": "Bern"},
            "modified": "2026-11-24T10:00:00Z",
            "note": None,
        }
        for number in range(3)
    ]
    listed = Answered(
        "https://shop.test/api/orders?limit=50&state=all&cursor=a", {"items": rows, "nextCursor": "x"}, {}
    )
    draft = draft_answers("shop", [listed, Answered("https://shop.test/api/orders/7", rows[0])], {"kind": "bearer"})
    (tmp_path / "shop.yaml").write_text(write_draft(draft, "answers"), "utf-8")
    orders = load_description("shop.yaml", tmp_path).resources["orders"]
    assert (orders.id, orders.updated) == ("uuid", ("modified",))
    assert orders.list is not None
    assert (orders.list.path, orders.list.parameters, orders.list.records) == (
        "/api/orders",
        {"state": "all"},
        "items",
    )
    assert (orders.list.pagination.style, orders.list.pagination.token, orders.list.pagination.size) == (
        "cursor",
        "nextCursor",
        50,
    )
    assert orders.get is not None
    kinds = {path: field.kind for path, field in orders.fields.items()}
    assert kinds["total"] == "decimal"
    assert (kinds["paid"], kinds["tags"], kinds["modified"], kinds["address.city"]) == (
        "boolean",
        "list",
        "datetime",
        "text",
    )
    assert "null in every answer" in draft.guesses["resources.orders.fields.note"].why
    assert any("create, update, delete" in each for each in draft.left_out)


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "next", "a.b", 'q"', "{x}", "data", "", "updated_at"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_trees, st.sampled_from(["/x", "https://a.test/x?page=1", "/", "", "/x/7"]))
@settings(max_examples=60)
def test_any_answer_makes_a_file_that_can_be_read_or_is_refused_in_words(body: object, url: str) -> None:
    try:
        draft = draft_answers("x", [Answered(url, body)], {"kind": "none"})
    except ValueError:
        return
    assert YAML(typ="safe").load(write_draft(draft, "an answer"))["api"] == "x"


@given(
    st.recursive(
        json_trees, lambda inner: st.dictionaries(st.sampled_from(["get", "200", "properties", "type"]), inner)
    )
)
@settings(max_examples=40)
def test_any_file_with_paths_is_drafted_or_has_no_collections(body: Any) -> None:
    spec = Spec(
        {"paths": {"/things": {"get": {"responses": {"200": {"content": {"application/json": {"schema": body}}}}}}}}
    )
    assert isinstance(collections(spec), list)


def test_the_command_writes_once_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.json").write_text(json.dumps(SHOP), "utf-8")
    made = run("shop", "--spec", "shop.json", "--json")
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["resources"] == ["customers"]
    assert report["todo"] == []
    assert {"place", "value", "why"} == set(report["guesses"][0])
    written = (tmp_path / "apis" / "shop.yaml").read_text("utf-8")
    again = run("shop", "--spec", "shop.json")
    assert again.exit_code == 2
    assert "never overwritten" in again.output
    assert (tmp_path / "apis" / "shop.yaml").read_text("utf-8") == written
    assert "customers  /customers" in run("shop", "--spec", "shop.json", "--list").output
    dry = run("other", "--spec", "shop.json", "--dry-run")
    assert dry.exit_code == 0
    assert not (tmp_path / "apis" / "other.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--spec, or --answer"),
        (("--spec", "shop.json", "--answer", "https://x.test/y"), "--spec, or --answer"),
        (("--spec", "shop.json", "--resource", "customer"), "did you mean customers"),
        (("--saved", "answer.json"), "isn't PATH=FILE"),
        (("--saved", "/x=missing.json"), "can't read missing.json"),
        (("--saved", "/x=number.json"), "holds no list of objects"),
        (("--answer", "https://x.test/y", "--header", "X-Key: secret"), "in that environment variable"),
        (("--answer", "https://x.test/y", "--header", "X-Key: ${NOT_SET_HERE}"), "NOT_SET_HERE is empty or not set"),
        (("--answer", "http://shop.test/y", "--header", "X-Key: ${DRAFT_KEY}"), "use https"),
    ],
)
def test_what_cant_be_drafted_is_refused_in_words(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRAFT_KEY", "s3cret")
    (tmp_path / "shop.json").write_text(json.dumps(SHOP), "utf-8")
    (tmp_path / "number.json").write_text("7")
    made = run("shop", *arguments)
    assert made.exit_code == 2
    assert says in made.output
    assert "s3cret" not in made.output
    assert not (tmp_path / "apis").exists()


def test_answers_are_asked_for_with_a_secret_that_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRAFT_KEY", "s3cret")
    seen: list[str | None] = []

    def answer(asked: Asked) -> Reply:
        seen.append(asked.headers.get("Authorization"))
        if asked.path == "/moved":
            return 302, {"Location": "https://elsewhere.test/"}, b""
        if asked.path == "/no":
            return as_json(401, {})
        return as_json(200, [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}], **{"X-Total-Count": "2"})

    with answering(answer) as (url, _):
        made = run("shop", "--answer", f"{url}/things?page=1", "--header", "Authorization: Bearer ${DRAFT_KEY}")
        assert made.exit_code == 0, made.output
        moved = run("two", "--answer", f"{url}/moved", "--header", "Authorization: Bearer ${DRAFT_KEY}")
        assert (moved.exit_code, "is moved to https://elsewhere.test/" in moved.output) == (2, True)
        assert run("two", "--answer", f"{url}/no").exit_code == 4
    assert run("two", "--answer", f"{url}/things").exit_code == 3
    text = (tmp_path / "apis" / "shop.yaml").read_text("utf-8")
    assert "s3cret" not in text + made.output
    assert seen[0] == "Bearer s3cret"
    shop = load_description("apis/shop.yaml", tmp_path)
    assert shop.auth.kind == "bearer"
    assert shop.resources["things"].list is not None
    assert shop.resources["things"].list.pagination.total_header == "x-total-count"


def test_an_unfinished_description_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(
        "api: shop\ntitle: Shop\nbase_url: 'TODO: your address'\nresources:\n  orders:\n    id: id\n"
        "    list: {path: /orders, parameters: {a: TODO}}\n    get: {path: '/orders/{id}'}\n"
    )
    with pytest.raises(MapError) as caught:
        load_description("shop.yaml", tmp_path)
    assert [(found.line, found.message) for found in caught.value.findings] == [
        (3, "base_url is unfinished: your address"),
        (7, "resources.orders.list.parameters.a is unfinished: nothing says what belongs here"),
    ]


@pytest.mark.parametrize(("now", "kind"), [(1_764_000_000, "epoch"), (1_764_000_000_123, "epoch-ms")])
def test_times_that_are_numbers_are_seconds_or_milliseconds(now: int, kind: str) -> None:
    rows = [{"id": 1, "updated_at": now}, {"id": 2, "updated_at": None}]
    draft = draft_answers("x", [Answered("https://x.test/orders", rows)], {"kind": "none"})
    orders = draft.data["resources"]["orders"]  # type: ignore[index, call-overload]
    assert orders["updated_format"] == kind  # type: ignore[index, call-overload]
