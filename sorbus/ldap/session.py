"""Connections to one directory: bound, each answer bounded in bytes and wall-clock time, errors as Sorbus's own."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sorbus.errors import AuthError, Contended, TransientError
from sorbus.ldap.attribute_types import DirectorySchema, schema_of
from sorbus.ldap.bounded_socket import BoundedSocket
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.results import NO_SUCH_OBJECT, SUCCESS, error_of
from sorbus.ldap.search import Entry, EntryPage, Raw, Scope, ask, outcome_of, require, translated, whole_entry

Changes = Mapping[str, Sequence[tuple[Literal["add", "delete", "replace"], Sequence[bytes]]]]
"""Attribute -> what to do with which of its values."""
_IDLE = 240.0
_log = logging.getLogger(__name__)


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
        with translated(doing):
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
            made.socket = BoundedSocket(made.socket)
            made.socket.begin(options.timeout)
            made.bind(read_server_info=False)
        outcome = outcome_of(made)
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

    def read(self, dn: str, attributes: Sequence[str], *, doing: str, none: Collection[int] = ()) -> Entry | None:
        """One entry by its name; None if there is none. `none`: other results that mean that here."""
        with self.borrowed() as made:
            timeout = self.options.timeout
            outcome, entries, _ = ask(made, timeout, dn, "base", "(objectClass=*)", attributes, doing=doing)
            if outcome.code == NO_SUCH_OBJECT or outcome.code in none:
                return None
            require(outcome, doing)
            return whole_entry(made, timeout, entries[0], doing) if entries else None

    def find(
        self, base: str, scope: Scope, filter: str, attributes: Sequence[str], *, doing: str, most: int = 0
    ) -> list[Entry]:
        """The entries that match, at most `most`: in one answer, for searches that find a few."""
        with self.borrowed() as made:
            outcome, entries, _ = ask(
                made, self.options.timeout, base, scope, filter, attributes, doing=doing, most=most
            )
            if not (outcome.code == 4 and most and len(entries) >= most):
                require(outcome, doing)
            return [whole_entry(made, self.options.timeout, one, doing) for one in entries]

    def find_all(self, base: str, scope: Scope, filter: str, attributes: Sequence[str], *, doing: str) -> list[Entry]:
        """All entries that match, however few one answer may hold."""
        found: list[Entry] = []
        cookie = b""
        with self.borrowed() as made:
            while True:
                page = self.page(made, base, scope, filter, attributes, doing=doing, cookie=cookie)
                found += page.entries
                if not (cookie := page.cookie):
                    return found

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
        outcome, entries, cookie = ask(
            made,
            self.options.timeout,
            base,
            scope,
            filter,
            attributes,
            doing=doing,
            page_size=self.options.page_size,
            cookie=cookie,
        )
        require(outcome, doing)
        return EntryPage([whole_entry(made, self.options.timeout, one, doing) for one in entries], cookie)

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
            with translated(doing):
                made.socket.begin(self.options.timeout)
                write(made)
            require(outcome_of(made), doing, is_write=True)

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
                self.options.timeout,
                names[0].decode(),
                "base",
                "(objectClass=subschema)",
                ["attributeTypes", "objectClasses"],
                doing=doing,
            )
            require(outcome, doing)
        found = entries[0].attributes if entries else {}
        return schema_of(
            [one.decode(errors="replace") for one in found.get("attributetypes", ())],
            [one.decode(errors="replace") for one in found.get("objectclasses", ())],
        )


def _leave(made: Raw) -> None:
    try:
        made.socket.begin(1.0)
        made.unbind()
    except Exception as error:  # noqa: BLE001 - it is gone either way
        _log.debug("unbinding: %s", error)
