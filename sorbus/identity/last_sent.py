"""The target's fields as last sent, as JSON text that round-trips exactly, decimals included."""

from __future__ import annotations

import json
from decimal import Decimal

from sorbus.http_api.interface import Json

_DECIMAL = "$decimal"


def to_text(value: Json) -> str:
    """`value` as JSON; a Decimal as {"$decimal": "1.10"}; keys that begin with $ are escaped."""
    return json.dumps(_tagged(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def from_text(text: str) -> Json:
    """The inverse of `to_text`."""
    return json.loads(text, object_hook=_untagged)


def _tagged(value: Json) -> Json:
    if isinstance(value, Decimal):
        return {_DECIMAL: str(value)}
    if isinstance(value, dict):
        return {f"${name}" if name.startswith("$") else name: _tagged(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(inner) for inner in value]
    return value


def _untagged(found: dict[str, Json]) -> Json:
    if found.keys() == {_DECIMAL}:
        return Decimal(found[_DECIMAL])
    return {name[1:] if name.startswith("$") else name: inner for name, inner in found.items()}
