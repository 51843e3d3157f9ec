"""Letters as the index has them: by cause, by page, one by one. `LetterIndex.catch_up` brings it up to the topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, cast

from psycopg import sql

from sorbus.calendar_limits import EPOCH
from sorbus.deadletter import DeadLetter
from sorbus.dlq.statements import statement
from sorbus.errors import SorbusError
from sorbus.postgres.connection import Connection
from sorbus.state.database import State

LetterState = Literal["open", "requeueing", "requeued", "landed", "superseded", "discarded"]
States = Literal["unsettled", "unsent", "closed", "all"] | LetterState
STATES = (
    *("unsettled", "unsent", "open", "requeueing", "requeued"),
    *("closed", "landed", "superseded", "discarded", "all"),
)
"""What a filter may ask for, by name."""
UNSETTLED: tuple[LetterState, ...] = ("open", "requeueing", "requeued")
"""A letter that isn't closed: it waits for a person, or is on its way back to its flow."""
PAGE_BYTES = 32_000_000
"""Of records in one page: letters may have 8 MB each."""
CLOSED = frozenset(("closed", "landed", "superseded", "discarded"))
"""What a filter may ask for where nothing can be done any more."""
_SETS = {"unsettled": UNSETTLED, "unsent": ("open", "requeueing")}
""""unsent": not known to be on their way back."""


class Spot(NamedTuple):
    """A letter's place in a list, oldest first: the next page begins behind it."""

    first_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters: those that have all of what is not empty. `record`: the record's id."""

    flow: str = ""
    data_type: str = ""
    reason: str = ""
    cause: str = ""
    field: str = ""
    state: States = "unsettled"
    assigned_to: str = ""
    record: str = ""
    flows: tuple[str, ...] = ()
    """Only of these flows, "" for sources; () for any."""
    until: Spot | None = None
    """Not beyond this place: what came after the list was shown isn't in it."""

    @property
    def words(self) -> str:
        """The filter for people: `flow customer-to-crm, reason TooLong`."""
        chosen = [
            f"{each.name.replace('_', ' ')} {value}"
            for each in fields(self)
            if each.name not in ("flows", "until") and (value := getattr(self, each.name))
        ]
        return ", ".join(each for each in chosen if each != "state unsettled") or "all"

    def unclosed(self) -> LetterFilter:
        """Those of them that aren't closed. SorbusError where it asks for closed ones only."""
        if self.state in CLOSED:
            raise SorbusError(f"dead letters in state {self.state} are closed: nothing can be done with them any more")
        return replace(self, state="unsettled") if self.state == "all" else self

    def unsent(self) -> LetterFilter:
        """Those that aren't closed are sent back, but for those on their way already. SorbusError as `unclosed`."""
        found = self.unclosed()
        return replace(found, state="unsent") if found.state == "unsettled" else found


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter and its life. `dead` has no value and no headers once it is closed."""

    dead: DeadLetter
    version: int | None
    cause: str
    state: LetterState
    state_at: datetime
    superseded_by: int | None
    assigned_to: str
    is_edited: bool
    first_at: datetime
    last_at: datetime
    key: bytes

    @property
    def is_unsettled(self) -> bool:
        """Whether it isn't closed."""
        return self.state in UNSETTLED

    @property
    def record(self) -> str:
        """The record's id as text."""
        return self.dead.record_id.decode(errors="replace")

    @property
    def id(self) -> str:
        return self.dead.id

    @property
    def spot(self) -> Spot:
        return Spot(self.first_at, self.id)


@dataclass(frozen=True, slots=True)
class Group:
    """Letters with one cause. `example` is the oldest one's id; `under_way`: how many of `count` were sent back."""

    cause: str
    data_type: str
    flow: str
    system: str
    reason: str
    field: str
    rule: str
    example: str
    message: str
    words: str
    count: int
    under_way: int
    first_at: datetime
    last_at: datetime


class LetterStore:
    """A map's letters. TransientError and AuthError as `State` raises them."""

    def __init__(self, state: State) -> None:
        self._state = state

    def groups(self, filter: LetterFilter) -> list[Group]:
        """By cause, the largest group first."""
        query = sql.SQL(statement("groups")).format(conditions=conditions(filter), states=_states(filter.state))
        return [Group(*row) for row in self._run(query, filter)]  # type: ignore[arg-type]

    def page(self, filter: LetterFilter, after: Spot | None = None, most: int = 100) -> list[Letter]:
        """Letters, the oldest first, fewer than `most` where they are large; `after`: behind this place."""
        with self._state.connection() as connection:
            return select(connection, filter, after, most)

    def get(self, id: str) -> Letter | None:
        """The letter of this id, closed or not."""
        found = self.named([id])
        return found[0] if found else None

    def named(self, ids: Sequence[str]) -> list[Letter]:
        """The letters of these ids, closed or not, the oldest first."""
        with self._state.connection() as connection:
            return select_named(connection, ids)

    def last(self, filter: LetterFilter) -> Spot | None:
        """The place of the youngest."""
        found = self._run(sql.SQL(statement("last")).format(conditions=conditions(filter)), filter)
        return Spot(*found[0]) if found else None  # type: ignore[arg-type]

    def count(self, filter: LetterFilter) -> int:
        """How many."""
        query = sql.SQL(statement("count")).format(conditions=conditions(filter))
        return cast("int", self._run(query, filter)[0][0])

    def of_record(self, data_type: str, id: str) -> list[Letter]:
        """Everything that is known of a record's letters, closed ones too."""
        filter, found = LetterFilter(data_type=data_type, record=id, state="all"), list[Letter]()
        while page := self.page(filter, found[-1].spot if found else None, 1000):
            found += page
        return found

    def _run(self, query: sql.Composed, filter: LetterFilter) -> list[tuple[object, ...]]:
        with self._state.connection() as connection:
            return connection.execute(query, values(filter)).fetchall()


def select(
    connection: Connection,
    filter: LetterFilter,
    after: Spot | None,
    most: int,
    *,
    lock: bool = False,
) -> list[Letter]:
    """A page of at most `most` letters, and about PAGE_BYTES of their records; empty only where there are no more.

    With `lock` nobody else changes them until the transaction ends.
    """
    chosen, given = [conditions(filter)], values(filter)
    if after is not None:
        chosen.append(sql.SQL("(l.first_at, l.id) > (%(after)s, %(after_id)s)").format())
        given |= {"after": after.first_at, "after_id": after.id}
    fits = sql.SQL(statement("fits")).format(conditions=sql.SQL(" and ").join(chosen))
    chosen.append(sql.SQL("(l.first_at, l.id) <= ({})").format(fits))
    return _select(connection, sql.SQL(" and ").join(chosen), {**given, "most": most, "bytes": PAGE_BYTES}, lock)


def select_named(connection: Connection, ids: Sequence[str], *, lock: bool = False) -> list[Letter]:
    """The letters of these ids, the oldest first."""
    return _select(connection, sql.SQL("l.id = any(%(ids)s)"), {"ids": list(ids), "most": len(ids)}, lock)


def _select(connection: Connection, chosen: sql.Composable, given: dict[str, object], lock: bool) -> list[Letter]:
    locked = sql.SQL("for update of l" if lock else "")
    query = sql.SQL(statement("page")).format(conditions=chosen, lock=locked)
    return [letter_of(row) for row in connection.execute(query, given).fetchall()]


def conditions(filter: LetterFilter) -> sql.Composed:
    """What letters (as l, with their assignment as a) must meet, with placeholders for `values`."""
    chosen: list[sql.Composable] = [_states(filter.state)]
    named = [name for name in ("flow", "data_type", "reason", "cause", "field") if getattr(filter, name)]
    chosen += [sql.SQL("l.{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in named]
    if filter.assigned_to:
        chosen.append(sql.SQL("a.person = %(assigned_to)s"))
    if filter.flows:
        chosen.append(sql.SQL("l.flow = any(%(flows)s)"))
    if filter.record:
        chosen.append(sql.SQL("l.record_id = %(record)s"))
    if filter.until is not None:
        chosen.append(sql.SQL("(l.first_at, l.id) <= (%(until)s, %(until_id)s)"))
    return sql.SQL(" and ").join(chosen)


def values(filter: LetterFilter) -> dict[str, object]:
    """The values of `conditions`."""
    found: dict[str, object] = {each.name: getattr(filter, each.name) for each in fields(filter)}
    until, until_id = filter.until or (None, None)
    record = filter.record.encode("utf-8", "surrogateescape")
    return {**found, "flows": list(filter.flows), "record": record, "until": until, "until_id": until_id}


def _states(state: States) -> sql.Composable:
    """Written out, not as a parameter: the indexes of what isn't closed are partial."""
    if state == "all":
        return sql.SQL("true")
    unsettled = _one_of(UNSETTLED)
    if state == "closed":
        return sql.SQL("not ({})").format(unsettled)
    chosen = _SETS.get(state, (state,))
    return sql.SQL("({} and {})").format(unsettled, _one_of(chosen)) if chosen[0] in UNSETTLED else _one_of(chosen)


def _one_of(states: Sequence[str]) -> sql.Composed:
    return sql.SQL("l.state in ({})").format(sql.SQL(", ").join(map(sql.Literal, states)))


def letter_of(row: Sequence[object]) -> Letter:
    """One row of page.sql."""
    first_at, last_at = cast("datetime", row[13]), cast("datetime", row[14])
    frame = cast("bytes | None", row[16])
    names, contents = cast("list[str]", row[17]), cast("list[bytes]", row[18])
    dead = DeadLetter(
        *cast("tuple[str, str, str, str, str, str, str, str, str, str, int, int, int]", row[:13]),
        _micros(first_at),
        _micros(last_at),
        bytes(cast("bytes", row[15])),
        None if frame is None else bytes(frame),
        tuple((name, bytes(content)) for name, content in zip(names, contents, strict=True)),
    )
    return Letter(
        dead,
        cast("int | None", row[19]),
        cast("str", row[20]),
        cast("LetterState", row[21]),
        cast("datetime", row[22]),
        cast("int | None", row[23]),
        cast("str", row[24]),
        cast("bool", row[25]),
        first_at,
        last_at,
        bytes(cast("bytes", row[26])),
    )


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
