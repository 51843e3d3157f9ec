"""A real slapd of a test's own, changed and read with OpenLDAP's own tools."""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from sorbus.ops.embedded.ports import listens

SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/lib/openldap:/usr/libexec:/usr/bin:/usr/local/libexec")
MISSING = "OpenLDAP's slapd and ldap-utils aren't installed: apt-get install slapd ldap-utils"
BASE, ADMIN, PASSWORD = "dc=example,dc=test", "cn=admin,dc=example,dc=test", "secret"
_SCHEMAS = ("core", "cosine", "nis", "inetorgperson")
_CONF = """
{schemas}
{definitions}
modulepath {modules}
moduleload back_mdb
moduleload syncprov
{global_lines}
pidfile {folder}/pid
sizelimit 500
database mdb
maxsize 1073741824
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
dbnosync
index objectClass,entryCSN,entryUUID,uid,mail,employeeNumber,modifyTimestamp eq
{lines}
overlay syncprov
{sync}
"""
Entry = dict[str, list[bytes]]
AD_TOP: dict[str, object] = {"instanceType": 4, "nTSecurityDescriptor": b"x", "objectCategory": f"cn=user,{BASE}"}
"""What every entry of Active Directory has."""


class Slapd:
    """A server below `folder`. `lines` are added to its database's configuration."""

    def __init__(
        self,
        folder: Path,
        *,
        lines: str = "",
        sync: str = "",
        definitions: str = "",
        global_lines: str = "",
        schemas: Sequence[str] = _SCHEMAS,
        tls: bool = False,
    ) -> None:
        if SLAPD is None or shutil.which("ldapmodify") is None:
            pytest.skip(MISSING)
        self.folder = folder
        (folder / "data").mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port = free_port(), free_port() if tls else 0
        self.url = f"ldap://127.0.0.1:{self.port}"
        text = _CONF.format(
            schemas="\n".join(f"include /etc/ldap/schema/{name}.schema" for name in schemas),
            definitions=definitions,
            modules="/usr/lib/ldap",
            global_lines=global_lines,
            folder=folder,
            base=BASE,
            admin=ADMIN,
            password=PASSWORD,
            lines=lines,
            sync=sync,
        )
        (folder / "slapd.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)  # a test that failed before its end leaves no server behind

    @property
    def connection(self) -> dict[str, object]:
        """A map's `connection:`."""
        return {"url": self.url, "base": BASE, "bind_dn": ADMIN, "password": PASSWORD}

    def start(self) -> None:
        assert SLAPD is not None
        urls = self.url + (f" ldaps://localhost:{self.tls_port}" if self.tls_port else "")
        with (self.folder / "log").open("ab") as log:
            command = [SLAPD, "-f", str(self.folder / "slapd.conf"), "-h", urls, "-d", "0"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 15
        while not listens([self._process.pid], self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"slapd didn't start: {(self.folder / 'log').read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)
            self._process = None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(15)
        self._process = None

    @contextmanager
    def away(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    def modify(self, ldif: str, *, bind: str = ADMIN, password: str = PASSWORD, more: Sequence[str] = ()) -> None:
        """By ldapmodify; records without changetype are added."""
        command = ["ldapmodify", "-a", "-x", "-H", self.url, "-D", bind, "-w", password, *more]
        done = subprocess.run(command, input=ldif.encode(), capture_output=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def search(self, filter: str = "(objectClass=*)", *attributes: str, base: str = BASE) -> dict[str, Entry]:
        """DN -> attributes, by ldapsearch."""
        command = ["ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-E", "pr=1000/noprompt", "-H", self.url]
        command += ["-D", ADMIN, "-w", PASSWORD, "-b", base, filter, *attributes]
        done = subprocess.run(command, capture_output=True, timeout=600, check=False)
        assert done.returncode in (0, 32), done.stderr.decode()
        return parse_ldif(done.stdout)

    def organize(self) -> None:
        """The base, people and groups."""
        self.modify(
            f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n"
            f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n\n"
            f"dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\nou: groups\n"
        )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def line(name: str, value: object) -> str:
    """An attribute in LDIF, always in Base64 where the value isn't plain."""
    data = value if isinstance(value, bytes) else str(value).encode()
    is_plain = all(0x20 <= one < 0x7F for one in data) and not data.startswith((b" ", b":", b"<")) and data[-1:] != b" "
    return f"{name}: {data.decode()}" if is_plain and data else f"{name}:: {b64encode(data).decode()}"


def ldif(dn: str, attributes: Mapping[str, object]) -> str:
    """An entry to add."""
    lines = [line("dn", dn)]
    for name, value in attributes.items():
        lines += [line(name, one) for one in (value if isinstance(value, list | tuple) else [value])]
    return "\n".join(lines) + "\n\n"


def replacing(dn: str, attributes: Mapping[str, object]) -> str:
    """A modification; None and [] remove the attribute."""
    lines = [line("dn", dn), "changetype: modify"]
    for name, value in attributes.items():
        values = [] if value is None else value if isinstance(value, list | tuple) else [value]
        lines += [f"replace: {name}", *(line(name, one) for one in values), "-"]
    return "\n".join(lines) + "\n\n"


def person(number: int, **more: object) -> tuple[str, dict[str, object]]:
    """A DN and attributes."""
    uid = str(more.get("uid", f"u{number}"))
    attributes: dict[str, object] = {
        "objectClass": "inetOrgPerson",
        "uid": uid,
        "cn": f"Person {number}",
        "sn": f"Name{number}",
        "mail": f"{uid}@example.test",
        **more,
    }
    return f"uid={uid},ou=people,{BASE}", attributes


def people(numbers: Iterable[int], **more: object) -> str:
    """As LDIF."""
    return "".join(ldif(*person(number, **more)) for number in numbers)


def parse_ldif(data: bytes) -> dict[str, Entry]:
    """What ldapsearch prints."""
    found: dict[str, Entry] = {}
    for block in data.split(b"\n\n"):
        entry: Entry = {}
        for one in block.splitlines():
            if one.startswith(b"#") or not one.strip():
                continue
            name, _, value = one.partition(b":")
            decoded = b64decode(value[1:].strip()) if value.startswith(b":") else value.strip(b" ")
            entry.setdefault(name.decode(), []).append(decoded)
        if "dn" in entry:
            found[entry.pop("dn")[0].decode()] = entry
    return found
