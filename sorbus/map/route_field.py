"""Which canonical field a direct row goes through: the one in use for its source, its key, or a similar name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sorbus.abilities import CatalogField
from sorbus.map.authoring.field_names import means_field, noun, words
from sorbus.map.authoring.matching import kinds_fit
from sorbus.map.catalog import Catalog
from sorbus.map.known_fields import catalog_of
from sorbus.map.loaded import LoadedMap
from sorbus.map.resources import source_resources
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.field_refs import (
    CANONICAL,
    ID,
    RECORD,
    FieldRef,
    canonical_data_type,
    canonical_fields,
    canonical_ref,
    canonical_reference,
    column_refs,
)
from sorbus.schema import FieldType, Kind, RecordSchema

LEAST = 0.6
_ALIKE, _ALIKE_BY_ONE_NAME = 0.15, 0.02
"""Fields whose scores differ by less are ambiguous: one is similar to the source's name, one to the target's, or both
to the same name."""
_TARGETS_WORD = 0.9
"""Of two sources for one field, the one with the same name takes precedence over the one whose target has it."""

Group = tuple[str, str, str]


class Direct(NamedTuple):
    """A direct row whose data type and part are known, with the fields and resources of both sides."""

    row: FieldMapping
    data_type: str
    schema: RecordSchema
    source: FieldRef
    target: FieldRef
    source_resource: str
    target_resource: str

    @property
    def group(self) -> Group:
        """Rows of one group go through the same field: those of one source field, or of one target without a source."""
        name = self.source.name or f"-> {self.row.target_system}.{self.row.target_field}"
        return self.data_type, self.source.part, name


class Chosen(NamedTuple):
    """A group's field and the reason; or "", the reason, and the fix. `given` and `to` are the types of both sides."""

    canonical: str
    why: str
    fix: str = ""
    filled: bool = False
    given: Kind | None = None
    to: Kind | None = None


class _Guess(NamedTuple):
    score: float
    field: str
    why: str
    by_source: bool


def choose(loaded: LoadedMap, rows: Sequence[Direct]) -> dict[Group, Chosen]:
    """A canonical field for every group, best matches first, each field used once."""
    groups: dict[Group, list[Direct]] = {}
    for direct in rows:
        groups.setdefault(direct.group, []).append(direct)
    catalogs = {each.row.source_system: catalog_of(loaded, each.row.source_system) for each in rows}
    chosen: dict[Group, Chosen] = {}
    guesses: dict[Group, list[_Guess]] = {}
    for group, members in groups.items():
        column = _column(catalogs[members[0].row.source_system], members[0])
        found = _in_use(loaded, members) or _key(loaded, catalogs[members[0].row.source_system], members[0])
        if found is not None:
            chosen[group] = found
        else:
            guesses[group] = sorted(_guesses(members, column), key=lambda guess: (-guess.score, guess.field))
    taken = {row.target_field for row in loaded.written if row.target_system == CANONICAL}
    while guesses:
        free = {group: [each for each in found if each.field not in taken] for group, found in guesses.items()}
        group = max(free, key=lambda each: free[each][0].score if free[each] else 0.0)
        chosen[group] = _best(groups[group], free[group], guesses.pop(group))
        if chosen[group].canonical:
            taken.add(chosen[group].canonical)
    return {group: _with_kinds(each, groups[group][0], catalogs) for group, each in chosen.items()}


def _in_use(loaded: LoadedMap, members: Sequence[Direct]) -> Chosen | None:
    """The field that canonical rows fill from the group's source; of several, the one that the targets' names match."""
    first = members[0]
    if not first.source.name:
        return None
    resources = source_resources(loaded.map, first.data_type)
    used = [
        row.target_field
        for row in loaded.written
        if (row.source_system, row.target_system) == (first.row.source_system, CANONICAL)
        and canonical_data_type(row.target_field) == first.data_type
        and row.source_field
        and first.source in column_refs(row.source_field, resources)
    ]
    if len(set(used)) > 1:
        named = sorted(((_named(members, canonical_ref(each).name), each) for each in set(used)), reverse=True)
        if named[0][0] - named[1][0] < _ALIKE:
            return Chosen("", f"{first.row.source_field} fills {' and '.join(sorted(used))}", _two_rows(first, used[0]))
        return Chosen(named[0][1], "another row uses it for this field, and the target's name is similar", filled=True)
    return Chosen(used[0], "another row uses it for this field", filled=True) if used else None


def _key(loaded: LoadedMap, catalog: Catalog | None, direct: Direct) -> Chosen | None:
    """`id`, if the source is the record's key."""
    if direct.source.part != RECORD or not direct.source.name or ID in direct.schema.by_name:
        return None
    written = loaded.map.data_types[direct.data_type].source.get("key")
    resource = catalog.find(direct.source_resource) if catalog else None
    keys = written if isinstance(written, list) and written else list(resource.key) if resource else [ID]
    if keys != [direct.source.name]:
        return None
    return Chosen(canonical_reference(FieldRef(RECORD, ID), direct.data_type), "the record's key", filled=True)


def _guesses(members: Sequence[Direct], column: CatalogField | None) -> Iterator[_Guess]:
    """Fields with names similar to the source's or the targets'; similar to both scores twice."""
    first = members[0]
    table = noun(first.source_resource)
    for name, to in _fields(first).items():
        if column is not None and not any(each.row.rule for each in members) and not kinds_fit(column, to):
            continue
        own = means_field(words(first.source.name), first.data_type, name, table) if first.source.name else 0.0
        other = _named(members, name)
        if max(own, other) < LEAST:
            continue
        why = "same name" if own >= 0.95 else "similar name" if own else "the target's name is similar"
        yield _Guess(
            own + _TARGETS_WORD * other,
            canonical_reference(FieldRef(first.source.part, name), first.data_type),
            why,
            own > 0,
        )


def _named(members: Sequence[Direct], field: str) -> float:
    """How well any of the targets' names matches the canonical `field`."""
    return max(
        means_field(words(each.target.name), each.data_type, field, noun(each.target_resource)) for each in members
    )


def _best(members: Sequence[Direct], free: Sequence[_Guess], all_: Sequence[_Guess]) -> Chosen:
    first = members[0]
    if not free:
        if all_:
            message = f"{all_[0].field} is similar, but filled from another field"
            return Chosen("", message, _two_rows(first, f"{first.data_type}.FIELD"))
        part = f"{first.data_type}.{first.source.part}[]" if first.source.part else first.data_type
        message = f"no field of {part} has a name similar to {first.source.name or first.target.name}"
        return Chosen("", message, f"{_two_rows(first, f'{part}.FIELD')}; a field that is missing: schemas/")
    alike = _ALIKE_BY_ONE_NAME if len(free) > 1 and free[0].by_source == free[1].by_source else _ALIKE
    if len(free) > 1 and free[0].score - free[1].score < alike:
        message = f"it could be {free[0].field} or {free[1].field}"
        return Chosen("", message, _two_rows(first, free[0].field))
    return Chosen(free[0].field, free[0].why)


def _two_rows(direct: Direct, canonical: str) -> str:
    row = direct.row
    return (
        f"say which in two rows: {row.source_system},{row.source_field},{CANONICAL},{canonical}"
        f" and {CANONICAL},{canonical},{row.target_system},{row.target_field}"
    )


def _fields(direct: Direct) -> Mapping[str, FieldType]:
    fields = canonical_fields(direct.schema)
    return {name: to for name, to in fields.get(direct.source.part, {}).items() if name not in fields}


def _column(catalog: Catalog | None, direct: Direct) -> CatalogField | None:
    resource = catalog.find(direct.source_resource) if catalog else None
    return next((each for each in resource.fields if each.name == direct.source.name), None) if resource else None


def _with_kinds(chosen: Chosen, direct: Direct, catalogs: Mapping[str, Catalog | None]) -> Chosen:
    if not chosen.canonical:
        return chosen
    column = _column(catalogs[direct.row.source_system], direct)
    to = _fields(direct).get(canonical_ref(chosen.canonical).name)
    given = None if column is None or column.native in ("json", "jsonb") else column.kind
    return chosen._replace(given=given, to=to.kind if to else None)
