"""The names that applications give to what a description asks for, the most telling first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SIZES = ("per_page", "perPage", "page_size", "pageSize", "limit", "size", "count", "max_results", "maxResults", "top")
PAGES = ("page", "page_number", "pageNumber", "page[number]", "current_page", "currentPage", "p")
OFFSETS = ("offset", "skip", "start", "startAt", "start_at", "firstResult", "page[offset]")
CURSORS = (
    "cursor",
    "page_token",
    "pageToken",
    "next_page_token",
    "nextPageToken",
    "starting_after",
    "after",
    "page[after]",
    "continuation_token",
    "continuationToken",
    "next_token",
    "nextToken",
    "marker",
    "offset",
)
LAST_IDS = ("starting_after", "after_id", "last_id", "since_id", "after")
TOKENS = (
    "next_cursor",
    "nextCursor",
    "next_page_token",
    "nextPageToken",
    "cursor",
    "next_token",
    "nextToken",
    "continuation_token",
    "continuationToken",
    "after",
    "offset",
)
NEXT_URLS = ("@odata.nextLink", "next_url", "nextUrl", "next_page_url", "nextPageUrl", "next", "nextLink", "href")
TOTALS = ("total", "total_count", "totalCount", "total_items", "totalItems", "total_results", "count", "recordsTotal")
MORES = ("has_more", "hasMore", "more_records", "moreRecords", "has_next", "hasNext", "more")
SIGNS = ("current_page", "total_pages", "last_page", "page_count", "per_page", "next_page", "pages")
"""What only the answer of a paged list has."""
TOTAL_HEADERS = ("x-total-count", "x-total", "x-wp-total", "total-count")
AROUND = (
    "meta",
    "pagination",
    "paging",
    "page",
    "page_info",
    "pageInfo",
    "info",
    "links",
    "_links",
    "additional_data",
    "next_page",
    "nextPage",
    "page_context",
    "result",
    "response",
    "data",
    "body",
)
RECORDS = ("data", "items", "results", "records", "value", "values", "rows", "list", "entries", "content", "payload")
ATTRIBUTES = ("attributes", "fields", "properties")
"""Objects that hold a record's fields."""
UPDATED = (
    "updated_at",
    "updatedAt",
    "modified_at",
    "modifiedAt",
    "update_time",
    "updated",
    "modified",
    "last_modified",
    "lastModified",
    "last_modified_at",
    "last_modified_date",
    "lastModifiedDate",
    "lastModifiedDateTime",
    "date_modified",
    "date_updated",
    "updated_on",
    "changed_at",
    "last_changed",
    "lastChanged",
    "last_updated",
    "lastUpdated",
    "last_updated_at",
    "updatedDate",
    "modifiedDate",
    "modification_date",
    "write_date",
)
CREATED = (
    "created_at",
    "createdAt",
    "create_time",
    "created",
    "created_on",
    "date_created",
    "createdDate",
    "creation_date",
    "createdDateTime",
    "add_time",
)
SINCE = (
    "updated_since",
    "modified_since",
    "updated_after",
    "modified_after",
    "changed_since",
    "updated_at_min",
    "updated_at_gte",
    "updated_from",
    "last_modified_since",
    "modifiedSince",
    "updatedSince",
    "modifiedAfter",
    "updatedAfter",
    "modified_from",
    "since_last_changed",
    "begin_modified",
    "since",
    "lastModified",
    "updated_at",
)
SEARCHED = ("external_id", "externalId", "email", "number", "code", "sku", "tax_number", "vat_number", "phone", "name")
DELETED: dict[str, object] = {
    "deleted_at": "*",
    "deletedAt": "*",
    "is_deleted": True,
    "isDeleted": True,
    "deleted": True,
}


def plain(name: str) -> str:
    """Small letters and digits only: page[number], pageNumber and page_number are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def first(wanted: Sequence[str], there: Iterable[str]) -> str | None:
    """The name that is there and comes first among those wanted, however it is spelt."""
    spelt = {plain(name): name for name in reversed(list(there))}
    return next((spelt[plain(name)] for name in wanted if plain(name) in spelt), None)


def singular(name: str) -> str:
    """customers -> customer, companies -> company, addresses -> address."""
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    if re.search(r"(ss|sh|ch|x)es$", name):
        return name[:-2]
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def as_name(text: str) -> str:
    """A name for a resource or setting, from a part of a path: Sales-Orders -> sales_orders."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return re.sub(r"_+", "_", re.sub(r"[^a-z0-9]+", "_", spaced.lower())).strip("_") or "records"
