"""The part of a vendor's OpenAPI file that a description uses, as small as it can be: names, types, limits, no words.

    python -m tests.http_api.vendors.extract pipedrive openapi-v2.yaml --source ADDRESS-OF-THE-FILE

writes pipedrive.json beside this file, with which the description is compared and from which the mock is made.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sorbus.http_api.description import Description
from sorbus.http_api.load import load_description
from sorbus.http_api.openapi import Spec

HERE = Path(__file__).parent
_DEEPEST = 5
_MOST_VALUES = 150
_KEPT = ("type", "format", "maxLength", "readOnly", "nullable")
Node = dict[str, Any]


def extract(description: Description, written: Mapping[str, Any], source: str) -> Node:
    """An OpenAPI document with the described requests only, without references."""
    spec, paths = Spec(written), dict[str, Node]()
    for method, path in sorted(set(_requests(description))):
        found = spec.find(description.base_url, path, method)
        if found is None or (operation := spec.operation(method, found)) is None:
            continue
        parameters = [
            {"name": name, "in": place, "required": bool(about.get("required")), "schema": small(written, schema)}
            for place, named in (("query", operation.query), ("header", operation.headers))
            for name, about in named.items()
            if (schema := about.get("schema") or about) is not None
        ]
        made: Node = {"parameters": parameters, "responses": {"200": _json(small(written, operation.response))}}
        if operation.request is not None:
            made["requestBody"] = _json(small(written, operation.request))
        paths.setdefault(found, {})[method.lower()] = made
    info = written.get("info") or {}
    return {
        "openapi": "3.0.3",
        "info": {"title": info.get("title", ""), "version": str(info.get("version", "")), "x-source": source},
        "servers": written.get("servers") or [{"url": written.get("basePath", "")}],
        "paths": paths,
    }


def small(written: Mapping[str, Any], schema: object, depth: int = 0) -> Node:
    """A schema with its references in place, parts (allOf) put together, and nothing that explains it."""
    schema = _followed(written, schema)
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return {}
    out: Node = {name: schema[name] for name in _KEPT if name in schema}
    if 0 < len(schema.get("enum") or ()) <= _MOST_VALUES:
        out["enum"] = [value for value in schema["enum"] if value is not None]
    if isinstance(required := schema.get("required"), list):
        out["required"] = list(required)
    if properties := schema.get("properties"):
        out["properties"] = {name: small(written, each, depth + 1) for name, each in properties.items()}
    if "items" in schema:
        out["items"] = small(written, schema["items"], depth + 1)
    if schema.get("additionalProperties"):
        out["additionalProperties"] = small(written, schema["additionalProperties"], depth + 1) or True
    for part in schema.get("allOf") or ():
        _put_into(out, small(written, part, depth))
    for word in ("oneOf", "anyOf"):
        if schema.get(word):
            out[word] = [small(written, each, depth + 1) for each in schema[word]]
    return out


def _put_into(out: Node, part: Node) -> None:
    for name, value in part.items():
        if name == "properties":
            for key, inner in value.items():
                there = out.setdefault("properties", {}).setdefault(key, {})
                out["properties"][key] = {**there, **inner} if "properties" not in there else there
        elif name == "required":
            out["required"] = list(dict.fromkeys([*out.get("required", []), *value]))
        else:
            out.setdefault(name, value)


def _followed(written: Mapping[str, Any], node: object) -> object:
    for _ in range(20):
        if not isinstance(node, Mapping) or "$ref" not in node:
            return node
        steps = str(node["$ref"]).partition("#/")[2].split("/") if str(node["$ref"]).startswith("#/") else [""]
        node = written
        for step in steps:
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return {}


def _requests(description: Description) -> Iterator[tuple[str, str]]:
    for resource in description.resources.values():
        named = [resource.list, resource.changes, resource.get, resource.create, resource.update, resource.delete]
        for each in [*named, resource.merge, *resource.search.values()]:
            if each is not None:
                yield each.method, each.path


def _json(schema: Node) -> Node:
    return {"content": {"application/json": {"schema": schema}}}


def main() -> None:
    """Reads the arguments and writes the file."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("api")
    asked.add_argument("spec", type=Path, nargs="+")
    asked.add_argument("--source", default="")
    given = asked.parse_args()
    made: Node = {}
    for file in given.spec:
        text = file.read_text("utf-8")
        written = json.loads(text) if file.suffix == ".json" else YAML(typ="safe").load(text)
        part = extract(load_description(given.api), written, given.source)
        made = {**made, **part, "paths": {**made.get("paths", {}), **part["paths"]}}
    (HERE / f"{given.api}.json").write_text(json.dumps(made, separators=(",", ":"), sort_keys=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
