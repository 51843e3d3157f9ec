"""Which authenticator a console has, by where it listens and what it was told; it doesn't open without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sorbus.errors import AuthError, SorbusError
from sorbus.ops.console.access.accounts import Accounts, Sessions
from sorbus.ops.console.access.authenticators import AccountAuth, Authenticator, NoAuth, Proxies, ProxyAuth
from sorbus.ops.console.access.host_policy import LOOPBACK_NAMES, HostPolicy
from sorbus.ops.console.access.user import Role
from sorbus.state import State


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """How people reach the console. `url` "" is the address that it listens on; `login` asks on the loopback too."""

    url: str = ""
    login: bool = False
    trust_proxies: Sequence[str] = ()
    proxy_roles: Mapping[str, Role] = field(default_factory=dict)

    def site(self, host: str, port: int) -> HostPolicy:
        """Where it is for browsers. AuthError where passwords and cookies would travel in the clear."""
        url = self.url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
        site = HostPolicy(url)
        if not site.is_https and not site.is_loopback:
            raise AuthError(
                f"the console would be at {site.url}, where passwords travel unencrypted; put a"
                " TLS proxy in front of it and set --url https://NAME (SORBUS_CONSOLE_URL)"
            )
        return site

    def authenticator(self, host: str, site: HostPolicy, state: State) -> Authenticator:
        """How people are authenticated. AuthError where they would not be; TransientError when the state can't tell."""
        if self.proxy_roles:
            if not self.trust_proxies:
                raise SorbusError("--proxy-role requires --trust-proxy")
            return ProxyAuth(Proxies(self.trust_proxies), self.proxy_roles)
        if host in LOOPBACK_NAMES and site.is_loopback and not self.login:
            return NoAuth()
        if not Accounts(state).is_any_enabled():
            raise AuthError(
                f"the console would be open to everybody who reaches {site.url}: there are no accounts. Add one"
                " (`sorbus console account add NAME --role admin`), or let a proxy log people in"
                " (--trust-proxy ADDRESS --proxy-role GROUP=ROLE)"
            )
        return AccountAuth(Sessions(state))
