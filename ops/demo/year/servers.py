"""The servers of the year that the stack doesn't have: MariaDB, OpenLDAP's slapd, and the HTTP application."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from sorbus.errors import ExitCode, SorbusError
from sorbus.ops.embedded.ports import LOOPBACK, free_port
from sorbus.ops.embedded.process import ServerProcess

BASE, ADMIN, ADMIN_PASSWORD = (
    "dc=brightwater,dc=example",
    "cn=admin,dc=brightwater,dc=example",
    "the-administrators-own",
)
SORBUS_DN = f"cn=sorbus,{BASE}"
DATABASE = "accounting"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/lib/openldap"
_PROGRAMS = {
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "mariadb": "mariadb-client",
    "slapd": "slapd",
    "ldapsearch": "ldap-utils",
    "ldapmodify": "ldap-utils",
}
_START_WITHIN, _COMMAND_WITHIN = 60.0, 120.0
_SLAPD = """\
{schemas}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
pidfile {folder}/pid
database mdb
maxsize 268435456
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
dbnosync
index objectClass,entryCSN,entryUUID,uid,employeeNumber,modifyTimestamp eq
access to attrs=userPassword by self write by anonymous auth by * none
access to * by dn.exact="{sorbus}" write by * read
overlay syncprov
"""


class MissingProgram(SorbusError):
    """A server that the year needs is not installed."""

    exit_code = ExitCode.WRONG_USE


def check_programs() -> None:
    """MissingProgram, with Debian's names of the packages, if one of the servers isn't installed."""
    missing = {package for program, package in _PROGRAMS.items() if shutil.which(program, path=_PATH) is None}
    if missing:
        packages = " ".join(sorted(missing))
        raise MissingProgram(f"the year needs MariaDB and OpenLDAP; install them: apt-get install {packages}")


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise MissingProgram(f"{name} is not installed: apt-get install {_PROGRAMS[name]}")
    return found


def _answers(address: tuple[str, int] | str) -> bool:
    """Whether something accepts connections there; a text is a socket's path."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex(address) == 0


def _wait(process: ServerProcess, port: int, address: tuple[str, int] | str = "") -> None:
    """Returns once it answers, on a port that is its own."""
    at = address or (LOOPBACK, port)
    process.wait_until(lambda: _answers(at), deadline=_START_WITHIN, event=f"it answers on port {port}", port=port)


class Mariadb:
    """Accounting's server, in `folder`. People use its own client as root; Sorbus logs in over TCP with a password."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port(13306)
        self._socket = Path("/tmp") / f"sorbus-year-{os.getpid()}-{self.port}.sock"  # socket paths are short
        self._process = ServerProcess("mariadb", folder, stop=signal.SIGTERM, death=signal.SIGKILL)

    def start(self) -> None:
        """Starts it, made on first use, and returns once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        user = f"--user={getpass.getuser()}"
        data = self.folder / "data"
        if not data.exists():
            subprocess.run(
                [_program("mariadb-install-db"), "--no-defaults", user, f"--datadir={data}", "--skip-test-db",
                 "--auth-root-authentication-method=normal", "--skip-name-resolve"],
                check=True, capture_output=True, timeout=_COMMAND_WITHIN,
            )  # fmt: skip
        self._process.start(
            [_program("mariadbd"), "--no-defaults", user, f"--datadir={data}", f"--port={self.port}",
             f"--socket={self._socket}", f"--pid-file={self.folder / 'pid'}", f"--bind-address={LOOPBACK}",
             "--log-bin=log", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL",
             "--server-id=1", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", "--sync-binlog=0",
             "--innodb-flush-log-at-trx-commit=2", "--performance-schema=0", "--skip-name-resolve"],
        )  # fmt: skip
        _wait(self._process, self.port, str(self._socket))

    def stop(self) -> None:
        """Stops it in order."""
        self._process.stop()
        self._socket.unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9, as when the power fails."""
        pids = [int(one["pid"]) for one in json.loads(self._process.record.read_text("utf-8"))]
        for pid in reversed(pids):
            os.kill(pid, signal.SIGKILL)
        self._process.stop()

    def execute(self, script: str, database: str = DATABASE) -> list[list[str | None]]:
        """Runs SQL with MariaDB's own client; the rows of what it selects, NULL as None."""
        done = subprocess.run(
            [_program("mariadb"), "--no-defaults", f"--socket={self._socket}", "--user=root", "--batch", "--raw",
             "--skip-column-names", "--default-character-set=utf8mb4", *([database] if database else [])],
            input=script, capture_output=True, text=True, timeout=_COMMAND_WITHIN, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SorbusError(f"accounting: {done.stderr.strip()[:500]}")
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        return [[None if cell == "NULL" else cell for cell in row] for row in rows]

    def set_password(self, password: str) -> None:
        """Sorbus's password there, from now on; sessions that are open are ended."""
        self.execute(
            f"create user if not exists sorbus@'{LOOPBACK}' identified by '{password}';"
            f"alter user sorbus@'{LOOPBACK}' identified by '{password}';"
            f"grant select, replication slave, binlog monitor on *.* to sorbus@'{LOOPBACK}';"
            f"grant all on {DATABASE}.* to sorbus@'{LOOPBACK}';",
            "",
        )
        self.execute(f"kill user sorbus@'{LOOPBACK}';", "")


class Slapd:
    """The directory, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port(13389)
        self.url = f"ldap://{LOOPBACK}:{self.port}"
        self._process = ServerProcess("slapd", folder, stop=signal.SIGTERM, death=signal.SIGTERM)

    def start(self) -> None:
        """Starts it and returns once it answers."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        schemas = "\n".join(
            f"include /etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "nis", "inetorgperson")
        )
        text = _SLAPD.format(
            schemas=schemas, folder=self.folder, base=BASE, admin=ADMIN, password=ADMIN_PASSWORD, sorbus=SORBUS_DN
        )
        (self.folder / "slapd.conf").write_text(text, "utf-8")
        self._process.start([_program("slapd"), "-f", str(self.folder / "slapd.conf"), "-h", self.url, "-d", "0"])
        _wait(self._process, self.port)

    def stop(self) -> None:
        """Stops it in order."""
        self._process.stop()

    def organize(self, password: str) -> None:
        """Makes the tree, and the entry that Sorbus logs in with."""
        self._modify(
            f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Brightwater\ndc: brightwater\n\n"
            f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n\n"
            f"dn: {SORBUS_DN}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: sorbus\n"
            f"userPassword: {password}\n"
        )

    def set_password(self, password: str) -> None:
        """Sorbus's password there, from now on; its connections are cut by a restart."""
        self._modify(f"dn: {SORBUS_DN}\nchangetype: modify\nreplace: userPassword\nuserPassword: {password}\n")
        self.stop()
        self.start()

    def search(self, filter: str, base: str) -> str:
        """LDIF, by ldapsearch."""
        command = [_program("ldapsearch"), "-x", "-LLL", "-o", "ldif-wrap=no", "-E", "pr=1000/noprompt"]
        command += ["-H", self.url, "-D", ADMIN, "-w", ADMIN_PASSWORD, "-b", base, filter]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_WITHIN, check=False)
        if done.returncode:
            raise SorbusError(f"directory: {done.stderr.strip()[:500]}")
        return done.stdout

    def _modify(self, ldif: str) -> None:
        command = [_program("ldapmodify"), "-a", "-x", "-H", self.url, "-D", ADMIN, "-w", ADMIN_PASSWORD]
        done = subprocess.run(command, input=ldif, capture_output=True, text=True, timeout=_COMMAND_WITHIN, check=False)
        if done.returncode:
            raise SorbusError(f"directory: {done.stderr.strip()[:500]}")


class HttpApplication:
    """The HTTP application in a process of its own: `name`.sqlite and `name`.key in `folder`."""

    def __init__(self, name: str, folder: Path, preferred_port: int) -> None:
        self.name, self.folder, self.port = name, folder, free_port(preferred_port)
        self.database, self.key_file = folder / f"{name}.sqlite", folder / f"{name}.key"
        self._process = ServerProcess(name, folder, stop=signal.SIGTERM, death=signal.SIGKILL)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"

    def set_key(self, key: str) -> None:
        """The one API key that it accepts from now on."""
        new = self.key_file.with_suffix(".new")
        new.write_text(key, "utf-8")
        new.replace(self.key_file)

    def start(self) -> None:
        """Starts it and returns once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process.start(
            [
                sys.executable,
                "-m",
                "sorbus.ops.demo.year.http_application",
                str(self.port),
                str(self.database),
                str(self.key_file),
            ]
        )
        _wait(self._process, self.port)

    def stop(self) -> None:
        """Stops it."""
        self._process.stop()


def wait(seconds: float) -> None:
    """A pause between two looks at other processes' work."""
    time.sleep(seconds)
