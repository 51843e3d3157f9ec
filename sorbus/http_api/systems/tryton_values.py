"""Values in Tryton's JSON-RPC (its module trytond.protocols.jsonrpc), and a party's flat fields."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from sorbus.http_api.description import ApiField
from sorbus.http_api.interface import Json, Record

CONTACTS = ("email", "phone", "mobile", "fax", "website")
"""Kinds of contact mechanism: each is a flat field that holds the party's first of that kind."""


def decode(value: Json) -> Json:
    """Tryton's objects with __class__ as plain JSON; timestamps, which Tryton stores in UTC, in ISO 8601."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    parts = {key: item for key, item in value.items() if key != "__class__"}
    match value.get("__class__"):
        case "datetime":
            return datetime(**parts).isoformat(timespec="microseconds") + "Z"
        case "date":
            return date(**parts).isoformat()
        case "Decimal":
            return Decimal(parts["decimal"])
        case "bytes":
            return parts["base64"]
        case "timedelta":
            return parts["seconds"]
        case _:
            return {key: decode(item) for key, item in value.items()}


def encode(value: Json, field: ApiField | None = None) -> Json:
    """A field's value in Tryton's format."""
    kind = field.kind if field else "text"
    if isinstance(value, str) and value and kind == "date":
        day = date.fromisoformat(value[:10])
        return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}
    if isinstance(value, str) and value and kind == "datetime":
        return moment(datetime.fromisoformat(value))
    if isinstance(value, Decimal) or (value is not None and kind == "decimal"):
        return {"__class__": "Decimal", "decimal": str(value)}
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def moment(value: datetime) -> Json:
    """A point in time, in UTC."""
    value = value.astimezone(UTC)
    names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return {"__class__": "datetime", **{name: getattr(value, name) for name in names}}


def flat(raw: Record, fields: Mapping[str, ApiField]) -> Record:
    """A record as described: relations by their own names, contacts as fields, always with a time of change."""
    record: Record = _plain(decode(raw))
    if mechanisms := record.pop("contact_mechanisms", None):
        for kind in CONTACTS:
            record[kind] = next((item["value"] for item in mechanisms if item["type"] == kind), None)
    elif mechanisms is not None:
        record.update(dict.fromkeys(CONTACTS))
    record["write_date"] = record.get("write_date") or record.get("create_date")
    for name, field in fields.items():
        if field.kind == "boolean" and isinstance(record.get(name), int):
            record[name] = bool(record[name])
    return record


def _plain(value: Json) -> Json:
    """Replaces a relation's dotted key: Tryton returns what is read through it under its name with a dot."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key.removesuffix("."): _plain(item) for key, item in value.items()}
    return value


def contact_commands(fields: Record, mechanisms: list[Record]) -> list[Json]:
    """The commands that turn a party's contact mechanisms into the given flat fields; an empty one is deleted."""
    commands: list[Json] = []
    for kind in CONTACTS:
        if kind not in fields:
            continue
        value = fields[kind]
        there = next((item for item in mechanisms if item["type"] == kind), None)
        if there is None and value:
            commands.append(["create", [{"type": kind, "value": value}]])
        elif there is not None and not value:
            commands.append(["delete", [there["id"]]])
        elif there is not None and there["value"] != value:
            commands.append(["write", [there["id"]], {"value": value}])
    return commands


def item_commands(wanted: list[Record], there: list[Record], names: frozenset[str]) -> list[Json]:
    """The commands that turn a party's addresses (or another list) into the given ones, by index; extra ones stay."""
    commands: list[Json] = []
    for place, item in enumerate(wanted):
        values = {name: item[name] for name in names if name in item}
        if place >= len(there):
            commands.append(["create", [values]])
        elif changed := {name: value for name, value in values.items() if there[place].get(name) != value}:
            commands.append(["write", [there[place]["id"]], changed])
    return commands
