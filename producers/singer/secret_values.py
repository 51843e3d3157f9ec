"""Hides what a tap's settings hold that may be secret in what the tap says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote, quote_plus

from pydantic import JsonValue

from sorbus.privacy.mask import HIDDEN

_SHORTEST = 4
_OPEN = re.compile(
    r"(host|hostname|port|database|dbname|schema|start_date|end_date|url|base_url|path|file|files|table|tables|stream"
    r"|streams|region|name|type|format|delimiter|encoding|timezone)",
    re.IGNORECASE,
)
"""Settings whose values help to understand an error, and are no secrets unless a password is in them."""
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w.-]++")


class SecretValues:
    """What is to be hidden, longest first."""

    def __init__(self, config: Mapping[str, JsonValue], environment: Mapping[str, str]) -> None:
        values = {part for value in (*_leaves(config), *environment.values()) for part in _parts(value)}
        forms = {form for value in values for form in (value, quote(value), quote_plus(value), json.dumps(value)[1:-1])}
        self._hidden = sorted((one for one in forms if len(one) >= _SHORTEST), key=len, reverse=True)

    def masked(self, text: str) -> str:
        """The text without them, without logins in addresses, and without e-mail addresses."""
        for value in self._hidden:
            text = text.replace(value, HIDDEN)
        return _EMAIL.sub(HIDDEN, _LOGIN.sub(HIDDEN, text))


def _parts(value: str) -> Iterator[str]:
    """A value; its lines, since output comes by lines; what it holds where it is JSON itself, such as a key file."""
    yield value
    lines = value.split("\\n") if "\\n" in value else value.splitlines()
    if len(lines) > 1:
        yield from filter(None, (line.strip() for line in lines))
    if value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            for inner in _leaves(json.loads(value)):
                yield from _parts(inner)


def _leaves(value: JsonValue | Mapping[str, JsonValue], name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    elif isinstance(value, str):
        if _OPEN.fullmatch(name) is None:
            yield value
        else:
            yield from _LOGIN.findall(value)
    elif value is not None and not isinstance(value, bool) and _OPEN.fullmatch(name) is None:
        yield str(value)
