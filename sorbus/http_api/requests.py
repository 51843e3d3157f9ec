"""The requests of a described application, without I/O: from a resource's description and fields to a `Call`."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from sorbus.errors import PermanentError
from sorbus.http_api.description import ApiResource, Listing, Operation, Search
from sorbus.http_api.interface import Call, FoundRecord, Json, Record
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.http_api.path import drop_path, last_first, read_path, take_paths, write_path
from sorbus.http_api.placeholders import Values, fill_json, fill_path, fill_text
from sorbus.http_api.values import dump_json
from sorbus.mapping.errors import shown

_BROKEN_BYTE = re.compile("[\udc80-\udcff]")
"""What `load_json` makes of bytes that aren't UTF-8."""


def request(what: Operation | Listing | Search, values: Values) -> Call:
    """A request with its placeholders filled and no fields yet."""
    return Call(
        what.method,
        fill_path(what.path, values),
        {name: fill_text(text, values) for name, text in what.parameters.items()},
        {name: fill_text(text, values) for name, text in what.headers.items()},
        fill_json(what.body, values) if what.body is not None else None,
        endpoint=f"{what.method} {what.path} {what.parameters}",
    )


def request_with(operation: Operation, values: Values, fields: Record, headers: Mapping[str, str]) -> Call:
    """A request with a record's fields, placed and encoded as the operation says."""
    call = request(operation, values)
    body = _put(call.json if call.json is not None else {}, operation.fields_at, fields)
    as_form = operation.encoding == "form"
    return Call(
        call.method,
        call.path,
        call.parameters,
        {**call.headers, **headers},
        None if as_form else body,
        form_fields(body) if as_form else None,
        call.endpoint,
    )


def placed(resource: ApiResource, fields: Record) -> Record:
    """The fields at their paths in requests: those with `sent_as` are moved there."""
    moved = {path: field.sent_as for path, field in resource.fields.items() if field.sent_as and "[]" not in path}
    if not moved:
        return fields
    out = copy.deepcopy(fields)
    for path, value in take_paths(out, moved).items():
        write_path(out, moved[path], value)
    return out


def merged(resource: ApiResource, current: Record, fields: Record) -> Record:
    """A whole record for an update that requires one: the current record with our fields, without read-only ones.

    PermanentError where the record holds something that couldn't be read exactly: sent back, it would be another.
    """
    whole = copy.deepcopy(current)
    fixed = [path for path, field in resource.fields.items() if (field.read_only or field.once) and "[]" not in path]
    for path in last_first(fixed):
        drop_path(whole, path)
    whole = _over(whole, fields)
    _require_sendable(whole)
    return whole


def _require_sendable(value: Json, path: str = "") -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _require_sendable(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _require_sendable(inner, f"{path}[{place}]")
    elif isinstance(value, InvalidValue) or (isinstance(value, str) and _BROKEN_BYTE.search(value)):
        why = getattr(value, "why", "") or "couldn't be read exactly"
        raise PermanentError(
            f"field {path} of the record there: {shown(str(value))} {why}. The update would change it; correct it"
            " there, or mark it `read_only` in the API's description if updates may leave it out",
            reason="value",
            field=path,
            value=str(value)[:200],
        )


def emptied(resource: ApiResource, operation: Operation, fields: Record) -> Record:
    """Fields as an update sends them: an empty text instead of null, if that is what empties a text.

    Fields of other types are then left out: the application can't empty them.
    """
    if operation.emptied_by == "null":
        return fields
    made: Record = _without_null(fields)
    others = [path for path, field in resource.fields.items() if field.kind != "text" and "[]" not in path]
    for path in last_first(path for path in others if read_path(made, path) == ""):
        drop_path(made, path)
    return made


def _without_null(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {name: _without_null(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_null(inner) for inner in value]
    return "" if value is None else value


def form_fields(body: Json, name: str = "") -> dict[str, str]:
    """A body as form fields: nested names in brackets, `address[city]`, `items[0][price]`; null as an empty text."""
    if isinstance(body, Mapping):
        inner = {f"{name}[{key}]" if name else str(key): item for key, item in body.items()}
    elif isinstance(body, list):
        inner = {f"{name}[{place}]": item for place, item in enumerate(body)}
    else:
        return {name: _form_text(body)}
    return {key: text for path, item in inner.items() for key, text in form_fields(item, path).items()}


def revision_of(resource: ApiResource, current: FoundRecord | None) -> dict[str, str]:
    """The {revision} of a record as read, if the resource has one."""
    revision = read_path(current.record, resource.revision) if current is not None and resource.revision else None
    return {} if revision is None else {"revision": str(revision)}


def as_stored(call: Call) -> Call:
    """The call for a record's stored ETag: compression on the way would make it weak, or another one."""
    return replace(call, headers={**call.headers, "Accept-Encoding": "identity"})


def if_match(resource: ApiResource, current: FoundRecord | None) -> dict[str, str]:
    """The header that makes an update conditional on this state of the record (RFC 9110, section 13.1.1)."""
    etag = current.etag if resource.etag and current is not None else None
    # A weak tag never matches here, so the update would always be rejected; without one it is unconditional.
    return {"If-Match": etag} if etag and not etag.startswith("W/") else {}


def _put(body: Json, path: str, fields: Record) -> Json:
    if not path:
        return _over(body, fields)
    there = read_path(body, path)
    write_path(body, path, _over(there, fields) if isinstance(there, dict) else dict(fields))
    return body


def _over(record: Record, fields: Record) -> Record:
    """Merges our fields over a record's: objects recursively, lists and values replaced."""
    for name, value in fields.items():
        there = record.get(name)
        record[name] = _over(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return record


def _form_text(value: Json) -> str:
    if value is None:
        return ""
    return dump_json(value) if isinstance(value, bool | int | Decimal) else str(value)
