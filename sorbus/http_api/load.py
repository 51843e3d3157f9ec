"""Finds and reads descriptions: those that come with Sorbus, and a user's own beside the map."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import JsonValue, ValidationError

from sorbus.errors import Finding, MapError
from sorbus.http_api.description import Description
from sorbus.http_api.lint import faults
from sorbus.mapfile.document import Document, read_document
from sorbus.mapfile.validation_messages import explain
from sorbus.spelling import closest

_SYSTEMS = Path(str(files("sorbus.http_api") / "systems"))
_Said = tuple[str, str, str]
_FIELDS = re.compile(r"\{fields(?::([^{}]+))?\}")


def shipped() -> list[str]:
    """The names of the descriptions that come with Sorbus."""
    return sorted(file.stem for file in _SYSTEMS.glob("*.yaml"))


def description_file(name_or_path: str, folder: Path = Path()) -> Path:
    """The file of a description: a shipped one by its name, a user's own by a path from `folder` that ends in .yaml."""
    own = name_or_path.endswith((".yaml", ".yml"))
    return folder / name_or_path if own else _SYSTEMS / f"{Path(name_or_path).name}.yaml"


def load_description(name_or_path: str, folder: Path = Path()) -> Description:
    """The description called `name_or_path`; MapError with every error, each with its line in the file."""
    return read_description(name_or_path, folder)[0]


def read_description(name_or_path: str, folder: Path = Path()) -> tuple[Description, Document]:
    """Like `load_description`, with the source file, for findings about its parts."""
    file = description_file(name_or_path, folder)
    if not file.is_file():
        if file.parent == _SYSTEMS:
            message = f"no description is called {name_or_path!r}"
            fix = f"{closest(name_or_path, shipped())} (or name your own file, such as apis/mine.yaml)"
        else:
            message, fix = f"there is no file {file}", "fix the path: it begins at the map's folder"
        raise MapError([Finding(file, 1, message, fix, "unknown-api")])
    return _read(file, file.stat().st_mtime_ns)


@cache
def _read(file: Path, changed: int) -> tuple[Description, Document]:  # noqa: ARG001 - a changed file is another entry
    document = read_document(file)
    if document.findings:
        raise MapError(sorted(document.findings))
    data = _named(_extended(document))
    if unfinished := [Finding(file, document.line(*place), *said) for place, said in _unfinished(data)]:
        raise MapError(sorted(unfinished))
    try:
        description = Description.model_validate(data)
    except ValidationError as error:
        raise MapError(
            sorted(
                Finding(file, document.line(*found.path), found.message, found.fix, found.code)
                for found in explain(error, data, Description, whole="the description")
            )
        ) from error
    findings = [
        Finding(file, document.line(*path), message, fix, "bad-value") for path, message, fix in faults(description)
    ]
    if findings:
        raise MapError(sorted(findings))
    return description, document


def _unfinished(value: JsonValue, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], _Said]]:
    """What `sorbus api new` left for a person to fill in: texts and keys that begin with TODO."""
    if isinstance(value, str) and value.startswith("TODO"):
        what = value.removeprefix("TODO").lstrip(": ")
        said = f"{'.'.join(map(str, place))} is unfinished: {what or 'nothing says what belongs here'}"
        yield place, (said, "write it in place of TODO, or remove the line if there is nothing like it", "unfinished")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _unfinished(inner, (*place, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _unfinished(inner, (*place, number))


def _extended(document: Document) -> JsonValue:
    """The file's content, merged over the shipped description that it extends."""
    data = document.data
    if not isinstance(data, dict) or not isinstance(base := data.get("extends"), str) or not base:
        return data if data is not None else {}
    if base not in shipped():
        fix = closest(base, shipped())
        raise MapError([Finding(document.file, document.line("extends"), f"no description is called {base!r}", fix)])
    return _over(read_document(description_file(base)).data, data)


def _over(below: JsonValue, above: JsonValue) -> JsonValue:
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}
    return above


def _named(data: JsonValue) -> JsonValue:
    """`{fields}` in each resource's requests replaced by the names of its fields."""
    resources = data.get("resources") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(resources, dict):
        return data
    out: dict[str, JsonValue] = {}
    for name, resource in resources.items():
        fields = resource.get("fields") if isinstance(resource, dict) else None
        out[name] = _fill(resource, list(fields)) if isinstance(fields, dict) else resource
    return {**data, "resources": out}


def _fill(value: JsonValue, fields: list[str]) -> JsonValue:
    """Inside a list, an item that is exactly `{fields}` becomes one item per field; elsewhere, names with commas."""
    if isinstance(value, str):
        return _FIELDS.sub(lambda found: ",".join(_names(fields, found[1])), value)
    if isinstance(value, dict):
        return {key: _fill(inner, fields) for key, inner in value.items()}
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], str) and (found := _FIELDS.fullmatch(value[0])):
            return list(_names(fields, found[1]))
        return [_fill(inner, fields) for inner in value]
    return value


def _names(fields: list[str], inside: str | None) -> list[str]:
    begin = f"{inside}." if inside else ""
    names = (re.split(r"[.\[]", path.removeprefix(begin))[0] for path in fields if path.startswith(begin))
    return list(dict.fromkeys(names))
