"""How a folder of spreadsheets is, for `sorbus doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sorbus.connector import BoundSystem
from sorbus.diagnosis import Diagnosis
from sorbus.spreadsheet.files import data_files, folder_of, lock_of

_MOST_NAMED = 20


def diagnose_folder(system: BoundSystem) -> Iterator[Diagnosis]:
    """Whether the folder can be read and written, and who has which file open. TransientError."""
    folder = folder_of(system)
    files = data_files(folder)
    yield Diagnosis(system.name, "folder", f"{folder} has {len(files)} spreadsheets")
    if not os.access(folder, os.W_OK):
        yield Diagnosis(
            system.name,
            "writing",
            f"{folder} can't be written by the user of this process",
            "warning",
            "as a source that is fine; as a target, give that user the right to write there",
        )
    for file in files[:_MOST_NAMED]:
        if (lock := lock_of(file)) is not None:
            who = f" by {lock.who}" if lock.who else ""
            fix = f"close it; if nobody has it open, delete {lock.file.name} beside it"
            yield Diagnosis(system.name, file.name, f"it is open{who}, and waits", "warning", fix)
