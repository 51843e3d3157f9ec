"""The states of a conflict, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sorbus.conflict.store import ALL, ConflictState

BY_VIEW: Mapping[str, Sequence[ConflictState]] = {
    "open": ("open",),
    "decided": ("overwrite", "keep"),
    "overwritten": ("overwritten",),
    "rewritten": ("rewritten",),
    "all": ALL,
}
"""What can be asked for -> the states that belong to it."""
DESCRIPTIONS: Mapping[ConflictState, str] = {
    "open": "needs a decision",
    "overwrite": "the owner's value will be written",
    "keep": "the target's value stays until the owner changes the field",
    "overwritten": "the owner's value was written",
    "rewritten": "the application reformats the field; it is no longer compared",
    "over": "closed automatically",
}
TWO_WAY_DESCRIPTIONS: Mapping[ConflictState, str] = {
    **DESCRIPTIONS,
    "overwrite": "the record's value will be brought to all systems",
    "keep": "this system's value will become the record's in all systems",
    "overwritten": "the record's value was kept",
}
"""The same where several systems change a field."""
