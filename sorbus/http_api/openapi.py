"""A vendor's OpenAPI file (3.0, 3.1; Swagger 2.0), as far as a description can be compared with it.

Schemas are walked by our paths; what a file leaves open (no properties, no type, external references) accepts
anything. OpenAPI Specification 3.1.1, sections 4.8.8 (paths), 4.8.24 (schemas).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sorbus.errors import Finding, MapError
from sorbus.http_api.interface import Json
from sorbus.http_api.path import Item, parse_path

LARGEST = 64_000_000
_DEEPEST = 12
_HOLE = re.compile(r"\{[^{}]*\}")
_FILLED = "0"
_METHODS = ("get", "put", "post", "delete", "patch")
Node = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class SpecOperation:
    """One method of one path: its parameters by name, its request and its response."""

    path: str
    query: Mapping[str, Node]
    headers: Mapping[str, Node]
    """By lower-case name."""
    request: Node | None
    response: Node | None


class Spec:
    """An OpenAPI file; references are followed on access."""

    def __init__(self, data: Json) -> None:
        self._data: Node = data if isinstance(data, Mapping) else {}
        self._paths: Node = self._data.get("paths") or {}

    @property
    def paths(self) -> list[str]:
        """Every path, as written in the file."""
        return list(self._paths)

    @property
    def info(self) -> Node:
        """Title, version and others, as the file has them."""
        found = self._data.get("info")
        return found if isinstance(found, Mapping) else {}

    @property
    def docs(self) -> str:
        """The address of the documentation that the file names; "" if it names none."""
        about = self._data.get("externalDocs") or {}
        url = str(about.get("url") or "") if isinstance(about, Mapping) else ""
        return url if url.startswith("https://") else ""

    @property
    def server(self) -> str:
        """The first server's address, which may be only a path, with {placeholders}."""
        servers = [str(each.get("url", "")) for each in self._data.get("servers") or () if isinstance(each, Mapping)]
        whole = next((each for each in servers if each.startswith("https://")), servers[0] if servers else "")
        if servers or not self._data.get("host"):
            return whole or str(self._data.get("basePath") or "")
        schemes = self._data.get("schemes") or ["https"]
        scheme = "https" if "https" in schemes else str(schemes[0])
        return f"{scheme}://{self._data['host']}{self._data.get('basePath') or ''}"

    @property
    def security(self) -> Mapping[str, Node]:
        """The security schemes by name."""
        components: Node = self._follow(self._data.get("components") or {})
        schemes = components.get("securitySchemes") or self._data.get("securityDefinitions") or {}
        return {str(name): self._follow(each) for name, each in schemes.items()}

    def answer_headers(self, method: str, path: str) -> list[str]:
        """The headers that the file documents for a success answer."""
        found = self._answer(self._follow(self._paths[path]).get(method.lower()) or {})
        return [str(name) for name in found.get("headers") or ()]

    def is_form(self, method: str, path: str) -> bool:
        """Whether a request's body is a form and can't be JSON."""
        operation = self._follow(self._paths[path]).get(method.lower()) or {}
        content: Node = self._follow(operation.get("requestBody") or {}).get("content") or {}
        kinds = list(content) or operation.get("consumes") or self._data.get("consumes") or []
        return bool(kinds) and not any("json" in kind or kind == "*/*" for kind in kinds)

    def methods(self, path: str) -> list[str]:
        """The methods of a path."""
        return [method.upper() for method in _METHODS if method in self._follow(self._paths[path])]

    def find(self, base_url: str, path: str, method: str) -> str | None:
        """The file's path that matches a request to base_url + path: has the method, and the fewest placeholders."""
        wanted = {_HOLE.sub(_FILLED, path), _HOLE.sub(_FILLED, urlsplit(base_url).path.rstrip("/") + path)}
        found = [
            each
            for each in self._paths
            if any(
                re.fullmatch(_HOLE.sub("[^/]+", re.sub(r"[.+*?()|^$\[\]]", r"\\\g<0>", begin + each)), one)
                for begin in self._begins()
                for one in wanted
            )
        ]
        return min(found, key=lambda each: (method not in self.methods(each), len(_HOLE.findall(each))), default=None)

    def operation(self, method: str, path: str) -> SpecOperation | None:
        """A method of one of `paths`; None if the path doesn't have it."""
        item = self._follow(self._paths[path])
        found = item.get(method.lower())
        if not isinstance(found, Mapping):
            return None
        parameters = [self._follow(each) for each in [*item.get("parameters", []), *found.get("parameters", [])]]
        return SpecOperation(
            path,
            {str(each["name"]): each for each in parameters if each.get("in") == "query"},
            {str(each["name"]).lower(): each for each in parameters if each.get("in") == "header"},
            self._request(found, parameters),
            self._response(found),
        )

    def at(self, schema: Node, path: str) -> Node | None:
        """The schema at `path` inside; {} if it may be anything, None if it doesn't exist."""
        found: Node | None = self._follow(schema)
        for step in parse_path(path.replace("[]", "[0]")):
            if found is None:
                return None
            found = self._inside(found, step)
        return found

    def branches(self, schema: Node, depth: int = 0) -> Iterator[Node]:
        """A schema and all its alternatives and parts (allOf, anyOf, oneOf), references followed."""
        schema = self._follow(schema)
        yield schema
        if depth < _DEEPEST:
            for word in ("allOf", "anyOf", "oneOf"):
                parts = schema.get(word)
                for branch in parts if isinstance(parts, list) else ():
                    yield from self.branches(branch, depth + 1)

    def types(self, schema: Node) -> set[str]:
        """The JSON types allowed; empty if unspecified."""
        found: set[str] = set()
        for branch in self.branches(schema):
            if any(branch.get(word) for word in ("allOf", "anyOf", "oneOf")):
                continue
            kind = branch.get("type") or ("object" if "properties" in branch else None)
            if kind is None:
                return set()
            found |= set(map(str, kind)) if isinstance(kind, list) else {str(kind)}
        return found - {"null"}

    def required(self, schema: Node) -> list[str]:
        """The properties required by all branches."""
        schema = self._follow(schema)
        parts = schema.get("allOf")
        inner = [name for branch in (parts if isinstance(parts, list) else ()) for name in self.required(branch)]
        own = schema.get("required")
        return list(dict.fromkeys([*(map(str, own) if isinstance(own, list) else ()), *inner]))

    def property_names(self, schema: Node) -> list[str]:
        """The properties it names."""
        return [str(name) for branch in self.branches(schema) for name in _properties(branch)]

    def fact(self, schema: Node, name: str) -> Json:
        """A keyword's value (maxLength, enum, readOnly), if there is exactly one branch."""
        found = [branch[name] for branch in self.branches(schema) if name in branch]
        return found[0] if len(found) == 1 else None

    def _begins(self) -> list[str]:
        servers = [str(each.get("url", "")) for each in self._data.get("servers") or ()]
        begins = [_HOLE.sub(_FILLED, urlsplit(each).path.rstrip("/")) for each in servers]
        return list(dict.fromkeys(["", *begins, str(self._data.get("basePath") or "").rstrip("/")]))

    def _request(self, operation: Node, parameters: list[Node]) -> Node | None:
        for each in parameters:
            if each.get("in") == "body":
                return self._follow(each.get("schema") or {})
        form = {each["name"]: each for each in parameters if each.get("in") == "formData"}
        if form:
            return {"properties": form, "required": [name for name in form if form[name].get("required")]}
        return self._content(self._follow(operation.get("requestBody") or {}))

    def _response(self, operation: Node) -> Node | None:
        found = self._answer(operation)
        schema = found.get("schema")
        return self._follow(schema) if schema else self._content(found)

    def _answer(self, operation: Node) -> Node:
        responses: Node = operation.get("responses") or {}
        for status in ("200", "201", "202", "203", 200, 201, "2XX", "default"):
            if status in responses:
                return self._follow(responses[cast("str", status)])
        return {}

    def _content(self, holder: Node) -> Node | None:
        content: Node = holder.get("content") or {}
        for kind, about in content.items():
            if "json" in kind or "form-urlencoded" in kind or kind == "*/*":
                return self._follow(about.get("schema") or {})
        return None

    def _inside(self, schema: Node, step: str | int | Item) -> Node | None:
        is_open = True
        for branch in self.branches(schema):
            if isinstance(step, str):
                if step in _properties(branch):
                    return self._follow(_properties(branch)[step])
                more = branch.get("additionalProperties")
                if more:
                    return self._follow(more) if isinstance(more, Mapping) else {}
            elif "items" in branch:
                return self._follow(branch["items"])
            is_open = is_open and not (branch.get("properties") or branch.get("type") or "items" in branch)
            is_open = is_open and not any(branch.get(word) for word in ("allOf", "anyOf", "oneOf"))
        bare = [branch for branch in self.branches(schema) if branch.get("type") == "object"]
        free = isinstance(step, str) and any(not branch.get("properties") for branch in bare)
        return {} if is_open or free else None

    def _follow(self, node: Json) -> Node:
        """A node, or the target of its $ref; {} if that is in another file or circular."""
        for _ in range(_DEEPEST):
            if not isinstance(node, Mapping):
                return {}
            reference = node.get("$ref")
            if not isinstance(reference, str):
                return node
            node = self._pointed(reference)
        return {}

    def _pointed(self, reference: str) -> Json:
        if not reference.startswith("#/"):
            return {}
        found: Json = self._data
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def _properties(schema: Node) -> Node:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def read_spec(file: Path) -> Spec:
    """Reads an OpenAPI file, JSON or YAML; MapError if it can't be read."""
    try:
        if file.stat().st_size > LARGEST:
            raise _refuse(file, f"the file is larger than {LARGEST // 1_000_000} MB", "extract the part that is needed")
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise _refuse(file, f"can't read the file: {why}", "name the vendor's OpenAPI file") from error
    return parse_spec(text, file)


def parse_spec(text: str, file: Path) -> Spec:
    """An OpenAPI file's text, JSON or YAML; `file` is only named in the MapError for what is neither."""
    try:
        data = json.loads(text) if text.lstrip()[:1] == "{" else YAML(typ="safe").load(text)
    except (ValueError, YAMLError, RecursionError) as error:
        raise _refuse(file, f"not valid: {str(error).splitlines()[0]}", "download the file again") from error
    if not isinstance(data, dict) or not isinstance(data.get("paths"), dict):
        raise _refuse(file, "it names no paths", "name an OpenAPI 3 or Swagger 2 file")
    return Spec(data)


def _refuse(file: Path, message: str, fix: str) -> MapError:
    return MapError([Finding(file, 1, message, fix, "bad-spec")])
