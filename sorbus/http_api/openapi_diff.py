"""Whether a description agrees with the vendor's OpenAPI file: every request, and every field in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sorbus.errors import Finding
from sorbus.http_api.description import ApiField, ApiResource, Description, FieldKind, Listing, Operation, Search
from sorbus.http_api.interface import Json
from sorbus.http_api.lint import Place
from sorbus.http_api.openapi import Node, Spec, SpecOperation
from sorbus.http_api.path import Item, parse_path
from sorbus.mapfile.document import Document
from sorbus.spelling import closest

_TYPES: Mapping[FieldKind, frozenset[str]] = {
    "text": frozenset({"string"}),
    "integer": frozenset({"integer", "number"}),
    "decimal": frozenset({"number", "integer", "string"}),
    "number": frozenset({"number", "integer"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"string"}),
    "datetime": frozenset({"string"}),
    "ms-json": frozenset({"string"}),
    "ms-date": frozenset({"string"}),
    "epoch": frozenset({"integer", "number", "string"}),
    "epoch-ms": frozenset({"integer", "number", "string"}),
    "object": frozenset({"object"}),
    "list": frozenset({"array"}),
    "set": frozenset({"array"}),
}
_OF_HTTP = ("accept", "authorization", "content-type", "if-")


class _Side(NamedTuple):
    """One direction of a record, request or response: its schema and its name in messages."""

    what: str
    schema: Node
    is_sent: bool
    creates: bool = False
    asked: frozenset[str] = frozenset()
    """Fields that the request names one by one, so that they are answered although the schema leaves them out."""

    def has(self, path: str) -> bool:
        """Whether the request names the field, or an object around it."""
        parts = path.split(".")
        return any(".".join(parts[:end]) in self.asked for end in range(1, len(parts) + 1))


@dataclass
class Comparison:
    """What was compared and what was found, for `sorbus api check`."""

    findings: list[Finding] = field(default_factory=list)
    requests: int = 0
    fields: int = 0


def compare(description: Description, document: Document, spec: Spec) -> Comparison:
    """Compares every request, parameter and field of a description with the vendor's file."""
    comparer = _Comparer(description, document, spec)
    for name, resource in description.resources.items():
        comparer.resource(("resources", name), resource)
    made = comparer.made
    made.findings = sorted(set(made.findings))
    return made


class _Comparer:
    def __init__(self, description: Description, document: Document, spec: Spec) -> None:
        self.description, self.document, self.spec = description, document, spec
        self.made = Comparison()
        self.knows_idempotency = self._knows(description.idempotency_header)

    def find(self, place: Place, code: str, message: str, fix: str) -> None:
        line = self.document.line(*place)
        self.made.findings.append(Finding(self.document.file, line, message, fix, code))

    def resource(self, place: Place, resource: ApiResource) -> None:
        sides: list[_Side] = []
        for name in ("list", "changes"):
            listing: Listing | None = getattr(resource, name)
            if listing is not None and (found := self._request((*place, name), listing)) is not None:
                self._paging((*place, name), listing, found)
                sides += self._answered(
                    (*place, name), found, _item(listing), listing.refers, self._asked(listing, found)
                )
        for field_name, search in resource.search.items():
            where = (*place, "search", field_name)
            if (found := self._request(where, search)) is not None:
                sides += self._answered(where, found, _item(search), search.refers, self._asked(search, found))
        for name in ("get", "create", "update", "delete"):
            operation: Operation | None = getattr(resource, name)
            if operation is not None and (found := self._request((*place, name), operation)) is not None:
                sides += self._operation((*place, name), name, operation, found)
        for path, about in resource.fields.items():
            self.made.fields += 1
            self._field((*place, "fields", path), path, about, sides)
        updated = [("updated", path) for path in resource.updated]
        named = [("id", resource.id), *updated, ("revision", resource.revision)]
        for part, path in named:
            for side in sides:
                if path and not side.is_sent and not side.has(path) and self.spec.at(side.schema, path) is None:
                    self._unknown((*place, part), path, side)
                    break

    def _request(self, place: Place, request: Listing | Operation | Search) -> SpecOperation | None:
        """The vendor's operation, after comparing method, path, parameters and the body's constant values."""
        self.made.requests += 1
        path = self.spec.find(self.description.base_url, request.path, request.method)
        if path is None:
            message = f"the API has no path {request.path}"
            self.find((*place, "path"), "unknown-path", message, closest(request.path, self.spec.paths))
            return None
        found = self.spec.operation(request.method, path)
        if found is None:
            fix = f"it has {', '.join(self.spec.methods(path))}"
            self.find((*place, "path"), "unknown-method", f"{path} has no {request.method}", fix)
            return None
        for name, value in request.parameters.items():
            self._parameter((*place, "parameters", name), name, value, found)
        sent = {*request.parameters, *self._paging_names(request)}
        for name, about in found.query.items():
            if about.get("required") and not any(_is_parameter(each, name) for each in sent):
                self.find(place, "unsent", f"{request.method} {path} needs the parameter {name}", "add it")
        self._headers(place, request, found)
        if request.body is not None and found.request is not None:
            self._body((*place, "body"), request.body, found.request, f"{request.method} {path}")
        return found

    def _parameter(self, place: Place, name: str, value: str, found: SpecOperation) -> None:
        about = next((about for known, about in found.query.items() if _is_parameter(name, known)), None)
        if about is None:
            message = f"{found.path} has no parameter {name}"
            self.find(place, "unknown-parameter", message, closest(name, found.query))
            return
        allowed = (self.spec.at(about.get("schema") or about, "") or {}).get("enum")
        if allowed and "{" not in value and value not in map(str, allowed):
            fix = f"it may be {', '.join(map(str, allowed[:12]))}"
            self.find(place, "bad-value", f"the parameter {name} can't be {value!r}", fix)
        of_items = self._item_values(about)
        for each in value.split(",") if of_items and "{" not in value else ():
            if each.strip() not in of_items:
                self.find(place, "bad-value", f"the parameter {name} can't hold {each!r}", closest(each, of_items))

    def _item_values(self, parameter: Node) -> list[str]:
        """The values that a parameter may list; empty if the file doesn't say."""
        items = self.spec.at(parameter.get("schema") or parameter, "[0]") or {}
        return [str(value) for value in items.get("enum") or ()]

    def _asked(self, request: Listing | Search, found: SpecOperation) -> frozenset[str]:
        """The fields that a parameter names (Asana's opt_fields): the file lists them as the parameter's values."""
        named: set[str] = set()
        for name, value in request.parameters.items():
            about = next((each for known, each in found.query.items() if _is_parameter(name, known)), None)
            if about is not None and (allowed := self._item_values(about)):
                named |= {each.strip() for each in value.split(",")} & set(allowed)
        return frozenset(named)

    def _headers(self, place: Place, request: Listing | Operation | Search, found: SpecOperation) -> None:
        own = {} if isinstance(request, Search) else request.headers
        for name in own:
            if name.lower() not in found.headers and not name.lower().startswith(_OF_HTTP):
                message = f"{found.path} has no header {name}"
                self.find((*place, "headers", name), "unknown-header", message, closest(name, found.headers))
        sent = {name.lower() for name in (*own, *self.description.headers, self.description.auth.header)}
        for name, about in found.headers.items():
            if about.get("required") and name not in sent and not name.startswith(_OF_HTTP):
                fix = "add it to headers:"
                self.find(place, "unsent", f"{found.path} needs the header {about['name']}", fix)
        key = self.description.idempotency_header
        if place[-1] == "create" and key and self.knows_idempotency and key.lower() not in found.headers:
            self.find(place, "unknown-header", f"{found.path} has no {key}", "repeating a request isn't safe here")

    def _paging(self, place: Place, listing: Listing, found: SpecOperation) -> None:
        paging = listing.pagination
        for name in self._paging_names(listing):
            if not paging.in_body:
                self._parameter((*place, "pagination"), name, "{}", found)
            elif found.request is not None and self.spec.at(found.request, name) is None:
                self.find((*place, "pagination"), "unknown-field", f"{found.path} has no {name}", "look it up")
        for name in ("token", "more", "done", "total"):
            path = getattr(paging, name)
            if path and found.response is not None and self.spec.at(found.response, path) is None:
                self.find(
                    (*place, "pagination", name), "unknown-field", f"the answer of {found.path} has no {path}", "fix it"
                )

    def _operation(self, place: Place, name: str, operation: Operation, found: SpecOperation) -> Iterator[_Side]:
        doing = f"{operation.method} {found.path}"
        if name in ("create", "update"):
            schema = self.spec.at(found.request, operation.fields_at) if found.request is not None else None
            if found.request is None:
                pass  # the file describes no body at all: there is nothing to compare with
            elif schema is None:
                message = f"{doing} has no {operation.fields_at or 'body'}"
                self.find((*place, "fields_at"), "unknown-field", message, "fix fields_at:")
            else:
                yield _Side(f"{doing} takes", schema, is_sent=True, creates=name == "create")
                if name == "create":
                    self._required(place, doing, schema, operation)
        if operation.returns == "record" and found.response is not None and name != "delete":
            yield from self._answered(place, found, operation.record, "")
        elif found.response is not None and self.spec.at(found.response, operation.returned_id) is None:
            message = f"the answer of {doing} has no {operation.returned_id}"
            self.find((*place, "returned_id"), "unknown-field", message, "fix returned_id:")

    def _answered(
        self, place: Place, found: SpecOperation, record: str, refers: str, asked: frozenset[str] = frozenset()
    ) -> list[_Side]:
        """The schema of the records in an answer."""
        if found.response is None or refers:
            return []
        schema = self.spec.at(found.response, record)
        if schema is None:
            holds = ", ".join(self.spec.property_names(found.response)[:8])
            message = f"the answer of {found.path} has no {record}"
            self.find(place, "unknown-field", message, f"its answer holds {holds}" if holds else "look it up")
            return []
        return [_Side(f"{found.path} answers", schema, is_sent=False, asked=asked)]

    def _required(self, place: Place, doing: str, schema: Node, operation: Operation) -> None:
        fields = self.description.resources[str(place[1])].fields
        given = {_first(about.sent_as or path) for path, about in fields.items() if about.required}
        given |= set(operation.body) if isinstance(operation.body, dict) else set()
        for name in self.spec.required(schema):
            if name not in given and not (self.spec.at(schema, name) or {}).get("readOnly"):
                message = f"{doing} needs {name}, but no field of that name is required"
                self.find((*place[:2], "fields", name), "required", message, f"write {name}: {{required: true}}")

    def _field(self, place: Place, path: str, about: ApiField, sides: list[_Side]) -> None:
        for side in sides:
            if (about.read_only if side.is_sent else about.write_only) or (about.once and not side.creates):
                continue
            name = about.sent_as if side.is_sent and about.sent_as else path
            schema = self.spec.at(side.schema, name)
            if schema is None and side.has(name):
                continue
            if schema is None or not self._selected(side.schema, name):
                self._unknown(place, name, side)
                return
            if self._misfit(place, path, about, schema, side, renamed=name != path):
                return

    def _unknown(self, place: Place, path: str, side: _Side) -> None:
        known = self.spec.property_names(side.schema)
        fix = closest(_first(path), [name for name in known if name != _first(path)])
        wrapped = [f"{outer}.{path}" for outer in known if self.spec.at(side.schema, f"{outer}.{path}") is not None]
        if wrapped and not side.is_sent:
            fix = f"it answers {wrapped[0]}: write {wrapped[0]}: {{sent_as: {path}}}"
        self.find(place, "unknown-field", f"{side.what} no {path}", fix)

    def _selected(self, schema: Node, path: str) -> bool:
        """Whether the values of `[key=value]` in a path are allowed for the key."""
        before = ""
        for step in parse_path(path.replace("[]", "[0]")):
            if isinstance(step, Item):
                inside = self.spec.at(schema, f"{before}[0].{step.key}")
                allowed = self.spec.fact(inside, "enum") if inside is not None else []
                if inside is None or (allowed is not None and step.value not in map(str, allowed)):
                    return False
                before += f"[{step.key}={step.value}]"
            else:
                before += f"[{step}]" if isinstance(step, int) else f".{step}" if before else step
        return True

    def _misfit(self, place: Place, path: str, about: ApiField, schema: Node, side: _Side, *, renamed: bool) -> bool:
        types = self.spec.types(schema)
        if types and not renamed and not types & _TYPES[about.kind]:
            message = f"{path} is {about.kind} here, and {side.what} {' or '.join(sorted(types))}"
            self.find(place, "bad-type", message, "change its kind")
            return True
        if side.is_sent and self.spec.fact(schema, "readOnly") is True:
            self.find(place, "read-only", f"{path} can't be written", "write read_only: true")
            return True
        most = self.spec.fact(schema, "maxLength")
        if side.is_sent and isinstance(most, int) and (about.largest is None or about.largest > most):
            self.find(place, "too-long", f"{path} takes at most {most} characters", f"write largest: {most}")
            return True
        allowed = self.spec.fact(schema, "enum")
        wrong = [value for value in about.values if allowed and value not in map(str, allowed)]
        if wrong and allowed:
            fix = f"it may be {', '.join(map(str, allowed[:20]))}"
            self.find(place, "bad-value", f"{path} can't be {', '.join(wrong)}", fix)
        return bool(wrong)

    def _body(self, place: Place, written: Json, schema: Node, doing: str) -> None:
        """Checks a body's constants: their names and, if the file lists allowed values, the values."""
        if isinstance(written, dict):
            for name, inner in written.items():
                found = self.spec.at(schema, name)
                if found is None:
                    fix = closest(name, self.spec.property_names(schema))
                    self.find((*place, name), "unknown-field", f"{doing} has no {name}", fix)
                else:
                    self._body((*place, name), inner, found, doing)
        elif isinstance(written, list):
            found = self.spec.at(schema, "[0]")
            for number, inner in enumerate(written):
                if found is not None:
                    self._body((*place, number), inner, found, doing)
        elif isinstance(written, str) and "{" not in written:
            allowed = self.spec.fact(schema, "enum")
            if allowed and written not in map(str, allowed):
                fix = f"it may be {', '.join(map(str, allowed[:20]))}"
                self.find(place, "bad-value", f"{doing}: {place[-1]} can't be {written!r}", fix)

    def _paging_names(self, request: Listing | Operation | Search) -> list[str]:
        if not isinstance(request, Listing):
            return []
        return [name for name in (request.pagination.parameter, request.pagination.size_parameter) if name]

    def _knows(self, header: str) -> bool:
        """Whether the vendor's file names this header anywhere; some mention it only in text."""
        operations = (
            self.spec.operation(method, path) for path in self.spec.paths for method in self.spec.methods(path)
        )
        return any(found is not None and header.lower() in found.headers for found in operations) if header else False


def _item(request: Listing | Search) -> str:
    """The path of one record in the answer."""
    if isinstance(request, Search) and request.single:
        return request.records
    return f"{request.records}[0]"


def _is_parameter(sent: str, known: str) -> bool:
    """`page[after]` is a part of the parameter page, `f[]` is f."""
    return sent == known or sent.partition("[")[0] == known.partition("[")[0]


def _first(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]
