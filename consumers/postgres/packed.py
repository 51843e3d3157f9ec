"""Deliveries made ready for COPY, and the stage that takes those of one writer's schema."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import sql

from sorbus.connector import Delivery
from sorbus.consumers.postgres.shape import TableShape


class Stage(NamedTuple):
    """What one writer's schema needs: its shape, its stage tables, and the statements, for `again` False and True.

    `park`: likewise, the statement that parks unique values that move; None where there are none.
    """

    shape: TableShape
    name: str
    children: dict[str, str]
    statements: tuple[list[sql.Composed], list[sql.Composed]]
    park: tuple[sql.Composed | None, sql.Composed | None]


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
