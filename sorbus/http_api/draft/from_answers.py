"""A draft from some of an application's answers: lists, and single records. What it can't show: how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pydantic import JsonValue

from sorbus.http_api.draft.fields import MILLISECONDS
from sorbus.http_api.draft.notes import Draft
from sorbus.http_api.draft.paging import Seen, guess_paging, written_paging
from sorbus.http_api.draft.words import (
    CREATED,
    DELETED,
    RECORDS,
    SINCE,
    SIZES,
    UPDATED,
    as_name,
    first,
    singular,
)
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.path import read_path

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
_ID = re.compile(r"\d+|[0-9a-fA-F-]{16,}|[A-Za-z]+_[A-Za-z0-9]{8,}")
_DEEPEST = 3
_MOST = 150


class Answered(NamedTuple):
    """An answer to GET: of which URL (or path and query), what, with which headers."""

    url: str
    body: Json
    headers: Mapping[str, str] = {}


def draft_answers(api: str, answers: Sequence[Answered], auth: JsonValue) -> Draft:
    """A draft of the resources that the answers show. ValueError if one of them shows none."""
    draft = Draft({"api": api, "title": api})
    draft.guess("title", api, "write the application's own name")
    origins = {f"{parts.scheme}://{parts.netloc}" for one in answers if (parts := urlsplit(one.url)).netloc}
    if len(origins) > 1:
        raise ValueError(
            f"these are different servers: {', '.join(sorted(origins))}; describe each in a file of its own"
        )
    missing = draft.todo("base_url", "the address in front of the paths") if not origins else ""
    draft.data["base_url"] = missing or origins.pop()
    draft.data["auth"] = auth or {"kind": draft.todo("auth", "kind: none, api-key, basic, bearer or oauth2")}
    draft.guess("limits", None, "no answer says how many requests are allowed; look it up, and write limits:")
    draft.data["concurrency"] = 2
    resources: dict[str, JsonValue] = {}
    draft.data["resources"] = resources
    singles: list[tuple[str, Answered]] = []
    for one in answers:
        path = urlsplit(one.url).path.rstrip("/")
        listed = _list_in(one.body)
        if listed is None and isinstance(one.body, dict) and _ID.fullmatch(path.rpartition("/")[2]):
            singles.append((path.rpartition("/")[0], one))
        elif listed is None:
            raise ValueError(f"{one.url}: the answer holds no list of objects; ask for a list that has some records")
        else:
            name = as_name(path.rpartition("/")[2].removesuffix(".json"))
            resources[name] = _described(draft, name, path, one, *listed)
    for path, one in singles:
        name = as_name(path.rpartition("/")[2])
        about = resources.get(name)
        if not isinstance(about, dict):
            raise ValueError(f"{one.url} is one record; give the list {path} as well")
        wrap = first([singular(name), *RECORDS], one.body) if not first(["id", *UPDATED], one.body) else None
        about["get"] = {"path": f"{path}/{{id}}", **({"record": wrap} if wrap else {})}
    for name, about in resources.items():
        if isinstance(about, dict) and "get" not in about:
            draft.left_out.append(f"resources.{name}.get: no answer was of a single record; give one, or write it")
        draft.left_out.append(f"resources.{name}: create, update, delete and search, which answers don't show")
    return draft


def _described(draft: Draft, name: str, path: str, one: Answered, at: str, records: list[Record]) -> JsonValue:
    place = f"resources.{name}"
    names = list(dict.fromkeys(key for record in records for key in record))
    out: dict[str, JsonValue] = {"id": _id(draft, place, name, names, records)}
    times = [found for found in (first(UPDATED, names), first(CREATED, names)) if found]
    query = dict(parse_qsl(urlsplit(one.url).query))
    if times and first(UPDATED, times):
        out["updated"] = [*times] if len(times) > 1 else times[0]
        draft.guess(
            f"{place}.updated", times[0], f'"{times[0]}" looks like the time of the last change; is it ever empty?'
        )
        kind = _kind([value for record in records if (value := record.get(times[0])) is not None])
        if kind == "integer":
            longest = max(abs(record.get(times[0]) or 0) for record in records)
            out["updated_format"] = "epoch-ms" if longest > MILLISECONDS else "epoch"
    mark = first(list(DELETED), names)
    if mark is not None:
        out["deleted"] = {mark: next(value for key, value in DELETED.items() if first([key], [mark]))}  # type: ignore[dict-item]
        draft.guess(f"{place}.deleted", mark, f'"{mark}" looks as if deleted records were shown')
    listing: dict[str, JsonValue] = {"path": path or "/"}
    seen = Seen(
        {key: {} for key in query},
        [key for key in _paths(one.body) if key != at and not key.startswith((f"{at}.", f"{at}["))] if at else [],
        [key.lower() for key in one.headers],
        {key: int(value) for key, value in query.items() if value.isdecimal()},
    )
    paging = guess_paging(seen)
    constant = {key: value for key, value in query.items() if first([key], (*SINCE, *_sent(paging))) is None}
    if constant:
        listing["parameters"] = {**constant}
    if at:
        listing["records"] = at
    if paging is not None:
        listing["pagination"] = written_paging(draft, f"{place}.list.pagination", paging)
    else:
        why = "nothing in the request or the answer looks like paging: does the answer show every record?"
        draft.guess(f"{place}.list", None, why)
    out["list"] = listing
    if (since := first(SINCE, query)) and times:
        out["changes"] = {**listing, "parameters": {**constant, since: "{since}"}, "inclusive": False}
        draft.guess(
            f"{place}.changes", since, f'"{since}" in the request looks like a cursor; check its time\'s format'
        )
    out["fields"] = _fields(draft, f"{place}.fields", records, str(out["id"]))
    return out


def _sent(paging: tuple[dict[str, JsonValue], str] | None) -> list[str]:
    made = paging[0] if paging else {}
    return [str(made[key]) for key in ("parameter", "size_parameter") if key in made] or list(SIZES)


def _id(draft: Draft, place: str, name: str, names: list[str], records: list[Record]) -> str:
    kind = singular(name)
    for found in ("id", "uuid", "gid", f"{kind}_id", f"{kind}Id", "key", "code", "number"):
        field = first([found], names)
        values = [record.get(field) for record in records] if field else []
        if values and all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values):
            if field != "id":
                draft.guess(f"{place}.id", field, f'"{field}" is there, and different, in all {len(values)} records')
            return str(field)
    return draft.todo(f"{place}.id", "the field that holds a record's id")


def _fields(draft: Draft, place: str, records: list[Record], id: str) -> JsonValue:
    paths = list(dict.fromkeys(path for record in records for path in _paths(record, depth=2)))
    found: dict[str, JsonValue] = {}
    for path in [path for path in paths if not any(other.startswith(f"{path}.") for other in paths)][:_MOST]:
        values = [value for record in records if (value := read_path(record, path)) is not None]
        kind = _kind(values)
        if not values:
            draft.guess(f"{place}.{path}", None, "it was null in every answer: its kind isn't known")
        elif kind in ("datetime", "date", "decimal") and len(records) < 20:
            draft.guess(f"{place}.{path}", kind, f"so it was in {len(values)} of {len(records)} records")
        is_set = path == id or first([path], (*UPDATED, *CREATED)) is not None
        found[path] = {**({"kind": kind} if kind != "text" else {}), **({"read_only": True} if is_set else {})}
    if len(paths) > _MOST:
        draft.left_out.append(f"{place}: {len(paths) - _MOST} of {len(paths)} fields")
    return found


def _kind(values: list[Json]) -> str:
    if values and all(isinstance(value, bool) for value in values):
        return "boolean"
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer"
    if values and all(isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in values):
        return "decimal"
    if values and all(isinstance(value, list) for value in values):
        return "list"
    if values and all(isinstance(value, dict) for value in values):
        return "object"
    texts = [value for value in values if value != ""]
    if texts and all(isinstance(value, str) and _DATE.fullmatch(value) for value in texts):
        return "date"
    if texts and all(isinstance(value, str) and _MOMENT.fullmatch(value) for value in texts):
        return "datetime"
    return "text"


def _list_in(body: Json) -> tuple[str, list[Record]] | None:
    """The path of the list of objects in an answer, and its objects; None if it holds none."""
    found = [
        (path, [one for one in value if isinstance(one, dict)])
        for path in ("", *_paths(body))
        if isinstance(value := read_path(body, path), list) and any(isinstance(one, dict) for one in value)
    ]
    found.sort(key=lambda one: (one[0].count("."), first(RECORDS, [one[0].split(".")[-1]]) is None, -len(one[1])))
    return found[0] if found else None


def _paths(value: Json, depth: int = _DEEPEST, before: str = "") -> Iterator[str]:
    if not isinstance(value, dict) or depth == 0:
        return
    for name, inner in value.items():
        quoted = name if re.fullmatch(r"[^.\[\]\"{}]+", name) else f'["{name}"]'
        if '"' in name or "{" in name:
            continue
        path = f"{before}{'' if quoted.startswith('[') or not before else '.'}{quoted}"
        yield path
        yield from _paths(inner, depth - 1, path)
