"""What people are told of a list that was read to its end: deletes that need proof, records without update times."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sorbus.drift.watch import DriftWatch
from sorbus.producers.polling.deletes import Deletes

_log = logging.getLogger(__name__)


class ListReport:
    """One data type's. `what`: what its list is called; `updated`: the described fields that hold update times."""

    def __init__(self, what: str, data_type: str, resource: str, updated: Sequence[str]) -> None:
        self._what, self._data_type, self._resource, self._updated = what, data_type, resource, updated
        self._drift: DriftWatch | None = None
        self._is_told = False

    def begin(self, drift: DriftWatch) -> None:
        """From now on deletes that need proof are shown in drift, where a person confirms them."""
        self._drift = drift

    def confirmed_deletes(self) -> frozenset[bytes] | None:
        """The ids that a person has confirmed to be gone; None before `begin`."""
        if self._drift is None:
            return None
        return frozenset(id.encode() for id in self._drift.confirmed_deletes(self._data_type, self._resource))

    def tell(self, deletes: Deletes, timeless: int) -> None:
        """`timeless`: how many records of the list had no update time."""
        if timeless and not self._is_told:
            self._is_told = True
            _log.warning(
                "%s: %d listed records have no update time (%s), and a poll for changes may never show such a one."
                " Name more fields in the API's description, such as `updated: [updated_at, created_at]`, or compare"
                " more often (`compare: every 1h`)",
                self._what,
                timeless,
                ", ".join(self._updated) or "none is described",
            )
        if self._drift is None:
            return
        held = deletes.held
        ids = [id.decode() for id in held.ids] if held else []
        self._drift.look_deleted(
            self._data_type, self._resource, ids, held.known if held else 0, held.why if held else ""
        )
        if deletes.confirmed:
            self._drift.deletes_applied(self._data_type, self._resource)
            deletes.confirmed = frozenset()
