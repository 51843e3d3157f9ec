"""Which record the answer to a creation names: in its body, or in Location (RFC 9110, sections 10.2.2 and 15.3.3)."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from sorbus.http_api.description import ApiResource
from sorbus.http_api.error_mapping import header
from sorbus.http_api.interface import Answer, Json

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_KEYED = re.compile(r"\w+\('?([^()']+)'?\)")
"""OData's form of a URL: accounts(7)."""
_LONGEST = 500


class Named(NamedTuple):
    """The id in an answer, if any. Not `is_sure`: it may belong to something else, or not exist yet."""

    id: str | None
    is_sure: bool


def named_by(answer: Answer, resource: ApiResource, id: Json) -> Named:
    """The record that a success answer names; `id` is the value at the description's path of the new id.

    202 only says that the record may be created later, and the id may be a job's.
    """
    can_look = resource.get is not None and answer.status == 202
    if isinstance(id, str | int) and not isinstance(id, bool) and id != "":
        return Named(str(id), is_sure=not can_look)
    for name in ("odata-entityid", "location"):
        path = urlsplit(header(answer.headers, name)[: 4 * _LONGEST]).path.rstrip("/")
        if found := _at_own_address(path, resource):
            return Named(found, is_sure=answer.status != 202)
        last = path.rpartition("/")[2]
        keyed = _KEYED.fullmatch(unquote(last))
        found = keyed[1] if keyed else unquote(last)
        if found and answer.status in (201, 204):
            return Named(found[:_LONGEST], is_sure=bool(keyed) or (resource.get is None and answer.status == 201))
    return Named(None, is_sure=False)


def _at_own_address(path: str, resource: ApiResource) -> str | None:
    """The id in a URL, if the resource's records are read at such a URL."""
    written = resource.get.path.partition("?")[0] if resource.get else ""
    if "{id}" not in written or not path:
        return None
    pieces = _PLACEHOLDER.split(written.strip("/"))
    pattern = "".join(
        re.escape(piece) if place % 2 == 0 else "([^/]+?)" if piece == "id" else "[^/]+?"
        for place, piece in enumerate(pieces)
    )
    found = re.search(f"(?:^|/){pattern}$", path)
    return unquote(found[1])[:_LONGEST] if found else None
