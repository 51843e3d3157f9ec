"""What a failed write to a database is about; each kind of database classifies its own error codes by this."""

from __future__ import annotations

from enum import Enum


class About(Enum):
    """What to do about a failed write."""

    RECORD = "record"
    """The record can't be written: a dead letter."""
    REFERENCE = "reference"
    """A record that this one refers to is missing, or others still refer to it: it is deferred."""
    COLLISION = "collision"
    """Another record has a value that must be unique: written together, or deferred."""
    LOAD = "load"
    """Too much at once, or too slow: reduce the batch."""
    EITHER = "either"
    """The record or the system: if others succeed, it is the record."""
    SYSTEM = "system"
    """No record can pass now: the flow waits."""
    ACCESS = "access"
    """The server rejects our credentials: a person has to act."""
