"""The one engine of all checks: runs them side by side, each within its time, and takes errors for findings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass

from sorbus.diagnosis import Diagnosis, of_finding
from sorbus.errors import AuthError, MapError, SchemaError, SorbusError, TransientError

AT_MOST = 30.0
"""Seconds for one check; connections and requests inside have shorter limits of their own."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Check:
    """One question: `run` yields what it finds. An error that ends it is a finding under `where` and `what`."""

    where: str
    what: str
    run: Callable[[], Iterable[Diagnosis]]


def examine(checks: Sequence[Check], *, at_most: float = AT_MOST) -> Iterator[list[Diagnosis]]:
    """What each check found, in the checks' order, as soon as it is known."""
    turns = threading.Semaphore(_AT_ONCE)
    until = time.monotonic() + at_most * (1 + len(checks) // _AT_ONCE)
    running = [_begin(check, turns) for check in checks]
    for check, each in zip(checks, running, strict=True):
        try:
            yield each.result(max(0.0, until - time.monotonic()))
        except futures.TimeoutError:
            found = f"no answer within {at_most:.0f} s"
            yield [Diagnosis(check.where, check.what, found, "problem", "see whether the server is overloaded")]


def _begin(check: Check, turns: threading.Semaphore) -> futures.Future[list[Diagnosis]]:
    """In a thread that nothing waits for: one that a server holds must not hold the command's end."""
    result: futures.Future[list[Diagnosis]] = futures.Future()

    def work() -> None:
        with turns:
            result.set_result(_run(check))

    threading.Thread(target=work, name=f"doctor {check.where}", daemon=True).start()
    return result


def _run(check: Check) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    try:
        found += check.run()
    except MapError as error:
        found += [of_finding(check.where, finding) for finding in error.findings]
        if not error.findings:
            found.append(_problem(check, error, "fix the map"))
    except AuthError as error:
        found.append(_problem(check, error, "give it the right login, or the missing right"))
    except TransientError as error:
        found.append(_problem(check, error, "see that the server runs and its address is right in the map or .env"))
    except SchemaError as error:
        found.append(_problem(check, error, "see `sorbus schemas diff`"))
    except SorbusError as error:
        found.append(_problem(check, error, "do what it says; `sorbus --verbose plan` shows where it comes from"))
    except Exception as error:  # noqa: BLE001  # one check's fault must not hide what the others found
        found.append(_problem(check, error, "report it: this is a fault in Sorbus or in a connector"))
    return found


def _problem(check: Check, error: Exception, fix: str) -> Diagnosis:
    told = str(error) if isinstance(error, SorbusError) else f"the check failed: {type(error).__name__}: {error}"
    return Diagnosis(check.where, check.what, told, "problem", fix)
