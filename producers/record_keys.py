"""What names a record: the owner's id made of a key, the key behind an id, and keys that name nothing."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

LONGEST_KEY = 8192
"""Bytes of a record's id: it is a Kafka key, a header, and part of a primary key elsewhere."""
_NO_KEY = b"(no key) "
_LONGEST_NAME = 200


def record_id(values: Sequence[bytes | None]) -> bytes:
    """The owner's id: the key's text; composite keys are joined by |, with % and | in their parts percent-encoded."""
    if len(values) == 1:
        return values[0] or b""
    return b"|".join((value or b"").replace(b"%", b"%25").replace(b"|", b"%7C") for value in values)


def record_key(id: bytes, columns: int) -> tuple[bytes | None, ...] | None:
    """The key behind an id of `record_id`; None for an id that such a key can't have made."""
    parts = [id] if columns == 1 else [part.replace(b"%7C", b"|").replace(b"%25", b"%") for part in id.split(b"|")]
    return tuple(parts) if len(parts) == columns and b"\0" not in id and not id.startswith(_NO_KEY) else None


def key_fault(values: Sequence[object], columns: Sequence[str]) -> tuple[str, str] | None:
    """The column of a key that names no record, and what is wrong with it; None for a key that does."""
    size = 0
    for value, column in zip(values, columns, strict=True):
        if value is None:
            return column, "has no value (null)"
        if not isinstance(value, bytes):
            return column, "isn't in the stream: the table's replica identity lacks it"
        size += len(value)
        try:
            value.decode()
        except UnicodeDecodeError as error:
            return column, f"holds bytes that are not text in UTF-8 ({error.reason} at byte {error.start})"
        if b"\0" in value:
            return column, "holds a zero byte, which no id can have"
        if size > LONGEST_KEY:
            return column, f"is too long for a key: {size:,} bytes, and {LONGEST_KEY:,} are the most"
    return (columns[0], "is empty") if not size and len(columns) == 1 else None


def unkeyed_id(names: Sequence[str], values: Sequence[object], *, is_key: bool) -> bytes:
    """What a dead letter calls a row whose key names no record: by its primary key (`is_key`), else by a digest."""
    if is_key:
        told = ", ".join(f"{name}={_shown(value)}" for name, value in zip(names, values, strict=True))
        if len(told) <= _LONGEST_NAME:
            return _NO_KEY + told.encode()
    digest = blake2b(digest_size=8)
    for value in values:
        digest.update(b"\1" + value if isinstance(value, bytes) else b"\0")
        digest.update(b"\0")
    return _NO_KEY + digest.hexdigest().encode()


def _shown(value: object) -> str:
    return value.decode(errors="backslashreplace").replace("\0", "\\0") if isinstance(value, bytes) else "null"
