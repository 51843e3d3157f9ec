"""What a rule says when it can't be read, or can't be applied to a value."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 80


class RuleError(ValueError):
    """A rule that can't be read, or a value that it can't take. The text says why; `fix` what to write instead.

    `filter` is the filter that refused, `value` what it was given (both None while a rule is being read).
    """

    def __init__(self, message: str, *, fix: str = "", filter: str | None = None, value: object = None) -> None:
        self.message = message
        self.fix = fix
        self.filter = filter
        self.value = value
        super().__init__(f"{message}; {fix}" if fix else message)


def shown(value: object) -> str:
    """A value as people read it in a message: text in quotes, long ones cut, other types named."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        text = value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
        return f'"{_sound(text)}"'
    try:
        text = str(value)
    except ValueError:  # an int of more digits than Python prints
        text = "too long to show"
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"{_sound(text)} ({type(value).__name__})"


def _sound(text: str) -> str:
    """Half an emoji as its escape: a message must be one that can be written anywhere."""
    return text.encode("utf-8", "backslashreplace").decode()


def near(name: str, known: Iterable[str]) -> str:
    """The known name that is closest in spelling, or else contains it; whatever the case; empty when there is none."""
    wanted = name.lower()
    lower = {known_name.lower(): known_name for known_name in sorted(known, reverse=True)}
    found = get_close_matches(wanted, lower, n=1, cutoff=0.6)
    found = found or sorted((other for other in lower if len(wanted) > 3 and wanted in other), key=len)
    return lower[found[0]] if found else ""


def closest(name: str, known: Iterable[str]) -> str:
    """`did you mean X?` for the closest of the known names, otherwise all of them (or the first dozen)."""
    names = sorted(set(known))
    if found := near(name, names):
        return f"did you mean {found}?"
    if not names:
        return "there is none yet"
    return f"known: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
