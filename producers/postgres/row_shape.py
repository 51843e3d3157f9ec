"""A captured table's rows as the stream describes them just now."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.errors import PermanentError
from sorbus.producers.postgres.capture import Capture, id_picker
from sorbus.producers.postgres.layout import Oids, picker

_LOOKS = 100
"""Rows that are looked at for the value of a new column: it may be null in all of them."""


class RowShape:
    """A captured table as the stream describes it just now, for one data type that reads it as its record's table."""

    __slots__ = ("_looks", "capture", "fields", "id", "is_unique", "key", "layout", "native", "oids")

    def __init__(self, capture: Capture, oids: Oids, *, is_unique: bool = False) -> None:
        """`is_unique`: no two rows of this relation have the same key just then. Else a row that goes is no proof that
        the record is gone.
        """
        self.capture, self.is_unique = capture, is_unique
        self.oids = oids
        names = list(oids)
        gone = [name for name in capture.key if name not in oids]
        if gone:
            raise PermanentError(
                f"{capture.table.name} has lost its key column {', '.join(gone)}; fix `key:` of {capture.name}",
                reason="key gone",
            )
        places = [names.index(name) for name in capture.key]
        self.key = picker(places)
        self.layout = capture.layout("", oids)
        self.fields = self.layout.fields
        self.id = id_picker(places)
        self.native = self.layout.native(capture.name, places[0] if len(places) == 1 else self.id, places)
        drift = capture.drift
        self._looks = _LOOKS if drift is not None and drift.without_example(capture.name, capture.table.name) else 0

    @property
    def wants_examples(self) -> bool:
        """Whether findings about this table have no value to show yet, and some of its rows may still bring one."""
        return self._looks > 0

    def show(self, row: Sequence[object]) -> None:
        """Takes the values that findings lack from a row."""
        capture, drift = self.capture, self.capture.drift
        if drift is None:
            return
        for column in drift.without_example(capture.name, capture.table.name):
            value = row[list(self.oids).index(column)] if column in self.oids else None
            if isinstance(value, bytes):
                drift.example(capture.name, capture.table.name, column, capture.example("", column, value))
        self._looks = self._looks - 1 if drift.without_example(capture.name, capture.table.name) else 0
