"""The JSON Schema of a description, for completion in an editor: name it in the file's first line,

# yaml-language-server: $schema=api.schema.json
"""

from __future__ import annotations

from pydantic import JsonValue

from sorbus.http_api.description import Description


def json_schema() -> dict[str, JsonValue]:
    """The schema (JSON Schema 2020-12). A file that extends another may omit what that one has."""
    schema: dict[str, JsonValue] = Description.model_json_schema(by_alias=True)
    required = schema.pop("required", [])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "anyOf": [{"required": required}, {"required": ["extends"]}],
    }
