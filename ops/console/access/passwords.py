"""Passwords: how they are kept (argon2id, RFC 9106) and which will do (NIST SP 800-63B, 3.1.1)."""

from __future__ import annotations

from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from sorbus.errors import SorbusError

SHORTEST, LONGEST = 12, 256
_AT_A_TIME = BoundedSemaphore(2)
"""A hash takes 64 MiB and a core for a while: a storm of logins queues here instead of taking the machine."""


class WeakPassword(SorbusError):
    """A password that won't do; the message says which would."""


def hashed(password: str, name: str) -> str:
    """What is kept of a new password of the account `name`; WeakPassword."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword(f"a password has {SHORTEST} to {LONGEST} characters; some words in a row are easy to keep")
    if len(set(password)) < 5 or name.lower() in password.lower():
        raise WeakPassword("this password is too easy to guess; take some words in a row, without the account's name")
    return rehashed(password)


def rehashed(password: str) -> str:
    """What is kept of a password that is right already, whatever would be asked of a new one."""
    with _AT_A_TIME:
        return _hasher().hash(password)


def is_right(kept: str | None, password: str) -> bool:
    """Whether `password` is the one that `kept` was made of; takes as long where there is none (None)."""
    if len(password) > LONGEST:
        password, kept = "", None
    with _AT_A_TIME:
        try:
            return _hasher().verify(kept or _nobodys(), password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(kept: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _hasher().check_needs_rehash(kept)


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobodys() -> str:
    return _hasher().hash("a password that no account has")
