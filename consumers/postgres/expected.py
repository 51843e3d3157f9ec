"""What records are to be in a flow's target: deliveries go into the stage as always, and are read back from there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from psycopg import sql

from sorbus.checksums import ComparedPart, RecordTexts, item_order
from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.postgres.merge import ID, PLACE
from sorbus.consumers.postgres.open_target import OpenTarget
from sorbus.consumers.postgres.packed import Packed, Stage
from sorbus.consumers.postgres.staged_values import value_of
from sorbus.errors import PermanentError
from sorbus.postgres.checksums import text_of
from sorbus.postgres.connection import postgres_errors

_log = logging.getLogger(__name__)


class StagedRecords:
    """A session on the target whose stages are filled and emptied again."""

    def __init__(self, flow: BoundFlow, parts: Mapping[str, ComparedPart]) -> None:
        """TransientError, AuthError."""
        self._target, self._parts = OpenTarget(flow), parts
        self._doing = f"comparing {flow.system.name} for flow {flow.flow.id}"

    def records(self, deliveries: Sequence[Delivery]) -> dict[str, RecordTexts]:
        """See `sorbus.checksums.ExpectedRecords`."""
        packed = list(self._packed(deliveries))
        try:
            return self._read(packed)
        except PermanentError:
            _log.debug("%s: a record can't be written; each is made ready alone", self._doing)
        found: dict[str, RecordTexts] = {}
        for item in packed:  # one that the target would reject must not keep the others from being compared
            with suppress(PermanentError):  # it is a dead letter, or will be
                found |= self._read([item])
        return found

    def close(self) -> None:
        """Ends the session."""
        self._target.close()

    def _packed(self, deliveries: Sequence[Delivery]) -> Iterator[Packed]:
        for place, delivery in enumerate(deliveries):
            with suppress(PermanentError):
                item = self._target.packer.pack(place, delivery)
                if item.stage is not None:
                    yield item

    def _read(self, packed: Sequence[Packed]) -> dict[str, RecordTexts]:
        stages = {id(item.stage): item.stage for item in packed if item.stage is not None}
        found: dict[str, RecordTexts] = {}
        session = self._target.session
        with postgres_errors(self._doing), session.transaction(force_rollback=True):
            self._target.writing.fill(packed)
            for stage in stages.values():
                rows = {record: values for record, values, _ in self._rows(stage, "", stage.name)}
                items: dict[str, dict[str, list[Mapping[str, str | None]]]] = {}
                for part in self._parts.keys() & stage.children.keys():
                    for record, values, _ in sorted(self._rows(stage, part, stage.children[part]), key=item_order):
                        items.setdefault(record, {}).setdefault(part, []).append(values)
                found |= {record: RecordTexts(values, items.get(record, {})) for record, values in rows.items()}
        return found

    def _rows(self, stage: Stage, part: str, table: str) -> Iterator[tuple[str, dict[str, str | None], int]]:
        """Id, values and place of a stage's rows, each value as the target's column would hold it."""
        shape = stage.shape.children[part] if part else stage.shape
        columns = {column.name: column for column in shape.stage}
        natives = self._target.tables[part].columns
        names = (
            [field.name for field in self._parts[part].fields if field.name in columns] if part in self._parts else []
        )
        values = [
            sql.SQL("({})::{}").format(value_of("s", columns[name]), sql.SQL(natives[name].native)) for name in names
        ]
        place = sql.Identifier("s", PLACE) if part and self._parts[part].placed else sql.SQL("0")
        query = sql.SQL("select {} from {} s").format(
            sql.SQL(", ").join([sql.Identifier("s", ID), place, *values]), sql.Identifier(table)
        )
        result = self._target.session.execute(query).pgresult
        assert result is not None
        for row in range(result.ntuples):
            texts = {name: text_of(result, row, at + 2) for at, name in enumerate(names)}
            yield text_of(result, row, 0) or "", texts, int(text_of(result, row, 1) or 0)
