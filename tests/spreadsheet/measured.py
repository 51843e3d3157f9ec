"""Reads a sheet in a process of its own and prints rows, seconds and peak megabytes: `measured.py FOLDER FILE KEY`."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from sorbus.errors import TransientError
from sorbus.spreadsheet.sheet_rows import SheetForm, read_sheets


def main(folder: str, file: str, key: str) -> None:
    begun, rows, why = peak(), 0, ""
    began, cpu = time.monotonic(), time.process_time()
    try:
        for sheet in read_sheets(Path(folder, file), [], SheetForm((key,))):
            if sheet is not None:
                rows = sum(1 for _ in sheet.rows())
                sheet.close()
    except TransientError as error:
        why = str(error)
    took = {"s": time.monotonic() - began, "cpu": time.process_time() - cpu}
    print(json.dumps({"rows": rows, **took, "mb": peak() - begun, "why": why}))  # noqa: T201


def peak() -> float:
    """Megabytes; what `getrusage` says includes the parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
