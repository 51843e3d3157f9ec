"""A vendor's API on loopback, made from the extract of its OpenAPI file or reference: strict, and with records in it.

A request that the extract doesn't allow (path, method, parameter, field, type, length, value, a missing required one)
is answered 400 and kept in `violations`. What answers mean, and how lists are paged, is in a subclass for each vendor,
from the vendor's documents alone. People's own work: `add`, `change`, `remove`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.http_api.applications import Asked, Reply, answering

HERE = Path(__file__).parent
Record = dict[str, Any]
_OF_HTTP = frozenset(
    [
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
        "authorization",
        "content-length",
        "content-type",
        "if-match",
        "traceparent",
        "x-api-token",
        "x-shopify-access-token",
    ]
)


class Request(NamedTuple):
    """One request: `holes` are what stands for the template's {placeholders}, in their order."""

    method: str
    template: str
    holes: list[str]
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    path: str


class Response(NamedTuple):
    """Status, JSON body (None: none) and headers."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = {}


class Refused(Exception):
    """The vendor refuses a request with this answer."""

    def __init__(self, status: int, body: Any) -> None:
        self.response = Response(status, body)
        super().__init__(str(body))


class VendorMock:
    """Use `serving()`. `kinds` maps the extract's paths to the kinds of record that the mock keeps."""

    api: ClassVar[str]
    connection: ClassVar[dict[str, str]] = {}
    resource: ClassVar[str]
    """The description's resource that the tests of this vendor use, and the kind of its records here."""
    kind: ClassVar[str]
    id_field: ClassVar[str] = "id"
    name_field: ClassVar[str]
    """Paths in the description of a text that can be searched for, and of another text."""
    note_field: ClassVar[str]
    more: ClassVar[dict[str, Any]] = {}
    """What a creation needs besides the name: path of the description -> value."""

    def __init__(self) -> None:
        self.extract = json.loads((HERE / f"{self.api}.json").read_text("utf-8"))
        self.records: dict[str, dict[str, Record]] = {}
        self.violations: list[str] = []
        self.asked: list[Request] = []
        self.base_url = ""
        self.most_in_page = 1000
        self.lost_answers: list[str] = []
        """Methods and paths' beginnings, each of whose next requests is carried out and answered 502."""
        self.made = 0
        """How many records were created by requests."""
        self.heard: Callable[[], None] = lambda: None
        """Called, without the lock, when a request has created a record and before it is answered."""
        self._number = 1000
        self._lock = threading.RLock()
        self._last = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)

    # -- what people do in the application

    def add(self, kind: str, **fields: Any) -> str:
        """A new record; its id."""
        with self._lock:
            return self.key(self.create(kind, fields))

    def change(self, kind: str, id: str, **fields: Any) -> None:
        with self._lock:
            self.update(kind, id, fields)

    def remove(self, kind: str, id: str) -> None:
        with self._lock:
            self.delete(kind, id)

    def live(self, kind: str) -> dict[str, Record]:
        """The records that are there, as the vendor shows them."""
        with self._lock:
            return {id: deepcopy(one) for id, one in self.records.get(kind, {}).items() if self.is_live(one)}

    # -- what a vendor is like: overridden

    def routes(self, request: Request) -> Response:
        """Answers a request that the extract allows; Refused."""
        raise NotImplementedError

    def create(self, kind: str, fields: Record) -> Record:
        """Makes a record of what was sent."""
        made = {self.id_field: self.new_id(), **deepcopy(fields), **self.times(new=True)}
        self.records.setdefault(kind, {})[self.key(made)] = made
        return made

    def update(self, kind: str, id: str, fields: Record) -> Record:
        record = self.need(kind, id)
        merge(record, deepcopy(fields))
        record.update(self.times(new=False))
        return record

    def delete(self, kind: str, id: str) -> None:
        self.need(kind, id)
        del self.records[kind][id]

    def is_live(self, record: Record) -> bool:
        return bool(record)

    def times(self, *, new: bool) -> Record:
        """The time fields that creating or changing a record sets."""
        raise NotImplementedError

    def missing(self, kind: str, id: str) -> Refused:
        return Refused(404, {"message": f"no {kind} {id}"})

    def new_id(self) -> Any:
        self._number += 1
        return self._number

    # -- helpers

    def key(self, record: Record) -> str:
        return str(record[self.id_field])

    def need(self, kind: str, id: str) -> Record:
        found = self.records.get(kind, {}).get(id)
        if found is None or not self.is_live(found):
            raise self.missing(kind, id)
        return found

    def all(self, kind: str) -> list[Record]:
        return list(self.records.get(kind, {}).values())

    def now(self) -> datetime:
        """The time in whole seconds, as most vendors keep it: many records share one."""
        self._last = max(self._last, datetime.now(UTC).replace(microsecond=0))
        return self._last

    @contextmanager
    def serving(self) -> Iterator[None]:
        with answering(self._answer) as (url, _):
            self.base_url = url
            yield

    def _answer(self, asked: Asked) -> Reply:
        with self._lock:
            before = sum(map(len, self.records.values()))
            try:
                request = self._read(asked)
                self.asked.append(request)
                response = self.routes(request)
            except Refused as error:
                response = error.response
            except Exception as error:  # noqa: BLE001 - a fault of the mock must be seen by the test, not retried
                self.violations.append(f"the mock failed at {asked.method} {asked.path}: {error!r}")
                response = Response(400, {"message": repr(error)})
            begin = next((each for each in self.lost_answers if f"{asked.method} {asked.path}".startswith(each)), None)
            if begin is not None:
                self.lost_answers.remove(begin)
                response = Response(502, {"message": "bad gateway"})
            created = max(0, sum(map(len, self.records.values())) - before)
            self.made += created
        if created:
            self.heard()
        content = b"" if response.body is None else json.dumps(response.body).encode()
        return response.status, {"Content-Type": "application/json", **response.headers}, content

    def _read(self, asked: Asked) -> Request:
        parts = urlsplit(asked.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in asked.headers.items()}
        body = json.loads(asked.body) if asked.body else None
        begin = urlsplit(self.extract["servers"][0]["url"]).path.rstrip("/")
        for template, methods in sorted(self.extract["paths"].items(), key=lambda item: item[0].count("{")):
            pattern = "".join(
                "([^/]+)" if piece.startswith("{") else re.escape(piece)
                for piece in re.split(r"(\{[^}]*\})", begin + template)
            )
            match = re.fullmatch(pattern, parts.path) or re.fullmatch(pattern, begin + parts.path)
            if match and asked.method.lower() in methods:
                holes = [unquote(hole) for hole in match.groups()]
                made = Request(asked.method, template, holes, query, headers, body, parts.path)
                self._check(made, methods[asked.method.lower()])
                return made
        raise self._violated(f"{asked.method} {parts.path} is not in the extract")

    def _check(self, request: Request, operation: Record) -> None:
        doing = f"{request.method} {request.template}"
        named = {(each["in"], each["name"].lower()): each for each in operation["parameters"]}
        for name, value in request.query.items():
            about = named.get(("query", name.lower()))
            if about is None:
                raise self._violated(f"{doing}: unknown parameter {name}")
            allowed = about["schema"].get("enum")
            if allowed and value not in map(str, allowed):
                raise self._violated(f"{doing}: {name} can't be {value}")
            if about["schema"].get("type") in ("integer", "number") and not re.fullmatch(r"-?\d+(\.\d+)?", value):
                raise self._violated(f"{doing}: {name} is no number: {value}")
            if about["schema"].get("type") == "boolean" and value not in ("true", "false"):
                raise self._violated(f"{doing}: {name} is no boolean: {value}")
        for name in request.headers:
            if name not in _OF_HTTP and ("header", name) not in named:
                raise self._violated(f"{doing}: unknown header {name}")
        for (place, name), about in named.items():
            if about.get("required") and name not in (request.query if place == "query" else request.headers):
                raise self._violated(f"{doing}: {name} is missing")
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        if schema is None and request.body is not None:
            raise self._violated(f"{doing} takes no body")
        if schema is not None and (fault := next(faults(request.body, schema, ""), None)):
            raise self._violated(f"{doing}: {fault}")

    def _violated(self, what: str) -> Refused:
        self.violations.append(what)
        return Refused(400, {"message": what})


def faults(value: Any, schema: Record, path: str) -> Iterator[str]:
    """What of a JSON value the schema doesn't allow."""
    kind = schema.get("type")
    if value is None:
        return
    if (allowed := schema.get("enum")) and value not in allowed:
        yield f"{path} can't be {value!r}"
    if kind == "object" or "properties" in schema:
        if not isinstance(value, dict):
            yield f"{path or 'the body'} is no object"
            return
        known, more = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, inner in value.items():
            if name in known:
                if known[name].get("readOnly"):
                    yield f"{path}.{name} can't be written"
                yield from faults(inner, known[name], f"{path}.{name}")
            elif known and not more:
                yield f"unknown field {path}.{name}"
        for name in schema.get("required") or ():
            if value.get(name) in (None, ""):
                yield f"{path}.{name} is missing"
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{path} is no list"
            return
        for inner in value:
            yield from faults(inner, schema.get("items") or {}, f"{path}[]")
    elif kind == "string":
        if not isinstance(value, str):
            yield f"{path} is no text: {value!r}"
        elif len(value) > schema.get("maxLength", len(value)):
            yield f"{path} has {len(value)} characters"
    elif kind in ("integer", "number") and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield f"{path} is no number: {value!r}"
    elif kind == "boolean" and not isinstance(value, bool):
        yield f"{path} is no boolean: {value!r}"


def merge(record: Record, fields: Record) -> None:
    """Puts fields over a record's, objects within objects."""
    for name, value in fields.items():
        there = record.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            merge(there, value)
        else:
            record[name] = value


def iso(moment: datetime) -> str:
    """2026-11-24T10:00:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """An aware time; UTC where the text names no zone."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
