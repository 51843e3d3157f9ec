"""Servers that find their port taken: what answers there is another's, and must not count as theirs."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest

from sorbus.ops.demo.year import servers
from sorbus.ops.demo.year.servers import HttpApplication, Mariadb, MissingProgram, Slapd, check_programs
from sorbus.ops.embedded import Addresses, Ports, Stack, StackError, packages
from sorbus.ops.embedded.kafka import Kafka
from sorbus.ops.embedded.ports import free_port, listens
from sorbus.ops.embedded.postgres import Postgres
from sorbus.ops.embedded.registry import RegistryServer

THREE = [field.name for field in fields(Addresses)]


class Server(Protocol):
    """What all of them have."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that PostgreSQL's own user can enter, too."""
    with TemporaryDirectory(prefix="sorbus-taken-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def port_of(kind: str, stack: Addresses) -> int:
    """Where one of the run's three servers answers."""
    found = re.search(r"127\.0\.0\.1:(\d+)", getattr(stack, kind))
    assert found
    return int(found[1])


def second(kind: str, folder: Path, port: int) -> Kafka | RegistryServer | Postgres:
    """Another server of that kind on this port."""
    found = packages.fetch()
    if kind == "kafka":
        return Kafka(folder, found, port=port, controller=free_port(24_001))
    if kind == "registry":
        return RegistryServer(folder, found, port=port)
    return Postgres(folder, found, port=port, fast=True)


@pytest.mark.parametrize("kind", THREE)
def test_another_s_answer_does_not_count_in_the_stack(kind: str, folder: Path, stack: Addresses) -> None:
    server = second(kind, folder, port_of(kind, stack))
    server.start()
    try:
        with pytest.raises(StackError, match=r"ended .* another program listens on port"):
            server.wait()
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", THREE)
def test_the_stack_takes_other_ports_when_one_is_gone(
    kind: str, folder: Path, stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Ports(**{**asdict(Ports.free()), kind: port_of(kind, stack)})
    taken.remember(folder / "ports.json")
    busy, asked = Ports.busy, list[Ports]()

    def free_once(ports: Ports) -> list[str]:  # another program takes it between the choice and the start
        asked.append(ports)
        return busy(ports) if len(asked) > 1 else []

    monkeypatch.setattr(Ports, "busy", free_once)
    with Stack(folder, fast=True) as started:
        assert started.is_running()
        assert str(port_of(kind, stack)) not in "".join(started.env().values())


MAKE: dict[str, Callable[[Path], Server]] = {
    "mariadb": Mariadb, "slapd": Slapd, "application": lambda folder: HttpApplication("support", folder, 18_080),
}  # fmt: skip


@pytest.mark.parametrize("kind", MAKE)
def test_another_s_answer_does_not_count_in_the_year(kind: str, folder: Path) -> None:
    try:
        check_programs()
    except MissingProgram as error:
        pytest.skip(str(error))
    server = MAKE[kind](folder)
    with socket.create_server((servers.LOOPBACK, 0)) as other:
        server.port = other.getsockname()[1]  # type: ignore[attr-defined]
        if isinstance(server, Slapd):
            server.url = f"ldap://{servers.LOOPBACK}:{server.port}"
        try:
            with pytest.raises(StackError, match=r"ended .* another program listens on port"):
                server.start()
        finally:
            server.stop()


def test_who_listens_is_told_by_its_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, subprocess.Popen([sys.executable, "-c", "input()"]) as other:
        port, pid = ours.getsockname()[1], os.getpid()
        assert listens([pid], port)
        assert listens([other.pid, pid], port)
        assert not listens([other.pid], port)
        other.kill()
    assert not listens([pid], port)
