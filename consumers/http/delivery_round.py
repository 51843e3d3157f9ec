"""The records of one batch, each delivered with a few tries, while there is time and the application is in order."""

from __future__ import annotations

import time
from threading import Lock
from typing import NamedTuple

import stamina

from sorbus.connector import Delivery
from sorbus.consumers.http.contended import given_up
from sorbus.consumers.http.deliver import Deliverer
from sorbus.consumers.http.two_way import NotSeenYet
from sorbus.errors import Contended, PermanentError, SorbusError, TransientError

_BEGIN = 5.0
"""Seconds in which records of a batch are begun."""
_TRIES = 3
_SOON = 2.0
"""A wait that an application asks for and that is no longer than this many seconds is waited for where it is."""


class Later(NamedTuple):
    """A record that was not begun."""


Outcome = Later | SorbusError | None


class DeliveryRound:
    """One call of `apply`: ends early when time is up or the application is out of order."""

    def __init__(self, deliverer: Deliverer, system: str, again: bool, side_by_side: int) -> None:
        self._deliverer, self._system, self._again, self._most = deliverer, system, again, side_by_side
        self._until = time.monotonic() + _BEGIN
        self._failures = 0
        self._lock = Lock()

    def run(self, delivery: Delivery) -> Outcome:
        """Delivers one record, with a few tries. Errors come back: they concern the batch, not this thread."""
        if time.monotonic() >= self._until or self._failures >= self._most:
            return Later()
        try:
            for attempt in stamina.retry_context(
                on=_wait, attempts=_TRIES, timeout=_BEGIN, wait_initial=0.2, wait_max=2.0, wait_jitter=0.3
            ):
                with attempt:
                    self._deliverer.deliver(delivery, again=self._again)
        except PermanentError as error:
            return error
        except Contended as error:
            return given_up(error, self._system)
        except NotSeenYet as error:  # no fault of the application
            return error
        except SorbusError as error:
            with self._lock:
                self._failures += 1 if isinstance(error, TransientError) else self._most
            return error
        return None


def _wait(error: Exception) -> bool | float:
    """Whether a record is tried once more at once, and after how many seconds."""
    if not isinstance(error, TransientError):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= _SOON else False
