"""Which columns filled the field of their name, without a row in the mapping sheet: one that is lost is missed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from pydantic import JsonValue

_COMMON = ""
"""In what is stored, the name of those that every file had."""


class SameNamedColumns:
    """One data type's, of `names`. Files need not have the same ones; a new file needs those that all others had."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._common = frozenset[str]()
        self._own: dict[str, frozenset[str]] = {}

    def of(self, file: str) -> frozenset[str]:
        """The columns without which this file isn't read."""
        return self._common | self._own.get(file, frozenset())

    def saw(self, files: Mapping[str, Collection[str]], *, is_complete: bool) -> None:
        """Takes the columns of files that were read; `is_complete`: there are no others."""
        found = {file: self._names.intersection(columns) for file, columns in files.items()}
        self._own = found if is_complete else self._own | found
        if is_complete and found:
            self._common |= frozenset.intersection(*found.values())

    def stored(self) -> JsonValue:
        """For the position: file -> its columns beyond the common ones."""
        own = {file: columns - self._common for file, columns in self._own.items()}
        found = {file: sorted(columns) for file, columns in {_COMMON: self._common, **own}.items() if columns}
        return cast("JsonValue", found)

    def restore(self, stored: object) -> None:
        """What a position says; of an earlier release it says nothing."""
        found = cast("dict[str, list[str]]", stored) if isinstance(stored, dict) else {}
        self._own = {file: self._names.intersection(columns) for file, columns in found.items()}
        self._common = self._own.pop(_COMMON, frozenset())
