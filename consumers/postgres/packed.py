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


class Packed(NamedTuple):
    """A delivery made ready: its row for its stage (None: deleted), and its items' rows by list field."""

    place: int
    delivery: Delivery
    stage: Stage | None
    row: bytes
    items: dict[str, list[bytes]]
