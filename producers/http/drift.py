"""Whether an application's records look as they did: fields that are new, of another kind, or gone; no I/O of its own.

An application may leave out what is empty, so that a mapped field which one record lacks means nothing by itself. Only
a field that every record of a whole list had is missed when it is gone; then the record is held back. Looked at are a
record's own fields, and those inside that are mapped; not the items of its lists.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable
from typing import cast

from sorbus.drift.compare import Shape
from sorbus.drift.watch import DriftWatch
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.http_api.path import parse_path, read_path
from sorbus.mapping.assign import Assignment
from sorbus.privacy.mask import PERSONAL, masked
from sorbus.schema import RecordSchema

_UNKEPT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 200
_ENOUGH = 20
"""Records of a list from which on it says which fields all of them have, and how many without a gap end a gap."""
_MOST = 2_000
"""Fields that are remembered, besides mapped ones: where their names are values (ids, dates) new ones come for ever."""
_log = logging.getLogger(__name__)


class RecordWatch:
    """Looks at every record of one data type before it is encoded. `always` is to be kept with the position."""

    def __init__(self, data_type: str, resource: str, assignments: Iterable[Assignment], schema: RecordSchema) -> None:
        """`assignments` are the record's own, without those of its lists."""
        self.always: frozenset[str] = frozenset()
        self._drift: DriftWatch | None = None
        self._data_type, self._resource = data_type, resource
        self._mapped: dict[str, str] = {}
        self._personal: set[str] = set()
        for each in assignments:
            field = schema.by_name.get(each.into)
            for path in {each.source or "", *(each.rule.uses if each.rule else ())} - {""}:
                made = f"{each.into} = {each.rule.text if each.rule else path}"
                self._mapped[path] = "; ".join(filter(None, (self._mapped.get(path), made)))
                if field is None or PERSONAL in field.tags:
                    self._personal.add(path)
        self._inside = [path for path in self._mapped if "." in path and "[" not in path]
        self._watched = {path for path in self._mapped if "[" not in path}
        self._now: Shape = {}
        self._learnt: dict[str, set[str]] | None = None
        self._listed: dict[str, set[str]] | None = None
        self._in_all: set[str] = set()
        self._count = self._whole = 0
        self._is_full = False

    def begin(self, drift: DriftWatch, always: Iterable[str]) -> None:
        """Goes on with what is known."""
        self._drift = drift
        self.always = frozenset(always) & self._watched
        self._learnt = {} if drift.accepted(self._resource) is None else None
        self._now = drift.current(self._data_type, self._resource)
        if self._learnt is None:
            self._tell()

    def begin_list(self) -> None:
        """A whole list begins."""
        self._listed, self._in_all, self._count = {}, set(self._watched), 0

    def end_list(self) -> None:
        """The list has been read to its end: what its records have is how they look."""
        listed, self._listed = self._listed, None
        if self._drift is None or listed is None or not self._count:
            return
        seen = {name: _written(kinds) for name, kinds in listed.items()}
        if self._learnt is not None:
            self._now, self._learnt = {name: _written(kinds) for name, kinds in self._learnt.items()}, None
        if self._count >= _ENOUGH:
            self.always |= self._in_all
            self._now = {name: self._now.get(name, kind) for name, kind in seen.items() if self._is_whole(name)}
        self._tell()

    def watched(self, encode: Callable[[Record], bytes]) -> Callable[[Record], bytes]:
        """`encode`, with a look at each record before it."""

        def look_and_encode(record: Record) -> bytes:
            self._look(record)
            try:
                return encode(record)
            except PermanentError as error:
                self._blame(error, record)
                raise

        return look_and_encode

    def _look(self, record: Record) -> None:
        """PermanentError (drift) where a mapped field is gone that the record should have."""
        if self._drift is None:
            return
        found = {_written_name(name): _kind(value) for name, value in record.items()}
        for path in self._inside:
            if _has(record, path):
                found[path] = _kind(read_path(record, path))
        self._note(found, record)
        gone = sorted(path for path in self.always if path not in found and self._is_missed(record, path))
        if gone:
            self._hold(gone[0])
        self._whole += 1
        if self._whole == _ENOUGH and (back := self.always & found.keys() - self._now.keys()):
            self._now |= {path: found[path] for path in back}
            self._tell()

    def _note(self, found: Shape, record: Record) -> None:
        if self._listed is not None:
            self._count += 1
            self._in_all &= found.keys()
            self._add(found, self._listed)
        if self._learnt is not None:
            self._add(found, self._learnt)
            return
        changed = {
            name: kind
            for name, kind in found.items()
            if self._differs(name, kind) and self._is_remembered(name, self._now)
        }
        if not changed:
            return
        self._now |= changed
        drift = cast("DriftWatch", self._drift)
        accepted = drift.accepted(self._resource) or {}
        known = {name: kind for name, kind in changed.items() if accepted.get(name) == ""}  # so far it was always null
        if known:
            drift.accept(self._resource, {**accepted, **known})
        self._tell()
        for name in drift.without_example(self._data_type, self._resource):
            if name in found:
                drift.example(self._data_type, self._resource, name, self._shown(name, record))

    def _add(self, found: Shape, seen: dict[str, set[str]]) -> None:
        for name, kind in found.items():
            if self._is_remembered(name, seen):
                seen.setdefault(name, set()).add(kind)

    def _is_remembered(self, name: str, seen: Collection[str]) -> bool:
        if name in seen or name in self._now or name in self._mapped or max(len(seen), len(self._now)) < _MOST:
            return True
        if not self._is_full:
            self._is_full = True
            _log.warning(
                "%s: records of %s have had %d fields, as if names of fields were values: further ones aren't told of",
                self._data_type,
                self._resource,
                _MOST,
            )
        return False

    def _differs(self, name: str, kind: str) -> bool:
        known = self._now.get(name)
        if known is None:
            return name not in self.always
        return kind != "" and kind not in known.split("|")

    def _tell(self) -> None:
        drift = cast("DriftWatch", self._drift)
        mapped = {path: made for path, made in self._mapped.items() if path in self.always or path in self._now}
        drift.saw(self._data_type, self._resource, self._now, mapped)

    def _hold(self, path: str) -> None:
        drift = cast("DriftWatch", self._drift)
        self._whole = 0
        if self._learnt is None and path in self._now:
            del self._now[path]
            self._tell()
        drift.held(self._data_type, self._resource, path, "", self._mapped)
        into = self._mapped[path].partition(" = ")[0]
        raise PermanentError(
            f"field {into}: {path} is gone, and every record had it: name the right one in the mapping sheet, delete"
            " the row if there is none any more, or say that it may be gone with `sorbus drift settle`",
            reason="drift",
            field=into,
        )

    def _is_missed(self, record: Record, path: str) -> bool:
        """Not where what it is inside of is empty, nor where somebody has said that it may be gone."""
        accepted = cast("DriftWatch", self._drift).accepted(self._resource)
        if accepted is not None and path not in accepted:
            return False
        head = path.rpartition(".")[0]
        return not head or not _has(record, head) or isinstance(read_path(record, head), dict)

    def _is_whole(self, name: str) -> bool:
        """Whether a whole list leaves no doubt that the field is there."""
        return name not in self.always or name in self._in_all

    def _blame(self, error: PermanentError, record: Record) -> None:
        """Says so where it is a field of another kind that holds a record back."""
        drift = self._drift
        if drift is None or error.reason != "not canonical" or error.field is None:
            return
        accepted = drift.accepted(self._resource) or {}
        for path, made in self._mapped.items():
            is_read = f"{error.field} = " in made
            if is_read and path in accepted and self._now.get(path, accepted[path]) != accepted[path]:
                error.reason = "drift"
                drift.held(self._data_type, self._resource, path, self._shown(path, record), self._mapped)
                return

    def _shown(self, path: str, record: Record) -> str:
        """A value as a finding shows it: masked, unless it is known not to be personal."""
        value = read_path(record, path)
        return _written_name(str(value if path in self._mapped and path not in self._personal else masked(value)))


def _has(record: Json, path: str) -> bool:
    """Whether there is something at a path, if only null."""
    for step in parse_path(path):
        if not isinstance(record, dict) or step not in record:
            return False
        record = record[step]
    return True


def _written_name(name: str) -> str:
    """A name, or an example, that can be kept: half an emoji or a NUL in it as an escape, and no novel."""
    return _UNKEPT.sub(lambda found: f"\\u{ord(found[0]):04x}", name[:_LONGEST_NAME])


def _kind(value: Json) -> str:
    """JSON's own word for a value; "" for null, which may be anything. 1 and 1.0 are the same to applications."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str) and not isinstance(value, InvalidValue):
        return "string"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"


def _written(kinds: Iterable[str]) -> str:
    return "|".join(sorted(set(kinds) - {""}))
