"""Control characters of other people's text, such as a record's values, before a terminal reads them as commands."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_IN_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def escaped(text: str, *, lines: bool = False) -> str:
    """`text` with each control character written out (`\\x1b`, `\\n`), so that it is seen and stays on its line.

    `lines`: it may have several, as a traceback has; line feeds and tabs stay.
    """
    return (_IN_LINES if lines else _CONTROL).sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped_markup(text: str) -> str:
    """`text` as rich prints it as it is, `escaped`."""
    from rich import markup

    return markup.escape(escaped(text))
