"""Secrets in the map: `${NAME}` from the environment, from the file that NAME_FILE names, or from .env beside the map.

Values are never part of a message. `$${` stands for a plain `${`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from dotenv import dotenv_values
from pydantic import JsonValue

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGEST = 65_536

Path_ = tuple[str | int, ...]


class UnknownSecret(ValueError):
    """A `${NAME}` without a value. `path` is its place in the structure, once known."""

    def __init__(self, message: str, fix: str) -> None:
        self.message = message
        self.fix = fix
        self.path: Path_ = ()
        super().__init__(f"{message}; {fix}")


class Secrets:
    """Where one map's `${NAME}` get their values. With `need_not_be_set` an unknown one is kept unchanged: a map may be
    checked where its secrets are not available.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str] | None = None, *, need_not_be_set: bool = False
    ) -> None:
        self._folder = folder
        self._environment = os.environ if environment is None else environment
        self.need_not_be_set = need_not_be_set

    def unset(self) -> Secrets:
        """The same, for a check."""
        return Secrets(self._folder, self._environment, need_not_be_set=True)

    def value(self, name: str) -> str:
        """The value of `name`; UnknownSecret says what to set."""
        for variables in (self._environment, self._written):
            if (found := variables.get(name)) is not None:
                return found
            if file := variables.get(f"{name}_FILE"):
                return _read(name, self._folder / file)
        if self.need_not_be_set:
            return f"${{{name}}}"
        fix = f"set the environment variable {name}, or {name}_FILE to a file that holds it, or write it into .env"
        raise UnknownSecret(f"${{{name}}} has no value", fix)

    def fill(self, text: str) -> str:
        """`text` with every `${NAME}` replaced."""

        def replace(found: re.Match[str]) -> str:
            name = found[1]
            if name is None:
                return "${"
            if not _NAME.fullmatch(name):
                raise UnknownSecret(f"${{{name}}} is not a variable's name", "write ${NAME}, or $${ for a plain ${")
            return self.value(name)

        return _REFERENCE.sub(replace, text)

    def fill_all(self, value: JsonValue, path: Path_ = ()) -> JsonValue:
        """A structure with every `${NAME}` in its texts replaced; UnknownSecret carries the path."""
        if isinstance(value, str):
            try:
                return self.fill(value)
            except UnknownSecret as error:
                error.path = path
                raise
        if isinstance(value, dict):
            return {key: self.fill_all(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill_all(inner, (*path, place)) for place, inner in enumerate(value)]
        return value

    @cached_property
    def _written(self) -> Mapping[str, str]:
        file = self._folder / ".env"
        if not file.is_file():
            return {}
        try:
            found = dotenv_values(file, interpolate=False)
        except UnicodeDecodeError:  # it carries the bytes
            raise UnknownSecret(f"{file} is not text in UTF-8", "save it as UTF-8") from None
        return {name: value for name, value in found.items() if value is not None}


def references(value: JsonValue) -> Iterator[str]:
    """Every NAME that a structure refers to as `${NAME}`."""
    if isinstance(value, str):
        yield from (found[1] for found in _REFERENCE.finditer(value) if found[1])
    elif isinstance(value, dict):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def _read(name: str, file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST:
            raise UnknownSecret(f"{name}_FILE names a file of more than {_LARGEST} bytes", "name the secret's own file")
        return file.read_text("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        why = error.strerror
    except UnicodeDecodeError:  # it carries the bytes
        why = "it is not text in UTF-8"
    raise UnknownSecret(f"{name}_FILE names {file}, which can't be read: {why}", f"fix {name}_FILE")
