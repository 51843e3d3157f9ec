"""Attribute values (RFC 4517): from a directory's bytes to values that rules work with, and back."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.ldap.active_directory import guid, guid_bytes, moment, sid, ticks
from sorbus.ldap.attribute_types import AttributeType, Syntax
from sorbus.mapping.errors import shown

_GENERALIZED = re.compile(
    r"(?P<whole>\d{4}\d{2}\d{2}\d{2})(?P<minute>\d{2})?(?P<second>\d{2})?(?:[.,](?P<fraction>\d{1,20}))?"
    r"(?P<zone>Z|[+-]\d{2}(?:\d{2})?)"
)
_INTEGER = re.compile(r"-?\d{1,40}")


class UnusableValue(InvalidValue):
    """A value that can't be taken as it is; `why` ends a sentence about it."""

    def __new__(cls, text: str, why: str) -> UnusableValue:
        made = super().__new__(cls, text[:200])
        made.why = why
        return made


def read_value(data: bytes, kind: AttributeType) -> Json:
    """A value: text, True, 5, a datetime in UTC, binary data in Base64, None for AD's never; or an `UnusableValue`."""
    try:
        return _READ[kind.syntax](data)
    except (ValueError, OverflowError) as error:
        why = f"is not a valid {_WORDS.get(kind.syntax, kind.syntax)} in {kind.name} ({error}); correct the entry"
        return UnusableValue(data.decode(errors="replace"), why)


def write_value(value: Json, kind: AttributeType) -> bytes:
    """The inverse. PermanentError for what the attribute can't hold."""
    try:
        data = _WRITE[kind.syntax](value)
    except (ValueError, TypeError, OverflowError) as error:
        raise PermanentError(
            f"{kind.name} from {shown(value)}: not a valid {_WORDS.get(kind.syntax, kind.syntax)} ({error}); fix the"
            " mapping's rule",
            reason="mapping",
            field=kind.name,
            value=value,
        ) from error
    if not data:
        raise PermanentError(
            f"{kind.name}: an attribute has no empty values; leave it out by a rule (null)",
            reason="mapping",
            field=kind.name,
        )
    return data


def read_moment(text: str) -> datetime:
    """A generalized time (RFC 4517, section 3.3.13) in UTC; microseconds at most. ValueError."""
    found = _GENERALIZED.fullmatch(text)
    if found is None:
        raise ValueError("a time is written as 20261129081530Z")
    whole = found["whole"]
    base = datetime(int(whole[:4]), int(whole[4:6]), int(whole[6:8]), int(whole[8:]), tzinfo=UTC)
    minute, second, fraction = found["minute"], found["second"], found["fraction"]
    unit = 1_000_000 * (1 if second else 60 if minute else 3600)
    part = int(fraction) * unit // 10 ** len(fraction) if fraction else 0
    seconds = min(int(second or 0), 59)  # a leap second is the one before
    zone = found["zone"]
    offset = timedelta()
    if zone != "Z":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5] or 0)) * (1 if zone[0] == "+" else -1)
    made = base + timedelta(minutes=int(minute or 0), seconds=seconds, microseconds=part)
    return made - offset


def write_moment(value: datetime) -> str:
    """A generalized time in UTC, with a fraction only where there is one."""
    at = value.astimezone(UTC)
    text = f"{at.year:04}{at.month:02}{at.day:02}{at.hour:02}{at.minute:02}{at.second:02}"
    return f"{text}.{at.microsecond:06}".rstrip("0") + "Z" if at.microsecond else f"{text}Z"


def _read_boolean(data: bytes) -> bool:
    return {b"TRUE": True, b"FALSE": False}[_known(data.upper())]


def _known(word: bytes) -> bytes:
    if word not in (b"TRUE", b"FALSE"):
        raise ValueError("neither TRUE nor FALSE")
    return word


def _read_integer(data: bytes) -> int:
    text = data.decode("ascii")
    if not _INTEGER.fullmatch(text):
        raise ValueError("not a whole number")
    return int(text)


def _read_postal(data: bytes) -> str:
    lines = data.decode().split("$")
    return "\n".join(line.replace("\\24", "$").replace("\\5C", "\\").replace("\\5c", "\\").strip() for line in lines)


def _write_postal(value: Json) -> bytes:
    lines = [line.strip() for line in str(value).replace("\r\n", "\n").split("\n")]
    return "$".join(line.replace("\\", "\\5C").replace("$", "\\24") for line in lines if line).encode()


def _write_boolean(value: Json) -> bytes:
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise ValueError("neither true nor false")
    return text.upper().encode()


def _write_integer(value: Json) -> bytes:
    text = str(value).strip()
    if not _INTEGER.fullmatch(text):
        raise ValueError("not a whole number")
    return text.encode()


def _when(value: Json) -> datetime:
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, date):
        found = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        found = datetime.fromisoformat(str(value).strip())
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _write_text(value: Json) -> bytes:
    if isinstance(value, bool):
        return b"TRUE" if value else b"FALSE"
    return str(value).encode()


def _refuse(_: object) -> bytes:
    raise ValueError("passwords and keys are neither read nor written")


_READ: Mapping[Syntax, Callable[[bytes], Json]] = {
    "text": lambda data: data.decode(),
    "name": lambda data: data.decode(),
    "boolean": _read_boolean,
    "integer": _read_integer,
    "moment": lambda data: read_moment(data.decode("ascii")),
    "binary": lambda data: b64encode(data).decode(),
    "postal": _read_postal,
    "uuid": lambda data: str(UUID(data.decode("ascii"))),
    "guid": guid,
    "sid": sid,
    "filetime": lambda data: moment(_read_integer(data)),
    "secret": _refuse,
}
_WRITE: Mapping[Syntax, Callable[[Json], bytes]] = {
    "text": _write_text,
    "name": _write_text,
    "boolean": _write_boolean,
    "integer": _write_integer,
    "moment": lambda value: write_moment(_when(value)).encode(),
    "binary": lambda value: b64decode(str(value), validate=True),
    "postal": _write_postal,
    "uuid": lambda value: str(UUID(str(value))).encode(),
    "guid": lambda value: guid_bytes(str(value)),
    "sid": _refuse,
    "filetime": lambda value: str(ticks(_when(value))).encode(),
    "secret": _refuse,
}
_WORDS: Mapping[Syntax, str] = {
    "text": "text (UTF-8)",
    "moment": "time",
    "name": "distinguished name",
    "binary": "value in Base64",
    "postal": "postal address",
    "filetime": "time (FILETIME)",
    "sid": "security identifier",
}
