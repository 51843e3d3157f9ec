"""Whether the map contains a secret in the clear. No message ever shows one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import JsonValue

from sorbus.errors import Finding

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

Path_ = tuple[str | int, ...]

_SECRET_NAMES = re.compile(
    r"(password|passwd|passphrase|pwd|secret|token|apikey|accesskey|secretkey|privatekey|credentials?)$"
)
_REFERENCE = r"\$\{[^}]*\}"
_SECRET_TEXTS = (
    re.compile(rf"[a-z][a-z0-9+.-]*://[^\s/:@]*:(?!{_REFERENCE}@)[^\s/@]+@", re.IGNORECASE),
    re.compile(
        rf"\b(?:password|passwd|pwd|secret|sslpassword|access_token|api_key)\s*=\s*(?!{_REFERENCE})[^\s&;]+", re.I
    ),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(
        r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[baprs]-[A-Za-z0-9-]{10,}|sk_live_[A-Za-z0-9]{16,})"
    ),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
)


def check_secrets(loaded: LoadedMap) -> Iterator[Finding]:
    """A finding for each value that looks like a secret in the clear."""
    for path, value in _values(loaded.document.data, ()):
        why = _suspicion(path, value)
        if why:
            variable = _variable(path)
            message = f"{'.'.join(str(step) for step in path)} holds {why} in the clear"
            fix = f"write ${{{variable}}} in its place and set {variable} in the environment; then change the secret"
            yield loaded.finding(path, "clear-secret", message, fix)
    for row in loaded.mappings:
        if any(pattern.search(text) for text in (row.rule, row.notes) for pattern in _SECRET_TEXTS):
            fix = "remove it; then change the secret"
            yield Finding(row.file, row.line, "the row holds a secret in the clear", fix, "clear-secret")


def _values(value: JsonValue, path: Path_) -> Iterator[tuple[Path_, str | int | float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _values(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _values(inner, (*path, place))
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield path, value


def _suspicion(path: Path_, value: str | float) -> str:
    name = re.sub(r"[^a-z0-9]", "", str(path[-1]).lower()) if path else ""
    is_option = path[:1] == ("systems",) or path[2:3] in (("source",), ("target",))
    if is_option and _SECRET_NAMES.search(name) and value != "" and not re.search(_REFERENCE, str(value)):
        return f"a {path[-1]}"
    if isinstance(value, str) and any(pattern.search(value) for pattern in _SECRET_TEXTS):
        return "a password or key"
    return ""


def _variable(path: Path_) -> str:
    """A name for the variable: SYSTEM_KEY, such as CRM_PASSWORD."""
    owner = path[1] if len(path) > 1 and isinstance(path[1], str) else "SORBUS"
    last = str(path[-1]) if isinstance(path[-1], str) else "SECRET"
    return re.sub(r"[^A-Z0-9]+", "_", f"{owner}_{last}".upper()).strip("_")
