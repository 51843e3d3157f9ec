"""A producer's view of its source's shape: opens and settles findings in memory, and writes them in the background.

Capture never waits for the state database: a thread writes, retries, and picks up what people have settled. Without a
state (SORBUS_DATABASE isn't set) findings are log lines and a metric, and live as long as the process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from sorbus.drift.compare import Drift, Mapped, Severity, Shape, What, compare
from sorbus.drift.store import DriftStore, accepted_with
from sorbus.errors import SorbusError
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.state.storable import storable
from sorbus.telemetry.metrics import DRIFT_OPEN

_WRITE_EVERY = 1.0
_LOOK_EVERY = 10
_MOST = 2000
_log = logging.getLogger(__name__)
Key = tuple[str, str, str, What]
"""Data type, resource, field, what."""


@dataclass(slots=True)
class _Open:
    """An open finding. `number` is None until it is written; times in seconds since 1970."""

    drift: Drift
    mapping: str
    first_seen: float
    last_seen: float
    count: int = 1
    example: str = ""
    number: int | None = None
    ids: tuple[str, ...] = ()
    is_new: bool = True
    """Differs from what the state database has."""


def has_state(settings: Settings) -> bool:
    """Whether a state database is configured."""
    return "database" in settings.model_fields_set


class DriftWatch:
    """One producer's findings. Every method returns at once and raises nothing."""

    def __init__(self, system: str, store: DriftStore | None) -> None:
        self._system, self._store = system, store
        self._shapes: dict[str, Shape] = {}
        self._open: dict[Key, _Open] = {}
        self._settled: list[tuple[int, str]] = []
        self._confirmed: dict[tuple[str, str], frozenset[str]] = {}
        self._applied: set[tuple[str, str]] = set()
        self._accepted: set[str] = set()
        self._labels: set[tuple[str, Severity]] = set()
        self._lock = threading.RLock()
        self._reason = ""
        self._is_closing = threading.Event()
        if store is not None:
            self._try(self._read)
        self._show()
        self._thread = threading.Thread(target=self._write_on, name="drift", daemon=True) if store is not None else None
        if self._thread is not None:
            self._thread.start()

    @classmethod
    def of(cls, system: str, topic_prefix: str) -> Self:
        """With the state that SORBUS_DATABASE names, if it names one."""
        return cls(system, DriftStore(State.of(topic_prefix)) if has_state(Settings()) else None)

    def accepted(self, resource: str) -> Shape | None:
        """The resource's last accepted shape; None if it was never seen."""
        with self._lock:
            return self._shapes.get(resource)

    def current(self, data_type: str, resource: str) -> Shape:
        """The resource's last seen shape: the accepted one plus every open finding."""
        with self._lock:
            shape = dict(self._shapes.get(resource, {}))
            for key, entry in self._open.items():
                if key[:2] == (data_type, resource) and key[3] != "deleted":
                    shape = accepted_with(shape, key[2], key[3], entry.drift.now)
            return shape

    def accept(self, resource: str, shape: Shape) -> None:
        """Accepts this as the resource's shape."""
        shape = {storable(field): kind for field, kind in shape.items()}
        with self._lock:
            if self._shapes.get(resource) != shape:
                self._shapes[resource] = dict(shape)
                self._accepted.add(resource)

    def saw(self, data_type: str, resource: str, now: Shape, mapped: Mapped) -> list[Drift]:
        """Compares a resource's current shape: opens findings, settles obsolete ones. Returns the new differences."""
        now = {storable(field): kind for field, kind in now.items()}
        with self._lock:
            before = self._shapes.get(resource)
            if before is None:
                before = dict(now)
                self.accept(resource, before)
            found = {drift[:2]: drift for drift in compare(before, now, mapped)}
            of_fields = [item for item in self._open.items() if item[0][3] != "deleted"]
            for key, entry in [item for item in of_fields if item[0][:2] == (data_type, resource)]:
                drift = found.get((key[2], key[3]))
                if drift is None:
                    is_read = key[3] == "new" and key[2] in now
                    self._settle(key, "the map reads it now" if is_read else "it has its former shape")
                elif entry.drift.severity == "held" and _is_remapped(drift, entry.mapping, mapped):
                    del found[drift[:2]]
                    self._accept_one(resource, drift)
                    self._settle(key, "the map was fixed")
            for drift in [
                one
                for one in found.values()
                if one.what == "missing" and one.severity == "info" and one.renamed in mapped
            ]:
                del found[drift[:2]]
                self._accept_one(resource, drift)
                if (key := (data_type, resource, drift.field, drift.what)) in self._open:
                    self._settle(key, f"the map reads {drift.renamed} now")
            for field in now.keys() & mapped.keys() - before.keys():
                self._accept_one(resource, Drift(field, "new", now=now[field]))
            fresh = [drift for key, drift in found.items() if (data_type, resource, *key) not in self._open]
            for drift in found.values():
                self._found(data_type, resource, drift, mapped.get(drift.field, ""))
            self._show()
            return fresh

    def gone(self, data_type: str, resource: str) -> None:
        """Records that a whole resource is missing."""
        with self._lock:
            self._found(data_type, resource, Drift("", "missing", severity="held"), "the data type itself")
            self._show()

    def look_deleted(self, data_type: str, resource: str, ids: Sequence[str], known: int, why: str) -> None:
        """Records that so many records seem deleted that a person must confirm it; none: they no longer do."""
        key: Key = (data_type, resource, "", "deleted")
        with self._lock:
            entry = self._open.get(key)
            if not ids:
                if entry is not None:
                    self._settle(key, "no list lacks so many records any more")
                    self._show()
                return
            drift = Drift("", "deleted", str(known), str(len(ids)), "held")
            if entry is None:
                now = time.time()
                entry = self._open[key] = _Open(drift, "", now, now)
                _log.warning(
                    "%s: the list of %s lacks %d of %d records of %s, %s. Nothing is deleted: check the source and"
                    " the permissions of our credentials; if the records are really deleted, confirm it with"
                    " `sorbus drift settle`",
                    self._system,
                    resource,
                    len(ids),
                    known,
                    data_type,
                    why,
                )
            elif entry.ids == tuple(ids):
                return
            entry.drift, entry.last_seen, entry.is_new = drift, time.time(), True
            entry.ids, entry.example = tuple(ids), storable(", ".join(ids[:5])[:200])
            self._show()

    def confirmed_deletes(self, data_type: str, resource: str) -> frozenset[str]:
        """The records that a person has confirmed as deleted, until `deletes_applied`."""
        with self._lock:
            return self._confirmed.get((data_type, resource), frozenset())

    def deletes_applied(self, data_type: str, resource: str) -> None:
        """Records that a list was compared with what a person had confirmed."""
        with self._lock:
            if self._confirmed.pop((data_type, resource), None):
                self._applied.add((data_type, resource))

    def held(self, data_type: str, resource: str, field: str, example: str, mapped: Mapped) -> None:
        """Records that a record is held back because a field is missing or has another type."""
        with self._lock:
            for what in ("missing", "retyped"):
                entry = self._open.get((data_type, resource, storable(field), what))
                if entry is None:
                    continue
                entry.count, entry.last_seen, entry.is_new = entry.count + 1, time.time(), True
                entry.example = entry.example or storable(example[:200])
                if entry.drift.severity != "held":
                    entry.drift, entry.mapping = entry.drift._replace(severity="held"), mapped.get(field, "")
                    self._show()

    def example(self, data_type: str, resource: str, field: str, example: str) -> None:
        """Records the first value of a field that is new or has another type, masked if it may be personal."""
        with self._lock:
            for key, entry in self._open.items():
                if key[:3] == (data_type, resource, storable(field)) and not entry.example and example:
                    entry.example, entry.is_new = storable(example[:200]), True

    def without_example(self, data_type: str, resource: str) -> list[str]:
        """The fields that are new or have another type and no example value yet."""
        with self._lock:
            return [
                key[2]
                for key, entry in self._open.items()
                if key[:2] == (data_type, resource) and key[3] != "missing" and not entry.example
            ]

    def differs(self, resource: str, field: str, kind: str) -> bool:
        """Whether a field's type differs from the accepted one."""
        with self._lock:
            return self._shapes.get(resource, {}).get(field, kind) != kind

    def close(self) -> None:
        """Writes what is pending, if the state answers."""
        self._is_closing.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _found(self, data_type: str, resource: str, drift: Drift, mapping: str) -> None:
        key, now = (data_type, resource, drift.field, drift.what), time.time()
        entry = self._open.get(key)
        if entry is None:
            if len(self._open) >= _MOST:
                return
            self._open[key] = _Open(drift, mapping, now, now)
            tell = _log.warning if drift.severity == "held" else _log.info
            after = (
                "its records are held back: fix the mapping sheet and restart the producer, or restore the field"
                if drift.severity == "held"
                else "see `sorbus drift list`"
            )
            tell("%s: %s of %s has changed: %s; %s", self._system, resource, data_type, drift.words, after)
            return
        severity = "held" if "held" in (entry.drift.severity, drift.severity) and mapping else drift.severity
        entry.drift, entry.last_seen, entry.is_new = drift._replace(severity=severity), now, True

    def _accept_one(self, resource: str, drift: Drift) -> None:
        shape = self._shapes.get(resource, {})
        self.accept(resource, accepted_with(shape, drift.field, drift.what, drift.now))

    def _settle(self, key: Key, why: str) -> None:
        entry = self._open.pop(key)
        _log.info("%s: drift of %s.%s is settled: %s", self._system, key[1], key[2], why)
        if entry.number is not None:
            self._settled.append((entry.number, why))

    def _show(self) -> None:
        counts = Counter((key[0], entry.drift.severity) for key, entry in self._open.items())
        self._labels |= counts.keys()
        for data_type, severity in self._labels:
            DRIFT_OPEN.labels(self._system, data_type, severity).set(counts[data_type, severity])

    def _write_on(self) -> None:
        turn = 0
        while not self._is_closing.wait(_WRITE_EVERY):
            turn += 1
            self._try(self._write)
            if turn % _LOOK_EVERY == 0:
                self._try(self._look)
        self._try(self._write)

    def _try(self, what: Callable[[], None]) -> None:
        try:
            what()
            self._reason = ""
        except SorbusError as error:
            if str(error) != self._reason:  # once per reason, not once a second
                self._reason = str(error)
                _log.warning("%s: drift findings can't be stored now: %s", self._system, error)
        except Exception as error:  # noqa: BLE001 - the thread outlives whatever one write meets
            if repr(error) != self._reason:
                self._reason = repr(error)
                _log.exception("%s: drift findings can't be stored", self._system)

    def _read(self) -> None:
        assert self._store is not None
        self._shapes = self._store.shapes(self._system)
        self._confirmed = self._store.confirmed(self._system)
        for found in self._store.findings(self._system):
            drift = Drift(found.field, found.what, found.was, found.now, found.severity, found.renamed)
            first, last = found.first_seen.timestamp(), found.last_seen.timestamp()
            entry = _Open(drift, found.mapping, first, last, found.count, found.example, found.number, is_new=False)
            self._open[found.data_type, found.resource, found.field, found.what] = entry

    def _write(self) -> None:
        assert self._store is not None
        with self._lock:
            shapes = {name: dict(self._shapes[name]) for name in self._accepted}
            settled, self._settled = self._settled, []
            applied, self._applied = self._applied, set()
            findings = {key: self._values(key, entry) for key, entry in self._open.items() if entry.is_new}
            self._accepted = set()
            for key in findings:
                self._open[key].is_new = False
        try:
            while applied:
                self._store.applied(self._system, *next(iter(applied)))
                applied.pop()
            while settled:
                self._settle_there(*settled[-1])
                settled.pop()
            for name in list(shapes):
                self._store.accept(self._system, name, shapes[name])
                del shapes[name]
            for key in list(findings):
                number = self._store.put(findings[key])
                del findings[key]
                with self._lock:
                    if key in self._open:
                        self._open[key].number = number
                    else:
                        self._settled.append((number, "it has its former shape"))
        except Exception:
            with self._lock:
                self._settled += settled
                self._applied |= applied
                self._accepted |= shapes.keys()
                for key in findings.keys() & self._open.keys():
                    self._open[key].is_new = True
            raise

    def _settle_there(self, number: int, why: str) -> None:
        assert self._store is not None
        try:
            self._store.settle(number, "sorbus", why, accept=False)
        except SorbusError as error:
            if type(error) is not SorbusError:  # a person was faster
                raise

    def _look(self) -> None:
        """Picks up what people have settled."""
        assert self._store is not None
        numbers = {found.number for found in self._store.findings(self._system)}
        shapes, confirmed = self._store.shapes(self._system), self._store.confirmed(self._system)
        with self._lock:
            self._confirmed = {key: ids for key, ids in confirmed.items() if key not in self._applied}
            gone = [key for key, entry in self._open.items() if entry.number and entry.number not in numbers]
            for key in gone:
                if key[1] in shapes:
                    self._shapes[key[1]] = shapes[key[1]]
                del self._open[key]
            self._show()

    def _values(self, key: Key, entry: _Open) -> dict[str, object]:
        data_type, resource, field, what = key
        _, _, was, now, severity, renamed = entry.drift
        return {
            "system": self._system,
            "data_type": data_type,
            "resource": resource,
            "field": field,
            "what": what,
            "was": was,
            "now": now,
            "severity": severity,
            "renamed": renamed,
            "example": entry.example,
            "mapping": entry.mapping,
            "count": entry.count,
            "first_seen": entry.first_seen,
            "last_seen": entry.last_seen,
            "ids": list(entry.ids),
        }


def _is_remapped(drift: Drift, mapping: str, mapped: Mapped) -> bool:
    """Whether the field's mapping has changed since records began to be held."""
    return mapping != mapped.get(drift.field, "") and (drift.what != "missing" or drift.field not in mapped)
