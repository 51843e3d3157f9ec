"""The error of a rule that can't be compiled, or can't be applied to a value."""

from __future__ import annotations

_LONGEST = 80


class RuleError(ValueError):
    """An invalid rule, or a value that it can't take. The text says why; `fix` is what to write instead.

    `filter` is the filter that rejected `value`; both are None at compile time.
    """

    def __init__(self, message: str, *, fix: str = "", filter: str | None = None, value: object = None) -> None:
        self.message = message
        self.fix = fix
        self.filter = filter
        self.value = value
        super().__init__(f"{message}; {fix}" if fix else message)


def shown(value: object) -> str:
    """A value as shown in a message: text in quotes, long ones truncated, other types named."""
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
    """Escapes lone surrogates and zero bytes: a message must be stored and sent anywhere."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
