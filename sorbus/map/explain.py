"""What pydantic found wrong with a map, in plain words: where, what, and what to write instead.

No message shows a value that was written: it may be a password in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from sorbus.map.model import DataType, Flow, Manual, Map, System
from sorbus.mapping.failure import closest

Path_ = tuple[str | int, ...]

_PARTS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): Map,
    ("systems", "*"): System,
    ("data_types", "*"): DataType,
    ("flows", "*"): Flow,
    ("flows", "*", "manual"): Manual,
}
_WANTED: Mapping[str, tuple[str, str]] = {
    "string_type": ("text", "write it in quotes"),
    "bool_type": ("true or false", "write true or false"),
    "bool_parsing": ("true or false", "write true or false"),
    "int_type": ("a whole number", "write it in digits"),
    "int_parsing": ("a whole number", "write it in digits"),
    "int_from_float": ("a whole number", "write it in digits, without a point"),
    "dict_type": ("named entries", "write NAME: VALUE lines, indented below it"),
    "model_type": ("named entries", "write NAME: VALUE lines, indented below it"),
    "list_type": ("a list", "write one line for each, beginning with -"),
}
_NAME_CURE = "begin with a small letter; then small letters, digits, - and _ (63 at most)"


class Explained(NamedTuple):
    """One mistake: the path of the part it is about, and the words for a finding."""

    path: Path_
    code: str
    message: str
    cure: str


def explain(
    error: ValidationError, data: JsonValue, model: type[BaseModel] | None = None, within: Path_ = ()
) -> Iterator[Explained]:
    """Every mistake once, its path relative to `data`, which is what was validated and stands at `within` in the map.

    `model` is what it should be: the whole map unless given.
    """
    seen: set[Path_] = set()
    for detail in error.errors(include_url=False, include_input=False):
        path = _path(detail["loc"], data)
        if path not in seen or detail["type"] == "missing":
            seen.add(path)
            yield _explain(detail, path, model, within)


def _path(location: tuple[str | int, ...], data: JsonValue) -> Path_:
    """The location as far as it is in the data: pydantic adds the names of union members and `[key]`."""
    path: list[str | int] = []
    for step in location:
        inside = (
            (isinstance(data, dict) and step in data)
            if isinstance(step, str)
            else (isinstance(data, list) and step < len(data))
        )
        if not inside:
            break
        data = data[step]  # type: ignore[index]
        path.append(step)
    return tuple(path)


def _explain(detail: ErrorDetails, path: Path_, model: type[BaseModel] | None, within: Path_) -> Explained:
    kind, location = detail["type"], detail["loc"]
    written = _dotted((*within, *path)) or "the map"
    context: Mapping[str, object] = detail.get("ctx", {})
    if kind == "missing":
        owner = _model_at(path) if model is None else model
        name = str(location[-1])
        about = _description(owner, name)
        return Explained(path, "missing", f"{written} has no {name}{about}", f"write {name}: …")
    if kind == "extra_forbidden":
        owner = _model_at(path[:-1]) if model is None else model
        where = _dotted((*within, *path[:-1]))
        message = f"unknown key {path[-1]!r}{f' in {where}' if where else ''}"
        return Explained(path, "unknown-key", message, closest(str(path[-1]), _keys(owner)))
    if location and location[-1] == "[key]":
        return Explained(path, "bad-name", f"{written}: {path[-1]!r} can't be a name", _name_cure(str(path[-1])))
    if kind == "string_pattern_mismatch":
        return Explained(path, "bad-name", f"{written} is not a name", _NAME_CURE)
    if kind == "literal_error":
        return Explained(path, "bad-value", f"{written} can't be that", f"write {context.get('expected', '')}")
    if kind in _WANTED:
        wanted, cure = _WANTED[kind]
        return Explained(path, "bad-value", f"{written} must be {wanted}", cure)
    message = detail["msg"]
    return Explained(path, "bad-value", f"{written}: {message[:1].lower()}{message[1:]}", f"mend {written}")


def _name_cure(name: str) -> str:
    proposed = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-0123456789")[:63]
    return f"write {proposed}: {_NAME_CURE}" if proposed else _NAME_CURE


def _model_at(path: Path_) -> type[BaseModel] | None:
    for pattern, model in _PARTS.items():
        if len(pattern) == len(path) and all(want in ("*", step) for want, step in zip(pattern, path, strict=True)):
            return model
    return None


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model is not None else []


def _description(model: type[BaseModel] | None, name: str) -> str:
    if model is None:
        return ""
    for own, field in model.model_fields.items():
        if name in (own, field.alias) and field.description:
            return f" ({field.description.rstrip('.')})"
    return ""


def _dotted(path: Path_) -> str:
    text = ""
    for step in path:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return text.lstrip(".")
