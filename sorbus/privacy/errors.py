"""Masks personal values in records' errors, before they become log lines, metrics and dead letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from sorbus.avro.decode import Undecodable, read_record
from sorbus.connector import BoundFlow, BoundSource, Delivery
from sorbus.errors import AuthError, MapError, PermanentError, SorbusError, TransientError, missing
from sorbus.event import data_at, open_frame
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.assign import Assignment, assign_target
from sorbus.mapping.field_refs import canonical_ref
from sorbus.privacy.mask import leaves, masked, personal_names, personal_values
from sorbus.privacy.raw import RawRow
from sorbus.privacy.words import without
from sorbus.schema import RecordSchema

SchemaOf = Callable[[bytes], RecordSchema]
"""Which schema wrote a frame, by its head: `SchemaResolver.schema`."""


class ErrorSide(Protocol):
    """The personal fields and values on one side of a mapping."""

    def values(self, content: bytes | None) -> Iterable[object]:
        """The personal values of a record, as far as its bytes can be read."""


class Privacy:
    """Masks messages about one data type's records, from or to one system."""

    def __init__(self, names: PersonalNames, side: ErrorSide) -> None:
        self._names, self._side = names, side

    def error(self, error: PermanentError, id: bytes, content: bytes | None) -> PermanentError:
        """`error` about the record `id`, whose frame or raw row is `content`, with personal values masked."""
        if not self._names.personal:
            return error
        quoted = [*self._side.values(content), *_quoted_by(error)]
        is_personal = not self._names.is_open(error.field)
        field = error.field
        if field is not None and field not in self._names.known:  # a target may name a value in its place
            field = without(field, quoted, keep=self._names.known)
        made = PermanentError(
            self._masked(str(error), id, quoted, field),
            reason=error.reason,
            field=field,
            value=masked(error.value) if is_personal else error.value,
            rule=error.rule,
            words=None if error.words is None else self._masked(error.words, id, quoted, field),
        )
        return made.with_traceback(error.__traceback__)

    def words(self, text: str, field: str, id: bytes, content: bytes | None) -> str:
        """A stored message about a record, masked (again)."""
        return self._masked(text, id, self._side.values(content), field) if self._names.personal else text

    def values(self, content: bytes | None) -> Iterable[object]:
        """The personal values of a frame or raw row, and the mapping's results from them."""
        return self._side.values(content)

    def fault(self, error: SorbusError, deliveries: Sequence[Delivery]) -> SorbusError:
        """An error of the whole batch, whose message may quote any of its records."""
        if not self._names.personal:
            return error
        values = [value for each in deliveries if not each.deleted for value in self._side.values(each.data)]
        told = self._masked(str(error), b"", values, None)
        if isinstance(error, TransientError):
            made = missing(error.dependency, type(error)(told, retry_after=error.retry_after))
            made.smaller = error.smaller
            return made
        if not isinstance(error, AuthError):
            return error
        refused = AuthError(told)
        refused.lockout, refused.status = error.lockout, error.status
        return refused

    def _masked(self, text: str, id: bytes, values: Iterable[object], field: str | None) -> str:
        keep = {*self._names.known, id.decode(errors="replace"), field or ""}
        return without(text, values, keep=keep, quotes=not self._names.is_open(field))


class PersonalNames:
    """The names of a data type's fields on one side of the mapping: personal, not personal, or unknown."""

    def __init__(self, schema: RecordSchema, personal: Collection[str], columns: Mapping[str, bool]) -> None:
        """`personal`: canonical fields; `columns`: the other side's names, and whether each is personal."""
        leaf = {path.rpartition(".")[2] for path, _ in schema.leaves()} | {field.name for field in schema.fields}
        self.personal = frozenset(personal)
        self.known = leaf | columns.keys()
        hidden = self.personal | {name for name, is_personal in columns.items() if is_personal}
        self._open = (leaf | columns.keys()) - hidden

    def is_open(self, field: str | None) -> bool:
        """Whether a field is known and not personal; an unnamed one might be any."""
        return field is not None and (field in self._open or field.rpartition(".")[2] in self._open)


def flow_privacy(flow: BoundFlow, schema_of: SchemaOf, resources: Mapping[str, str] | None = None) -> Privacy:
    """For a flow's consumer; with `resources` (part -> name) the mapping's results are masked too."""
    computed: Sequence[Assignment] = ()
    if resources is not None:
        try:
            parts = assign_target(
                flow.mapping, flow.system.name, flow.flow.data_type, flow.schema, resources, flow.lookups
            )
            computed = [one for part in parts.values() for one in part if one.rule is not None]
        except MapError:
            computed = ()
    return rows_privacy(flow.schema, flow.mapping, schema_of, computed)


def rows_privacy(
    schema: RecordSchema, rows: Iterable[FieldMapping], schema_of: SchemaOf, computed: Sequence[Assignment] = ()
) -> Privacy:
    """For messages in a flow's dead letters, if only the map is available."""
    names = target_names(schema, rows)
    return Privacy(names, _Frames(schema, schema_of, names.personal, computed))


def target_names(schema: RecordSchema, rows: Iterable[FieldMapping]) -> PersonalNames:
    """The personal ones among the fields that a flow's rows fill."""
    personal = personal_names(schema.fields)
    return PersonalNames(schema, personal, _columns(rows, personal, lambda row: (row.source_field, row.target_field)))


def source_privacy(source: BoundSource, resources: Mapping[str, str]) -> Privacy:
    """For a data type's producer, whose dead letters hold raw rows."""
    return raw_privacy(source.schema, source.mapping, resources)


def raw_privacy(schema: RecordSchema, rows: Sequence[FieldMapping], resources: Mapping[str, str]) -> Privacy:
    """`source_privacy` if only the map is available."""
    personal = personal_names(schema.fields)
    columns = _columns(rows, personal, lambda row: (row.target_field, row.source_field))
    return Privacy(PersonalNames(schema, personal, columns), RawRow(schema, rows, resources))


def _columns(
    rows: Iterable[FieldMapping], personal: Collection[str], sides: Callable[[FieldMapping], tuple[str, str]]
) -> dict[str, bool]:
    """The other side's names (whole, and the last part), and whether each is personal according to a row."""
    found: dict[str, bool] = {}
    for row in rows:
        canonical, other = sides(row)
        is_personal = row_is_personal(canonical, row.rule, personal)
        for name in {other, other.partition(".")[2], other.rpartition(".")[2]} - {""}:
            found[name] = found.get(name, False) or is_personal
    return found


def row_is_personal(canonical: str, rule: str, personal: Collection[str]) -> bool:
    """Whether a row's canonical field is personal, or its rule reads a personal field."""
    place = canonical_ref(canonical)
    if {place.name, place.part} & set(personal):
        return True
    return bool(set(re.findall(r"\w+", rule)) & set(personal))


class _Frames:
    """The personal values in event frames, and the mapping's results from them."""

    def __init__(
        self, schema: RecordSchema, schema_of: SchemaOf, personal: Collection[str], computed: Sequence[Assignment]
    ) -> None:
        self._schema, self._schema_of, self._computed = schema, schema_of, computed
        self._personal = frozenset(personal)

    def values(self, content: bytes | None) -> Iterator[object]:
        if not content:
            return
        try:
            head = open_frame(content)
            if head.deleted:
                return
            writer = self._schema_of(head.prefix)
            record, _ = read_record(writer, content, data_at(content, head.at))
        except (Undecodable, PermanentError, TransientError, IndexError, ValueError):
            return
        yield from personal_values(record, self._schema.fields)
        yield from personal_values(record, writer.fields)
        items = [item for inner in record.values() if isinstance(inner, list) for item in inner]
        for row in [record, *(item for item in items if isinstance(item, Mapping))]:
            yield from self._made(row)

    def _made(self, row: Mapping[str, object]) -> Iterator[object]:
        for one in self._computed:
            used = {one.source, *(one.rule.uses if one.rule else ())}
            if one.rule is None or not used & self._personal:
                continue
            try:
                yield from leaves(one.rule(row.get(one.source or ""), row))
            except (ValueError, TypeError, KeyError, ArithmeticError, PermanentError):
                continue  # the error is about this very rule


def _quoted_by(error: BaseException) -> Iterator[object]:
    """The values that an error and its causes carry: a rule's intermediate values are not in the record."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__module__.startswith("sorbus."):
            yield from leaves(getattr(seen, "value", None))
        seen = seen.__cause__
