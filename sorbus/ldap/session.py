"""Connections to one directory: bound, each answer bounded in bytes and wall-clock time, errors as Sorbus's own."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from sorbus.errors import AuthError, Contended, TransientError
from sorbus.ldap.active_directory import range_of
from sorbus.ldap.attribute_types import DirectorySchema, schema_of
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.results import NO_SUCH_OBJECT, SUCCESS, Outcome, broken_connection, error_of

Scope = Literal["base", "one", "subtree"]
Changes = Mapping[str, Sequence[tuple[Literal["add", "delete", "replace"], Sequence[bytes]]]]
"""Attribute -> what to do with which of its values."""
_MOST_BYTES = 256 * 1024 * 1024
"""Most bytes of one answer: a page of entries with photographs fits."""
_IDLE, _LONGEST_RANGES = 240.0, 10_000
_PAGED = "1.2.840.113556.1.4.319"
_log = logging.getLogger(__name__)
Raw = Any
"""A connection of ldap3, which has no types."""


class Entry(NamedTuple):
    """An entry as it was answered: attribute descriptions in lower case, values as bytes."""

    dn: str
    attributes: Mapping[str, Sequence[bytes]]

    def values(self, spellings: Sequence[str]) -> Sequence[bytes]:
        """The values under the first of these names that has some."""
        return next((self.attributes[name] for name in spellings if self.attributes.get(name)), ())


class EntryPage(NamedTuple):
    """A page of a search. `cookie` asks for the next one, on the same connection; empty: this was the last."""

    entries: Sequence[Entry]
    cookie: bytes


class _BoundedSocket:
    """A socket whose answers have to be there in time, and not be endless: ldap3 bounds neither."""

    def __init__(self, inner: Raw) -> None:
        self._inner, self._until, self._left = inner, time.monotonic() + _IDLE, _MOST_BYTES

    def begin(self, seconds: float) -> None:
        """A request begins."""
        self._until, self._left = time.monotonic() + seconds, _MOST_BYTES

    def recv(self, size: int) -> bytes:
        self._wait()
        data: bytes = self._inner.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"the answer has more than {_MOST_BYTES:,} bytes; write a smaller page_size:")
        return data

    def sendall(self, data: bytes) -> None:
        self._wait()
        self._inner.sendall(data)

    def _wait(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time (timeout:)")
        self._inner.settimeout(left)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class Directory:
    """One directory. Safe for threads: each request takes a connection of its own from the few that are kept."""

    def __init__(self, system: str, options: LdapConnection, folder: Path) -> None:
        """Reaches nothing."""
        self.system, self.options = system, options
        self._folder = folder
        self._free: list[tuple[Raw, float]] = []
        self._lock = threading.Lock()
        self._schema: DirectorySchema | None = None
        self._controls: frozenset[str] | None = None

    @property
    def schema(self) -> DirectorySchema:
        """The directory's own. TransientError, AuthError."""
        if self._schema is None:
            self._schema = self._read_schema()
        return self._schema

    @property
    def controls(self) -> frozenset[str]:
        """The OIDs of the controls that the server has."""
        if self._controls is None:
            root = self.read("", ["supportedControl"], doing="reading the root DSE")
            values = root.attributes.get("supportedcontrol", ()) if root else ()
            self._controls = frozenset(value.decode(errors="replace") for value in values)
        return self._controls

    def connect(self) -> Raw:
        """A connection of one's own, bound; `unbind` it. TransientError, AuthError."""
        import ldap3

        doing = f"connecting to {self.system} ({self.options.url})"
        if self.options.is_exposed:
            raise AuthError(
                f"{doing}: the password would cross the network in clear text; write ldaps://, leave StartTLS on, or"
                " write allow_plain: true if the network in between is your own"
            )
        options = self.options
        made = None
        with _translated(doing):
            tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=options.authorities(self._folder))
            server = ldap3.Server(
                options.host,
                options.port,
                use_ssl=options.is_tls,
                tls=tls,
                get_info=ldap3.NONE,
                connect_timeout=min(options.timeout, 15.0),
            )
            made = ldap3.Connection(
                server,
                user=options.bind_dn or None,
                password=options.password.get_secret_value() or None,
                client_strategy=ldap3.SYNC,
                auto_referrals=False,
                auto_range=False,
                check_names=False,
                receive_timeout=int(options.timeout),
                return_empty_attributes=False,
                auto_escape=False,
                auto_encode=False,
            )
            made.open(read_server_info=False)
            if options.starts_tls and not made.start_tls(read_server_info=False):
                raise OSError(f"StartTLS is refused ({made.result.get('description', '')})")
            made.socket = _BoundedSocket(made.socket)
            made.socket.begin(options.timeout)
            made.bind(read_server_info=False)
        outcome = _outcome(made)
        if outcome.code != SUCCESS:
            _leave(made)
            raise error_of(outcome, doing=f"binding to {self.system} as {options.bind_dn or 'nobody'}", is_write=False)
        return made

    @contextmanager
    def borrowed(self) -> Iterator[Raw]:
        """A bound connection; one that failed isn't used again."""
        made = self._kept() or self.connect()
        try:
            yield made
        except (TransientError, OSError) as error:
            if not isinstance(error, Contended):
                _leave(made)
                made = None
            raise
        finally:
            if made is not None:
                with self._lock:
                    self._free.append((made, time.monotonic()))

    def read(self, dn: str, attributes: Sequence[str], *, doing: str) -> Entry | None:
        """One entry by its name; None if there is none."""
        with self.borrowed() as made:
            outcome, entries, _ = ask(made, self, dn, "base", "(objectClass=*)", attributes, doing=doing)
            if outcome.code == NO_SUCH_OBJECT:
                return None
            _require(outcome, doing)
            return self._whole(made, entries[0], doing) if entries else None

    def find(
        self, base: str, scope: Scope, filter: str, attributes: Sequence[str], *, doing: str, most: int = 0
    ) -> list[Entry]:
        """The entries that match, at most `most`: in one answer, for searches that find a few."""
        with self.borrowed() as made:
            outcome, entries, _ = ask(made, self, base, scope, filter, attributes, doing=doing, most=most)
            if not (outcome.code == 4 and most and len(entries) >= most):
                _require(outcome, doing)
            return [self._whole(made, one, doing) for one in entries]

    def page(
        self,
        made: Raw,
        base: str,
        scope: Scope,
        filter: str,
        attributes: Sequence[str],
        *,
        doing: str,
        cookie: bytes = b"",
    ) -> EntryPage:
        """A page of a search (RFC 2696), on the connection that it began on."""
        size = self.options.page_size
        outcome, entries, cookie = ask(
            made, self, base, scope, filter, attributes, doing=doing, page_size=size, cookie=cookie
        )
        _require(outcome, doing)
        return EntryPage([self._whole(made, one, doing) for one in entries], cookie)

    def add(self, dn: str, attributes: Mapping[str, Sequence[bytes]], *, doing: str) -> None:
        """A new entry."""
        self._write(lambda made: made.add(dn, attributes={k: list(v) for k, v in attributes.items()}), doing)

    def modify(self, dn: str, changes: Changes, *, doing: str) -> None:
        """All of it or nothing."""
        import ldap3

        words = {"add": ldap3.MODIFY_ADD, "delete": ldap3.MODIFY_DELETE, "replace": ldap3.MODIFY_REPLACE}
        made = {name: [(words[what], list(values)) for what, values in steps] for name, steps in changes.items()}
        self._write(lambda connection: connection.modify(dn, made), doing)

    def rename(self, dn: str, rdn: str, superior: str | None, *, doing: str) -> None:
        """Another name, and another superior where one is given; the old value of the name goes."""
        self._write(lambda made: made.modify_dn(dn, rdn, delete_old_dn=True, new_superior=superior), doing)

    def delete(self, dn: str, *, doing: str) -> None:
        """The entry, which has none below it."""
        self._write(lambda made: made.delete(dn), doing)

    def close(self) -> None:
        """Leaves."""
        with self._lock:
            free, self._free = self._free, []
        for made, _ in free:
            _leave(made)

    def _kept(self) -> Raw | None:
        while True:
            with self._lock:
                if not self._free:
                    return None
                made, at = self._free.pop()
            if time.monotonic() - at < _IDLE and not made.closed:
                return made
            _leave(made)

    def _write(self, write: Callable[[Raw], object], doing: str) -> None:
        with self.borrowed() as made:
            with _translated(doing):
                made.socket.begin(self.options.timeout)
                write(made)
            _require(_outcome(made), doing, is_write=True)

    def _whole(self, made: Raw, entry: Entry, doing: str) -> Entry:
        """The entry with what Active Directory gave only a part of: member;range=0-1499."""
        parts = {name: found for name in entry.attributes if (found := range_of(name)) is not None}
        if not parts:
            return entry
        attributes = {name: list(values) for name, values in entry.attributes.items() if name not in parts}
        for described, (name, _, last) in parts.items():
            values = list(entry.attributes[described])
            for _ in range(_LONGEST_RANGES):
                if last is None:
                    break
                asked = f"{name};range={last + 1}-*"
                outcome, answered, _ = ask(made, self, entry.dn, "base", "(objectClass=*)", [asked], doing=doing)
                _require(outcome, doing)
                more = [
                    (part, answered[0].attributes[key])
                    for key in (answered[0].attributes if answered else ())
                    if (part := range_of(key)) is not None and part[0].lower() == name.lower()
                ]
                if not more or more[0][0][1] != last + 1:
                    raise TransientError(f"{doing}: {name} of {entry.dn} can't be read to its end; it is read again")
                (_, _, last), following = more[0]
                values += following
            attributes[name.lower()] = values
        return Entry(entry.dn, attributes)

    def _read_schema(self) -> DirectorySchema:
        doing = f"reading the schema of {self.system}"
        root = self.read("", ["subschemaSubentry"], doing=doing)
        names = root.attributes.get("subschemasubentry", ()) if root else ()
        if not names:
            _log.warning("%s: the server names none, so that every value is text", doing)
            return DirectorySchema()
        with self.borrowed() as made:
            outcome, entries, _ = ask(
                made,
                self,
                names[0].decode(),
                "base",
                "(objectClass=subschema)",
                ["attributeTypes", "objectClasses"],
                doing=doing,
            )
            _require(outcome, doing)
        found = entries[0].attributes if entries else {}
        return schema_of(
            [one.decode(errors="replace") for one in found.get("attributetypes", ())],
            [one.decode(errors="replace") for one in found.get("objectclasses", ())],
        )


def ask(
    made: Raw,
    directory: Directory,
    base: str,
    scope: Scope,
    filter: str,
    attributes: Sequence[str],
    *,
    doing: str,
    most: int = 0,
    page_size: int | None = None,
    cookie: bytes = b"",
) -> tuple[Outcome, list[Entry], bytes]:
    """One search request. Continuation references aren't followed: what they name is on another server."""
    scopes = {"base": "BASE", "one": "LEVEL", "subtree": "SUBTREE"}
    with _translated(doing):
        made.socket.begin(directory.options.timeout)
        made.search(
            base,
            filter,
            scopes[scope],
            dereference_aliases="NEVER",
            attributes=list(attributes) or ["1.1"],
            size_limit=most,
            time_limit=int(directory.options.timeout),
            paged_size=page_size,
            paged_criticality=True,
            paged_cookie=cookie or None,
        )
        outcome = _outcome(made)
        answered = list(made.response or ())
        entries = [_entry(one) for one in answered if one["type"] == "searchResEntry"]
        if any(one["type"] == "searchResRef" for one in answered):
            _log.debug("%s: references to other servers aren't followed", doing)
        control = (made.result.get("controls") or {}).get(_PAGED)
        made.response = None
    return outcome, entries, bytes(control["value"]["cookie"] or b"") if control else b""


def _entry(answered: Mapping[str, Any]) -> Entry:
    values = cast("Mapping[str, Sequence[bytes]]", answered["raw_attributes"])
    return Entry(answered["raw_dn"].decode(), {name.lower(): list(found) for name, found in values.items()})


def _outcome(made: Raw) -> Outcome:
    result = made.result or {}
    matched = result.get("dn") or ""
    return Outcome(int(result.get("result", 80)), str(result.get("message") or ""), str(matched))


def _require(outcome: Outcome, doing: str, *, is_write: bool = False) -> None:
    if outcome.code != SUCCESS:
        raise error_of(outcome, doing=doing, is_write=is_write)


def _leave(made: Raw) -> None:
    try:
        made.socket.begin(1.0)
        made.unbind()
    except Exception as error:  # noqa: BLE001 - it is gone either way
        _log.debug("unbinding: %s", error)


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """ldap3's own errors, and the socket's, as TransientError."""
    from ldap3.core.exceptions import LDAPExceptionError

    try:
        yield
    except (LDAPExceptionError, OSError, ValueError) as error:
        raise broken_connection(error, doing=doing) from error
