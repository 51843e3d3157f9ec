"""Which application a system's links are of, and whose account in it: elsewhere the same ids are other records."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

from sorbus.connector import BoundSystem
from sorbus.errors import LostPosition
from sorbus.identity.statements import statement
from sorbus.state.database import State


@runtime_checkable
class HasAccount(Protocol):
    """A consumer connector whose records have ids of their own, which mean nothing in another account."""

    def account_of(self, system: BoundSystem) -> str:
        """Which application a system is, and whose account in it, as shown to people. MapError."""


def require_account(state: State, system: str, account: str, *, keeps: bool = True) -> None:
    """LostPosition where a system's links are of another account than `account`. TransientError.

    `keeps`: the first one is noted, and another where there are no links.
    """
    known, links = _known(state, system)
    if known == account:
        return
    if known is not None and links:
        raise LostPosition(
            f"Sorbus's {links:,} links of {system} are of another address or account ({known}), the map now says"
            f" {account}: there the same ids may be other records. Put that back; or, if its records have the same ids"
            f" there, as where it has a new address: `sorbus crosswalk moved {system}`; or give the account another"
            f" name than {system} in the map: its records are then matched, and made where they aren't there"
        )
    if keeps:
        keep_account(state, system, account)


def keep_account(state: State, system: str, account: str) -> int:
    """From now on the system's links are of this account; returns how many there are. TransientError."""
    _, links = _known(state, system)
    state.run(statement("keep_account"), {"system": system, "account": account})
    return links


def account_of_links(state: State, system: str) -> str | None:
    """What was noted of a system; None: nothing. TransientError."""
    return _known(state, system)[0]


def _known(state: State, system: str) -> tuple[str | None, int]:
    rows = state.run(statement("account"), {"system": system})
    return cast("tuple[str | None, int]", rows[0])
