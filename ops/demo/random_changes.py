"""Thousands of random changes to Northwind, for tests: everything that makes capture hard, the same for the same seed.

Key changes of records and of their lines, lines that move to another order, values that PostgreSQL keeps outside the
row (TOAST), updates that leave those alone, transactions of many rows, some rolled back wholly or to a savepoint,
texts with every character that a protocol could trip over.

    python -m sorbus.ops.demo.random_changes DSN [CHANGES] [SEED]
"""

from __future__ import annotations

import sys
from collections import Counter

import psycopg

from sorbus.ops.demo.changes import CHANGES, Impossible, Known
from sorbus.ops.demo.feed import Connection
from sorbus.ops.demo.seeded_random import SeededRandom

_WEIGHTS = [weight for weight, _ in CHANGES]
_DEEDS = [change for _, change in CHANGES]


def churn(dsn: str, changes: int = 10_000, seed: int = 1) -> Counter[str]:
    """Makes so many changes and returns how many of each kind were committed."""
    chance = SeededRandom(seed)
    done: Counter[str] = Counter()
    made = 0
    with psycopg.connect(dsn, autocommit=True, application_name="churn") as connection:
        known = Known.read(connection)
        while made < changes:
            size = min(changes - made, chance.choice([1, 1, 1, 2, 3, 5, 8, 25]))
            before, within = known.copy(), Counter[str]()
            with connection.transaction() as transaction:
                for _ in range(size):
                    within[_change(connection, chance, known)] += 1
                if chance.random() < 0.1:
                    _change_and_take_back(connection, chance, known)
                if chance.random() < 0.05:
                    known = before
                    raise psycopg.Rollback(transaction)
                made += size
                done += within
    return done


def _change_and_take_back(connection: Connection, chance: SeededRandom, known: Known) -> None:
    with connection.transaction() as savepoint:
        _change(connection, chance, known.copy())
        raise psycopg.Rollback(savepoint)


def _change(connection: Connection, chance: SeededRandom, known: Known) -> str:
    while True:
        change = chance.choices(_DEEDS, _WEIGHTS)[0]
        try:
            change(connection, chance, known)
        except Impossible:
            continue
        return change.__name__


if __name__ == "__main__":
    made = churn(sys.argv[1], *map(int, sys.argv[2:4]))
    sys.stdout.write("".join(f"{count:6} {what}\n" for what, count in made.most_common()))
