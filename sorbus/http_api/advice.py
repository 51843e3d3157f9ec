"""What a valid description leaves open and polls may suffer from: questions to its author, not errors."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.http_api.description import ApiResource, Description, Listing


def advice(description: Description) -> Iterator[str]:
    """Questions to check, each with what to write; see "Does your application ..." in docs/http.md."""
    if description.hook:
        return
    for name, resource in description.resources.items():
        if resource.changes is not None and len(resource.updated) == 1:
            yield (
                f"{name}: is {resource.updated[0]} empty until the first update? Then write"
                f" `updated: [{resource.updated[0]}, created_at]`"
            )
        yield from _listing(name, resource)
    if not description.errors.rules and not description.errors.in_success:
        yield (
            "errors: does it answer 200 to a rejected request? {success: false}, {status: error} and {errors: [...]}"
            " are known; for anything else write"
            " `errors: {rules: [{where: {result: '-1'}, means: permanent}]}`, or `in_success:`"
        )


def _listing(name: str, resource: ApiResource) -> Iterator[str]:
    listing: Listing | None = resource.list
    if listing is None:
        return
    paging = listing.pagination
    says_end = paging.total or paging.total_header or paging.more or paging.done
    if paging.style in ("page", "offset") and not says_end:
        yield (
            f"{name}: nothing says how its list ends. If the answer does, write `total:`, `total_header:` or `more:`;"
            " then each list is a request shorter, and one that is cut short is noticed"
        )
    if not listing.is_paged:
        yield (
            f"{name}: nothing says how its list is paged, so one request has to show every record. Write `pagination:`,"
            " or `pagination: {style: none}` where it does"
        )
    if resource.get is None and not paging.total and not paging.total_header:
        yield (
            f"{name}: neither an address of its own (`get:`) nor a total proves that a record is deleted; two lists in"
            " a row have to lack it"
        )
