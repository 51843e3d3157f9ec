"""Deliveries made ready for COPY: decoded, mapped to columns, encoded. A record that doesn't fit is refused alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import cast

from sorbus.avro.decode import Undecodable
from sorbus.connector import BoundFlow, Delivery, RejectedDelivery
from sorbus.consumers.postgres.cells import int_cell, long_cell, row_start, text_cell
from sorbus.consumers.postgres.packed import Packed, Stage
from sorbus.consumers.postgres.shape import INCOMPLETE
from sorbus.consumers.postgres.writing import Writing
from sorbus.errors import PermanentError
from sorbus.mapping.assign import Parts
from sorbus.schema import RecordSchema
from sorbus.waiting.complete import lacking

_packed = cast(
    "Callable[[tuple[int, Delivery, Stage | None, bytes, dict[str, list[bytes]]]], Packed]",
    functools.partial(tuple.__new__, Packed),
)
"""Makes a Packed without the cost of its keyword-taking constructor: there is one a record."""
_NO_ITEMS: dict[str, list[bytes]] = {}


class DeliveryPacker:
    """One flow's, for the stages of one session."""

    def __init__(self, flow: BoundFlow, parts: Parts, writing: Writing) -> None:
        self._flow, self._parts, self._writing = flow, parts, writing

    def pack_all(self, deliveries: Sequence[Delivery]) -> tuple[list[Packed], list[RejectedDelivery]]:
        """A batch, and what is refused of it. One loop without calls of ours for the usual record: there are many."""
        packed, refused = list[Packed](), list[RejectedDelivery]()
        stage: Stage | None = None
        laid_out: RecordSchema | None = None
        pack: Callable[[bytes, int, bytes, int], bytes | None] = _hand_back
        for place, delivery in enumerate(deliveries):
            id, version, is_deleted, schema, data, at, _, _ = delivery
            try:
                if schema is not laid_out and not is_deleted:
                    stage, laid_out = self._writing.stages.of(schema), schema
                    pack = stage.shape.in_c or _hand_back
                row = None if is_deleted else pack(id, version, data, at)
                packed.append(
                    self.pack(place, delivery) if row is None else _packed((place, delivery, stage, row, _NO_ITEMS))
                )
            except PermanentError as error:
                refused.append(RejectedDelivery(place, error))
        return packed, refused

    def pack(self, place: int, delivery: Delivery) -> Packed:
        """PermanentError that names field, value and rule; MustWait for an incomplete record."""
        id, version, is_deleted, schema, data, at, _, _ = delivery
        if is_deleted:
            return _packed((place, delivery, None, b"", _NO_ITEMS))
        stage = self._writing.stages.of(schema)
        row = stage.shape.packed(id, version, data, at)
        if row is not None:
            return _packed((place, delivery, stage, row, _NO_ITEMS))
        return self._pack_with_values(place, delivery, stage)

    def _pack_with_values(self, place: int, delivery: Delivery, stage: Stage) -> Packed:
        id = text_cell(delivery.id)
        try:
            cells, items, end = stage.shape.row(delivery.data, delivery.at, delivery.id)
        except Undecodable as error:
            raise PermanentError(f"the record can't be decoded: {error}", reason="undecodable") from error
        except PermanentError as error:
            if error.reason != INCOMPLETE or self._flow.flow.on_incomplete == "pass":
                raise
            item = next(one for one in self._parts[""] if one.into == error.field)
            uses = sorted(item.rule.uses) if item.rule else []
            names = [item.source] if item.source else uses or [item.into]
            raise lacking(self._flow, delivery.id.decode(errors="replace"), names) from error
        if end != len(delivery.data):
            raise PermanentError(
                f"the record ends at byte {end} of {len(delivery.data)}: not what its schema says", reason="undecodable"
            )
        row = b"".join((row_start(len(cells) + 2), id, long_cell(delivery.version), *cells))
        rows = {
            name: [b"".join((row_start(len(c) + 2), id, int_cell(n), *c)) for n, c in enumerate(found, 1)]
            for name, found in items.items()
        }
        return Packed(place, delivery, stage, row, rows)


def _hand_back(_id: bytes, _version: int, _data: bytes, _at: int) -> bytes | None:
    return None
