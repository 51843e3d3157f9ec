"""Work that takes longer than a page: done by a thread, one piece after the other, and told of on pages meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sorbus.errors import SorbusError

_log = logging.getLogger(__name__)
Told = Callable[[int], None]


@dataclass(slots=True)
class BackgroundJob:
    """One piece of work: `done` of `total` things; when it has ended, `said` is what came of it."""

    name: str
    who: str
    total: int
    done: int = 0
    said: str = ""
    has_failed: bool = False


class BackgroundJobs:
    """What this console is at, and what it did last. Cut off by a stop; each piece must be safe to begin again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.task: BackgroundJob | None = None

    def start(self, name: str, who: str, total: int, work: Callable[[Told], str]) -> bool:
        """Begins, unless another job is running; whether it did. `work` gets a progress callback and says the end."""
        with self._lock:
            if self.task is not None and not self.task.said:
                return False
            task = self.task = BackgroundJob(name, who, total)
        threading.Thread(target=_run, args=(task, work), name=name, daemon=True).start()
        return True


def _run(task: BackgroundJob, work: Callable[[Told], str]) -> None:
    def told(count: int) -> None:
        task.done += count

    said = "the console failed at it; its log says where. Do it again: what is done already is left alone"
    task.has_failed = True
    try:
        said = work(told)
        task.has_failed = False
    except SorbusError as error:
        said = str(error)
    finally:
        _log.info("done", extra={"work": task.name, "who": task.who, "said": said})
        task.said = said
