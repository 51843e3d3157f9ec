"""Where an answer or a request holds its records, and the schema of one."""

from __future__ import annotations

import re

from sorbus.http_api.draft.words import CREATED, RECORDS, UPDATED, first, singular
from sorbus.http_api.openapi import Node, Spec, SpecOperation


def records_of(spec: Spec, operation: SpecOperation) -> tuple[str, Node] | None:
    """The path of the list of records in an answer, and the schema of one; None if it holds none."""
    response = operation.response
    if response is None:
        return None
    lists = [
        (path, item)
        for path in ("", *paths_in(spec, response, only={"array"}))
        if (item := spec.at(response, f"{path}[0]")) and "array" in spec.types(spec.at(response, path) or {})
        if spec.property_names(item)
    ]
    if not lists:
        return None
    lists.sort(key=lambda one: (one[0].count("."), first(RECORDS, [one[0].split(".")[-1]]) is None))
    return lists[0]


def record_of(spec: Spec, operation: SpecOperation, name: str) -> tuple[str, Node | None]:
    """The path of the record in an answer, and its schema."""
    response = operation.response
    if response is None or not (names := spec.property_names(response)):
        return "", None
    if first(["id", "uuid", "gid", *UPDATED, *CREATED], names):
        return "", response
    wrap = first([singular(name), *RECORDS], names)
    inner = spec.at(response, quoted(wrap)) if wrap else None
    if wrap and inner and spec.property_names(inner):
        return quoted(wrap), inner
    if wrap and inner and "array" in spec.types(inner) and (item := spec.at(inner, "[0]")):
        return f"{quoted(wrap)}[0]", item
    return "", response if len(names) > 3 else None


def fields_at(spec: Spec, request: Node | None, names: list[str]) -> tuple[str, Node | None]:
    if request is None:
        return "", None
    sent = spec.property_names(request)
    if len(sent) == 1 and sent[0] not in names and (inner := spec.at(request, quoted(sent[0]))):
        if spec.property_names(inner):
            return quoted(sent[0]), inner
        if "array" in spec.types(inner) and (item := spec.at(inner, "[0]")) and spec.property_names(item):
            return f"{quoted(sent[0])}[0]", item
    return "", request


def paths_in(spec: Spec, schema: Node, *, only: set[str] | None = None, depth: int = 3, before: str = "") -> list[str]:
    """The paths of an answer's properties, objects entered and lists not."""
    found: list[str] = []
    for name in dict.fromkeys(spec.property_names(schema)):
        if '"' in name or not name:
            continue
        step = quoted(name)
        path = f"{before}{'' if step.startswith('[') or not before else '.'}{step}"
        inner = spec.at(schema, step) or {}
        kinds = spec.types(inner)
        if only is None or kinds & only:
            found.append(path)
        if depth > 1 and spec.property_names(inner):
            found += paths_in(spec, inner, only=only, depth=depth - 1, before=path)
    return found


def is_inside(path: str, records: str) -> bool:
    return bool(records) and (path == records or path.startswith((f"{records}.", f"{records}[")))


def quoted(name: str) -> str:
    return name if re.fullmatch(r"[^.\[\]\"]+", name) else f'["{name}"]'
