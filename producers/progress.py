"""An initial snapshot's progress bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def copy_progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """`show(data_type, records, expected)` while the block lasts; None where nobody is watching."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    bars: dict[str, TaskID] = {}
    columns = (
        TextColumn("initial snapshot {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def show(data_type: str, records: int, expected: int) -> None:
            if data_type not in bars:
                bars[data_type] = progress.add_task(data_type, total=expected)
            progress.update(bars[data_type], completed=records, total=max(expected, records))

        yield show
