"""The `connection:` of a system of kind ldap."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from sorbus.ldap.distinguished_name import DistinguishedName

_PORTS = {"ldap": 389, "ldaps": 636}


class LdapConnection(BaseModel):
    """One directory, and as whom Sorbus binds there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="ldaps://ldap.example.com, or ldap://... for StartTLS; a port may follow.")
    base: str = Field(min_length=1, description="The entry below which everything is, such as dc=example,dc=com.")
    bind_dn: str = Field(default="", description="The DN (or AD's user@domain) to bind as; empty: anonymously.")
    password: SecretStr = Field(default=SecretStr(""), description="Its password, written as ${NAME}.")
    allow_plain: bool = Field(
        default=False, description="No TLS to another machine: anyone in between can read the password."
    )
    start_tls: bool | None = Field(
        default=None, description="StartTLS on ldap://; default: yes, but for this machine itself."
    )
    ca_file: str = Field(default="", description="A file with the authority's certificates; default: the machine's.")
    active_directory: bool = Field(
        default=False, description="Active Directory: identity objectGUID, modified whenChanged."
    )
    identity: str = Field(
        default="", description="The attribute that identifies an entry for ever; default: entryUUID (RFC 4530)."
    )
    modified: str = Field(default="", description="The attribute with its last change; default: modifyTimestamp.")
    page_size: int = Field(default=500, ge=1, le=10_000, description="Entries that are asked for at once.")
    timeout: float = Field(default=60.0, ge=1.0, le=600.0, description="Seconds within which one answer must be there.")

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            is_valid = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_valid = False
        if "${" in url:
            return url
        if not is_valid or parts.path.strip("/") or parts.query or parts.username:
            # Not quoted: it may hold a login.
            raise ValueError("write ldaps://HOST or ldap://HOST:PORT, the base DN as base:, a login as bind_dn:")
        return url

    @field_validator("base")
    @classmethod
    def _a_name(cls, base: str) -> str:
        if "${" not in base:
            DistinguishedName.parse(base)
        return base

    @model_validator(mode="after")
    def _a_bind(self) -> LdapConnection:
        if self.bind_dn and not self.password.get_secret_value():
            raise ValueError("bind_dn without password: a directory takes that for an anonymous bind; write password:")
        return self

    @property
    def host(self) -> str:
        """The machine's name."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """389 or 636, unless the URL says another."""
        parts = urlsplit(self.url)
        return parts.port or _PORTS[parts.scheme]

    @property
    def is_local(self) -> bool:
        """Whether the server is this machine."""
        return _is_this_machine(self.host)

    @property
    def is_tls(self) -> bool:
        """Whether TLS begins with the connection."""
        return self.url.startswith("ldaps:")

    @property
    def starts_tls(self) -> bool:
        """Whether StartTLS comes before the bind."""
        if self.is_tls or self.allow_plain:
            return bool(self.start_tls) and not self.is_tls
        return not self.is_local if self.start_tls is None else self.start_tls

    @property
    def is_exposed(self) -> bool:
        """Whether the password would cross a network in clear text, without the map's leave."""
        return not (self.is_tls or self.starts_tls or self.allow_plain or self.is_local)

    @property
    def identity_attribute(self) -> str:
        """The attribute that identifies an entry for ever."""
        return self.identity or ("objectGUID" if self.active_directory else "entryUUID")

    @property
    def modified_attribute(self) -> str:
        """The attribute with an entry's last change."""
        return self.modified or ("whenChanged" if self.active_directory else "modifyTimestamp")

    def authorities(self, folder: Path) -> str | None:
        """The path of `ca_file`, relative to the map's folder."""
        return str(folder / self.ca_file) if self.ca_file else None


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
