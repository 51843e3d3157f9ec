"""Export and import of the crosswalk: every linked pair, and pairs that a person knows, all or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

from psycopg.errors import UniqueViolation

from sorbus.errors import PermanentError
from sorbus.identity.statements import statement
from sorbus.state.database import State

_AT_ONCE = 1000


class Pair(NamedTuple):
    """One record's ids, at its owner and in a resource of a system."""

    system: str
    data_type: str
    id: str
    external_id: str
    resource: str


def linked_pairs(
    state: State, *, system: str | None = None, data_type: str | None = None, external_id: str | None = None
) -> Iterator[Pair]:
    """Every linked pair, or those of a system, a data type, an external id; ordered and streamed."""
    values = {"system": system, "data_type": data_type, "external_id": external_id}
    with state.connection() as connection, connection.cursor(name="linked_pairs") as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(statement("pairs"), values)
        for row in cursor:
            yield Pair(*cast("tuple[str, str, str, str, str]", row))


def link_all(state: State, pairs: Sequence[Pair], done: Callable[[int], None] | None = None) -> None:
    """Links all `pairs` in one transaction; each record's next event is then compared there and written in full.

    PermanentError "duplicate" if one of them was linked differently meanwhile: then nothing is linked.
    """
    changed = "the crosswalk has changed during the import: nothing was imported; try again"
    try:
        with state.connection() as connection, connection.cursor() as cursor:
            for start in range(0, len(pairs), _AT_ONCE):
                part = pairs[start : start + _AT_ONCE]
                values = [{**pair._asdict(), "version": 0, "sent": None, "shared": False} for pair in part]
                cursor.executemany(statement("link"), values)
                if cursor.rowcount != len(part):
                    raise PermanentError(changed, reason="duplicate")
                if done is not None:
                    done(len(part))
    except PermanentError as error:
        if error.reason == UniqueViolation.__name__:
            raise PermanentError(changed, reason="duplicate") from error
        raise
