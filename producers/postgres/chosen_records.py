"""Which records of a snapshot are published, where a person has named a condition; what it can't decide is said."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from sorbus.connector import Change
from sorbus.mapping.record_condition import RecordCondition
from sorbus.producers.postgres.capture import Capture
from sorbus.producers.postgres.position import SnapshotProgress

_SHOWN = 10
_log = logging.getLogger(__name__)


class ChosenRecords:
    """The condition of one snapshot. RuleError where the map no longer has what it names."""

    def __init__(self, capture: Capture, where: str) -> None:
        self.key = capture.name, where
        self._condition = RecordCondition(where, capture.source.schema, capture.source.lookups)

    def choose(self, changes: Sequence[Change], progress: SnapshotProgress) -> tuple[list[Change], SnapshotProgress]:
        """Those that fit, and the progress with the number of the others."""
        found, undecided, example = [], progress.undecided, progress.example
        for change in changes:
            fits = self._condition.fits(change.id, change.data or b"")
            if fits is True:
                found.append(change)
            elif isinstance(fits, str):
                undecided += 1
                words = f"{change.id.decode(errors='replace')}: {fits}"
                example = example or words
                if undecided <= _SHOWN:
                    _log.warning("%s is left out, since the condition can't be decided: %s", change.data_type, words)
        left_out = progress.left_out + len(changes) - len(found)
        return found, replace(progress, left_out=left_out, undecided=undecided, example=example)
