"""What n8n's copies of the year's targets show otherwise than they should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sorbus.ops.demo.year.ledger import Rows

SHOWN = {
    "accounting.customers": "customers to accounting",
    "projects.customers": "customers to projects",
    "support.customers": "customers to support",
    "reporting.customers": "customers to reporting",
    "reporting.products": "prices to reporting",
    "reporting.orders": "orders to reporting",
    "reporting.invoices": "invoices to reporting",
    "reporting.invoice_lines": "invoices to reporting",
}
"""Relation of the ledger -> the workflow that fills n8n's copy of it."""


@dataclass(frozen=True)
class Loss:
    """A record that n8n's copy shows otherwise than it should: missing, wrong, extra (gone in its owner), doubled."""

    relation: str
    key: str
    kind: str
    found: tuple[str, ...] | None
    wanted: tuple[str, ...] | None


def compared(relation: str, wanted: Rows, found: Sequence[tuple[str, tuple[str, ...]]]) -> set[Loss]:
    """How rows differ from what the ledger says; mappings trim texts, so that spaces around them are none."""
    there, count = {key: _stripped(row) for key, row in found}, Counter(key for key, _ in found)
    losses = set()
    for key in wanted.keys() | there.keys():
        has, should = there.get(key), _stripped(wanted.get(key))
        if count[key] > 1:
            losses.add(Loss(relation, key, "doubled", has, should))
        elif has != should:
            kind = "missing" if has is None else "not deleted" if should is None else "wrong"
            losses.add(Loss(relation, key, kind, has, should))
    return losses


def counted(losses: Iterable[Loss]) -> dict[str, int]:
    return dict(Counter(f"{one.relation} {one.kind}" for one in losses))


def _stripped(row: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if row is None else tuple(one.strip() for one in row)
