"""A resource's fields, from the schemas of what is answered and of what is sent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from sorbus.http_api.draft.notes import Draft
from sorbus.http_api.draft.words import first
from sorbus.http_api.openapi import Node, Spec

_MOST = 150
_DEEPEST = 2
_KINDS = {"string": "text", "integer": "integer", "number": "decimal", "boolean": "boolean", "array": "list"}
MILLISECONDS = 100_000_000_000
"""Seconds of the year 5138; milliseconds of 1973."""
_TIME = re.compile(r"(_at|At|_time|Time|_date|Date|timestamp)$")


@dataclass
class Shape:
    """The schemas of one record: as `get` answers it, as the list does, and as it is created and changed."""

    answered: Node
    listed: Node
    creating: Node | None = None
    updating: Node | None = None


def fields_of(spec: Spec, draft: Draft, place: str, shape: Shape, id: str) -> JsonValue:
    """Field -> what a description says of it."""
    return _Fields(spec, draft, place, shape, id).all()


@dataclass
class _Fields:
    spec: Spec
    draft: Draft
    place: str
    shape: Shape
    id: str

    def all(self) -> JsonValue:
        """Every field; those that are sent and never answered are left out, unless a creation needs them."""
        spec, shape = self.spec, self.shape
        found: dict[str, JsonValue] = {}
        paths = dict.fromkeys(_paths(spec, shape.answered))
        sent = dict.fromkeys(_paths(spec, shape.creating)) if shape.creating is not None else {}
        sent |= dict.fromkeys(_paths(spec, shape.updating)) if shape.updating is not None else {}
        outer = self._outer(list(paths), list(sent))
        inside = {f"{outer}.{path}": path for path in sent if outer and f"{outer}.{path}" in paths}
        for path in list(paths)[:_MOST]:
            found[path] = self._field(path, inside.get(path, "" if path in inside.values() else path))
        if outer:
            why = f"answers hold the fields in {outer}, and requests don't, so each is sent_as its own name"
            self.draft.guess(f"{self.place}.fields", outer, why)
        for path in [path for path in sent if path not in paths and path not in inside.values()]:
            if (link := self._link(path)) is not None:
                found = {name: one for name, one in found.items() if name != path and not name.startswith(f"{path}.")}
                found[link] = {"sent_as": path, **self._sent(path)}
            elif self._is_required(path):
                found[path] = {**self._kind_of(path), "required": True, "write_only": True, **self._limits(path)}
                why = "a creation needs it, and no answer shows it: what is there can't be compared"
                self.draft.guess(f"{self.place}.fields.{path}", None, why)
            else:
                self.draft.left_out.append(f"{self.place}: {path} is sent, and no answer shows it")
        if len(paths) > _MOST:
            self.draft.left_out.append(f"{self.place}: {len(paths) - _MOST} of {len(paths)} fields")
        if self.id not in found and not self.id.startswith("TODO"):
            found = {self.id: {"read_only": True}, **found}
        return found

    def _outer(self, paths: list[str], sent: list[str]) -> str:
        """The object that records are answered in and not sent in, as JSON:API's attributes; "" without one."""
        top = sum(path in paths for path in sent)
        around = (path.partition(".")[0] for path in paths if path.partition(".")[2] in sent)
        taken = {path.partition(".")[0] for path in sent}
        outer, most = next(iter(Counter(name for name in around if name not in taken).most_common(1)), ("", 0))
        return outer if most > top and most * 2 >= len(sent) else ""

    def _field(self, path: str, sent_as: str) -> JsonValue:
        """`sent_as`: its path in requests; "" if it isn't sent."""
        if not sent_as:
            return {**self._kind_of(path, ""), "read_only": True}
        one = {**self._kind_of(path, sent_as), **self._sent(sent_as), **self._limits(path, sent_as)}
        answered, created = self._at(self.shape.answered, path), self._at(self.shape.creating, sent_as)
        if created is not None and answered is not None and "read_only" not in one:
            here, there = self.spec.types(answered), self.spec.types(created)
            if here and there and not here & there and not {"integer", "number"} >= here | there:
                one = {**_of(self.spec, answered), "read_only": True}
                kinds = f"{' or '.join(sorted(there))} when it is sent, {' or '.join(sorted(here))} when it is read"
                self.draft.guess(f"{self.place}.fields.{path}", None, f"{kinds}: so it is only read; see sent_as")
        return one if sent_as == path or "read_only" in one else {"sent_as": sent_as, **one}

    def _sent(self, path: str) -> dict[str, JsonValue]:
        created, updated = self._at(self.shape.creating, path), self._at(self.shape.updating, path)
        about = created if created is not None else updated
        if path == self.id or about is None or self.spec.fact(about, "readOnly") is True:
            return {"read_only": True}
        made: dict[str, JsonValue] = {"once": True} if updated is None and self.shape.updating is not None else {}
        return {**made, **({"required": True} if self._is_required(path) else {})}

    def _link(self, path: str) -> str | None:
        """Where the id is in an object that is answered under a name that is sent as the id alone."""
        answered, sent = self._at(self.shape.answered, path), self._at(self.shape.creating, path)
        if answered is None or sent is None or not self.spec.types(sent) <= {"string", "integer"}:
            return None
        inner = first(["id", self.id, "uuid", "key", "code", "name"], self.spec.property_names(answered))
        if inner is None:
            return None
        why = f"it is answered as an object and sent as a text or number, which seems to be its {inner}"
        self.draft.guess(f"{self.place}.fields.{path}.{inner}", inner, why)
        return f"{path}.{inner}"

    def _limits(self, path: str, sent_as: str | None = None) -> dict[str, JsonValue]:
        sides = self._sides(path, sent_as)
        made: dict[str, JsonValue] = {}
        if self._kind_of(path, sent_as):
            return made
        if most := [most for side in sides if isinstance(most := self.spec.fact(side, "maxLength"), int)]:
            made["largest"] = min(most)
        enums = [enum for side in sides if isinstance(enum := self.spec.fact(side, "enum"), list)]
        for written in enums[:1]:
            known = [set(map(str, enum)) for enum in enums]
            values = [str(value) for value in written if value is not None and all(str(value) in one for one in known)]
            if 0 < len(values) <= 40:
                made["values"] = [*values]
        return made

    def _kind_of(self, path: str, sent_as: str | None = None) -> dict[str, JsonValue]:
        sides = self._sides(path, sent_as)
        kind = _kind(self.spec, self.draft, f"{self.place}.fields.{path}", path, sides[0] if sides else {})
        return {} if kind == "text" else {"kind": kind}

    def _sides(self, path: str, sent_as: str | None) -> list[Node]:
        """What answers and requests say of a field; `sent_as`: its path in requests, None for the same."""
        there = path if sent_as is None else sent_as
        shape = self.shape
        sides = [self._at(shape.answered, path), self._at(shape.creating, there), self._at(shape.updating, there)]
        return [side for side in sides if side is not None]

    def _at(self, schema: Node | None, path: str) -> Node | None:
        return None if schema is None or not self._is_named(schema, path) else self.spec.at(schema, path)

    def _is_named(self, schema: Node, path: str) -> bool:
        """Whether the schema names each part: what may hold anything says nothing of this field."""
        holder: Node | None = schema
        for name in path.split("."):
            if holder is None or name not in self.spec.property_names(holder):
                return False
            holder = self.spec.at(holder, name)
        return True

    def _is_required(self, path: str) -> bool:
        holder: Node | None = self.shape.creating
        for name in path.split("."):
            if holder is None or name not in self.spec.required(holder):
                return False
            holder = self.spec.at(holder, name)
        return True


def ticks_of(about: Node, spec: Spec) -> str | None:
    """epoch or epoch-ms for a time that is a number; None for another."""
    if not (types := spec.types(about)) or not types <= {"integer", "number"}:
        return None
    example = about.get("example")
    is_long = isinstance(example, int | float) and example > MILLISECONDS
    return "epoch-ms" if is_long or "milli" in str(about.get("description") or "").lower() else "epoch"


def _of(spec: Spec, about: Node) -> dict[str, JsonValue]:
    types = spec.types(about)
    kind = _KINDS.get(next(iter(types)), "object") if len(types) == 1 else "object" if "object" in types else "text"
    return {} if kind == "text" else {"kind": kind}


def _paths(spec: Spec, schema: Node, depth: int = _DEEPEST, before: str = "") -> Iterator[str]:
    """The paths of a record's fields: objects are entered, unless one is needed of which no part is."""
    needed = spec.required(schema)
    for name in dict.fromkeys(spec.property_names(schema)):
        if not re.fullmatch(r"[^.\[\]\"{}]+", name):
            continue
        path = f"{before}{name}"
        inner = spec.at(schema, name) or {}
        is_open = name not in needed or spec.required(inner)
        if depth > 1 and is_open and "array" not in spec.types(inner) and spec.property_names(inner):
            yield from _paths(spec, inner, depth - 1, f"{path}.")
        else:
            yield path


def _kind(spec: Spec, draft: Draft, place: str, path: str, about: Node) -> str:
    types, form = spec.types(about), spec.fact(about, "format")
    name = path.rpartition(".")[2]
    if types == {"string"} and form in ("date-time", "datetime"):
        return "datetime"
    if types == {"string"} and form == "date":
        return "date"
    if types == {"string"} and form is None and _TIME.search(name):
        kind = "date" if name.lower().endswith("date") else "datetime"
        draft.guess(place, kind, f'a text called "{name}" looks like a time; if it isn\'t one, remove the kind')
        return kind
    if types and types <= {"integer", "number"} and _TIME.search(name) and form not in ("float", "double"):
        kind = ticks_of(about, spec) or "epoch"
        unit = "milliseconds" if kind == "epoch-ms" else "seconds"
        draft.guess(place, kind, f'a number called "{name}" looks like {unit} since 1970')
        return kind
    if len(types) == 1:
        return _KINDS.get(next(iter(types)), "object")
    if not types:
        draft.guess(place, "text", "the file doesn't say what it holds")
        return "text"
    draft.guess(place, None, f"it may be {' or '.join(sorted(types))}")
    return "decimal" if types == {"integer", "number"} else "object" if "object" in types else "text"
