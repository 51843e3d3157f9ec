"""What a posted record says: its id, whether it is deleted, when it was changed, its canonical form; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial

from sorbus.avro.decode import read_record
from sorbus.connector import BoundSource
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.http_api.path import parse_path, read_path
from sorbus.http_api.values import read_moment, require_valid, to_value
from sorbus.mapping.errors import shown
from sorbus.producers.polling.json_shape import JsonShape
from sorbus.webhook.options import WebhookSource

LONGEST_ID = 1000
"""Bytes."""
_AHEAD = 86_400_000_000
"""Microseconds that a sender's clock may be ahead: a record from the future would outlive all later changes."""


class RecordIntake:
    """One data type's."""

    def __init__(self, source: BoundSource, system: str) -> None:
        """MapError with every fault of the mapping."""
        options = source.options
        assert isinstance(options, WebhookSource)
        self.name, self.options, self._schema = source.name, options, source.schema
        readers = {path: partial(to_value, field=field) for path, field in options.fields.items()}
        self._shape = JsonShape(source, system, options.resources, options.lists, readers)
        named = [one for one in self._shape.assignments if one.row is not None]
        columns = {name for one in named for name in (one.source, *(one.rule.uses if one.rule else ())) if name}
        columns |= set(options.lists.values())
        is_strict = options.absent == "refuse"
        self._columns = sorted(columns) if is_strict else []
        self._same_named = {one.into: one.source for one in self._shape.assignments if one.source} if is_strict else {}
        for one in named:
            self._same_named.pop(one.into, None)

    def records(self, body: Json) -> list[Json]:
        """The records in a body. PermanentError where there is no record at the path."""
        path = self.options.records
        found = read_path(body, path) if path else body
        if isinstance(found, list):
            return [*found]
        if not isinstance(found, Mapping):
            raise PermanentError(f"there is no record{f' at {path}' if path else ''} in the body", reason="no record")
        return [found]

    def id_of(self, record: Json) -> str:
        """PermanentError where the record has none."""
        if not isinstance(record, Mapping):
            raise PermanentError(f"{shown(record)} is no record: an object is expected", reason="no record")
        parts = []
        for path in self.options.id:
            value = read_path(record, path)
            if isinstance(value, Decimal) and value == value.to_integral_value():
                value = int(value)
            if isinstance(value, bool | InvalidValue) or not isinstance(value, str | int) or value == "":
                raise PermanentError(
                    f"field {path}: {shown(value)} identifies no record; it must be text or a whole number",
                    reason="no key",
                    field=path,
                )
            parts.append(str(value))
        if len(parts) > 1:
            parts = [part.replace("%", "%25").replace("|", "%7C") for part in parts]
        id = "|".join(parts)
        if not id.isprintable() or len(id.encode("utf-8", "replace")) > LONGEST_ID or "\ufffd" in id:
            raise PermanentError(
                f"{shown(id)} identifies no record: at most {LONGEST_ID} bytes of printable text", reason="no key"
            )
        return id

    def is_deleted(self, record: Json) -> bool:
        """Whether the record says that it is deleted."""
        return any(
            _is_there(record, path) and _text(read_path(record, path)) == value
            for path, value in self.options.deleted.items()
        )

    def updated(self, record: Json, received_at: int) -> int | None:
        """When it was changed, in microseconds since 1970; None where the source names no field. PermanentError."""
        path = self.options.updated
        if not path:
            return None
        value = read_path(record, path)
        try:
            require_valid(value)
            moment = read_moment(value, self.options.updated_format)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise self._untimely(path, value, f"is no time ({self.options.updated_format})") from error
        if moment is None:
            raise self._untimely(path, value, "is no time: without it, an older state could replace a newer one")
        micros = int(moment.timestamp() * 1_000_000)
        if micros > received_at + _AHEAD:
            raise self._untimely(path, value, "lies in the future, so all later changes would count as older")
        return micros

    def encode(self, record: Json) -> bytes:
        """The canonical record in Avro. PermanentError names field, value and rule."""
        if not isinstance(record, Mapping):
            raise PermanentError(f"{shown(record)} is no record: an object is expected", reason="no record")
        for path in self._columns:
            if not _is_there(record, path):
                raise _incomplete(path, "the sender may have sent a part of the record")
        return self._shape.encode({**record})

    def canonical(self, record: Json) -> dict[str, object]:
        """The canonical record by field name. PermanentError."""
        return read_record(self._schema, self.encode(record), 0)[0]

    def held(self, data: bytes) -> frozenset[str]:
        """Of fields without a mapping row, those that a canonical record has values for."""
        if not self._same_named:
            return frozenset()
        record, _ = read_record(self._schema, data, 0)
        return frozenset(name for name in self._same_named if record[name] not in (None, [], {}))

    def require(self, record: Json, held: Iterable[str]) -> None:
        """That a record has these fields, which would be emptied. PermanentError."""
        for path in sorted(self._same_named[name] for name in held):
            if not _is_there(record, path):
                raise _incomplete(path, "it has a value, which would be emptied")

    @staticmethod
    def _untimely(path: str, value: Json, why: str) -> PermanentError:
        return PermanentError(f"field {path}: {shown(value)} {why}", reason="no time", field=path, value=value)


def _incomplete(path: str, why: str) -> PermanentError:
    return PermanentError(
        f"field {path} isn't in the body: {why}. Have it sent whole, or write `absent: empty` if empty fields are left"
        " out",
        reason="incomplete body",
        field=path,
    )


def _is_there(record: Json, path: str) -> bool:
    """Whether no object on the way lacks the key; what is below null, or in a list, may be missing."""
    holder: Json = record
    for step in parse_path(path):
        if not isinstance(step, str) or not isinstance(holder, Mapping):
            return True
        if step not in holder:
            return False
        holder = holder[step]
    return True


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    return "" if value is None else str(value)
