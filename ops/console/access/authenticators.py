"""Authenticators: who makes a request."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from starlette.requests import Request

from sorbus.cli.login import login_name
from sorbus.errors import AuthError, SorbusError
from sorbus.ops.console.access.accounts import Sessions
from sorbus.ops.console.access.user import Role, User, Visit

EVERYBODY = "*"
"""Stands for every group, where groups are given roles."""

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Authenticator(Protocol):
    """One way to tell who makes a request."""

    def visit(self, request: Request, cookie: str) -> Visit:
        """Who it is, by the console's cookie ("" where there is none) or else. AuthError: not to be let in at all."""
        ...


class NoAuth:
    """On the loopback address: who has the machine has the console, and is the user of the operating system."""

    def __init__(self) -> None:
        self._person = User(login_name(), Role.admin)

    def visit(self, request: Request, cookie: str) -> Visit:
        if forwarded := [name for name in FORWARDED if name in request.headers]:
            raise AuthError(
                f"this console asks nobody who they are, and a proxy passes requests on to it ({forwarded[0]});"
                " start it with --url and accounts, or with --trust-proxy and --proxy-role"
            )
        return _known(self._person, cookie)


class AccountAuth:
    """Local accounts: whose session the cookie names."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def visit(self, request: Request, cookie: str) -> Visit:
        if not cookie:
            return Visit(None, secrets.token_urlsafe(32), True)
        by_person = "hx-request" not in request.headers or request.method == "POST"
        return Visit(self._sessions.find(cookie, by_person=by_person and request.url.path != "/events"), cookie)


class ProxyAuth:
    """A proxy in front logs people in (OpenID Connect) and says who they are: X-Forwarded-User and -Groups.

    Only its own addresses are believed; `roles` gives the groups theirs, the highest counts.
    """

    def __init__(self, proxies: Proxies, roles: Mapping[str, Role]) -> None:
        self._proxies, self._roles = proxies, dict(roles)

    def visit(self, request: Request, cookie: str) -> Visit:
        if not self._proxies.sent(request):
            raise AuthError("this console is entered through its proxy only, which knows who you are")
        # Not X-Forwarded-Preferred-Username: people may choose that one themselves, and another one tomorrow.
        user, mail = (request.headers.get(f"x-forwarded-{each}", "") for each in ("user", "email"))
        name = f"{mail} ({user})" if mail and user and mail != user else user or mail
        if not name:
            raise AuthError("the proxy has not said who you are (X-Forwarded-User); an admin has to set that up")
        said = ",".join(request.headers.getlist("x-forwarded-groups"))
        groups = {EVERYBODY, *(group.strip() for group in said.split(","))}
        roles = [role for group, role in self._roles.items() if group in groups]
        if not roles:
            raise AuthError(f"{name} is in none of the groups that may enter this console; ask an admin")
        return _known(User(name[:200], max(roles)), cookie)


class Proxies:
    """The proxies whose X-Forwarded headers are believed, by address or network."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """SorbusError when an address can't be read."""
        self._networks: list[IPv4Network | IPv6Network] = []
        for address in addresses:
            try:
                self._networks.append(ip_network(address))
            except ValueError as error:
                raise SorbusError(
                    f"--trust-proxy {address}: not an address or network, such as 10.0.0.7 or 10.0.0.0/24"
                ) from error

    def sent(self, request: Request) -> bool:
        """Whether a request came through one of them."""
        return any(ip_address(_peer(request)) in network for network in self._networks)

    def client(self, request: Request) -> str:
        """The address that a request comes from: what a trusted proxy says of it, else the other end itself."""
        address = _peer(request)
        hops = [hop.strip() for hop in ",".join(request.headers.getlist("x-forwarded-for")).split(",") if hop.strip()]
        while hops and any(_is_in(address, network) for network in self._networks):
            address = hops.pop()
        return _block(address)


def _known(person: User, cookie: str) -> Visit:
    return Visit(person, cookie) if cookie else Visit(person, secrets.token_urlsafe(32), True)


def _peer(request: Request) -> str:
    return request.client.host if request.client else "0.0.0.0"  # noqa: S104  # stands for nobody


def _is_in(address: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False


def _block(address: str) -> str:
    """The address, of IPv6 the /64 that one customer has; what is not an address is cut to a length."""
    try:
        known = ip_address(address)
    except ValueError:
        return address[:45]
    return str(known) if known.version == 4 else str(ip_network((known, 64), strict=False))
