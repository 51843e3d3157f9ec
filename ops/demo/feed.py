"""Changes a source database at a steady pace, one realistic transaction after the other.

Which change comes as number N depends on the seed and N alone, so a run that goes on at N does what it would have done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Event
from typing import cast

import psycopg
from psycopg import sql

from sorbus.ops.demo.seeded_random import SeededRandom

Connection = psycopg.Connection[tuple[object, ...]]
Deed = Callable[[Connection, SeededRandom], str]
"""What somebody does to the database, within a transaction; gives a sentence for the screen."""

ANY = sql.SQL("true")
_TRIES = 20
_AGAIN = 1.0


class NothingThere(LookupError):
    """There is no row that the deed could be done to."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Deeds with their weights: the higher, the more often."""

    deeds: Sequence[tuple[int, Deed]]
    seed: int = 1

    def step(self, connection: Connection, number: int) -> str:
        """Does deed `number` in one transaction; NothingThere if the database is too empty for any."""
        chance = SeededRandom(self.seed, number)
        weights, deeds = zip(*self.deeds, strict=True)
        for _ in range(_TRIES):
            deed = chance.choices(deeds, weights)[0]
            try:
                with connection.transaction():
                    said: str = deed(connection, chance)
                    return said
            except NothingThere:
                continue
        raise NothingThere("the database is too empty for the feed; fill it first")

    def run(
        self,
        dsn: str,
        *,
        rate: float,
        stop: Event,
        start: int = 0,
        reached: Callable[[int], None],
        said: Callable[[str], None],
    ) -> None:
        """Goes on from deed `start` at `rate` a second until `stop`.

        `reached` hears each deed's number before it is done, so that a killed run never does one twice; `said` hears
        the sentence after it. While the server is away it waits, and goes on with the next deed.
        """
        began, numbers = time.monotonic(), count(start)
        while not stop.is_set():
            try:
                with psycopg.connect(dsn, autocommit=True, application_name="the demo's staff") as connection:
                    for number in numbers:
                        if stop.wait(max(0.0, began + (number - start) / rate - time.monotonic())):
                            return
                        reached(number + 1)
                        said(self.step(connection, number))
            except psycopg.OperationalError as error:  # the server is away: the deed under way was lost, or is done
                said(f"the database is away, people wait for it: {str(error).strip().splitlines()[0]}")
                stop.wait(_AGAIN)


def pick(connection: Connection, chance: SeededRandom, table: str, key: str, where: sql.SQL = ANY) -> int:
    """The key of some row; NothingThere if no row is `where`."""
    names = {"key": sql.Identifier(key), "table": sql.Identifier(table), "where": where}
    how_many = sql.SQL("select count(*) from {table} where {where}").format(**names)
    found = connection.execute(how_many).fetchone()
    if not found or not found[0]:
        raise NothingThere(f"no row of {table} to choose from")
    chosen = sql.SQL("select {key} from {table} where {where} order by {key} offset %s limit 1").format(**names)
    row = connection.execute(chosen, [chance.randrange(cast("int", found[0]))]).fetchone()
    if row is None:
        raise NothingThere(f"no row of {table} any more")
    return cast("int", row[0])
