"""The crosswalk: which external record of a system is which canonical record, and which are being created now.

Links belong to one resource of a system: a customer may be a company and a contact there. Every external id of a
resource belongs to at most one canonical id of a data type, and vice versa; to one record of any data type, unless a
flow says `shared: true`. The order of a creation is: `claim` the ids, `find` them (what was found before the claim may
be stale), `intend`, POST, `link`. A row still `intended` after a crash means that the record may exist: search for it,
or retry with the same key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, cast

from psycopg.errors import UniqueViolation

from sorbus.errors import PermanentError, TransientError
from sorbus.http_api.interface import Json
from sorbus.identity.last_sent import from_text, to_text
from sorbus.identity.statements import statement
from sorbus.state.database import State
from sorbus.state.storable import holdable, storable

_AHEAD = 10.0
"""Seconds; what is further in the future was written while the database's clock was ahead."""


class Link(NamedTuple):
    """What is known about a canonical id in a system.

    `version` is the last one applied and `sent` what was sent for it; for an intended link, those in progress.
    `sending`: field -> what updates may have sent since then, without a confirmed result.
    `key` is the idempotency key of the creation, `intended_at` when it was first tried. `accepted_at`: when the
    application accepted it without naming the record; `accepted_as`: what it named instead, if anything. Both times are
    by this machine's clock, which may differ from the database's.
    `external_id` of a deleted record: its former one.
    """

    external_id: str | None
    version: int
    state: Literal["linked", "intended", "gone"]
    key: str
    sent: Json | None
    intended_at: datetime | None
    sending: Mapping[str, list[Json]] = {}
    accepted_at: datetime | None = None
    accepted_as: str | None = None


class Owner(NamedTuple):
    """The canonical record that an external one belongs to."""

    data_type: str
    id: str


class Crosswalk:
    """The links of a data type with one resource of a system. TransientError if the database is unreachable.

    `shared`: its external records may also belong to another data type.
    """

    def __init__(self, state: State, system: str, data_type: str, resource: str, *, shared: bool = False) -> None:
        self.system, self.data_type, self.resource, self.shared = system, data_type, resource, shared
        self._state = state

    def find(self, ids: Collection[str]) -> dict[str, Link]:
        """What is known about these canonical ids; unknown ones are left out. One query."""
        if not ids:
            return {}
        rows, found = self._run("find", ids=list(ids)), dict[str, Link]()
        if any(isinstance(ago, float) and ago < -_AHEAD for row in rows for ago in (row[6], row[8])):
            self._run("put_right", ids=list(ids))
            rows = self._run("find", ids=list(ids))
        for id, external_id, version, state, key, sent, intended, sending, accepted, accepted_as in rows:
            read = None if sent is None else from_text(cast("str", sent))
            found[cast("str", id)] = Link(
                cast("str | None", external_id),
                cast("int", version),
                cast("Literal['linked', 'intended', 'gone']", state),
                cast("str", key),
                read,
                _ago(cast("float | None", intended)),
                {} if sending is None else from_text(cast("str", sending)),
                _ago(cast("float | None", accepted)),
                cast("str | None", accepted_as),
            )
        return found

    @contextmanager
    def claim(self, ids: Collection[str], *, any_type: bool = False) -> Iterator[frozenset[str]]:
        """Locks the ids that no other process is delivering, for the duration of the `with` or of this process.

        `any_type`: also against processes that deliver another data type into the resource.
        Occupies one of the state's connections meanwhile. Claims aren't re-entrant between threads.
        """
        if not ids:
            yield frozenset()
            return
        with self._state.connection() as connection:
            connection.execute(statement("no_timeout"))
            claimed = {**self._of(ids=sorted(ids)), **({"data_type": ""} if any_type else {})}
            rows = connection.execute(statement("claim"), claimed).fetchall()
            yield frozenset(cast("str", id) for id, is_ours in rows if is_ours)

    def intend(self, id: str, version: int, sent: Json | None = None) -> str:
        """Records durably that `id` is about to be created; returns the idempotency key, the same until it is linked.

        `sent` is what is about to be sent: kept from the first try, since a key belongs to what it was first sent with.
        TransientError if it was linked meanwhile: look it up again.
        """
        text = None if sent is None else to_text(sent)
        rows = self._run("intend", id=id, version=version, sent=text)
        if not rows:
            raise TransientError(f"{self._record(id)} has been linked meanwhile; it will be looked up again")
        return cast("str", rows[0][0])

    def withdraw(self, id: str) -> None:
        """The target has definitely rejected creating `id`: nothing exists, and the next try gets a new key."""
        self._run("withdraw", id=id)

    def accepted(self, id: str, named: str | None) -> None:
        """The target has accepted creating `id` without naming the record: search for it, never send it again.

        `named`: an id in its answer that may be the record's. A decision on `id` has been carried out.
        """
        self._run("accepted", id=id, named=named)

    def link(self, id: str, external_id: str, version: int, sent: Json | None) -> None:
        """Links `id` to `external_id`; `sent` is what it now holds of our values, None if unknown.

        Settles a duplicate candidate of `id`. PermanentError "duplicate" if either is linked to another already.
        """
        text = None if sent is None else to_text(sent)
        with self._unless_taken(id, external_id):
            linked = self._run("link", id=id, external_id=external_id, version=version, sent=text)
        if linked:
            return
        raise PermanentError(
            f"{self._record(id)} is already linked to {self.external_of([id]).get(id)}, so it can't be"
            f" {external_id} too; check which one is right, then `sorbus crosswalk unlink` or merge them there",
            reason="duplicate",
            value=external_id,
        )

    def sending(self, id: str, fields: Mapping[str, list[Json]]) -> None:
        """Records, before an update of a linked record, what it and earlier ones may leave there; see `Link`."""
        self._run("sending", id=id, sending=to_text(dict(fields)))

    def applied(self, id: str, version: int, sent: Json) -> None:
        """`version` of a linked record was applied; a version older than the recorded one changes nothing."""
        self._run("applied", id=id, version=version, sent=to_text(sent))

    def gone(self, id: str, version: int) -> None:
        """The record was deleted, or deleted at its owner before it was created; an older event can't bring it back.

        Its external id is free for another. Settles a duplicate candidate of `id`.
        """
        self._run("gone", id=id, version=version)

    def rename(self, id: str, external_id: str) -> None:
        """A person says that linked `id` is another external record: its next event is written there in full.

        PermanentError "duplicate" if that one belongs to another id, "unlinked" if `id` has no link.
        """
        with self._unless_taken(id, external_id):
            changed = self._run("rename", id=id, external_id=external_id)
        if not changed:
            raise PermanentError(f"{self._record(id)} has no link that could be moved", reason="unlinked")

    def unlink(self, id: str) -> str | None:
        """Forgets everything about `id`, so its next event is matched again; returns its former external id."""
        rows = self._run("unlink", id=id)
        return cast("str | None", rows[0][0]) if rows else None

    def external_of(self, ids: Collection[str]) -> dict[str, str]:
        """Canonical -> external ids, of linked records. One query."""
        return {id: link.external_id or "" for id, link in self.find(ids).items() if link.state == "linked"}

    def others(self, external_id: str, most: int) -> list[str]:
        """Some external ids of other linked records."""
        return [cast("str", row[0]) for row in self._run("others", external_id=storable(external_id), most=most)]

    def canonical_of(self, external_ids: Collection[str]) -> dict[str, str]:
        """External -> canonical ids, of this data type's linked records. One query."""
        owners = self.owners_of(external_ids).items()
        return {external_id: owner.id for external_id, owner in owners if owner.data_type == self.data_type}

    def owners_of(self, external_ids: Collection[str]) -> dict[str, Owner]:
        """External id -> its canonical record, of any data type that it isn't shared with. One query."""
        if not external_ids:
            return {}
        found: dict[str, Owner] = {}
        for external_id, data_type, id in self._run("find_external", ids=holdable(external_ids)):
            found.setdefault(cast("str", external_id), Owner(cast("str", data_type), cast("str", id)))
        return found

    def known_of(self, external_ids: Collection[str]) -> dict[str, str]:
        """External -> canonical ids, of this data type's records that are linked, or were until they were deleted."""
        return dict(cast("list[tuple[str, str]]", self._run("known_external", ids=holdable(external_ids))))

    @contextmanager
    def _unless_taken(self, id: str, external_id: str) -> Iterator[None]:
        try:
            yield
        except PermanentError as error:
            if error.reason != UniqueViolation.__name__:
                raise
            owner = self.owners_of([external_id]).get(external_id)
            other = f"{owner.data_type} {owner.id}" if owner else "another record"
            fix = "if both are the same, merge them at their owner"
            if owner and owner.data_type != self.data_type:
                fix = (
                    f"a record there belongs to one data type, or say `shared: true` in the target of the flow that"
                    f" only adds fields to what {owner.data_type} owns"
                )
            raise PermanentError(
                f"{self._record(id)} can't be {external_id}: that is already {other}; {fix}",
                reason="duplicate",
                value=external_id,
            ) from error

    def _record(self, id: str) -> str:
        return f"{self.data_type} {id} in {place(self.system, self.resource)}"

    def _of(self, **values: object) -> Mapping[str, object]:
        of = {"system": self.system, "data_type": self.data_type, "resource": self.resource, "shared": self.shared}
        return {**of, **values}

    def _run(self, name: str, **values: object) -> list[tuple[object, ...]]:
        return self._state.run(statement(name), self._of(**values))


def place(system: str, resource: str) -> str:
    """A resource as shown to people: `marketing/contacts`."""
    return f"{system}/{resource}" if resource else system


class LinkState(NamedTuple):
    """What is known about a record in one resource of a system, for people."""

    system: str
    resource: str
    state: Literal["linked", "intended", "gone"]
    external_id: str
    version: int
    linked_at: datetime | None
    changed_at: datetime
    intended_at: datetime | None


def links_of(state: State, data_type: str, id: str) -> list[LinkState]:
    """What is known about a record in all systems. TransientError."""
    rows = state.run(statement("of_record"), {"data_type": data_type, "id": id})
    return [LinkState(*row) for row in rows]  # type: ignore[arg-type]


def _ago(seconds: float | None) -> datetime | None:
    """When that was, by this machine's clock."""
    return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)
