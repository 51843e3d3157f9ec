"""How lists go on: whatever the sizes and styles, every record comes exactly once."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.errors import PermanentError, SorbusError
from sorbus.http_api.description import Pagination
from sorbus.http_api.interface import Answer, Call, Json, Record
from sorbus.http_api.pagination import (
    PagePosition,
    after_page,
    is_behind_the_last,
    join_url,
    may_be_a_maximum,
    page_call,
    parse_links,
    shows_all,
    total_of,
)

BASE = "https://crm.example.test/api"
STYLES: dict[str, Pagination] = {
    "page": Pagination(style="page", parameter="page", size_parameter="limit"),
    "page from 0 with total": Pagination(style="page", parameter="page", first=0, total="total"),
    "page with more": Pagination(style="page", parameter="page", size_parameter="limit", more="more"),
    "offset": Pagination(style="offset", parameter="offset", size_parameter="limit"),
    "offset from 1 with total": Pagination(style="offset", parameter="offset", first=1, total="total"),
    "offset in the body": Pagination(style="offset", parameter="paging.offset", in_body=True),
    "cursor": Pagination(style="cursor", parameter="cursor", token="next"),
    "cursor with done": Pagination(style="cursor", parameter="cursor", token="always", done="done"),
    "cursor in the body": Pagination(style="cursor", parameter="paging.after", token="next", in_body=True),
    "last id": Pagination(style="cursor", parameter="after_id", last_id=True),
    "last id with more": Pagination(style="cursor", parameter="after_id", last_id=True, more="more"),
    "link": Pagination(style="link-header"),
    "next URL": Pagination(style="next-url", token="url"),
    "relative next URL": Pagination(style="next-url", token="relative"),
}


def serve(call: Call, pagination: Pagination, count: int, sizes: list[int]) -> Answer:
    """The application: it gives as many as it likes of what it has, and says how to go on in every style."""
    url = urlsplit(join_url(BASE, call.path))
    asked: dict[str, Json] = {
        **dict(parse_qsl(url.query)),
        **call.parameters,
        **((call.json or {}).get("paging") or {}),
    }
    if "at" in asked:
        start = int(asked["at"])
    elif pagination.style == "page":
        number = int(asked["page"]) - (1 if pagination.first is None else pagination.first)
        start = sum(sizes[n % len(sizes)] for n in range(number))
    elif pagination.style == "offset":
        start = int(asked["offset"]) - (pagination.first or 0)
    else:
        start = int(
            asked.get("cursor") or asked.get("after") or (int(asked["after_id"]) + 1 if "after_id" in asked else 0)
        )
    n, walked = 0, 0
    while walked < start:
        walked, n = walked + sizes[n % len(sizes)], n + 1
    end = min(start + sizes[n % len(sizes)], count)
    is_last = end >= count
    relative = f"?{urlencode({'at': end, 'sig': 'a b&c'})}"
    absolute = f"{BASE}/contacts{relative}"
    body = {"records": [{"id": id} for id in range(start, end)], "total": count, "more": not is_last, "done": is_last,
            "next": None if is_last else str(end), "always": str(end), "url": None if is_last else absolute,
            "relative": "" if is_last else relative}  # fmt: skip
    return Answer(200, {} if is_last else {"Link": f'<{BASE}>; rel="first", <{absolute}>; rel="next"'}, body)


def walk(pagination: Pagination, count: int, sizes: list[int]) -> list[int]:
    ids: list[int] = []
    after: str | None = None
    for _ in range(count + 3):
        place = None if after is None else PagePosition.from_text(after)
        call = page_call(Call("GET", "/contacts"), pagination, place)
        answer = serve(call, pagination, count, sizes)
        records: list[Record] = answer.body["records"]
        ids += [record["id"] for record in records]
        url = join_url(BASE, call.path)
        following = after_page(pagination, place, answer, records, id_path="id", url=url, base_url=BASE)
        if following is None:
            return ids
        after = following.to_text()
    pytest.fail(f"it didn't end after {count + 3} pages")


@pytest.mark.parametrize("style", STYLES)
@given(count=st.integers(0, 60), sizes=st.lists(st.integers(1, 25), min_size=1, max_size=4))
def test_every_record_comes_exactly_once_in_pages_of_any_size(style: str, count: int, sizes: list[int]) -> None:
    assert walk(STYLES[style], count, sizes) == list(range(count))


def test_an_unpaged_list_is_one_request() -> None:
    answer = Answer(200, {}, {"records": [{"id": 1}]})
    assert after_page(Pagination(), None, answer, [{"id": 1}], id_path="id", url=BASE, base_url=BASE) is None


TWO = [{"id": 1}, {"id": 2}]
ASKED = Call("GET", "/records")


@pytest.mark.parametrize(
    ("call", "body", "at", "whole"),
    [
        (ASKED, TWO, "", True),
        (ASKED, {"items": TWO, "count": 2, "total": 2}, "items", True),
        (ASKED, {"items": TWO, "total": 3}, "items", False),
        (ASKED, {"result": {"items": TWO, "page": 1, "pages": 7}}, "result.items", False),
        (ASKED, {"result": {"items": TWO, "page": 1, "pages": 1}}, "result.items", True),
        (ASKED, {"result": {"items": TWO}, "meta": {"pagination": {}, "totalPages": 4}}, "result.items", False),
        (ASKED, {"data": TWO, "links": {"next": "/records?page=2"}}, "data", False),
        (ASKED, {"data": TWO, "links": {"next": None}, "has_more": False}, "data", True),
        (ASKED, {"data": TWO, "of the company": {"total": 80}}, "data", True),
        (ASKED, {'a.b': TWO, "hasNext": True}, '["a.b"]', False),
        (ASKED, {"data": TWO, "total": Decimal("1250.50")}, "data", True),
        (ASKED, {"data": TWO, "total": Decimal("3")}, "data", False),
        (ASKED, {"data": TWO, "total": "35"}, "data", False),
        (ASKED, {"data": TWO, "total": "1250.50"}, "data", True),
        (ASKED, {"data": TWO, "has_more": "false", "next": "null"}, "data", True),
        (ASKED, {"data": TWO, "has_more": "true"}, "data", False),
        (ASKED, {"data": TWO, "links": {"next": {"href": None}}}, "data", True),
        (ASKED, {"data": TWO, "links": {"next": {"href": "/2"}}}, "data", False),
        (ASKED, {"data": {"all": {"nodes": TWO, "pageInfo": {"hasNextPage": True}}}}, "data.all.nodes", False),
        (ASKED, {"data": {"all": {"nodes": TWO, "pageInfo": {"hasNextPage": False}}}}, "data.all.nodes", True),
        (ASKED, {"value": TWO, "@odata.nextLink": "https://x.test/2"}, "value", False),
        (ASKED, {"records": TWO, "done": False, "nextRecordsUrl": "/query/01g"}, "records", False),
        (ASKED, {"files": TWO, "nextPageToken": "~!!~"}, "files", False),
        (ASKED, {"data": TWO, "info": {"more_records": False, "count": 2, "page": 1}}, "data", True),
        (ASKED, {"data": TWO, "info": {"more_records": True, "count": 2, "page": 1}}, "data", False),
        (ASKED, {"Contacts": TWO, "pagination": {"pageCount": 1, "itemCount": 2}}, "Contacts", True),
        (ASKED, {"issues": TWO, "total_count": 2, "offset": 0, "limit": 25}, "issues", True),
        (Call("GET", "/records", {"limit": "2"}), TWO, "", False),
        (Call("GET", "/records", {"limit": "3"}), TWO, "", True),
    ],
)  # fmt: skip
def test_what_an_answer_says_of_pages_that_nobody_described(call: Call, body: Json, at: str, whole: bool) -> None:
    assert shows_all(call, Answer(200, {}, body), TWO, at) is whole


@pytest.mark.parametrize("cycle", [1, 2, 3, 7])
@pytest.mark.parametrize("style", ["cursor", "page", "offset", "link"])
def test_a_list_that_runs_in_circles_is_noticed(style: str, cycle: int) -> None:
    place: PagePosition | None = None
    pages = 0
    with pytest.raises(PermanentError, match="list is cyclic") as caught:  # noqa: PT012 - one walk
        for pages in range(100):
            at = pages % cycle
            records = [{"id": f"{at} {number}"} for number in range(STYLES[style].size)]
            answer = Answer(200, {"link": f"<{BASE}/c?at={at}>; rel=next"}, {"next": f"c{at}"})
            place = after_page(STYLES[style], place, answer, records, id_path="id", url=BASE, base_url=BASE)
    assert caught.value.reason == "loop"
    assert pages <= 4 * cycle + 2


@pytest.mark.parametrize("style", ["page", "offset"])
@pytest.mark.parametrize("count", [30, 250, 300])
def test_the_last_page_given_again_behind_it_is_the_end(style: str, count: int) -> None:
    size, place, read = STYLES[style].size, None, 0
    for number in range(1, 10):
        ids = range(min(number - 1, (count - 1) // size) * size, count)[:size]
        records = [{"id": id} for id in ids]
        answer = Answer(200, {}, {"records": records})
        place = after_page(STYLES[style], place, answer, records, id_path="id", url=BASE, base_url=BASE)
        read = number
        if place is None:
            break
    assert place is None
    assert read == -(-count // size) + 1


@pytest.mark.parametrize("status", [400, 404, 410, 416, 422])
def test_a_page_that_is_refused_behind_a_good_one_is_the_end(status: int) -> None:
    refused = PermanentError("no", reason="refused", status=status)
    good = PagePosition("2", 100)
    assert is_behind_the_last(STYLES["page"], good, refused)
    assert is_behind_the_last(STYLES["offset"], good, refused)
    assert not is_behind_the_last(STYLES["page"], None, refused), "the first page: the list is not there at all"
    assert not is_behind_the_last(STYLES["page"], PagePosition("2", 0), refused), "nothing was there before"
    assert not is_behind_the_last(STYLES["cursor"], good, refused), "a cursor that is refused has been forgotten"
    assert not is_behind_the_last(STYLES["page"], good, PermanentError("no", reason="refused", status=403))


@pytest.mark.parametrize(
    ("status", "reason", "read", "is_unsure"),
    [(400, "refused", 100, True), (422, "refused", 200, True), (400, "refused", 150, False), (400, "gone", 100, False),
     (404, "gone", 100, False), (410, "gone", 100, False), (416, "refused", 100, False)],
)  # fmt: skip
def test_a_page_refused_as_wrong_behind_full_ones_may_be_a_maximum(
    status: int, reason: str, read: int, is_unsure: bool
) -> None:
    refused = PermanentError("no", reason=reason, status=status)
    assert STYLES["page"].size == 100
    assert may_be_a_maximum(STYLES["page"], PagePosition("3", read), refused) is is_unsure


@pytest.mark.parametrize("text", ["250", " 250 ", "0", "", "many", "-1", "1e9", "9" * 50, "٣"])
def test_a_total_may_be_in_a_header(text: str) -> None:
    pagination = Pagination.model_validate({"style": "page", "parameter": "p", "total_header": "X-WP-Total"})
    expected = int(text) if text.strip() in ("250", "0") else None
    assert total_of(Answer(200, {"x-wp-total": text}, []), pagination) == expected


@pytest.mark.parametrize(
    "url",
    ["https://evil.example.test/x", "http://crm.example.test/api/x", "https://crm.example.test:8443/x",
     "//evil.example.test/x", "https://crm.example.test@evil.example.test/x", "https://crm.example.test:x/", "file:///etc/x"],
)  # fmt: skip
def test_credentials_go_to_no_other_origin(url: str) -> None:
    answer = Answer(200, {}, {"url": url})
    with pytest.raises(PermanentError, match="another origin") as caught:
        after_page(STYLES["next URL"], None, answer, [{}], id_path="id", url=f"{BASE}/contacts", base_url=BASE)
    assert caught.value.reason == "origin"


@given(st.text(max_size=60))
def test_a_made_up_place_is_refused(text: str) -> None:
    try:
        PagePosition.from_text(text)
    except SorbusError as error:
        assert "start it over" in str(error)  # noqa: PT017 - most texts


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ('<https://a/1>; rel="next"', {"next": "https://a/1"}),
        ("<https://a/1>;rel=next", {"next": "https://a/1"}),
        ('<a?x=1,2;3>; title="a, <b>; rel=x"; REL="Next last"', {"next": "a?x=1,2;3", "last": "a?x=1,2;3"}),
        ('<a>; rel="prev", <b>; foo; rel="next"; rel="first" , <c>;rel="next"', {"prev": "a", "next": "b"}),
        ("", {}),
        ("nonsense", {}),
    ],
)
def test_link_headers_are_read_by_their_rfc(text: str, links: dict[str, str]) -> None:
    assert parse_links(text) == links


@given(st.text(alphabet='<>;,="\\ relnext/a', max_size=300))
def test_any_link_header_is_read_quickly(text: str) -> None:
    parse_links(text)
