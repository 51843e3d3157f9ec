"""What was posted, as the consumer recorded it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, cast

from sorbus.state.database import State

_FIND = b"""
select at, id, version, message, status, outcome, seconds from webhook_attempt
where flow = %(flow)s and (%(id)s::text is null or id = %(id)s::text) and (not %(failed)s or outcome <> 'delivered')
order by at desc limit %(limit)s
"""


class PostedChange(NamedTuple):
    """One attempt. `status` None: no answer came. `outcome`: delivered, refused, failed."""

    at: datetime
    id: str
    version: int
    message: str
    status: int | None
    outcome: str
    seconds: float


def posted(state: State, flow: str, *, id: str = "", failed: bool = False, limit: int = 50) -> list[PostedChange]:
    """The newest first. TransientError, AuthError."""
    of = {"flow": flow, "id": id or None, "failed": failed, "limit": limit}
    rows = state.run(_FIND, of)
    return [PostedChange(*cast("tuple[datetime, str, int, str, int | None, str, float]", row)) for row in rows]
