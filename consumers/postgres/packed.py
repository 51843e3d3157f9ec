"""Deliveries made ready for COPY, and the stage that takes those of one writer's schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from sorbus.connector import Delivery
from sorbus.consumers.postgres.cells import long_cell, row_start, text_cell
from sorbus.consumers.postgres.shape import TableShape
from sorbus.consumers.postgres.staging import Given


class Stage(NamedTuple):
    """What one writer's schema needs: its shape, its stage tables, and the statements, for `again` False and True.

    `park`: likewise, the statement that parks unique values that move; None where there are none. `given`: the one that
    needs no stage, None where there is none. `inserts`: into the stage's tables, for few rows.
    """

    shape: TableShape
    name: str
    children: dict[str, str]
    statements: tuple[list[bytes], list[bytes]]
    park: tuple[sql.Composed | None, sql.Composed | None]
    given: tuple[Given | None, Given | None]
    inserts: dict[str, Given | None]


class Packed(NamedTuple):
    """A delivery made ready: its row for its stage (None: deleted), and its items' rows by list field."""

    place: int
    delivery: Delivery
    stage: Stage | None
    row: bytes
    items: dict[str, list[bytes]]

    @property
    def is_delete(self) -> bool:
        return self.stage is None


def bytes_of(items: Sequence[Packed]) -> int:
    """The bytes of their rows and their items' rows."""
    lists = (rows for item in items if item.items for rows in item.items.values())
    return sum(len(item.row) for item in items) + sum(sum(map(len, rows)) for rows in lists)


def gone_row(item: Packed) -> bytes:
    """A deleted record's row for the stage of deletes."""
    return b"".join((row_start(2), text_cell(item.delivery.id), long_cell(item.delivery.version)))


def stages_of(items: Sequence[Packed]) -> list[Stage]:
    """Those that they go to; mostly one."""
    found: dict[int, Stage] = {}
    last: Stage | None = None
    for item in items:
        stage = item.stage
        if stage is not last and stage is not None:
            found[id(stage)] = stage
            last = stage
    return list(found.values())
