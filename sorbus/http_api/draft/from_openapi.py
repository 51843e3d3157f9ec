"""A draft from a vendor's OpenAPI file: resources, requests, fields, credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import JsonValue

from sorbus.http_api.draft.credentials import auth_of, settings_in
from sorbus.http_api.draft.fields import Shape, fields_of, ticks_of
from sorbus.http_api.draft.notes import Draft
from sorbus.http_api.draft.paging import Seen, guess_paging, written_paging
from sorbus.http_api.draft.schemas import fields_at, is_inside, paths_in, quoted, record_of, records_of
from sorbus.http_api.draft.words import (
    ATTRIBUTES,
    CREATED,
    DELETED,
    SEARCHED,
    SINCE,
    UPDATED,
    as_name,
    first,
    singular,
)
from sorbus.http_api.openapi import Node, Spec, SpecOperation

_HOLE = re.compile(r"\{([^{}]+)\}")
_MOST = 25
"""Resources that are described where nobody names any: more would not be finished by a person."""
_ITEM_OF = re.compile(r"^(?P<list>.*)/\{[^{}]+\}$")


class Collection(NamedTuple):
    """A list's path, and the path of one record of it, if there is one."""

    name: str
    path: str
    item: str


def draft_openapi(api: str, spec: Spec, wanted: list[str]) -> Draft:
    """A draft of the collections that `wanted` names, by name or path; of all at the top without any."""
    title = str(spec.info.get("title") or api).strip()
    draft = Draft({"api": api, "title": title})
    if spec.docs:
        draft.data["docs"] = spec.docs
    draft.data["version"] = str(spec.info.get("version") or "")
    server = spec.server
    holes = settings_in(server)
    if server.startswith(("https://", "http://")):
        draft.data["base_url"] = server.rstrip("/")
        draft.guess("base_url", server, "the file's first server; your own may be another")
    else:
        draft.data["base_url"] = draft.todo("base_url", f"your server's address, with {server or '/'} behind it if so")
    chosen = list(_chosen(spec, draft, wanted))
    holes += [hole for one in chosen for hole in settings_in(one.path) if hole not in holes]
    if holes:
        draft.data["settings"] = {as_name(hole): _setting(draft, hole, server) for hole in dict.fromkeys(holes)}
    auth_of(spec, draft)
    draft.guess("limits", None, "the file doesn't say how many requests are allowed; look it up, and write limits:")
    draft.data["concurrency"] = 2
    draft.guess(
        "errors", None, "where an error's message is: errors: {message: [error.message]}; see what a refusal answers"
    )
    resources: dict[str, JsonValue] = {}
    draft.data["resources"] = resources
    for one in chosen:
        resources[one.name] = _Resource(spec, draft, one).described()
    if "headers" in draft.data:  # known last, written before what uses them
        after = ("auth", "other_auth", "concurrency", "resources")
        draft.data |= {name: draft.data.pop(name) for name in after if name in draft.data}
    return draft


def collections(spec: Spec) -> list[Collection]:
    """Every path whose GET answers a list of objects, with the path of one record.

    Those that have one come first and get the plain name, before autocompletions and charts of the same.
    """
    items = {match["list"]: path for path in spec.paths if (match := _ITEM_OF.match(path))}

    def item_of(path: str) -> str:
        return items.get(path) or items.get(path.removesuffix(".json"), "")

    found, names = list[Collection](), set[str]()
    for path in sorted(spec.paths, key=lambda path: (not item_of(path), "{" in path)):
        operation = spec.operation("GET", path) if "GET" in spec.methods(path) else None
        if operation is None or path.endswith("}") or records_of(spec, operation) is None:
            continue
        parts = [part for part in path.strip("/").split("/") if not part.startswith("{")]
        last = re.sub(r"\.json$", "", parts[-1]) if parts else "records"
        name = as_name(last)
        if name in names:
            name = as_name("_".join(parts[-2:]))
        while name in names:
            name += "_2"
        names.add(name)
        found.append(Collection(name, path, item_of(path)))
    return found


def _chosen(spec: Spec, draft: Draft, wanted: list[str]) -> Iterator[Collection]:
    found = collections(spec)
    if wanted:
        for one in found:
            if one.name in wanted or one.path in wanted:
                yield one
        return
    top = [one for one in found if "{" not in one.path and one.item]
    top.sort(key=lambda one: "POST" not in spec.methods(one.path))
    for one in found:
        if one not in top[:_MOST]:
            why = (
                "only the first are described"
                if one in top
                else "no address of a single record"
                if "{" not in one.path
                else "it is inside another record"
            )
            draft.left_out.append(f"{one.path} ({why}; --resource {one.name} describes it)")
    yield from top[:_MOST]


def _setting(draft: Draft, hole: str, server: str) -> JsonValue:
    what = f"what stands for {{{hole}}} in addresses, and where a person finds it"
    draft.guess(f"settings.{as_name(hole)}", hole, f"{{{hole}}} is in {'the server' if hole in server else 'a path'}")
    return {"doc": what}


@dataclass
class _Resource:
    spec: Spec
    draft: Draft
    one: Collection

    def described(self) -> JsonValue:
        """The resource as data, its guesses noted in the draft."""
        spec, one = self.spec, self.one
        self.place = f"resources.{one.name}"
        listed = spec.operation("GET", one.path)
        assert listed is not None
        records, item = records_of(spec, listed) or ("", {})
        got = spec.operation("GET", one.item) if one.item else None
        record_at, record = record_of(spec, got, one.name) if got else ("", item)
        record = record or item
        names = spec.property_names(record)
        out: dict[str, JsonValue] = {"id": self._id(names)}
        if updated := self._updated(record, names):
            out["updated"] = list(updated) if len(updated) > 1 else updated[0]
            if (ticks := ticks_of(spec.at(record, updated[0]) or {}, spec)) is not None:
                out["updated_format"] = ticks
        if (mark := first(list(DELETED), names)) is not None:
            value = next(value for name, value in DELETED.items() if first([name], [mark]))
            out["deleted"] = {mark: value}  # type: ignore[dict-item]
            self._guess("deleted", mark, f'"{mark}" looks as if deleted records were shown')
        out["list"] = self._list(
            listed, records, self._unlisted(record, item) if got is not None else [], str(out["id"])
        )
        if updated and (changes := self._changes(listed, out["list"])):
            out["changes"] = changes
        if got is not None:
            out["get"] = {"path": _filled(one.item), **({"record": record_at} if record_at else {})}
        shape = Shape(record, item)
        for name, request in self._writes(names):
            out[name] = request.written
            if name == "create":
                shape.creating = request.fields
            elif name == "update":
                shape.updating = request.fields
        if search := self._search(listed, records, names):
            out["search"] = search
        out["fields"] = fields_of(spec, self.draft, self.place, shape, str(out["id"]))
        return out

    def _guess(self, key: str, value: JsonValue, why: str) -> None:
        self.draft.guess(f"{self.place}.{key}", value, why)

    def _id(self, names: list[str]) -> str:
        holes = _HOLE.findall(self.one.item)
        hole = holes[-1] if holes else ""
        kind = singular(self.one.name)
        wanted = ["id", hole, hole.removeprefix(f"{kind}_"), f"{kind}_id", f"{kind}Id", "uuid", "gid", "key", "number"]
        found = first([name for name in wanted if name], names)
        if found is None:
            return self.draft.todo(f"{self.place}.id", "the field that holds a record's id")
        if found != "id":
            self._guess("id", found, f'the records have no "id", and "{found}" looks like it')
        return found

    def _updated(self, record: Node, names: list[str]) -> list[str]:
        inside = [(f"{outer}.", self.spec.property_names(self.spec.at(record, outer) or {})) for outer in ATTRIBUTES]
        before, named = next(((at, each) for at, each in [("", names), *inside] if first(UPDATED, each)), ("", names))
        found = [f"{before}{quoted(name)}" for name in (first(UPDATED, named), first(CREATED, named)) if name]
        times = [path for path in found if not self.spec.types(self.spec.at(record, path) or {}) & {"object"}]
        if not times or first(UPDATED, [path.removeprefix(before) for path in times]) is None:
            self._guess("list", None, "no field looks like the time of the last change: polls compare the whole list")
            return []
        self._guess("updated", times[0], f'"{times[0]}" looks like the time of the last change; is it ever empty?')
        return times

    def _unlisted(self, record: Node, item: Node) -> list[str]:
        """The fields that a record has and an item of the list doesn't."""
        shown = self.spec.property_names(item)
        return [name for name in self.spec.property_names(record) if name not in shown] if shown else []

    def _list(self, listed: SpecOperation, records: str, unlisted: list[str], id: str) -> dict[str, JsonValue]:
        made: dict[str, JsonValue] = {"path": _filled(self.one.path)}
        needed = {
            name: self.draft.todo(f"{self.place}.list.parameters.{name}", f"the list needs {name}")
            for name, about in listed.query.items()
            if about.get("required")
        }
        self._headers(listed)
        if needed:
            made["parameters"] = needed  # type: ignore[assignment]
        if records:
            made["records"] = records
        if unlisted:
            made["refers"] = id
            names = f"{', '.join(unlisted[:5])}{' and others' if len(unlisted) > 5 else ''}"
            why = f"the list doesn't show {names}, so each record is read by its own address: a request for each"
            self._guess(
                "list.refers", id, f"{why}. If a parameter makes the list show all, write it, and remove refers"
            )
        outside = [path for path in paths_in(self.spec, listed.response or {}) if not is_inside(path, records)]
        seen = Seen(
            {
                name: {**about, **(self.spec.at(about.get("schema") or about, "") or {})}
                for name, about in listed.query.items()
            },
            outside,
            self.spec.answer_headers("GET", self.one.path),
        )
        paging = guess_paging(seen)
        if paging is None:
            self._guess("list.path", None, "no parameter looks like paging: does the answer show every record?")
        else:
            made["pagination"] = written_paging(self.draft, f"{self.place}.list.pagination", paging)
        return made

    def _headers(self, listed: SpecOperation) -> None:
        """Headers that the file requires of every request go to the description's own."""
        for header, about in listed.headers.items():
            if not about.get("required") or header.startswith(("accept", "authorization", "content-", "if-")):
                continue
            name = str(about["name"])
            written = self.draft.data.setdefault("headers", {})
            if not isinstance(written, dict) or name in written or self._is_key(name):
                continue
            schema = self.spec.at(about.get("schema") or about, "") or {}
            values = schema.get("enum") or [about.get("example"), schema.get("default"), schema.get("example")]
            value = next((str(each) for each in values if each not in (None, "")), None)
            written[name] = value or self.draft.todo(f"headers.{name}", f"every request needs the header {name}")
            if value:
                self.draft.guess(f"headers.{name}", value, "the file requires this header, and shows this value")

    def _is_key(self, name: str) -> bool:
        auth = self.draft.data.get("auth")
        return isinstance(auth, dict) and str(auth.get("header", "")).lower() == name.lower()

    def _changes(self, listed: SpecOperation, whole: JsonValue) -> JsonValue:
        name = first(SINCE, listed.query)
        header = next((name for name in listed.headers if name == "if-modified-since"), None)
        if (name is None and header is None) or not isinstance(whole, dict):
            return None
        about = listed.query[name] if name else listed.headers["if-modified-since"]
        moment = _moment(self.spec, about)
        made: dict[str, JsonValue] = {**whole}
        if name:
            parameters = whole.get("parameters")
            made["parameters"] = {**(parameters if isinstance(parameters, dict) else {}), name: "{since}"}
        else:
            made["headers"] = {"If-Modified-Since": "{since}"}
            moment = "http-date"
        said = str(about.get("description") or "").strip().splitlines()
        words = f', which the file explains so: "{said[0][:120]}"' if said else ""
        where = f'"{name}"' if name else "If-Modified-Since"
        self._guess(
            "changes", name or header, f"{where} looks like a cursor{words}; check it and the format of its time"
        )
        inclusive = (
            "whether what changed exactly then is answered, the file doesn't say; without it less is asked again"
        )
        self._guess("changes.inclusive", False, inclusive)
        return {**made, "since_format": moment, "inclusive": False}

    def _search(self, listed: SpecOperation, records: str, names: list[str]) -> JsonValue:
        found: dict[str, JsonValue] = {}
        for name in listed.query:
            field = first([name], names)
            if field is None or first([name], SEARCHED) is None:
                continue
            one: dict[str, JsonValue] = {"path": _filled(self.one.path), "parameters": {name: "{value}"}}
            found[quoted(field)] = {**one, **({"records": records} if records else {}), "exact": False}
            self._guess(
                f"search.{quoted(field)}", name, f'"{name}" is a parameter of the list and a field; does it find all?'
            )
        if not found:
            self._guess(
                "fields", None, "no parameter finds records by a field: before creating, the whole list is read"
            )
        return found or None

    def _writes(self, names: list[str]) -> Iterator[tuple[str, _Write]]:
        spec, one = self.spec, self.one
        methods = spec.methods(one.item) if one.item else []
        change = next((method for method in ("PATCH", "PUT", "POST") if method in methods), None)
        for name, method, path in (("create", "POST", one.path), ("update", change, one.item)):
            operation = spec.operation(method, path) if method and path and method in spec.methods(path) else None
            if operation is None or method is None:
                continue
            written: dict[str, JsonValue] = {"method": method, "path": _filled(path)}
            at, fields = fields_at(spec, operation.request, names)
            if at:
                written["fields_at"] = at
                self._guess(f"{name}.fields_at", at, "the body holds one object, which holds the record's fields")
            if spec.is_form(method, path):
                written["encoding"] = "form"
            record_at, record = record_of(spec, operation, one.name)
            if record_at and record:
                written["record"] = record_at
            if record is None and name == "create" and operation.response is not None:
                returned = next(
                    (path for path in paths_in(spec, operation.response) if path.split(".")[-1] == "id"), None
                )
                written |= {"returns": "id", "returned_id": returned or self._no_id()}
            elif record is None:
                written["returns"] = "nothing"
            if name == "update" and method == "PATCH":
                written["partial"] = True
            elif name == "update":
                why = "whether an update empties what it leaves out, the file doesn't say, so a whole record is sent"
                self._guess("update", method, f"{why}; if it doesn't, write partial: true")
            yield name, _Write(written, fields)
        if "DELETE" in methods:
            yield "delete", _Write({"method": "DELETE", "path": _filled(one.item), "returns": "nothing"}, None)

    def _no_id(self) -> str:
        return self.draft.todo(f"{self.place}.create", "the path of the new id in the answer, or returns: nothing")


class _Write(NamedTuple):
    written: JsonValue
    fields: Node | None


def _moment(spec: Spec, parameter: Node) -> str:
    schema = spec.at(parameter.get("schema") or parameter, "") or {}
    words = f"{parameter.get('description') or ''} {parameter.get('example') or ''}".lower()
    if schema.get("type") in ("integer", "number"):
        return "epoch-ms" if "milli" in words else "epoch"
    if "unix" in words or "epoch" in words:
        return "epoch"
    return "date" if schema.get("format") == "date" else "iso-seconds"


def _filled(path: str) -> str:
    """A path with its last placeholder as {id} where it ends with it, and the others as settings."""
    ends = re.search(r"\{[^{}]+\}(\.json)?$", path)
    begin = path[: ends.start()] if ends else path
    made = _HOLE.sub(lambda found: f"{{{as_name(found[1])}}}", begin)
    return f"{made}{{id}}{ends[1] or ''}" if ends else made


def unknown(spec: Spec, wanted: list[str]) -> list[str]:
    """Those of `wanted` that no collection is called."""
    known = {text for one in collections(spec) for text in (one.name, one.path)}
    return [name for name in wanted if name not in known]
