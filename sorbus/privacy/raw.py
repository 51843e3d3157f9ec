"""Raw rows of a source, by the rows that map them; a column without a row counts as personal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.field_refs import CANONICAL, canonical_fields, canonical_ref, column_refs
from sorbus.privacy.mask import leaves, masked, personal_names
from sorbus.schema import RecordSchema

_INSIDE = re.compile(r"\[[^\]]*\]")


class RawRow:
    """Masks a row of a source, or an application's JSON record, according to the rows that map it."""

    def __init__(self, schema: RecordSchema, rows: Sequence[FieldMapping], resources: Mapping[str, str]) -> None:
        personal = personal_names(schema.fields)
        known: set[str] = set()
        hidden: set[str] = set()
        about: set[str] = set()
        for row in rows:
            if row.target_system != CANONICAL:
                continue
            into = canonical_ref(row.target_field)
            about.add(into.part)
            places = column_refs(row.source_field, resources) if row.source_field else []
            paths = {_path(resources, place.part, place.name) for place in places if place.part in ("", into.part)}
            if {into.name, into.part} & personal:
                hidden |= paths | set(re.findall(r"\w+", row.rule))
            elif not row.rule:  # a rule may read only a part of a column
                known |= paths
        for part, fields in canonical_fields(schema).items():
            if part not in about:
                known |= {_path(resources, part, name) for name in fields if not {name, part} & personal}
        self._open = known - hidden

    def masked(self, row: object, id: str = "") -> object:
        """The row with every value masked, except columns known not to be personal and the record's own id."""
        return self._masked(row, "", id)

    def values(self, content: bytes | None) -> Iterator[object]:
        """Every value of a raw JSON row that would be masked."""
        try:
            row: object = json.loads(content or b"null")
        except ValueError:
            return
        yield from self._hidden(row, "")

    def _masked(self, value: object, path: str, id: str) -> object:
        if isinstance(value, Mapping):
            return {name: self._masked(inner, _join(path, str(name)), id) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._masked(inner, path, id) for inner in value]
        return value if path in self._open or (id and str(value) == id) else masked(value)

    def _hidden(self, value: object, path: str) -> Iterator[object]:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from self._hidden(inner, _join(path, str(name)))
        elif isinstance(value, list):
            for inner in value:
                yield from self._hidden(inner, path)
        elif path not in self._open:
            yield from leaves(value)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _path(resources: Mapping[str, str], part: str, name: str) -> str:
    """A column's path inside the row: a list item's is below the list's own."""
    inside = resources.get(part, "").removeprefix(f"{resources.get('', '')}.") if part else ""
    return _INSIDE.sub("", _join(inside, name))
