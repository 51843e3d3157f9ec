"""A flow's manual sync opened on a map: what commands and the console share."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.map.loaded import LoadedMap
from sorbus.ops.checklists.sheets.changes import OwnerRecord
from sorbus.ops.checklists.sheets.manual_sync import ManualSync, Preparation
from sorbus.ops.checklists.sheets.owner_records import Progress, owner_trouble, read_owner_records
from sorbus.ops.checklists.sheets.target_fields import ManualFlow, manual_flow
from sorbus.ops.checklists.sheets.target_totals import read_target_totals
from sorbus.ops.checklists.store import Checklists
from sorbus.settings import Settings
from sorbus.state import State


class OpenedSync:
    """One flow's. UsageError if no flow of that name is done by hand; TransientError, AuthError."""

    def __init__(
        self, loaded: LoadedMap, settings: Settings, state: State, flow: str, *, read_target: bool = True
    ) -> None:
        checklists = Checklists(loaded.map, state)
        checklists.get(flow)
        self._loaded, self._settings = loaded, settings
        written = checklists.flows[flow]
        sums = written.manual.totals if written.manual else ()
        totals = read_target_totals(loaded, written, sums) if read_target else "not read"
        self.sync = ManualSync(checklists, state, flow, totals)
        self._written = written

    def flow(self) -> ManualFlow:
        """The flow with its mapping. MapError, SchemaError."""
        return manual_flow(self._loaded, self._written)

    def records(self, progress: Progress) -> list[OwnerRecord]:
        """The owner's records now, from the topic. SorbusError where they can't be told."""
        return read_owner_records(self._settings, self.flow(), progress)

    def prepare(
        self,
        who: str,
        records: Sequence[OwnerRecord],
        limit: int,
        *,
        accept_deletes: bool = False,
        dry_run: bool = False,
    ) -> Preparation:
        """A sheet of what changed."""
        return self.sync.prepare(
            records,
            self.flow().columns,
            self._loaded.map.company,
            who,
            limit=limit,
            accept_deletes=accept_deletes,
            dry_run=dry_run,
            trouble=owner_trouble(self._loaded, self._settings, self._written.data_type),
        )
