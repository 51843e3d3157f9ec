"""Paging through a list, without I/O: the first request, and the next one from each answer.

A list's position is an opaque text, so that it can be resumed later and in another process. The list ends where the
application says so; otherwise with an empty page, never with a short one: a page may be shorter than requested.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from urllib.parse import urljoin, urlsplit

from sorbus.errors import PermanentError, SorbusError
from sorbus.http_api.description import Pagination
from sorbus.http_api.error_mapping import header
from sorbus.http_api.interface import Answer, Call, Json, Record
from sorbus.http_api.path import read_path, write_path

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LINK = re.compile(
    r"<(?P<url>[^<>]*)>(?P<parameters>(?:\s*;\s*[^\s;,=]+\s*(?:=\s*(?:\"(?:[^\"\\]|\\.)*\"|[^\s;,\"]*))?)*)"
)
_PARAMETER = re.compile(r";\s*([^\s;,=]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,\"]*)))?")


@dataclass(frozen=True, slots=True)
class PagePosition:
    """A position in a list: the next page's number, offset, cursor or URL.

    `read` counts the records so far. `mark`, `power` and `steps` detect a cyclic list in constant space: each page is
    compared with one earlier page, replaced at every power of two (R. P. Brent, BIT 20, 1980). `last` is the previous
    page.
    """

    next: str = ""
    read: int = 0
    mark: str = ""
    power: int = 1
    steps: int = 0
    last: str = ""

    @classmethod
    def from_text(cls, text: str) -> PagePosition:
        """Parses the result of `to_text`. SorbusError for anything else."""
        try:
            next, read, mark, power, steps, *last = json.loads(text)
            return cls(str(next), int(read), str(mark), int(power), int(steps), str(last[0]) if last else "")
        except (ValueError, TypeError) as error:
            raise SorbusError(f"{text[:80]!r} is not a position in a list; start it over") from error

    def to_text(self) -> str:
        return json.dumps([self.next, self.read, self.mark, self.power, self.steps, self.last])


def values_of(pagination: Pagination, place: PagePosition | None) -> dict[str, str | int]:
    """The values of the placeholders {limit}, {offset}, {page} and {cursor} in this page's request."""
    number = int(place.next) if place and pagination.style in ("page", "offset") else _first(pagination)
    return {
        "limit": pagination.size,
        "page": number,
        "offset": number,
        "cursor": place.next if place and pagination.style == "cursor" else "",
    }


def page_call(call: Call, pagination: Pagination, place: PagePosition | None) -> Call:
    """The request for the first page (None) or a later one, made from the list's own request."""
    if place and pagination.style in ("link-header", "next-url"):
        return replace(call, path=place.next, parameters={})
    values = values_of(pagination, place)
    added: dict[str, str | int] = {}
    if pagination.size_parameter:
        added[pagination.size_parameter] = values["limit"]
    if pagination.parameter and pagination.style in ("page", "offset"):
        added[pagination.parameter] = values["page"]
    if pagination.parameter and pagination.style == "cursor" and values["cursor"]:
        added[pagination.parameter] = values["cursor"]
    if not pagination.in_body:
        return replace(call, parameters={**call.parameters, **{name: str(value) for name, value in added.items()}})
    body = copy.deepcopy(call.json) if call.json is not None else {}
    for name, value in added.items():
        write_path(body, name, value)
    return replace(call, json=body)


def after_page(
    pagination: Pagination,
    place: PagePosition | None,
    answer: Answer,
    records: Sequence[Record],
    *,
    id_path: str,
    url: str,
    base_url: str,
) -> PagePosition | None:
    """The position after this answer; None: this was the last page.

    `records` are the answer's, `url` is the page's own. PermanentError if the list is cyclic, or its next page has
    another origin than `base_url` (which must not get our credentials).
    """
    place = place or PagePosition()
    read = place.read + len(records)
    following = _following(pagination, place, answer, records, read, id_path)
    if following is None:
        return None
    if pagination.style in ("link-header", "next-url"):
        following = same_origin(following, url, base_url)
    is_counted = pagination.style in ("page", "offset")
    digest = _digest(records, id_path) if is_counted else _digest([following], "")
    is_first = (place.power, place.steps) == (2, 0)  # the application may ignore the parameter
    if is_counted and digest == place.last and (not is_first or len(records) < pagination.size):
        return None  # after the last page the application repeats it
    if digest in (place.mark, place.last):
        raise PermanentError(
            f"the list is cyclic: after {read} records it returns an earlier page again. Fix the"
            " pagination in the API's description: the name of its parameter, or what ends the list (`total:`,"
            " `total_header:`, `more:`, or style next-url or link-header)",
            reason="loop",
        )
    power, steps = place.power, place.steps + 1
    if steps == power:
        return PagePosition(following, read, digest, 2 * power, 0, digest)
    return PagePosition(following, read, place.mark, power, steps, digest)


def is_behind_the_last(pagination: Pagination, place: PagePosition | None, error: PermanentError) -> bool:
    """Whether a rejected page is the end of the list: applications answer 404, 400 or 416 for a page past the end.

    Only after a page with records, if pages are counted, and if nothing else says how the list ends.
    """
    return (
        place is not None
        and place.read > 0
        and pagination.style in ("page", "offset")
        and not pagination.more
        and not pagination.done
        and error.status in (400, 404, 410, 416, 422)
    )


def may_be_a_maximum(pagination: Pagination, place: PagePosition, error: PermanentError) -> bool:
    """Whether a page that `is_behind_the_last` may be one that the application has and doesn't show.

    Elasticsearch, HubSpot and others refuse what lies behind their first 10,000 records as a wrong request.
    """
    return error.status in (400, 422) and error.reason != "gone" and place.read % pagination.size == 0


def says_more(answer: Answer, pagination: Pagination) -> bool:
    """Whether an answer says by its flag that there are more pages."""
    return _says(answer.body, pagination.more) is True and _says(answer.body, pagination.done) is not True


def same_origin(url: str, page: str, base_url: str) -> str:
    """The absolute form of a URL on a page. PermanentError if its origin (RFC 6454) differs from `base_url`'s."""
    try:
        absolute = urljoin(page, url)
        strange = origin(absolute) != origin(base_url)
    except ValueError:
        strange = True
    if strange:
        raise PermanentError(
            "the application refers to another origin than the base URL's, which must not get our credentials;"
            " fix base_url in the map, or the application's own address in its settings",
            reason="origin",
            value=re.sub(r"[?#].*", "", url)[:200],
        )
    return absolute


def join_url(base_url: str, path: str) -> str:
    """A call's URL: below the base URL, or an absolute URL of the same origin. PermanentError for any other."""
    if "://" in path.partition("?")[0]:
        return same_origin(path, base_url, base_url)
    return f"{base_url.rstrip('/')}/{path.lstrip('/')}" if path else base_url


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL. ValueError for an invalid port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme)


def parse_links(text: str) -> dict[str, str]:
    """A Link header's URLs by their relation (RFC 8288, section 3)."""
    links: dict[str, str] = {}
    for link in _LINK.finditer(text):
        for name, quoted, bare in _PARAMETER.findall(link["parameters"]):
            if name.lower() == "rel":
                for relation in re.sub(r"\\(.)", r"\1", quoted or bare).lower().split():
                    links.setdefault(relation, link["url"])
                break
    return links


def _following(
    pagination: Pagination, place: PagePosition, answer: Answer, records: Sequence[Record], read: int, id_path: str
) -> str | None:
    """The next page's number, offset, cursor or URL; None if there is none."""
    style = pagination.style
    if style == "none" or _says(answer.body, pagination.done) is True:
        return None
    more = _says(answer.body, pagination.more)
    if more is False:
        return None
    if style == "link-header":
        return parse_links(header(answer.headers, "link")).get("next")
    if style == "next-url" or (style == "cursor" and not pagination.last_id):
        token = read_path(answer.body, pagination.token)
        return None if token in (None, "", False) else str(token)
    if not records and not more:
        return None
    if style == "cursor":
        return _last_id(records, id_path)
    if more is None and _all_read(answer, pagination, read):
        return None
    here = int(place.next) if place.next else _first(pagination)
    return str(here + (1 if style == "page" else len(records)))


def _first(pagination: Pagination) -> int:
    if pagination.first is not None:
        return pagination.first
    return 1 if pagination.style == "page" else 0


def _last_id(records: Sequence[Record], id_path: str) -> str:
    """The last id on the page: a record without one must not end the list."""
    for record in reversed(records):
        found = read_path(record, id_path)
        if isinstance(found, str | int | Decimal) and not isinstance(found, bool) and found != "":
            return str(found)
    raise PermanentError(
        f"the list can't continue: none of its records has an id at {id_path}; fix the API's description",
        reason="shape",
    )


def _digest(records: Sequence[Json], id_path: str) -> str:
    """Identifies a page: its records' ids, or all of it if a record has none."""
    ids = [read_path(record, id_path) if id_path else record for record in records]
    mark = json.dumps(records if None in ids else ids, default=str)
    return hashlib.sha256(mark.encode("utf-8", "replace")).hexdigest()[:24]


def _says(body: Json, path: str) -> bool | None:
    """The flag at this path of the answer; None if it is missing."""
    found = read_path(body, path) if path else None
    if found is None:
        return None
    return found.lower() not in ("false", "0", "") if isinstance(found, str) else bool(found)


def _all_read(answer: Answer, pagination: Pagination, read: int) -> bool:
    total = total_of(answer, pagination)
    return total is not None and read >= total


_TOTALS = ("total", "count", "total_count", "totalCount", "total_items", "totalItems", "total_results")
_PAGES = ("pages", "total_pages", "totalPages", "last_page", "lastPage", "page_count", "pageCount")
_MORE = (
    *("has_more", "hasMore", "has_next", "hasNext", "hasNextPage", "more_records", "next_page", "next"),
    *("nextPageToken", "next_page_token", "nextRecordsUrl", "nextLink", "odata.nextLink", "@odata.nextLink"),
)
_AROUND = ("meta", "pagination", "paging", "page_info", "pageInfo", "info", "links")
_NO = ("", "false", "no", "null", "none", "0")
_DEEP = 4
"""How many objects around a list are looked at."""
_SIZES = ("limit", "per_page", "perPage", "page_size", "pageSize", "size", "count", "max_results", "maxResults", "top")


def shows_all(call: Call, answer: Answer, records: Sequence[Record], at: str) -> bool:
    """Whether an answer without described paging seems complete: it doesn't say otherwise, nor fill the page.

    `at` is the records' path in it.
    """
    if not records:
        return True
    for place in _around(answer.body, at):
        if any(_is_above(place.get(name), len(records)) for name in _TOTALS):
            return False
        if any(_is_above(place.get(name), 1) for name in _PAGES):
            return False
        if any(_is_said(place.get(name)) for name in _MORE):
            return False
    if parse_links(header(answer.headers, "link")).get("next"):
        return False
    asked = {**call.parameters, **(call.json if isinstance(call.json, Mapping) else {})}
    sizes = [str(asked[name]) for name in (*_SIZES, *(f"${each}" for each in _SIZES)) if name in asked]
    return not any(size.isdecimal() and 1 < int(size) <= len(records) for size in sizes)


def _around(body: Json, at: str) -> Iterator[Mapping[str, Json]]:
    """The objects in which an answer may speak of its list: its top, what holds the records, and those beside."""
    if not isinstance(body, Mapping):
        return
    for holder in _holders(body, read_path(body, at), _DEEP) or (body,):
        yield holder
        yield from (inner for name in _AROUND if isinstance(inner := holder.get(name), Mapping))


def _holders(body: Mapping[str, Json], listed: Json, deep: int) -> tuple[Mapping[str, Json], ...]:
    """The objects from the answer down to the one that holds the list; none where it isn't found."""
    if any(one is listed for one in body.values()):
        return (body,)
    inside = (one for one in body.values() if deep and isinstance(one, Mapping))
    found = next((found for one in inside if (found := _holders(one, listed, deep - 1))), ())
    return (body, *found) if found else ()


def _is_said(found: Json) -> bool:
    """Whether a flag, or the place of the next page, says that there is one."""
    if isinstance(found, Mapping):  # {"href": null}
        return any(map(_is_said, found.values()))
    return found.lower() not in _NO if isinstance(found, str) else bool(found)


def _is_above(found: Json, least: int) -> bool:
    """Whether it is a count, and higher; 1250.50 is an amount."""
    if isinstance(found, str):
        return found.isascii() and found.isdecimal() and int(found[:18]) > least
    is_count = isinstance(found, int) or (isinstance(found, Decimal) and found == found.to_integral_value())
    return is_count and not isinstance(found, bool) and found > least


def total_of(answer: Answer, pagination: Pagination) -> int | None:
    """The answer's total number of records, from its body or a header; None if it has none."""
    body = answer.body
    found = read_path(body, pagination.total) if pagination.total and isinstance(body, Mapping) else None
    if found is None and pagination.total_header:
        found = header(answer.headers, pagination.total_header).strip()
    if isinstance(found, Decimal) and found == found.to_integral_value():
        found = int(found)
    if isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) <= 18:
        found = int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
