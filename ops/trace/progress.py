"""A progress bar for a long search, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sorbus.ops.trace.key_index import Progress

_LONG = 200_000
"""Messages from which on a search is worth a bar."""


@contextmanager
def searching(title: str) -> Iterator[Progress]:
    """What a search is to call with its progress."""
    if not sys.stderr.isatty():
        yield lambda done, total: None  # noqa: ARG005
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=total > _LONG)

        yield show
