"""All records of a data type without publishing them, for plans, comparisons and single looks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from sorbus.connector import BoundSource, BoundSystem, Change, RejectedRecord
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.spreadsheet.chosen_files import ChosenFiles
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.shape import SheetShape
from sorbus.producers.spreadsheet.sheet_reader import SheetReader
from sorbus.spreadsheet.files import folder_of


def scan_sheets(system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
    """Every record of the files as they are saved, versions 0. TransientError where one can't be read."""
    options = source.options
    assert isinstance(options, SpreadsheetSource)
    shape = SheetShape(source, system.name)
    files = ChosenFiles(options, folder_of(system))
    readers: list[SheetReader] = []
    memory = ChangeDetector(source.name, lambda row: readers[0].encode(row), lambda _: None, can_look=False)
    readers.append(SheetReader(options, f"{options.resource} of {system.name}", shape, memory, files))
    while True:
        for found in readers[0].reading(again=True, is_first=False):
            if found is not None and (found.changes or found.rejects):
                yield [
                    *(change._replace(version=0) for change in found.changes),
                    *(reject._replace(version=0) for reject in found.rejects),
                ]
        if readers[0].is_changed or files.soon is None:
            return
        time.sleep(files.soon)


def read_one(system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
    """The record with this key; None if no row has it. PermanentError, TransientError."""
    wanted = id.encode(errors="replace")
    for batch in scan_sheets(system, source):
        for one in batch:
            if one.id == wanted and isinstance(one, Change):
                return one.data
            if one.id == wanted and isinstance(one, RejectedRecord):
                raise one.error
    return None
