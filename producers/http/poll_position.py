"""A data type's part of the position: what its polls resume from, as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self, cast

from pydantic import JsonValue

from sorbus.producers.polling.poll_state import Copying, PollState, Quiet

_PARAMETER = re.compile(r"[?&;]([^?&;=\s]+)=")
_SECRETS = frozenset(
    (
        "accesskey",
        "accesstoken",
        "apikey",
        "apisecret",
        "apitoken",
        "appkey",
        "appsecret",
        "auth",
        "authkey",
        "authorization",
        "authtoken",
        "bearer",
        "clientsecret",
        "credential",
        "credentials",
        "jwt",
        "key",
        "oauthtoken",
        "pass",
        "passwd",
        "password",
        "privatetoken",
        "pwd",
        "secret",
        "session",
        "sessionid",
        "sid",
        "sig",
        "signature",
        "subscriptionkey",
        "token",
    )
)


@dataclass(frozen=True, slots=True)
class PollPosition:
    """The state of the polls; the version of the last delete; the version above which all is published (a takeover).

    `shape`: of the mapping when the whole list was read last; `always`: paths that every record of it had.
    """

    state: PollState
    deleted_version: int
    floor: int | None
    shape: str
    always: tuple[str, ...]

    def to_json(self) -> JsonValue:
        state, copying = self.state, self.state.copying
        return {
            "cursor": state.cursor,
            "compared_at": state.compared_at,
            "newest": state.newest,
            "copying": None if copying is None or _holds_secret(copying.after) else list(copying),
            "quiet": None if state.quiet is None else list(state.quiet),
            "timeless": state.timeless,
            "is_short": state.is_short,
            "looks": list(state.looks),
            "is_again": state.is_again,
            "deleted_version": self.deleted_version,
            "floor": self.floor,
            "shape": self.shape,
            "always": list(self.always),
        }

    @classmethod
    def from_json(cls, stored: JsonValue) -> Self:
        """As `to_json` wrote it, or an earlier release; anything else is the beginning."""
        found = cast("dict[str, object]", stored) if isinstance(stored, dict) else {}
        is_again = found.get("is_again") is True
        copying = None if is_again else cast("list[object] | None", found.get("copying"))
        quiet = found.get("quiet")
        state = PollState(
            cursor=_whole(found.get("cursor")),
            compared_at=_whole(found.get("compared_at")),
            newest=_whole(found.get("newest")),
            copying=Copying(str(copying[0]), _whole(copying[1]), _whole(copying[2]) or 0) if copying else None,
            quiet=Quiet(*(_whole(each) or 0 for each in quiet))
            if isinstance(quiet, list) and len(quiet) == 4
            else None,
            timeless=_whole(found.get("timeless")) or 0,
            is_short=found.get("is_short") is True,
            looks=tuple(str(id) for id in cast("list[JsonValue]", found.get("looks") or [])),
            is_again=is_again,
        )
        always = tuple(str(path) for path in cast("list[JsonValue]", found.get("always") or []))
        deleted_version = _whole(found.get("deleted_version")) or 0
        return cls(state, deleted_version, _whole(found.get("floor")), str(found.get("shape", "")), always)


def _holds_secret(after: str) -> bool:
    """Whether the next page's address repeats the caller's credentials: then a restart begins the list again."""
    return any(re.sub(r"[-_.]|x-amz-", "", name.lower()) in _SECRETS for name in _PARAMETER.findall(after))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
