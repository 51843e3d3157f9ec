"""The console's local accounts, and the sessions of those who are logged in, in the state database.

Every call may raise TransientError or AuthError, as `State` does.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import LiteralString, NamedTuple

from sorbus.audit import AuditTrail
from sorbus.errors import SorbusError
from sorbus.ops.console.access import passwords
from sorbus.ops.console.access.user import Role, User
from sorbus.postgres.connection import Connection
from sorbus.state import State

IDLE, LONGEST = 2 * 3600, 12 * 3600
"""Seconds after which a session ends: since the last action of the person, and since the login."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class Account(NamedTuple):
    """A person who may log in."""

    name: str
    role: Role
    is_disabled: bool
    made_at: datetime
    login_at: datetime | None


class Accounts:
    """Local accounts: by command and by admins in the console. `who` does it; the audit trail says so."""

    def __init__(self, state: State) -> None:
        self._state, self._audit = state, AuditTrail(state)

    def all(self) -> list[Account]:
        """Every account, by name."""
        rows = self._state.run(b"select name, role, disabled, made_at, login_at from console_account order by name")
        return [_account(*row) for row in rows]

    def is_any_enabled(self) -> bool:
        """Whether anybody can log in at all."""
        return bool(self._state.run(b"select 1 from console_account where not disabled limit 1"))

    def add(self, name: str, role: Role, password: str, who: str) -> None:
        """Makes an account. SorbusError if the name is taken or can't be one, WeakPassword."""
        if not _NAME.fullmatch(name):
            raise SorbusError(f"{name!r} can't be an account's name: letters, digits and . _ @ + - only, 100 at most")
        kept = passwords.hashed(password, name)
        statement = "insert into console_account (name, hash, role) values (%s, %s, %s) on conflict do nothing"
        with self._state.connection() as connection:
            if not connection.execute(statement, (name, kept, role.name)).rowcount:
                raise SorbusError(f"account {name} already exists; `sorbus console account role` changes its role")
            self._note(connection, who, "add account", name, role=role.name)

    def set_role(self, name: str, role: Role, who: str) -> None:
        """What the account may from now on, its open sessions too. SorbusError if there is none."""
        with self._changing(name, "update console_account set role = %s where name = %s", role.name) as connection:
            self._note(connection, who, "change role", name, role=role.name)

    def set_password(self, name: str, password: str, who: str) -> None:
        """Another password; ends all of the account's sessions. SorbusError if there is none, WeakPassword."""
        statement = "update console_account set hash = %s, password_at = now() where name = %s"
        with self._changing(name, statement, passwords.hashed(password, name)) as connection:
            _end_all(connection, name)
            self._note(connection, who, "change password", name)

    def disable(self, name: str, who: str, *, undo: bool = False) -> None:
        """Lets nobody in under this name, or (`undo`) lets them in again. SorbusError if there is none."""
        with self._changing(name, "update console_account set disabled = %s where name = %s", not undo) as connection:
            _end_all(connection, name)
            self._note(connection, who, "enable account" if undo else "disable account", name)

    def is_password_of(self, name: str, password: str) -> bool:
        """Whether the account may log in with this password."""
        rows = self._state.run(b"select hash from console_account where name = %s and not disabled", [name])
        kept = str(rows[0][0]) if rows else None
        if not passwords.is_right(kept, password):
            return False
        if kept is not None and passwords.is_outdated(kept):
            values = [passwords.rehashed(password), name, kept]
            self._state.run(b"update console_account set hash = %s where name = %s and hash = %s", values)
        return True

    @contextmanager
    def _changing(self, name: str, statement: LiteralString, value: object) -> Iterator[Connection]:
        with self._state.connection() as connection:
            if not connection.execute(statement, (value, name)).rowcount:
                raise SorbusError(f"there is no account {name}; see `sorbus console account list`")
            yield connection

    def _note(self, connection: Connection, who: str, action: str, name: str, **details: str) -> None:
        self._audit.note_in(connection, who, action, "account", name, details=details)


class Sessions:
    """Who is logged in. Browsers have a random token, we have its hash."""

    def __init__(self, state: State) -> None:
        self._state = state

    def open(self, account: str) -> str:
        """Begins a session; the token for the browser."""
        token = secrets.token_urlsafe(32)
        values = {"hash": digest_of(token), "account": account, "longest": LONGEST, "idle": IDLE}
        self._state.run(sql("open_session"), values)
        return token

    def find(self, token: str, *, by_person: bool) -> User | None:
        """Whose session it is, None if it has ended. `by_person`: the person did something, so that it stays awake."""
        values = {"hash": digest_of(token), "longest": LONGEST, "idle": IDLE, "by_person": by_person}
        rows = self._state.run(sql("find_session"), values)
        return User(str(rows[0][0]), Role[str(rows[0][1])]) if rows else None

    def end(self, token: str) -> None:
        """Ends a session, if there is one."""
        self._state.run(b"delete from console_session where hash = %s", [digest_of(token)])


def _end_all(connection: Connection, name: str) -> None:
    connection.execute("delete from console_session where account = %s", (name,))
    connection.execute("delete from console_device where account = %s", (name,))


def _account(name: object, role: object, disabled: object, made_at: object, login_at: object) -> Account:
    assert isinstance(made_at, datetime)
    assert login_at is None or isinstance(login_at, datetime)
    return Account(str(name), Role[str(role)], bool(disabled), made_at, login_at)


def digest_of(token: str) -> bytes:
    """What is kept of a token that a browser has."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


@cache
def sql(name: str) -> bytes:
    """One of the statements beside this module."""
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes()
