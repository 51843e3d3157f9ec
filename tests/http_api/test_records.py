"""The records of described applications: against the faulty application, and without I/O what is pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.errors import PermanentError, SorbusError, TransientError
from sorbus.http_api.answers import same_id
from sorbus.http_api.description import ApiField, ApiResource, Description, Operation
from sorbus.http_api.interface import Answer, Api, Call, FoundRecord
from sorbus.http_api.placeholders import fill_json, fill_path, quoted
from sorbus.http_api.records import RecordsApi, is_deleted, open_api
from sorbus.http_api.requests import form_fields, merged, placed, request_with
from sorbus.http_api.transport import HttpTransport
from sorbus.http_api.values import load_json
from sorbus.state import State
from tests.http_api.applications import Asked, Reply, answering, application, as_json
from tests.http_api.faulty import Faulty

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def api(faulty: Faulty, state: State) -> Iterator[Api]:
    transport = HttpTransport(application(faulty.base_url, api_key="k"), state)
    yield open_api(transport)
    transport.close()


class Told:
    """A transport without a network: gives the answer it was made with, and keeps the calls."""

    base_url = "https://crm.example.test"

    def __init__(self, answer: Answer, resource: dict[str, object], **description: object) -> None:
        written = {"api": "told", "title": "Told", "base_url": self.base_url, "resources": {"contacts": resource}}
        self.description = Description.model_validate({**written, **description})
        self.settings: dict[str, str] = {"tenant": "t1"}
        self.calls: list[Call] = []
        self._answer = answer

    def send(self, call: Call, *, doing: str) -> Answer:
        self.calls.append(call)
        return self._answer

    def close(self) -> None: ...


def whole_list(api: Api, resource: str, since: datetime | None = None) -> list[int]:
    ids, after, goes_on = list[int](), None, True
    while goes_on:
        page = api.page(resource, since=since, after=after)
        ids += [record["id"] for record in page.records]
        after = page.after
        goes_on = after is not None
    return ids


@pytest.mark.parametrize("resource", ["contacts", "by_offset", "by_cursor", "by_link", "by_url"])
def test_lists_bring_every_record_once(resource: str, faulty: Faulty, api: Api) -> None:
    for number in range(230):
        faulty.add(name=f"Contact {number}")
    for since in (None, LONG_AGO):
        assert sorted(whole_list(api, resource, since)) == list(range(1, 231))


def test_a_record_is_made_found_changed_and_gone(faulty: Faulty, api: Api) -> None:
    made = api.create("contacts", {"name": 'Zoë "Z" O\'Hara', "email": "z@example.test", "amount": "1.50"}, key="k1")
    again = api.create("contacts", {"name": 'Zoë "Z" O\'Hara', "email": "z@example.test", "amount": "1.50"}, key="k1")
    id = str(made["id"])
    assert again["id"] == made["id"]
    found = api.search("contacts", "name", 'Zoë "Z" O\'Hara')
    assert found is not None
    assert [record["id"] for record in found] == [made["id"]]
    assert api.search("contacts", "city", "x") is None
    api.update("contacts", id, {"city": "Zürich"}, current=None)
    current = api.get("contacts", id)
    assert current is not None
    assert (current.record["city"], current.record["email"]) == ("Zürich", "z@example.test")
    api.delete("contacts", id)
    assert api.get("contacts", id) is None
    with pytest.raises(PermanentError) as caught:
        api.delete("contacts", id)
    assert caught.value.reason == "gone"


def test_a_whole_update_keeps_what_we_do_not_name_and_notices_who_was_faster(faulty: Faulty, api: Api) -> None:
    id = faulty.add(name="Ada", city="Bern", email="a@example.test")
    current = api.get("guarded", id)
    assert current is not None
    assert current.etag
    api.update("guarded", id, {"name": "Ada L"}, current=current)
    assert (faulty.contacts()[id]["name"], faulty.contacts()[id]["city"]) == ("Ada L", "Bern")
    with pytest.raises(TransientError, match="answers 412"):
        api.update("guarded", id, {"name": "late"}, current=current)
    api.update("guarded", id, {"name": "reads for itself"}, current=None)
    assert faulty.contacts()[id]["name"] == "reads for itself"


def test_what_is_refused_comes_with_field_value_and_words(faulty: Faulty, api: Api) -> None:
    with pytest.raises(PermanentError, match="creating contact in Faulty") as caught:
        api.create("contacts", {"name": "", "city": "Bern"}, key="k")
    assert (caught.value.reason, caught.value.field, caught.value.value) == ("refused", "name", "")
    assert caught.value.words


def test_what_is_the_same_is_not_sent_again(state: State) -> None:
    name = "Ada"

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("If-None-Match") == f'"{name}"':
            return 304, {}, b""
        return as_json(200, {"contact": {"id": 1, "name": name}, "contacts": [{"id": 1}]}, ETag=f'"{name}"')

    with answering(answer) as (url, asked):
        transport = HttpTransport(application(url, api_key="k"), state)
        api = open_api(transport)
        first, second = api.get("contacts", "1"), api.get("contacts", "1")
        assert second == first == FoundRecord({"id": 1, "name": "Ada"})
        assert "If-None-Match" in asked[1].headers
        assert api.page("contacts").records == api.page("contacts").records == [{"id": 1}]
        name = "Ada L"
        assert api.get("contacts", "1") == FoundRecord({"id": 1, "name": "Ada L"})
        transport.close()


LISTED: dict[str, object] = {
    "list": {"path": "/c", "records": "Query.Contacts"},
    "get": {"path": "/c/{id}", "record": "c[0]"},
}


@pytest.mark.parametrize("body", [{"Query": {}}, {"Query": {"Contacts": []}}, {"Query": {"Contacts": None}}])
def test_an_empty_list_may_be_left_out(body: object) -> None:
    assert RecordsApi(Told(Answer(200, {}, body), LISTED)).page("contacts").records == []


@pytest.mark.parametrize(
    "body",
    [{}, None, [], "text", {"Query": None}, {"data": []}, {"Query": {"contacts": []}}, {"Query": {"Contacts": [1]}}],
)
def test_a_changed_shape_is_never_an_empty_list(body: object) -> None:
    """It would mean that all records are gone."""
    with pytest.raises(TransientError, match=r"no list of records at Query\.Contacts"):
        RecordsApi(Told(Answer(200, {}, body), LISTED)).page("contacts")


def test_a_304_that_we_did_not_ask_for_is_never_an_empty_list() -> None:
    with pytest.raises(TransientError, match="no list"):
        RecordsApi(Told(Answer(304, {}, None), LISTED)).page("contacts")


def test_a_record_is_there_or_not_or_the_shape_has_changed() -> None:
    assert RecordsApi(Told(Answer(200, {}, {"c": []}), LISTED)).get("contacts", "7") is None
    assert RecordsApi(Told(Answer(200, {}, {"c": [{"id": 7}]}), LISTED)).get("contacts", "7") == FoundRecord({"id": 7})
    with pytest.raises(TransientError, match=r"no record at c\[0\]"):
        RecordsApi(Told(Answer(200, {}, {"d": []}), LISTED)).get("contacts", "7")


_ERRORS = [{"message": "the database is away"}]


@pytest.mark.parametrize(
    "body",
    [
        {"contacts": None, "errors": _ERRORS},
        {"contacts": [], "errors": _ERRORS},
        {"jsonrpc": "2.0", "error": {"message": "the database is away"}},
        {"contacts": None, "status": "error", "message": "the database is away"},
    ],
    ids=str,
)
def test_errors_in_place_of_records_are_no_absence(body: object) -> None:
    """GraphQL and JSON-RPC answer 200 where a query fails."""
    listing = {"path": "/c", "records": "contacts"}
    resource = {
        "list": listing,
        "get": {"path": "/c/{id}", "record": "contacts", "no_content": True},
        "search": {"name": {**listing, "parameters": {"q": "{value}"}}},
    }
    rules = {"message": ["errors[0].message", "error.message", "message"]}
    api = RecordsApi(Told(Answer(200, {}, body), resource, errors=rules))
    for ask in (
        lambda: api.page("contacts"),
        lambda: api.get("contacts", "7"),
        lambda: api.search("contacts", "name", "A"),
    ):
        with pytest.raises(TransientError, match="answers 200: the database is away"):
            ask()
    done = {**rules, "rules": [{"where": {"contacts": None}, "means": "success"}]}
    if isinstance(body, dict) and body.get("contacts", 0) is None:
        assert RecordsApi(Told(Answer(200, {}, body), resource, errors=done)).get("contacts", "7") is None


@pytest.mark.parametrize("body", ["Fatal error: out of memory", {"contact": None}, {"message": "not saved"}, [1]])
def test_an_update_answered_without_the_record_is_not_done_for_certain(body: object) -> None:
    update = {"method": "PATCH", "path": "/c/{id}", "record": "contact", "partial": True}
    resource = {"list": {"path": "/c"}, "update": update}
    api = RecordsApi(Told(Answer(200, {}, body), resource))
    with pytest.raises(TransientError, match="may have been carried out"):
        api.update("contacts", "7", {"name": "A"}, current=None)
    for answer, returns in ((Answer(204, {}, None), "record"), (Answer(200, {}, body), "nothing")):
        told = Told(answer, {**resource, "update": {**update, "returns": returns}})
        assert RecordsApi(told).update("contacts", "7", {"name": "A"}, current=None) is None


@pytest.mark.parametrize(("id", "other"), [("7", None), ("007", None), ("9", "7")])
def test_a_record_that_shows_another_id_is_said_to(id: str, other: str | None) -> None:
    resource = {"list": {"path": "/c"}, "get": {"path": "/c/{id}"}}
    found = RecordsApi(Told(Answer(200, {}, {"id": Decimal("7.0")}), resource)).get("contacts", id)
    assert found is not None
    assert found.other_id == other


def test_a_creation_without_an_id_in_its_answer_may_have_happened() -> None:
    create = {"create": {"method": "POST", "path": "/c", "record": "c"}}
    with pytest.raises(TransientError, match="searches for it and doesn't send it again"):
        RecordsApi(Told(Answer(201, {}, {"ok": True}), create)).create("contacts", {"name": "x"}, key="")
    located = Answer(201, {"Location": "https://crm.example.test/c/99?x=1"}, None)
    assert RecordsApi(Told(located, create)).create("contacts", {"name": "x"}, key="")["id"] == "99"


def test_keys_revisions_settings_and_bodies_go_where_the_description_says() -> None:
    resource = {
        "id": "Id",
        "revision": "SyncToken",
        "create": {"method": "POST", "path": "/{tenant}/c", "body": {"List": [{"Kind": "C"}]}, "fields_at": "List[0]"},
        "update": {"method": "POST", "path": "/c", "body": {"Id": "{id}", "SyncToken": "{revision}"}, "partial": True},
    }
    api = RecordsApi(Told(Answer(200, {}, {}), resource, idempotency_header="Key", idempotency_parameter="requestid"))
    made = api.creating("contacts", {"Name": "x"}, key="k")
    assert made == Call("POST", "/t1/c", {"requestid": "k"}, {"Key": "k"}, {"List": [{"Kind": "C", "Name": "x"}]})
    current = FoundRecord({"Id": "7", "SyncToken": "3", "Name": "y"})
    changed = api.updating("contacts", "7", {"Name": "x"}, current=current)
    assert changed.json == {"Id": "7", "SyncToken": "3", "Name": "x"}
    with pytest.raises(SorbusError, match="has no resource 'things'"):
        api.page("things")


def test_a_field_that_is_sent_elsewhere_is_moved_there() -> None:
    fields = {"project.id": {"sent_as": "project_id"}, "status.id": {"sent_as": "status_id"}, "subject": {}}
    resource = {
        "create": {"method": "POST", "path": "/c", "fields_at": "issue"},
        "update": {"method": "PUT", "path": "/c/{id}", "partial": True},
        "fields": fields,
    }
    api = RecordsApi(Told(Answer(200, {}, {}), resource))
    given = {"project": {"id": 7, "name": "p"}, "status": {"id": None}, "subject": "s"}
    made = api.creating("contacts", given, key="")
    assert made.json == {"issue": {"project": {"name": "p"}, "project_id": 7, "status_id": None, "subject": "s"}}
    assert api.updating("contacts", "1", {"subject": "t"}, current=None).json == {"subject": "t"}
    assert given["status"] == {"id": None}


def test_a_link_is_read_by_its_place_in_a_list_and_sent_alone() -> None:
    fields = {
        "country_id[0]": {"kind": "integer", "sent_as": "country_id"},
        "name": {},
        "mails[primary=true].value": {"sent_as": "mail"},
    }
    api = RecordsApi(Told(Answer(200, {}, {}), {"create": {"method": "POST", "path": "/c"}, "fields": fields}))
    given = {"country_id": [7], "name": "x", "mails": [{"primary": True, "value": "a@b"}]}
    assert api.creating("contacts", given, key="").json == {"country_id": 7, "name": "x", "mail": "a@b"}
    assert api.creating("contacts", {"country_id": [None]}, key="").json == {"country_id": None}


def test_an_id_that_is_a_number_stays_one_in_bodies() -> None:
    resource = {
        "get": {"method": "POST", "path": "/read/{id}", "body": {"ids": ["{id}"]}, "record": "[0]"},
        "fields": {"id": {"kind": "integer"}},
    }
    told = Told(Answer(200, {}, []), resource)
    assert [RecordsApi(told).get("contacts", id) for id in ("7", "007", "x", "²")] == [None] * 4
    assert [(call.path, call.json) for call in told.calls] == [
        ("/read/7", {"ids": [7]}),
        ("/read/007", {"ids": ["007"]}),
        ("/read/x", {"ids": ["x"]}),
        ("/read/%C2%B2", {"ids": ["²"]}),
    ]


def test_no_content_means_nothing_where_the_description_says_so() -> None:
    nothing = Answer(204, {}, None)
    paged = {"path": "/c", "records": "data"}
    get = {"path": "/c/{id}", "record": "data"}
    search = {"name": {"path": "/c", "parameters": {"q": "{value}"}, "records": "data"}}
    silent = Told(nothing, {"list": paged, "get": get, "search": search, "fields": {"name": {}}})
    for ask in (
        lambda api: api.page("contacts"),
        lambda api: api.get("contacts", "1"),
        lambda api: api.search("contacts", "name", "x"),
    ):
        with pytest.raises(TransientError):
            ask(RecordsApi(silent))
    said = {"no_content": True}
    resource = {
        "list": paged | said,
        "get": get | said,
        "search": {"name": search["name"] | said},
        "fields": {"name": {}},
    }
    api = RecordsApi(Told(nothing, resource))
    assert (api.page("contacts").records, api.get("contacts", "1"), api.search("contacts", "name", "x")) == (
        [],
        None,
        [],
    )
    assert RecordsApi(Told(Answer(200, {}, {"data": None}), resource)).get("contacts", "1") is None
    with pytest.raises(TransientError):
        RecordsApi(Told(Answer(200, {}, {"other": None}), resource)).get("contacts", "1")


def test_a_search_may_answer_the_record_itself() -> None:
    search = {"name": {"path": "/by-name/{value}", "records": "data", "single": True}}
    resource = {"get": {"path": "/c/{id}"}, "search": search, "fields": {"name": {}}, "deleted": {"gone": True}}
    api = RecordsApi(Told(Answer(200, {}, {"data": {"id": 1, "name": "x"}}), resource))
    assert api.search("contacts", "name", "x") == [{"id": 1, "name": "x"}]
    api = RecordsApi(Told(Answer(200, {}, {"data": {"id": 1, "gone": True}}), resource))
    assert api.search("contacts", "name", "x") == []


def test_a_reference_to_a_new_record_is_read_for_its_id() -> None:
    resource = {
        "create": {"method": "POST", "path": "/c", "returns": "reference", "returned_id": "id"},
        "get": {"path": "/c/{id}"},
    }
    told = Told(Answer(201, {}, {"id": "by-name", "Name": "by-name"}), resource)
    assert RecordsApi(told).create("contacts", {"Name": "by-name"}, key="")["Name"] == "by-name"
    assert [call.path for call in told.calls] == ["/c", "/c/by-name"]


def test_a_whole_record_is_merged_without_what_can_only_be_read() -> None:
    fields = {"id": {"read_only": True}, "meta.made": {"read_only": True}, "currency": {"once": True}, "name": {}}
    resource = ApiResource.model_validate({"fields": fields})
    current = {"id": 1, "meta": {"made": 1, "tag": "t"}, "currency": "EUR", "name": "a", "tags": ["x"], "other": 5}
    whole = merged(resource, current, {"name": "b", "meta": {"tag": "u"}, "tags": ["y"]})
    assert whole == {"meta": {"tag": "u"}, "name": "b", "tags": ["y"], "other": 5}
    assert current["meta"] == {"made": 1, "tag": "t"}


@pytest.mark.parametrize("mark", ["NaN", '"2026-11-24", "deleted_at": null', 'null, "deleted_at": "2026-11-24"'])
def test_a_mark_that_cannot_be_read_deletes_nothing(mark: str) -> None:
    resource = ApiResource.model_validate({"deleted": {"deleted_at": "*"}})
    assert not is_deleted(resource, load_json(f'{{"deleted_at": {mark}}}'))


BROKEN = [b"1e999999", b"NaN", b"1" * 5000, b'"Caf\xe9"', b"[" * 200 + b"]" * 200]


@pytest.mark.parametrize("broken", [*BROKEN, b'1, "x": 2'])
@pytest.mark.parametrize(("around", "at"), [(b'{"x": %s}', "x"), (b'{"a": [{"x": %s}]}', "a[0].x")])
def test_a_whole_update_never_writes_back_what_could_not_be_read(broken: bytes, around: bytes, at: str) -> None:
    current = load_json(around % broken, broken_text=True)
    resource = {"update": {"method": "PUT", "path": "/c/{id}"}, "fields": {"name": {}, "x": {}}}
    told = Told(Answer(200, {}, {}), resource)
    with pytest.raises(PermanentError, match="The update would change it") as caught:
        RecordsApi(told).update("contacts", "1", {"name": "b"}, current=FoundRecord(current, None, None))
    assert (caught.value.field or "").startswith(at)
    str(caught.value).encode()
    assert not told.calls
    if at == "x":  # our own value takes its place
        RecordsApi(told).update("contacts", "1", {"x": "ours"}, current=FoundRecord(current, None, None))
        assert told.calls[0].json == {"x": "ours"}


def test_a_form_nests_names_in_brackets() -> None:
    body = {
        "name": "A & B",
        "address": {"city": "Bern"},
        "items": [{"price": Decimal("1.50")}],
        "on": True,
        "off": None,
    }
    assert form_fields(body) == {
        "name": "A & B", "address[city]": "Bern", "items[0][price]": "1.50", "on": "true", "off": "",
    }  # fmt: skip
    call = request_with(Operation(method="POST", path="/c", encoding="form"), {}, {"a": {"b": 1}}, {})
    assert (call.json, call.form) == (None, {"a[b]": "1"})


hostile = st.text(alphabet=st.sampled_from("'\"\\{}id valueOR1=;%/?#&.\u00e9\u2028"), max_size=20)
READERS = {
    "double": re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
    "single": re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL),
    "sql": re.compile(r"'((?:[^']|'')*)'", re.DOTALL),
}


@pytest.mark.parametrize("kind", READERS)
@given(value=hostile)
def test_no_value_breaks_out_of_its_quotes(kind: str, value: str) -> None:
    mark = '"' if kind == "double" else "'"
    resource = {"search": {"name": {"path": "/c", "parameters": {"q": f"name={mark}{{value}}{mark}"}, "quote": kind}}}
    told = Told(Answer(200, {}, []), resource)
    RecordsApi(told).search("contacts", "name", value)
    query = told.calls[0].parameters["q"]
    match = READERS[kind].fullmatch(query.removeprefix("name="))
    assert match, query
    inside = match[1].replace("''", "'") if kind == "sql" else re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL)
    assert inside == value


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("value", ["a\nb", "a\x00b"])
def test_control_characters_are_not_searched_for(kind: str, value: str) -> None:
    with pytest.raises(PermanentError, match="control characters"):
        quoted(value, kind)


@given(hostile)
def test_no_id_leaves_its_segment_of_the_path(id: str) -> None:
    try:
        path = fill_path("/contacts/{id}/notes", {"id": id})
    except PermanentError:
        assert id in ("", ".", "..")
        return
    before, inside, after = path.removeprefix("/").split("/")
    assert (before, unquote(inside), after) == ("contacts", id, "notes")
    assert not re.search(r"[?#]", path)


@given(hostile)
def test_a_value_in_a_body_stays_one_text(value: str) -> None:
    body = fill_json(
        {"filters": [{"value": "{value}", "n": "{limit}", "text": "x {value}"}]}, {"value": value, "limit": 7}
    )
    assert json.loads(json.dumps(body)) == {"filters": [{"value": value, "n": 7, "text": f"x {value}"}]}


def test_an_inexact_search_is_made_exact_and_the_deleted_are_left_out() -> None:
    resource = {
        "deleted": {"archived": True},
        "search": {"name": {"path": "/c", "parameters": {"q": "{value}"}, "exact": False}},
    }
    body = [{"id": 1, "name": "ADA "}, {"id": 2, "name": "Adam"}, {"id": 3, "name": "ada", "archived": True}]
    found = RecordsApi(Told(Answer(200, {}, body), resource)).search("contacts", "name", "Ada")
    assert found is not None
    assert [record["id"] for record in found] == [1]


def test_fields_at_places_of_one_list_that_are_sent_elsewhere_are_all_sent() -> None:
    fields = {f"at[{place}].city": ApiField(sent_as=f"city_{place}") for place in range(3)}
    fields |= {"pair[0]": ApiField(sent_as="pair_id"), "pair[1]": ApiField(sent_as="pair_name")}
    resource = ApiResource(fields=fields)
    record = {"at": [{"city": "Oslo"}, {"city": "Bergen"}, {"city": "Turku", "kept": 1}], "pair": [7, "Belgium"]}
    sent = {"city_0": "Oslo", "city_1": "Bergen", "city_2": "Turku", "pair_id": 7, "pair_name": "Belgium"}
    assert placed(resource, record) == {"at": [{"kept": 1}], **sent}


def test_a_whole_record_is_sent_without_any_of_its_read_only_places() -> None:
    fields = {f"pair[{place}]": ApiField(read_only=True) for place in range(3)}
    assert merged(ApiResource(fields=fields), {"pair": [7, "Belgium", "BE", "kept"]}, {}) == {"pair": ["kept"]}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ab", "aB ", True),
        ("007", "7", True),
        ("70", "7", False),
        ("0", "000", True),
        ("{4F1B0C5E-58CC-4372-A567-0E02B2C3D479}", "4f1b0c5e58cc4372a5670e02b2c3d479", True),
        ("1-23", "12-3", False),
        ("0015e00000ABcde", "0015e00000ABcdeAAG", True),
        ("0015e00000ABcde", "0015e00000ABcdf", False),
        ("-", "--", False),
    ],
)
def test_an_id_may_be_written_in_several_ways(one: str, other: str, same: bool) -> None:
    assert same_id(one, other) == same_id(other, one) == same
