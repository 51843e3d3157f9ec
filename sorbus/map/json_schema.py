"""The JSON Schema of map.yaml, for completion in an editor: name it in the map's first line,

# yaml-language-server: $schema=map.schema.json
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import models_json_schema

from sorbus.connector import consumer_connector, known_kinds, producer_connector
from sorbus.mapfile.model import STEP, Map

Schema = dict[str, JsonValue]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = "#/$defs/{model}"


def json_schema() -> Schema:
    """The map's schema (JSON Schema 2020-12), with the settings of every installed connector."""
    producers = {kind: producer_connector(kind) for kind in known_kinds("sorbus.producers") if kind != STEP}
    consumers = {kind: consumer_connector(kind) for kind in known_kinds("sorbus.consumers")}
    connections = {kind: found.Connection for kind, found in consumers.items()}
    connections |= {kind: found.Connection for kind, found in producers.items()}
    sources, targets = [found.Source for found in producers.values()], [found.Target for found in consumers.values()]
    models: list[type[BaseModel]] = list(dict.fromkeys([Map, *connections.values(), *sources, *targets]))
    references, whole = models_json_schema(
        [(model, "validation") for model in models], by_alias=True, ref_template=_REFERENCE
    )
    definitions = cast("dict[str, Schema]", whole["$defs"])
    names = {model: str(references[model, "validation"]["$ref"]).rpartition("/")[2] for model in models}
    _set_options(definitions, "DataType", "source", [names[model] for model in sources])
    _set_options(definitions, "Flow", "target", [names[model] for model in targets])
    definitions["System"]["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": {"connection": _reference(names[model])}},
        }
        for kind, model in sorted(connections.items())
    ]
    root = definitions.pop(names[Map])
    schema: Schema = {"$schema": _DIALECT, **root, "title": "Sorbus map", "$defs": dict(sorted(definitions.items()))}
    return cast("Schema", _without_titles(schema, top=True))


def _set_options(definitions: dict[str, Schema], owner: str, name: str, models: list[str]) -> None:
    properties = definitions[owner]["properties"]
    assert isinstance(properties, dict)
    before = cast("Schema", properties[name])
    described = {"description": before["description"], "default": {}}
    properties[name] = {**described, "anyOf": [{"maxProperties": 0}, *(_reference(model) for model in models)]}


def _reference(model: str) -> JsonValue:
    return {"$ref": _REFERENCE.format(model=model)}


def _without_titles(value: JsonValue, *, top: bool = False, names: bool = False) -> JsonValue:
    """Removes titles that repeat a name; `names` if the keys are names from the map."""
    if isinstance(value, dict):
        return dict(_kept(value, top or names))
    return [_without_titles(item) for item in value] if isinstance(value, list) else value


def _kept(schema: dict[str, JsonValue], titled: bool) -> Iterator[tuple[str, JsonValue]]:
    for key, inner in schema.items():
        if titled or key != "title":
            yield key, _without_titles(inner, names=key in ("properties", "$defs"))
