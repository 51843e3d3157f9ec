"""A first guess at what a system's tables hold: data types, the fields of each, and their owners.

Names are compared with the canonical schemas (words, synonyms, foreign keys) and types with types; only the catalog is
read. A guess is for a person to fix, so columns that were not understood are listed, not hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sorbus.abilities import CatalogField, Resource
from sorbus.map.authoring.field_names import means_data_type, means_field, means_list, noun, words
from sorbus.schema import FieldType, Kind, RecordSchema, SchemaField

LEAST_SCORE = 0.5
_REFERS = re.compile(r"the ([a-z ]+)'s id\b")
_NUMBERS: frozenset[Kind] = frozenset({"int", "long", "float", "double", "decimal"})
_TIMES: frozenset[Kind] = frozenset({"date", "timestamp"})


class ProposedField(NamedTuple):
    """A column and the canonical field that it seems to fill; `source` is "" if only a rule does."""

    source: str
    canonical: str
    rule: str = ""
    notes: str = ""


class LeftOver(NamedTuple):
    """An unmapped column, and a hint at its use ("" if there is none)."""

    column: str
    hint: str


class ProposedList(NamedTuple):
    """A table whose rows seem to be a list field's items, and its columns that refer to the parent."""

    field: str
    resource: str
    parent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A table that seems to hold a data type. `score` from 0 to 1; `missing` are unfilled required fields."""

    data_type: str
    resource: Resource
    score: float
    fields: tuple[ProposedField, ...]
    lists: tuple[ProposedList, ...]
    missing: tuple[str, ...]
    left_over: tuple[LeftOver, ...]


def propose(resources: Sequence[Resource], schemas: Mapping[str, RecordSchema]) -> list[Proposal]:
    """The likely data types among a system's resources, each with its best table, best first."""
    ranked = sorted(
        (
            (score, -place, data_type)
            for place, resource in enumerate(resources)
            for data_type, schema in schemas.items()
            if (score := _score(resource, data_type, schema)) >= LEAST_SCORE
        ),
        key=lambda guess: (-guess[0], -guess[1], guess[2]),
    )
    holds: dict[str, str] = {}
    best: list[tuple[float, Resource, str]] = []
    for score, place, data_type in ranked:
        resource = resources[-place]
        if resource.name not in holds and data_type not in holds.values():
            holds[resource.name] = data_type
            best.append((score, resource, data_type))
    return [_proposal(score, table, each, schemas[each], resources, holds) for score, table, each in best]


def _score(resource: Resource, data_type: str, schema: RecordSchema) -> float:
    named = means_data_type(resource.name, data_type)
    if not named or not resource.key:
        return 0.0
    found = _Guess(resource, data_type, schema.fields).matched
    enough = min(6, len(schema.fields), max(1, len(resource.fields) - 1))
    return round(0.7 * named + 0.3 * min(1.0, len(found) / enough), 3)


def _proposal(
    score: float,
    resource: Resource,
    data_type: str,
    schema: RecordSchema,
    resources: Sequence[Resource],
    holds: Mapping[str, str],
) -> Proposal:
    guess = _Guess(resource, data_type, schema.fields, holds)
    fields, lists = list(guess.fields(_short(resource, resources))), []
    for item in schema.fields:
        inner = item.type.item
        if inner and inner.kind == "record" and (child := _child(resource, item, resources, holds)):
            lists.append(child[0])
            inside = _Guess(child[1], data_type, inner.fields, holds, f"{item.name}[].", child[0].parent)
            fields.extend(inside.fields(_short(child[1], resources)))
    filled = {each.canonical for each in fields}
    parts = ("", *(each.field for each in lists))
    wanted = [path for path, item in schema.leaves() if item.required and path.rpartition("[].")[0] in parts]
    missing = tuple(path for path in wanted if f"{data_type}.{path}" not in filled)
    return Proposal(data_type, resource, score, tuple(fields), tuple(lists), missing, tuple(guess.left_over()))


def _short(resource: Resource, resources: Sequence[Resource]) -> str:
    """A resource's name without its schema, if unique."""
    last = resource.name.rpartition(".")[2]
    return last if sum(each.name.rpartition(".")[2] == last for each in resources) == 1 else resource.name


def _child(
    parent: Resource, item: SchemaField, resources: Sequence[Resource], holds: Mapping[str, str]
) -> tuple[ProposedList, Resource] | None:
    """The table of a list field's items: it refers to the parent, fills the required fields, and has the best name."""
    inner = item.type.item
    assert inner is not None
    required = [each.name for each in inner.fields if each.required]
    for likely in (True, False):
        for resource in resources:
            columns = next((columns for name, columns in resource.parents if name == parent.name), ())
            if not columns or resource.name in holds or len(columns) != len(parent.key):
                continue
            found = _Guess(resource, item.name, inner.fields, holds).matched.values()
            named = means_list(resource.name, parent.name, item.name)
            if named if likely else required and all(name in found for name in required):
                return ProposedList(item.name, resource.name, columns), resource
    return None


class _Guess:
    """The columns of one resource against the fields of one part of a record."""

    def __init__(
        self,
        resource: Resource,
        data_type: str,
        fields: Sequence[SchemaField],
        holds: Mapping[str, str] | None = None,
        prefix: str = "",
        skip: Sequence[str] = (),
    ) -> None:
        self.resource, self.data_type, self.prefix = resource, data_type, prefix
        self.by_name = {each.name: each for each in fields}
        self.holds = holds or {}
        self.table = noun(resource.name)
        self.refers = {columns[0]: parent for parent, columns in resource.parents if len(columns) == 1}
        self.meant = _only_references(fields)
        self.columns = {each.name: each for each in resource.fields if each.name not in skip}
        self.matched = self._match()

    def fields(self, resource: str) -> Iterator[ProposedField]:
        """The rows of a mapping sheet; a full name is concatenated if only its halves exist."""
        for column, name in self.matched.items():
            rule, notes = self._rule(self.columns[column], self.by_name[name])
            yield ProposedField(f"{resource}.{column}", f"{self.data_type}.{self.prefix}{name}", rule, notes)
        halves = {name: column for column, name in self.matched.items()}
        if "name" in self.by_name and "name" not in halves and {"given_name", "family_name"} <= halves.keys():
            rule = f'record.{halves["given_name"]} ~ " " ~ record.{halves["family_name"]}'
            yield ProposedField("", f"{self.data_type}.{self.prefix}name", rule)

    def left_over(self) -> Iterator[LeftOver]:
        """Unmapped columns; those with a partial match get a hint, since they need a rule or lookup table."""
        taken = set(self.matched.values())
        for column in self.columns.values():
            if column.name in self.matched or column.name in self.resource.key:
                continue
            scores = [
                (means_field(words(column.name), self.data_type, each.name, self.table), each.name)
                for each in self.by_name.values()
                if each.type.kind in ("enum", "boolean") and each.name not in taken
            ]
            score, name = max(scores, default=(0.0, ""))
            yield LeftOver(column.name, f"{self.data_type}.{name}, by a rule or lookup table" if score else "")

    def _match(self) -> dict[str, str]:
        """Column -> canonical field, each once, best pairs first; in the columns' order."""
        pairs = sorted(
            (-score, place, number, column.name, item.name)
            for place, column in enumerate(self.columns.values())
            for number, item in enumerate(self.by_name.values())
            if (score := self._score(column, item)) > 0
        )
        found: dict[str, str] = {}
        for _, _, _, column_name, field_name in pairs:
            if column_name not in found and field_name not in found.values():
                found[column_name] = field_name
        return {name: found[name] for name in self.columns if name in found}

    def _score(self, column: CatalogField, item: SchemaField) -> float:
        if not kinds_fit(column, item.type):
            return 0.0
        score = means_field(words(column.name), self.data_type, item.name, self.table)
        target = self.holds.get(self.refers.get(column.name, ""))
        if target and not item.name.endswith("_id"):
            return 0.0
        if target and item.name == f"{target}_id":
            score = max(score, 0.9)
        elif target and self.meant.get(target) == item.name:
            score = max(score, 0.7)
        return score * 1.05 if item.type.kind == column.kind else score

    def _rule(self, column: CatalogField, item: SchemaField) -> tuple[str, str]:
        if item.name.endswith("_rate") and not {"percent", "pct", "percentage"}.isdisjoint(words(column.name)):
            return "value / 100", "a percentage in the source"
        if item.type.kind == "decimal" and column.kind in ("float", "double"):
            return "value | decimal", "a binary float in the source"
        if item.name.endswith("country"):
            return "value | country", ""
        parent = self.refers.get(column.name, "")
        if parent and parent not in self.holds and not item.name.endswith("_id"):
            return "", f"a key of {parent}: a lookup table could give its name"
        return "", ""


def _only_references(fields: Sequence[SchemaField]) -> dict[str, str]:
    """Data type -> the only field whose doc says that it is that data type's id; ambiguous ones are left out."""
    found: dict[str, list[str]] = {}
    for each in fields:
        if named := _REFERS.search(each.doc):
            found.setdefault(named[1].replace(" ", "_"), []).append(each.name)
    return {data_type: names[0] for data_type, names in found.items() if len(names) == 1}


def kinds_fit(column: CatalogField, wanted: FieldType) -> bool:
    """Whether a column's values can be converted to the canonical type without inventing anything."""
    kind = wanted.kind
    if column.kind == kind or kind == "string":
        return column.kind not in ("bytes", "array", "map", "record") or column.kind == kind
    if kind in _NUMBERS:
        return column.kind in _NUMBERS
    if kind in _TIMES:
        return column.kind in _TIMES
    return kind == "array" and column.kind == "array" and wanted.item is not None and wanted.item.kind != "record"
