"""What Active Directory writes in its own way, from Microsoft's published descriptions ([MS-ADTS], [MS-DTYP]).

Unit-tested from these documents; no Active Directory was at hand.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_NEVER = (0, 0x7FFFFFFFFFFFFFFF)
DISABLED = 0x2
"""userAccountControl: ACCOUNTDISABLE."""
GUIDS = frozenset({"objectguid", "msexchmailboxguid", "ms-ds-consistencyguid"})
SIDS = frozenset({"objectsid", "sidhistory"})
FILETIMES = frozenset(
    {
        "accountexpires",
        "badpasswordtime",
        "lastlogoff",
        "lastlogon",
        "lastlogontimestamp",
        "lockouttime",
        "pwdlastset",
        "msds-userpasswordexpirytimecomputed",
    }
)
CONTROL, ENABLED = "userAccountControl", "accountEnabled"
"""`accountEnabled` is no attribute: it stands for one bit of userAccountControl."""
_RANGE = re.compile(r"^(?P<name>[\w;.-]+?);range=(?P<first>\d+)-(?P<last>\d+|\*)$", re.IGNORECASE)


def guid(data: bytes) -> str:
    """A GUID in the form that people know: its first three parts are little-endian. ValueError."""
    return str(UUID(bytes_le=data))


def guid_bytes(text: str) -> bytes:
    """The inverse. ValueError."""
    return UUID(text).bytes_le


def sid(data: bytes) -> str:
    """A security identifier, S-1-5-21-... ([MS-DTYP] 2.4.2). ValueError."""
    if len(data) < 8 or len(data) != 8 + 4 * data[1]:
        raise ValueError("not a security identifier")
    parts = [int.from_bytes(data[at : at + 4], "little") for at in range(8, len(data), 4)]
    return "-".join(["S", str(data[0]), str(int.from_bytes(data[2:8], "big")), *map(str, parts)])


def moment(ticks: int) -> datetime | None:
    """A FILETIME: 100 nanoseconds since 1601; None for never. ValueError, OverflowError."""
    return None if ticks in _NEVER else _EPOCH + timedelta(microseconds=ticks // 10)


def ticks(value: datetime | None) -> int:
    """The inverse; for None, never."""
    return 0 if value is None else (value.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 10


def enabled(control: int, *, is_enabled: bool) -> int:
    """userAccountControl with the account enabled or disabled, and every other bit unchanged."""
    return control & ~DISABLED if is_enabled else control | DISABLED


def range_of(description: str) -> tuple[str, int, int | None] | None:
    """The attribute, first and last value of a partial answer such as member;range=0-1499; last None: the end."""
    found = _RANGE.match(description)
    if found is None:
        return None
    return found["name"], int(found["first"]), None if found["last"] == "*" else int(found["last"])
