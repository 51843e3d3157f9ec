"""Connections to public addresses only: a url that names or resolves to a private one is refused where it is dialled.

The address that was checked is the one that is dialled, so a name that resolves to another address a moment later
(DNS rebinding) changes nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore

_NAT64 = IPv6Network("64:ff9b::/96")


class PrivateAddress(httpcore.ConnectError):
    """The host has no public address."""


class PublicAddresses(httpcore.NetworkBackend):
    """Resolves a host, and connects to its public addresses in turn."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} can't be resolved") from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        public = [one for one in addresses if is_public(one)]
        if not public:
            raise PrivateAddress(f"{host} is a private address")
        fault: Exception | None = None
        for address in public[:3]:
            try:
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
        assert fault is not None
        raise fault

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, and not a private, local, shared or reserved one."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found in _NAT64:
            return is_public(str(ip_address(int(found) & 0xFFFFFFFF)))
        if found.sixtofour is not None or found.teredo is not None:
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved
