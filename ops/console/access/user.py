"""Who acts in the console, and what they may."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Role(IntEnum):
    """What a person may do; each role includes those before it.

    viewer: read, with personal values masked. operator: act, and see personal values, which is noted. admin: accounts.
    """

    viewer = 1
    operator = 2
    admin = 3


class User(NamedTuple):
    """Who makes a request. `name` is what the audit trail says."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether they have at least this role."""
        return self.role >= role


class Visit(NamedTuple):
    """One browser's stay: who it is (None: nobody yet) and the secret that its cookie holds."""

    person: User | None
    secret: str
    is_new: bool = False
    """Whether the answer has to set the cookie."""
