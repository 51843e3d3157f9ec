"""Delivering records to one flow again, as people ask for it in the console."""

from __future__ import annotations

from datetime import datetime

from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.replay.run import ReplayRun
from sorbus.ops.replay.selection import Selection


def chosen_again(id: str, since: str, until: str) -> Selection:
    """One record, or those whose last change is within a time. UsageError says what is missing."""
    if not (id or since):
        raise UsageError("say which record is to be delivered again, or from when")
    times = []
    for text in (since, until):
        try:
            times.append(datetime.fromisoformat(text).astimezone() if text else None)
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{text[:40]} is no time; write 2026-11-01T12:00") from error
    return Selection(since=times[0], until=times[1], ids=frozenset((id.encode(),)) if id else None)


def deliver_again(loaded: LoadedMap, flow: str, selection: Selection, who: str) -> str:
    """A replay of these records; a sentence on what came of it. TransientError, AuthError, UsageError, MapError."""
    done = ReplayRun(loaded, flow, who).in_place(selection, lambda *_: None, without_deleted=False)
    return done.words
