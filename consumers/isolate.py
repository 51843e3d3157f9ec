"""Delivering a batch so that each record that can land does: what fails is taken apart until the cause is alone.

A cause that may be one record's is found by halving; records that exchange unique values are written together. Where
every record fails with a cause that may be the system's, none becomes a dead letter: the flow waits and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, NamedTuple, Protocol, TypeVar

from sorbus.connector import Delivery, RejectedDelivery
from sorbus.errors import AuthError, MustWait, PermanentError, SorbusError, TransientError, Undecided
from sorbus.write_fault import About

COLLISION_LIMIT = 60.0
"""Seconds that a record waits for a unique value to become free: the change that frees it may be on its way.

It holds up no other record. Less would make dead letters of values that a slower partition, or one behind after a
restart, is about to free: a person's work, where waiting is nobody's.
"""
_SAMPLES = 3
_CALM = 20
"""Batches without a time-out after which parts grow again."""


class Written(NamedTuple):
    """What a write did in the target. `created` is None where new rows can't be told from changed ones."""

    changed: int = 0
    created: int | None = 0
    deleted: int = 0
    has_changed: bool = False
    """Whether anything was written, such as a version alone."""

    def counts(self) -> dict[str, int]:
        """By the names of `sorbus.abilities.SupportsOutcomes`."""
        if self.created is None:
            return {"written": self.changed, "deleted": self.deleted}
        return {"created": self.created, "updated": self.changed - self.created, "deleted": self.deleted}


class Packable(Protocol):
    """A delivery made ready to be written."""

    @property
    def place(self) -> int:
        """Its index in the batch."""

    @property
    def delivery(self) -> Delivery: ...

    @property
    def is_delete(self) -> bool: ...


I = TypeVar("I", bound=Packable)  # noqa: E741 - an item
E = TypeVar("E", bound=Exception)


class Writes(Protocol[I, E]):
    """What isolation needs of a consumer. Its methods raise the engine's errors."""

    def write(self, items: Sequence[I], *, again: bool = False) -> Written:
        """Writes them in the transaction in progress."""

    def move(self, items: Sequence[I]) -> list[tuple[I, E]]:
        """Writes them in a transaction in which unique values can move; those that could not be part of it."""

    def place_of(self, error: E, items: Sequence[I]) -> int | None:
        """Which item a write failed in, where the server says it."""

    def field_of(self, error: E, item: I) -> str | None:
        """The column whose value can't be made the target's, where the server doesn't name it."""

    def obstacle(self) -> str | None:
        """What keeps every record out of the target, with the fix."""


class Engine(Protocol[E]):
    """A kind of database: its session and what its errors mean."""

    @property
    def error(self) -> type[E]:
        """What its statements raise."""

    @property
    def is_closed(self) -> bool:
        """Whether the session is lost."""

    def transaction(self, *, force_rollback: bool = False) -> AbstractContextManager[object]:
        """Commits at its end, or rolls back: on an error, or always."""

    def about(self, error: E) -> About: ...

    def is_denied(self, error: E) -> bool:
        """Whether a right is missing."""

    def as_error(self, error: E, doing: str) -> SorbusError: ...

    def refusal(self, error: E, field: str | None, doing: str) -> PermanentError:
        """The error as a single record's. `field`: the column, if it is known."""


class _Failed(NamedTuple, Generic[I, E]):
    item: I
    error: E
    about: About


class Isolation(Generic[I, E]):
    """Delivers batches through one session of an engine."""

    def __init__(
        self,
        engine: Engine[E],
        writes: Writes[I, E],
        flow: str,
        record: str,
        system: str,
        *,
        commit: Callable[[Sequence[I]], Written] | None = None,
    ) -> None:
        """`record`: what the records are called; `system`: the target.

        `commit` writes records in a transaction of their own, where there is a shorter way than the engine's.
        """
        self._commit = commit or self._in_transaction
        self._engine, self._writes = engine, writes
        self._doing, self._record, self._system = f"flow {flow}", record, system
        self._most: int | None = None
        self._calm = 0
        self._landed: I | None = None
        self.outcomes: Counter[str] = Counter()
        """What was committed, by the names of `sorbus.abilities.SupportsOutcomes`; whoever reads it empties it."""

    def deliver(self, items: Sequence[I]) -> list[RejectedDelivery]:
        """Those that are refused. TransientError, AuthError: what landed before changes nothing when it comes again."""
        failed: list[_Failed[I, E]] = []
        has_proof, misses, most_misses = False, 0, len(items).bit_length() + 2
        collided = 0
        left = self._parts(items)
        while left:
            part = left.pop()
            try:
                written = self._commit(part)
            except self._engine.error as error:
                found, rest = self._apart(error, part)
                collided += any(one.about is About.COLLISION for one in found)
                if not found and not has_proof:
                    misses += 1
                    if misses > most_misses:
                        has_proof = self._sample(left) or self._is_theirs(error, len(items))
                failed += found
                left += rest
                has_proof = has_proof or len(part) > len(found) + sum(map(len, rest))
            else:
                self._note(part, written)
                has_proof = has_proof or written.has_changed
        if collided > 1:
            count = len(failed)
            failed = self._together(failed)
            has_proof = has_proof or len(failed) < count
        self._grow()
        return [self._refusal(one) for one in failed if self._is_its_own(one, len(items), has_proof=has_proof)]

    def _in_transaction(self, part: Sequence[I]) -> Written:
        with self._engine.transaction():
            return self._writes.write(part)

    def _parts(self, items: Sequence[I]) -> list[Sequence[I]]:
        """The batch in parts as large as the target takes, the first one last."""
        most = self._most or len(items) or 1
        return [items[at : at + most] for at in range(0, len(items), most)][::-1]

    def _apart(self, error: E, part: Sequence[I]) -> tuple[list[_Failed[I, E]], list[Sequence[I]]]:
        """Which items of a part have failed, and what is to be tried now; the others have landed."""
        about = self._about(error, part)
        if about is About.COLLISION:
            try:
                culprits = self._writes.move(part)
                self.outcomes["written"] += len(part) - len(culprits)
                return [_Failed(item, why, self._about(why, [item])) for item, why in culprits], []
            except self._engine.error as deeper:
                error, about = deeper, self._about(deeper, part)
        at = self._writes.place_of(error, part) if about is About.RECORD else None
        if at is None and len(part) == 1:
            at = 0
        if at is None:
            middle = len(part) // 2
            return [], [part[middle:], part[:middle]]
        rest = [some for some in (part[at + 1 :], part[:at]) if some]
        return [_Failed(part[at], error, about)], rest

    def _together(self, failed: list[_Failed[I, E]]) -> list[_Failed[I, E]]:
        """Those that still fail once all that collide are tried in one transaction.

        Records that exchange unique values fail alone, where one beside them had the batch taken apart.
        """
        apart = [one.item for one in failed if one.about is About.COLLISION]
        try:
            culprits = self._writes.move(apart)
        except self._engine.error as error:
            self._about(error, apart)
            return failed
        self.outcomes["written"] += len(apart) - len(culprits)
        others = [one for one in failed if one.about is not About.COLLISION]
        return others + [_Failed(item, why, self._about(why, [item])) for item, why in culprits]

    def _about(self, error: E, part: Sequence[I]) -> About:
        """What a failure is about. TransientError, AuthError: about none of the records."""
        about = self._engine.about(error)
        if about is About.ACCESS and not self._engine.is_closed:
            about = About.EITHER  # who is logged in already is refused by somebody's code
        if about is About.LOAD:
            self._most, self._calm = max(1, len(part) // 2), 0
        if self._engine.is_closed or about in (About.SYSTEM, About.ACCESS):
            found = self._engine.as_error(error, self._doing)
            if isinstance(found, PermanentError):
                found = TransientError(str(found))
            # A server ends sessions that reach its limits of time or memory, and doesn't always come to say so.
            if (about is About.LOAD or self._engine.is_closed) and isinstance(found, TransientError):
                found.smaller = len(part) > 1
            raise found from error
        return about

    def _sample(self, left: Sequence[Sequence[I]]) -> bool:
        """Whether any record further on lands, where the first ones don't."""
        others = [item for part in left for item in part]
        for item in others[:: max(1, len(others) // _SAMPLES)][:_SAMPLES]:
            try:
                with self._engine.transaction():
                    written = self._writes.write([item])
                self._note([item], written)
                if written.has_changed:
                    return True
            except self._engine.error as error:
                self._about(error, [item])
        return False

    def _is_theirs(self, error: E, count: int) -> bool:
        """True if the failure is about the records though none landed; raises where the flow has to wait."""
        about = self._engine.about(error)
        if about not in (About.EITHER, About.LOAD, About.ACCESS):
            return True
        if about is not About.LOAD:
            if obstacle := self._writes.obstacle():
                kind = AuthError if self._engine.is_denied(error) else TransientError
                raise kind(f"{self._doing}: {obstacle}") from error
            if self._engine.is_denied(error) or self._can_write():  # a policy refuses rows, a missing grant refuses all
                return True
        words = str(self._engine.as_error(error, self._doing))
        if about is About.LOAD:
            raise TransientError(words) from error
        many = (
            f"each of {count} records fails alone with the same cause" if count > 1 else "it is the only record so far"
        )
        raise Undecided(f"{words} ({many}, so this may be {self._system}'s: see its triggers and tables)") from error

    def _can_write(self) -> bool:
        """Whether a record that landed before could be written again now."""
        if self._landed is None:
            return False
        try:
            with self._engine.transaction(force_rollback=True):
                return self._writes.write([self._landed], again=True).has_changed
        except self._engine.error as error:
            self._about(error, [self._landed])
            return False

    def _is_its_own(self, one: _Failed[I, E], count: int, *, has_proof: bool) -> bool:
        return has_proof or self._is_theirs(one.error, count)

    def _refusal(self, one: _Failed[I, E]) -> RejectedDelivery:
        error = self._engine.refusal(one.error, None, self._doing)
        if error.field is None and (field := self._writes.field_of(one.error, one.item)):
            error = self._engine.refusal(one.error, field, self._doing)
        if one.about in (About.RECORD, About.EITHER):
            return RejectedDelivery(one.item.place, error)
        id = one.item.delivery.id.decode(errors="replace")
        why = {
            About.REFERENCE: "others refer to it still"
            if one.item.is_delete
            else f"a record that it refers to isn't in {self._system} yet",
            About.COLLISION: f"another record in {self._system} still has a value that must be unique",
        }.get(one.about, f"{self._system} is too slow or busy with it")
        return RejectedDelivery(
            one.item.place,
            MustWait(
                f"{self._record} {id} waits: {why}: {error.words}",
                why="reference",
                field=error.field,
                limit=COLLISION_LIMIT if one.about is About.COLLISION else None,
                refused=error,
            ),
        )

    def _note(self, part: Sequence[I], written: Written) -> None:
        self.outcomes.update(written.counts())
        if written.has_changed:
            self._landed = next((item for item in reversed(part) if not item.is_delete), self._landed)

    def _grow(self) -> None:
        self._calm += 1
        if self._most is not None and self._calm > _CALM:
            self._most, self._calm = 2 * self._most, 0
