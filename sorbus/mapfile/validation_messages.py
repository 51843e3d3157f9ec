"""pydantic's errors in a map, in plain words: where, what is wrong, and the fix.

No message shows a value that was written: it may be a password in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from sorbus.mapfile.model import Map
from sorbus.spelling import closest

Path_ = tuple[str | int, ...]

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
_NAME_FIX = "begin with a small letter; then small letters, digits, - and _ (63 at most)"


class Explained(NamedTuple):
    """One error: the path of the part it is about, and the texts of a finding."""

    path: Path_
    code: str
    message: str
    fix: str


def explain(
    error: ValidationError,
    data: JsonValue,
    model: type[BaseModel] = Map,
    within: Path_ = (),
    whole: str = "the map",
) -> Iterator[Explained]:
    """Every error once, its path relative to `data`, which was validated as `model`.

    `within` is its place in the file, `whole` the file's name for people.
    """
    seen: set[Path_] = set()
    for detail in error.errors(include_url=False, include_input=False):
        path = _path(detail["loc"], data)
        if path not in seen or detail["type"] == "missing":
            seen.add(path)
            found = _explain(detail, path, model, _dotted((*within, *path)) or whole, _dotted((*within, *path[:-1])))
            is_nested = detail["type"] == "string_type" and isinstance(_value_at(data, path), dict | list)
            yield found._replace(fix="write one text in place of what is nested there") if is_nested else found


def _path(location: tuple[str | int, ...], data: JsonValue) -> Path_:
    """The location as far as it exists in the data: pydantic adds the names of union members and `[key]`."""
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


def _value_at(data: JsonValue, path: Path_) -> JsonValue:
    for step in path:
        data = data[step]  # type: ignore[index]
    return data


def _explain(detail: ErrorDetails, path: Path_, model: type[BaseModel], written: str, where: str) -> Explained:
    kind, location = detail["type"], detail["loc"]
    context: Mapping[str, object] = detail.get("ctx", {})
    if kind == "missing":
        name = str(location[-1])
        about = _description(_model_at(model, path), name)
        return Explained(path, "missing", f"{written} has no {name}{about}", f"write {name}: …")
    if kind == "extra_forbidden":
        message = f"unknown key {path[-1]!r}{f' in {where}' if where else ''}"
        return Explained(path, "unknown-key", message, closest(str(path[-1]), _keys(_model_at(model, path[:-1]))))
    if location and location[-1] == "[key]":
        return Explained(path, "bad-name", f"{written}: {path[-1]!r} can't be a name", _name_cure(str(path[-1])))
    if kind == "string_pattern_mismatch":
        return Explained(path, "bad-name", f"{written} is not a name", _NAME_FIX)
    if kind == "literal_error":
        return Explained(path, "bad-value", f"{written} can't be that", f"write {context.get('expected', '')}")
    if kind in _WANTED:
        wanted, fix = _WANTED[kind]
        return Explained(path, "bad-value", f"{written} must be {wanted}", fix)
    message = detail["msg"]
    return Explained(path, "bad-value", f"{written}: {message[:1].lower()}{message[1:]}", f"fix {written}")


def _name_cure(name: str) -> str:
    proposed = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-0123456789")[:63]
    return f"write {proposed}: {_NAME_FIX}" if proposed else _NAME_FIX


def _model_at(model: type[BaseModel], path: Path_) -> type[BaseModel] | None:
    """The model of the value at `path`; None if it may be anything."""
    found: object = model
    for step in path:
        if isinstance(found, type) and issubclass(found, BaseModel):
            names = {field.alias or name: field.annotation for name, field in found.model_fields.items()}
            found = names.get(str(step))
        else:
            found = (get_args(found) or (None,))[-1]  # a list's item, a dict's value
        if get_origin(found) in (Union, UnionType):
            found = next((each for each in get_args(found) if each is not type(None)), None)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


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
