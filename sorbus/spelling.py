"""The known name closest to a misspelled one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near(name: str, known: Iterable[str]) -> str:
    """The known name closest in spelling, or one that contains `name`; ignores case; empty if there is none."""
    wanted = name.lower()
    lower = {known_name.lower(): known_name for known_name in sorted(known, reverse=True)}
    found = get_close_matches(wanted, lower, n=1, cutoff=0.6)
    found = found or sorted((other for other in lower if len(wanted) > 3 and wanted in other), key=len)
    return lower[found[0]] if found else ""


def closest(name: str, known: Iterable[str]) -> str:
    """`did you mean X?` for the closest known name, otherwise all of them (at most a dozen)."""
    names = sorted(set(known))
    if found := near(name, names):
        return f"did you mean {found}?"
    if not names:
        return "there is none yet"
    return f"known: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
