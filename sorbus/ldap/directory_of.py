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


def account_of(system: BoundSystem) -> str:
    """What ids are told apart by: the base, and the attribute that they are."""
    options = connection_of(system)
    return f"{options.base}#{options.identity_attribute}".lower()


def directory_of(system: BoundSystem) -> Directory:
    """The directory; nothing is reached yet."""
    return Directory(system.name, connection_of(system), system.folder)
