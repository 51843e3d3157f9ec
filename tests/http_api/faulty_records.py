"""The records that the faulty application keeps: contacts with their history, in memory."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

Record = dict[str, Any]
Order = Literal["id", "updated", "newest", "shuffled"]
FIELDS = frozenset({"our_id", "name", "email", "tax_number", "amount", "status", "city", "lines"})
_SEARCHED = ("our_id", "name", "email", "tax_number")


class Write(NamedTuple):
    """One change of a record. `by` is the idempotency key or "hand"; `after` None: deleted."""

    at: float
    did: Literal["create", "update", "delete"]
    id: int
    before: Record | None
    after: Record | None
    by: str


class Refused(Exception):
    """A record that the application doesn't take: the field and its words."""

    def __init__(self, field: str, words: str, status: int = 422) -> None:
        self.field, self.words, self.status = field, words, status
        super().__init__(f"{field} {words}")


class Records:
    """Contacts by id, each with the states it has had; every write is in `writes`."""

    def __init__(self, seed: int) -> None:
        self.lock = threading.RLock()
        self.writes: list[Write] = []
        self.clock_is_off = timedelta(0)
        self.resolution = 1.0
        self.unique: str = ""
        self.archives = False
        self.heard: Callable[[Write], None] | None = None
        self.keeps: Callable[[Record], Record] | None = None
        """What it makes of fields that it is given, by people too: rounds, trims."""
        self._random = random.Random(seed)
        self._states: dict[int, list[tuple[float, Record | None]]] = {}
        self._holding: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._revision = 0

    def __len__(self) -> int:
        return len(self.all())

    def now(self) -> datetime:
        """What the application's clock says."""
        return datetime.now(UTC) + self.clock_is_off

    def all(self, lag: float = 0.0) -> list[Record]:
        """Every record that is there, as an index sees them that is `lag` seconds behind."""
        with self.lock:
            return [found for id in self._states if (found := self.get(id, lag)) is not None]

    def get(self, id: int, lag: float = 0.0) -> Record | None:
        """One record; None: there is none (any more)."""
        with self.lock:
            until = time.monotonic() - lag
            for at, state in reversed(self._states.get(id, ())):
                if at <= until:
                    return state
            return None

    def find(self, field: str, value: str, lag: float = 0.0) -> list[Record]:
        """The records with just this value in a field, ignoring case."""
        with self.lock:
            found = [self.get(id, lag) for id in sorted(self._holding[field, value.casefold()])]
            return [one for one in found if one and str(one.get(field) or "").casefold() == value.casefold()]

    def ordered(
        self, order: Order, since: datetime | None, lag: float = 0.0, *, inclusive: bool = True
    ) -> list[Record]:
        """All that changed since then; ties by id."""
        found = self.all(lag)
        if since is not None:
            found = [one for one in found if (at := moment(one)) > since or (inclusive and at == since)]
        if order == "shuffled":
            self._random.shuffle(found)
        elif order == "id":
            found.sort(key=lambda one: int(one["id"]))
        else:
            found.sort(key=lambda one: (one["updated_at"], one["id"]), reverse=order == "newest")
        return found

    def create(self, fields: Record, by: str) -> Record:
        """A new record. Refused, if a field is wrong."""
        with self.lock:
            fields = self._as_kept(fields)
            self._check(fields, None)
            if not fields.get("name"):
                raise Refused("name", "can't be blank")
            id = len(self._states) + 1
            blank = dict.fromkeys(sorted(FIELDS)) | {"lines": [], "status": "active", "archived": False}
            return self._write("create", id, None, {"id": id, **blank, **fields}, by)

    def update(self, id: int, fields: Record, by: str, *, whole: bool = False) -> Record | None:
        """Changes fields; `whole`: those that are left out are emptied. None: there is no such record."""
        with self.lock:
            before = self.get(id)
            if before is None:
                return None
            fields = self._as_kept(fields)
            self._check(fields, id)
            kept = {"id": id, "archived": before["archived"]} if whole else before
            blank = dict.fromkeys(sorted(FIELDS)) | {"lines": []} if whole else {}
            return self._write("update", id, before, {**blank, **kept, **fields}, by)

    def delete(self, id: int, by: str) -> bool:
        """Makes it gone, or archives it. False: there is no such record."""
        with self.lock:
            before = self.get(id)
            if before is None:
                return False
            self._write("delete", id, before, {**before, "archived": True} if self.archives else None, by)
            return True

    def touch(self, count: int, by: str = "hand") -> list[int]:
        """Somebody changes so many records here and there; their ids."""
        with self.lock:
            there = [int(one["id"]) for one in self.all() if not one["archived"]]
            chosen = self._random.sample(there, min(count, len(there)))
            for id in chosen:
                self.update(id, {"amount": f"{self._random.randint(0, 10**7) / 100:.2f}"}, by)
            return chosen

    def history_of(self, id: str) -> list[Record | None]:
        """Every state that a record has had; none of one that never was."""
        return [state for _, state in self._states.get(int(id), ())]

    def _as_kept(self, fields: Record) -> Record:
        return _as_kept(fields) if self.keeps is None else self.keeps(_as_kept(fields))

    def _check(self, fields: Record, id: int | None) -> None:
        for name, value in fields.items():
            if name not in FIELDS:
                raise Refused(name, "is not a field of a contact")
            if name == "lines":
                continue
            if value is not None and not isinstance(value, str):
                raise Refused(name, f"must be text, not {value!r}")
            if len(value or "") > 200:
                raise Refused(name, "is longer than 200 characters")
        if fields.get("email") and "@" not in fields["email"]:
            raise Refused("email", "is not an e-mail address")
        value = fields.get(self.unique)
        if value and any(one["id"] != id for one in self.find(self.unique, value)):
            raise Refused(self.unique, "is already taken", 409)

    def _write(
        self, did: Literal["create", "update", "delete"], id: int, before: Record | None, after: Record | None, by: str
    ) -> Record:
        self._revision += 1
        if after is not None:
            stamp = self.now().timestamp()
            if self.resolution:
                stamp -= stamp % self.resolution
            at = datetime.fromtimestamp(stamp, UTC).isoformat(timespec="microseconds")
            after = {**after, "updated_at": at, "revision": self._revision}
            for field in _SEARCHED:
                if after.get(field):
                    self._holding[field, str(after[field]).casefold()].add(id)
        self._states.setdefault(id, []).append((time.monotonic(), after))
        write = Write(time.monotonic(), did, id, before, after, by)
        self.writes.append(write)
        if self.heard:
            self.heard(write)
        return after or {}


def _as_kept(fields: Record) -> Record:
    """An amount may come as a number, and is given back as text in the application's own way."""
    amount = fields.get("amount")
    return {**fields, "amount": f"{amount:.4f}"} if isinstance(amount, int | float) else fields


def moment(record: Record) -> datetime:
    """When a record was changed last, by the application's clock."""
    return datetime.fromisoformat(record["updated_at"])
