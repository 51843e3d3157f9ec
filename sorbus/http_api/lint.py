"""Errors in a well-formed description: undefined names, missing counterparts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from sorbus.http_api.description import ApiResource, Auth, Description, Listing, Operation, Pagination, Search
from sorbus.http_api.path import parse_path
from sorbus.spelling import closest

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
# A field's path in braces, which nothing fills: {attributes.name}.
_NO_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)\}")
_PAGING = frozenset({"limit", "offset", "page", "cursor"})
_OAUTHS_OWN = frozenset({"grant_type", "client_id", "client_secret", "refresh_token", "scope", "state"}) | frozenset(
    {"code", "code_verifier", "redirect_uri"}
)
Place = tuple[str | int, ...]


class Fault(NamedTuple):
    """One thing to fix: its place in the description, what is wrong, and the fix."""

    place: Place
    message: str
    fix: str


def faults(description: Description) -> Iterator[Fault]:
    """Every error that would otherwise only appear when a request is made."""
    settings = frozenset(description.settings)
    whole = description.model_dump(include={"base_url", "headers", "auth", "other_auth"}, by_alias=True)
    yield from _placeholders((), whole, settings)
    yield from _auth(("auth",), description.auth)
    for number, way in enumerate(description.other_auth):
        yield from _auth(("other_auth", number), way)
    for name, setting in description.settings.items():
        yield from _pattern(("settings", name, "pattern"), setting.pattern or "")
    for number, rule in enumerate(description.errors.rules):
        yield from _pattern(("errors", "rules", number, "says"), rule.says)
    yield from _pattern(("errors", "success_says"), description.errors.success_says)
    for name, resource in description.resources.items():
        yield from _resource(("resources", name), resource, settings, has_hook=bool(description.hook))
    if description.hook and not re.fullmatch(r"[\w.]+:\w+", description.hook):
        yield Fault(("hook",), f"{description.hook!r} is not a class", "write MODULE:CLASS")
    yield from _webhooks(description, settings)


def _resource(place: Place, resource: ApiResource, settings: frozenset[str], *, has_hook: bool) -> Iterator[Fault]:
    paths: list[tuple[Place, str]] = [((*place, name), getattr(resource, name)) for name in ("id", "marker")]
    paths += [((*place, "updated"), path) for path in resource.updated]
    for name in ("fields", "deleted", "lists"):
        paths += [((*place, name, path), path) for path in getattr(resource, name) if name != "lists"]
    paths += [((*place, "lists", name), path) for name, path in resource.lists.items()]
    yield from _paths(paths)
    yield from _hidden(place, resource)
    if resource.list is None and resource.get is None:
        yield Fault(place, f"nothing says how to read {place[-1]}", "add list: or get:")
    if resource.marker and resource.marker not in resource.search:
        message = f"{resource.marker} marks our records, but no search finds them by it"
        yield Fault((*place, "marker"), message, f"add search: {{{resource.marker}: …}}")
    for name, listing in (("list", resource.list), ("changes", resource.changes)):
        if listing is not None:
            where = (*place, name)
            more = {"since"} if name == "changes" else set()
            yield from _placeholders(where, listing.model_dump(), settings | _PAGING | more)
            yield from _listing(where, listing, resource, is_changes=name == "changes")
            if not has_hook:
                yield from _paging((*where, "pagination"), listing.pagination, listing)
    for name, operation in _operations(resource):
        allowed = settings | (set() if name == "create" else {"id", "revision"})
        if name == "merge":
            allowed |= {"survivor"}
            if "survivor" not in _used(operation.model_dump()) and not has_hook:
                yield Fault(
                    (*place, name), "merge doesn't name the surviving record", "write {survivor} into path or body"
                )
        yield from _placeholders((*place, name), operation.model_dump(), allowed)
        used = _used(operation.model_dump())
        if "revision" in used and not resource.revision:
            fix = "add revision: and the path where a record holds it"
            yield Fault((*place, name), f"{name} uses {{revision}}, which is not defined", fix)
        if name != "create" and "id" not in used and not has_hook:
            yield Fault((*place, name), f"{name} doesn't name the record", "write {id} into its path")
        if operation.returns in ("id", "reference") and not operation.returned_id and not has_hook:
            yield Fault((*place, name), f"{name} returns an id, but not where", "add returned_id:")
    for field, search in resource.search.items():
        yield from _placeholders((*place, "search", field), search.model_dump(), settings | _PAGING | {"value"})
        yield from _search((*place, "search", field), field, search, resource)
        yield from _paging((*place, "search", field), search.pagination, search)


def _hidden(place: Place, resource: ApiResource) -> Iterator[Fault]:
    """What is write-only and has to be read."""
    read: dict[str, Collection[str]] = {"id": [resource.id], "marker": [resource.marker], "updated": resource.updated}
    read |= {"revision": [resource.revision], "deleted": resource.deleted}
    for path, field in resource.fields.items():
        if field.write_only and field.read_only:
            yield Fault((*place, "fields", path), f"{path} is read_only and write_only", "remove one of them")
        for name in (name for name, paths in read.items() if field.write_only and path in paths):
            yield Fault((*place, name), f"{path} is write_only, so no record shows it", "name a field that is answered")


def _operations(resource: ApiResource) -> Iterator[tuple[str, Operation]]:
    for name in ("get", "create", "update", "delete", "merge"):
        operation: Operation | None = getattr(resource, name)
        if operation is not None:
            yield name, operation


def _listing(place: Place, listing: Listing, resource: ApiResource, *, is_changes: bool) -> Iterator[Fault]:
    if listing.refers and resource.get is None:
        yield Fault((*place, "refers"), "nothing says how to read the record that this refers to", "add get:")
    if is_changes and "since" not in _used(listing.model_dump()):
        yield Fault(place, "nothing in it says since when", "write {since} into a parameter, a header or the body")
    if is_changes and not resource.updated:
        yield Fault(place, "the path of a record's last change is missing", "add updated:")


def _paging(place: Place, paging: Pagination, listing: Listing | Search) -> Iterator[Fault]:
    sends = {"page": "page", "offset": "offset", "cursor": "cursor"}.get(paging.style)
    if sends and not paging.parameter and sends not in _used(listing.model_dump()):
        yield Fault(place, f"nothing sends the {sends}", f"add parameter:, or write {{{sends}}} into the request")
    if paging.style == "cursor" and not paging.token and not paging.last_id:
        yield Fault(place, "nothing says where the next cursor comes from", "add token:, or last_id: true")
    if paging.style == "next-url" and not paging.token:
        yield Fault(place, "nothing says where the next address is", "add token:")


def _search(place: Place, field: str, search: Search, resource: ApiResource) -> Iterator[Fault]:
    if field not in resource.fields:
        yield Fault(place, f"it searches by {field!r}, which is not a field", closest(field, resource.fields))
    if "value" not in _used(search.model_dump()):
        yield Fault(place, "the value to search for is missing", "write {value} into a parameter or the body")
    if search.refers and resource.get is None:
        yield Fault((*place, "refers"), "nothing says how to read the record that this refers to", "add get:")


def _auth(place: Place, auth: Auth) -> Iterator[Fault]:
    if auth.kind == "api-key" and not auth.header and not auth.parameter:
        yield Fault(place, "nothing says where the API key goes", "add header: or parameter:")
    if auth.key_as and auth.kind != "basic":
        yield Fault((*place, "key_as"), f"{auth.kind} has no user name and password", "write kind: basic")
    if auth.kind == "oauth2" and not auth.token_url:
        yield Fault(place, "nothing says where tokens come from", "add token_url:")
    yield from _paths([((*place, "tokens_at"), auth.tokens_at)])
    for name in sorted(auth.token_parameters.keys() & _OAUTHS_OWN):
        yield Fault(
            (*place, "token_parameters", name), f"{name} is OAuth2's own", "remove it: it is sent automatically"
        )


def _webhooks(description: Description, settings: frozenset[str]) -> Iterator[Fault]:
    webhooks = description.webhooks
    if webhooks is None:
        return
    yield from _placeholders(("webhooks", "event", "where"), webhooks.event.where, settings)
    if webhooks.signature == "hmac-sha256" and not webhooks.header:
        yield Fault(("webhooks",), "nothing says where the signature is", "add header:")
    if webhooks.event.type and webhooks.event.type_header:
        fix = "remove one of them"
        yield Fault(("webhooks", "event", "type_header"), "the event's type is in the body or in a header", fix)
    if webhooks.header and webhooks.parameter:
        yield Fault(("webhooks", "parameter"), "the secret is in the header or in a parameter", "remove one of them")
    if webhooks.parameter and webhooks.signature != "shared-secret":
        fix = "remove it, or write signature: shared-secret"
        yield Fault(("webhooks", "parameter"), f"{webhooks.signature} has no parameter", fix)
    for kind, name in webhooks.event.resources.items():
        place = ("webhooks", "event", "resources", kind)
        if name not in description.resources:
            yield Fault(place, f"no resource is called {name!r}", closest(name, description.resources))
        elif description.resources[name].get is None:
            yield Fault(place, f"nothing says how to read a record of {name}", f"add get: to {name}")


def _paths(paths: list[tuple[Place, str]]) -> Iterator[Fault]:
    for place, path in paths:
        try:
            parse_path(path.replace("[]", "[0]"))
        except ValueError as error:
            yield Fault(place, str(error).partition(";")[0], "write names with dots, [0] or [key=value]")


def _pattern(place: Place, pattern: str) -> Iterator[Fault]:
    try:
        re.compile(pattern)
    except re.error as error:
        yield Fault(place, f"{pattern!r} is not a valid regular expression: {error}", "fix or remove it")


def _placeholders(place: Place, written: object, known: Collection[str]) -> Iterator[Fault]:
    seen = set()
    for where, name in _texts(written, place):
        if name not in known and name not in seen:
            seen.add(name)
            yield Fault(where, f"{{{name}}} is not defined", closest(name, known))
    for where, name in _texts(written, place, _NO_PLACEHOLDER):
        fix = (
            f"known here: {', '.join(f'{{{one}}}' for one in sorted(known))}" if known else "nothing is filled in here"
        )
        yield Fault(where, f"{{{name}}} would be sent as it is written: a field's value can't be filled in", fix)


def _used(written: object) -> set[str]:
    """The names of the placeholders in all texts of a structure."""
    return {name for _, name in _texts(written, ())}


def _texts(written: object, place: Place, like: re.Pattern[str] = _PLACEHOLDER) -> Iterator[tuple[Place, str]]:
    """Every placeholder's place and name."""
    if isinstance(written, str):
        yield from ((place, name) for name in like.findall(written))
    elif isinstance(written, Mapping):
        for key, inner in written.items():
            yield from _texts(inner, (*place, str(key)), like)
    elif isinstance(written, list | tuple):
        for number, inner in enumerate(written):
            yield from _texts(inner, (*place, number), like)
