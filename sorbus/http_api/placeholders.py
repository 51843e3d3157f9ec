"""Fills placeholders in a description's texts, so that no value can be read as syntax."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

from sorbus.errors import PermanentError, SorbusError
from sorbus.http_api.interface import Json

Values = Mapping[str, str | int]
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def fill_path(text: str, values: Values) -> str:
    """Fills a URL's path; values are percent-encoded, so each stays within its segment (RFC 3986, section 3.3).

    PermanentError for empty values and dots, which would address another resource.
    """
    return _fill(text, values, _segment)


def fill_text(text: str, values: Values) -> str:
    """Fills a header's or parameter's text."""
    return _fill(text, values, str)


def fill_json(body: Json, values: Values) -> Json:
    """Fills a body; a text that is exactly one placeholder becomes the value itself, so numbers stay numbers."""
    if isinstance(body, str):
        whole = _PLACEHOLDER.fullmatch(body)
        return values[whole[1]] if whole and whole[1] in values else _fill(body, values, str)
    if isinstance(body, Mapping):
        return {key: fill_json(item, values) for key, item in body.items()}
    return [fill_json(item, values) for item in body] if isinstance(body, list) else body


def quoted(value: str, kind: str) -> str:
    """A value escaped for the quotes of a query; unchanged for kind "".

    PermanentError for control characters inside quotes: no query language agrees on how to write them.
    """
    if not kind:
        return value
    if _CONTROL.search(value):
        raise PermanentError(
            "a value with control characters can't be searched for; remove them by a rule",
            reason="value",
            value=value,
        )
    if kind == "sql":
        return value.replace("'", "''")
    mark = '"' if kind == "double" else "'"
    return value.replace("\\", "\\\\").replace(mark, f"\\{mark}")


def _segment(value: str | int) -> str:
    text = str(value)
    if text in ("", ".", ".."):
        raise PermanentError(f"{text!r} can't be part of a URL; fix the id", reason="value", value=text)
    return quote(text, safe="")


def _fill(text: str, values: Values, written: Callable[[str | int], str]) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise SorbusError(f"{match[0]} in {text!r} is not defined; fix the API's description or the settings")
        return written(values[match[1]])

    return _PLACEHOLDER.sub(one, text)
