"""Resolves informal field names ("Customer Name", table Customers) to RESOURCE.COLUMN of a system."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from sorbus.errors import SchemaError
from sorbus.map.authoring.field_names import singular
from sorbus.map.catalog import Catalog
from sorbus.map.known_fields import catalog_of
from sorbus.map.resources import source_resources, target_resources
from sorbus.mapping.field_refs import CANONICAL, FieldRef, canonical_fields, canonical_reference

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

_CLOSE = 0.75


class FoundField(NamedTuple):
    """A field: its name in a mapping row, the confidence, and what was assumed or is unclear."""

    reference: str
    confidence: float = 1.0
    assumed: str = ""
    unclear: str = ""


class Fields:
    """The fields of a map's systems; each catalog is read once."""

    def __init__(self, loaded: LoadedMap) -> None:
        self.loaded = loaded
        self._catalogs: dict[str, Catalog | None] = {}

    def find(self, system: str, table: str, column: str) -> FoundField:
        """A column by its informal name; `table` is "" if not given."""
        head, _, last = column.rpartition(".")
        table, column = (head, last) if head else (table, column)
        if system == CANONICAL:
            return self._canonical(table, column)
        known = self._resources(system)
        if not known:
            return self._unknown(system, table, column)
        if table:
            name, sure, assumed = _closest(table, [singular_of(each) for each in known], list(known))
            if not name:
                return FoundField(f"{table}.{column}", 0.3, "", f"{system} has no {table}")
            found = _in(known, name, column)
            return found._replace(
                confidence=min(sure, found.confidence), assumed="; ".join(filter(None, (assumed, found.assumed)))
            )
        mapped = [name for name in self._mapped(system) if name in known]
        for names in (mapped, list(known)):
            sound = [found for name in names if not (found := _in(known, name, column)).unclear]
            best = [found for found in sound if found.confidence == max(each.confidence for each in sound)]
            if len(best) == 1:
                return best[0]._replace(
                    confidence=min(0.9, best[0].confidence),
                    assumed="; ".join(filter(None, (f"{column} is {best[0].reference}", best[0].assumed))),
                )
            if best:
                where = " or ".join(found.reference for found in best)
                return FoundField(column, 0.3, "", f"{column} could be {where}: name the table")
        return FoundField(column, 0.3, "", f"{system} has no field {column!r}")

    def _canonical(self, table: str, column: str) -> FoundField:
        data_type, _, part = table.partition(".")
        if data_type not in self.loaded.map.data_types:
            return FoundField(
                f"{table}.{column}" if table else column, 0.3, "", f"no data type is called {data_type!r}"
            )
        try:
            fields = canonical_fields(self.loaded.schema(data_type))
        except SchemaError:
            return FoundField(f"{table}.{column}", 0.3)
        part = part.removesuffix("[]")
        name, sure, assumed = _closest(column, list(fields.get(part, {})), list(fields.get(part, {})))
        if not name:
            return FoundField(f"{table}.{column}", 0.3, "", f"{data_type} has no field {column!r}")
        return FoundField(canonical_reference(FieldRef(part, name), data_type), sure, assumed)

    def _unknown(self, system: str, table: str, column: str) -> FoundField:
        mapped = self._mapped(system)
        table = table or (mapped[0] if len(mapped) == 1 else "")
        reference = ".".join(re.sub(r"\s+", "_", each.strip()) for each in (table, column) if each)
        return FoundField(
            reference, 0.6, f"{reference} as written: no catalog of {system} (sorbus discover {system} --save)"
        )

    def _resources(self, system: str) -> Mapping[str, Sequence[str]]:
        if system not in self._catalogs:
            self._catalogs[system] = catalog_of(self.loaded, system)
        catalog = self._catalogs[system]
        if catalog is None:
            return {}
        lasts = [name.rpartition(".")[2] for name in catalog.resources]
        return {
            last if lasts.count(last := name.rpartition(".")[2]) == 1 else name: [each.name for each in found.fields]
            for name, found in catalog.resources.items()
        }

    def _mapped(self, system: str) -> list[str]:
        """The system's resources that the map names, in the catalog's short form."""
        map = self.loaded.map
        flows = [flow for flow in map.flows if flow.to == system]
        names = [name for each in map.owned_by(system) for name in source_resources(map, each).values()]
        names += [name for flow in flows for name in target_resources(map, flow).values()]
        return list(dict.fromkeys(name.rpartition(".")[2] for name in names))


def folded(text: str) -> str:
    """A name without case, blanks and punctuation."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


def singular_of(name: str) -> str:
    """A table's name in the singular."""
    return singular(name.rpartition(".")[2].lower())


def _in(known: Mapping[str, Sequence[str]], resource: str, column: str) -> FoundField:
    name, sure, assumed = _closest(column, known[resource], known[resource])
    if not name:
        return FoundField(f"{resource}.{column}", 0.3, "", f"{resource} has no field {column!r}")
    return FoundField(f"{resource}.{name}", sure, assumed)


def _closest(text: str, forms: Sequence[str], known: Sequence[str]) -> tuple[str, float, str]:
    """The known name that a text means, the confidence, and what was assumed; `forms` are other spellings."""
    wanted = folded(text)
    if text in known:
        return text, 1.0, ""
    for form in (wanted, folded(singular_of(text))):
        for other, name in (*((folded(name), name) for name in known), *zip(map(folded, forms), known, strict=True)):
            if form == other:
                return name, 0.95, ""
    by_fold = {folded(name): name for name in reversed(known)}
    if found := get_close_matches(wanted, by_fold, n=1, cutoff=_CLOSE):
        return by_fold[found[0]], 0.7, f"{text} is {by_fold[found[0]]}"
    ends = [
        name for fold, name in by_fold.items() if len(wanted) > 3 and (fold.endswith(wanted) or wanted.endswith(fold))
    ]
    if len(ends) == 1:
        return ends[0], 0.6, f"{text} is {ends[0]}"
    return "", 0.0, ""
