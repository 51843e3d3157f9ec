"""How often a login may be tried, so that guessing is slow and nobody can lock another person out.

OWASP, Slow Down Online Guessing Attacks with Device Cookies: tries from a browser that has logged in to the account
before are counted by themselves; those from elsewhere by account and address, by address, and by account, in that order
of strictness. Calls may raise TransientError or AuthError, as `State` does.
"""

from __future__ import annotations

import secrets

from sorbus.ops.console.access.accounts import digest_of, sql
from sorbus.state import State

WINDOW = 15 * 60
"""Seconds in which tries are counted."""
PER_DEVICE, PER_ACCOUNT_AND_ADDRESS, PER_ADDRESS, PER_ACCOUNT = 10, 10, 30, 100
"""Tries in a window. The last is for unknown browsers from everywhere together."""
DEVICE_SECONDS = 90 * 86400
"""How long a browser is known after a login."""


class Attempts:
    """Tries, counted for all consoles together."""

    def __init__(self, state: State) -> None:
        self._state = state

    def admit(self, account: str, address: str, device: str = "") -> float:
        """Notes a try; the seconds to wait first, 0 if it may be made. One that has to wait isn't noted.

        `device`: the token of the browser's device cookie, if any.
        """
        return self._admit(self._limits(account, address, device))

    def admit_own(self, account: str) -> float:
        """The same for the old password of a person who is logged in."""
        return self._admit({f"own password of {account}": PER_DEVICE})

    def succeeded(self, account: str, address: str, device: str = "") -> None:
        """After a right password: the tries from this browser (or for this account from this address) count no more.

        Of the address's and the account's tries only this one: the others may have been another person's.
        """
        all_of, *one_of = self._limits(account, address, device)
        self._state.run(sql("forget_attempts"), {"all_of": [all_of], "one_of": one_of})

    def succeeded_own(self, account: str) -> None:
        """After a right old password."""
        self._state.run(sql("forget_attempts"), {"all_of": [f"own password of {account}"], "one_of": []})

    def remember(self, account: str) -> str:
        """A new device of the account's; the token for its cookie."""
        token = secrets.token_urlsafe(32)
        values = {"hash": digest_of(token), "account": account, "longest": DEVICE_SECONDS}
        self._state.run(sql("remember_device"), values)
        return token

    def is_known(self, account: str, device: str) -> bool:
        """Whether a person has logged in to the account with this browser before."""
        if not device:
            return False
        values = {"hash": digest_of(device), "account": account, "longest": DEVICE_SECONDS}
        return bool(self._state.run(sql("find_device"), values))

    def _limits(self, account: str, address: str, device: str) -> dict[str, int]:
        if self.is_known(account, device):
            return {f"device {digest_of(device).hex()}": PER_DEVICE}
        return {
            f"account {account} at {address}": PER_ACCOUNT_AND_ADDRESS,
            f"address {address}": PER_ADDRESS,
            f"account {account}": PER_ACCOUNT,
        }

    def _admit(self, limits: dict[str, int]) -> float:
        with self._state.connection() as connection:
            for subject in sorted(limits):  # so that tries at the same time are counted one after the other
                connection.execute("select pg_advisory_xact_lock(hashtextextended('sorbus ' || %s, 0))", [subject])
            connection.execute("delete from console_attempt where at < now() - %s * interval '1 second'", [WINDOW])
            values = {"subjects": list(limits), "window": WINDOW}
            found = connection.execute(sql("count_attempts"), values).fetchall()
            full = [float(str(left)) for subject, count, left in found if int(str(count)) >= limits[str(subject)]]
            wait = max(full, default=0.0)
            if not wait:
                connection.execute("insert into console_attempt (subject) select unnest(%s::text[])", [list(limits)])
        return wait
