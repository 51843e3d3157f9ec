"""A system of the map as a directory."""

from __future__ import annotations

from sorbus.connector import BoundSystem
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.session import Directory


def connection_of(system: BoundSystem) -> LdapConnection:
    """The system's connection. TypeError for a system of another kind."""
    if not isinstance(system.connection, LdapConnection):
        raise TypeError(f"{system.name} is not a directory")
    return system.connection


def directory_of(system: BoundSystem) -> Directory:
    """The directory; nothing is reached yet."""
    return Directory(system.name, connection_of(system), system.folder)
