"""`sorbus stack`: run the embedded Kafka, registry and PostgreSQL by hand."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.errors import ExitCode
from sorbus.ops.embedded.errors import StackError

# Every `sorbus` command loads this module, so what it takes to run a stack is imported by the commands that do.
if TYPE_CHECKING:
    from rich.console import Console

    from sorbus.ops.embedded.ports import Ports
    from sorbus.ops.embedded.stack import Addresses

app = typer.Typer(
    name="stack",
    help="Run a real Kafka, schema registry and PostgreSQL on this machine, from packages.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@cache
def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True, highlight=False)


_Folder = Annotated[Path, typer.Option("--folder", help="Where the stack keeps its data, logs and ports.")]
_FOLDER = Path(".sorbus/stack")


@app.command()
def up(
    folder: _Folder = _FOLDER,
    fast: Annotated[bool, typer.Option(help="Disable fsync (tests only).")] = False,
    ports: Annotated[
        str | None, typer.Option(help="Four ports: Kafka, Kafka's controller, registry, PostgreSQL.")
    ] = None,
) -> None:
    """Start the stack and keep it up until Ctrl-C; prints its addresses as `export` lines.

    A server that exits unexpectedly is restarted. The data stay in the folder, and so do the addresses: the next `up`
    has the same topics, schema ids and tables.

    **Examples**

        sorbus stack up

        sorbus stack up --folder /srv/sorbus --ports 9092,9093,8081,5432
    """
    from sorbus.ops.embedded import packages
    from sorbus.ops.embedded.stack import Stack

    asked = _parse(ports)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    stack = Stack(folder, fast=fast, ports=asked)
    packages.fetch(console=_console(stderr=True))
    with _console(stderr=True).status("Starting Kafka, registry and PostgreSQL"):
        stack.start()
    try:
        _print_exports(stack.addresses)
        _console(stderr=True).print("The stack is up; Ctrl-C stops it.")
        while not done.wait(1.0):
            stack.restart_ended(lambda words: _console(stderr=True).print(f"{words}; see the logs in {stack.folder}."))
    finally:
        _console(stderr=True).print("Stopping.")
        stack.stop()


@app.command()
def env(
    folder: _Folder = _FOLDER,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Wait so long for a stack that is just being started.")
    ] = 0,
) -> None:
    """Print the running stack's addresses as `export` lines.

    **Example**

        eval "$(sorbus stack env --wait 300)"
    """
    from sorbus.ops.embedded.stack import running

    end = time.monotonic() + wait
    while (addresses := running(folder)) is None and time.monotonic() < end:
        time.sleep(0.2)
    if addresses is None:
        raise StackError(f"No stack runs in {folder}; start one with sorbus stack up --folder {folder}.")
    _print_exports(addresses)


@app.command()
def status(folder: _Folder = _FOLDER) -> None:
    """Say which servers of the stack are up; exit status 3 unless all are.

    **Example**

        sorbus stack status --folder .sorbus/stack
    """
    from sorbus.ops.embedded import process
    from sorbus.ops.embedded.stack import SERVERS, running

    addresses = running(folder)
    where = ("", "", "") if addresses is None else (addresses.kafka, addresses.registry, addresses.database)
    for name, address in zip(SERVERS, where, strict=True):
        state = "up" if process.is_alive(folder, name) else "down"
        _console().print(f"{name:<9} {state:<5} {address}".rstrip())
    if addresses is None:
        raise typer.Exit(ExitCode.UNREACHABLE)


@app.command()
def prepare() -> None:
    """Download everything the stack needs, and build AOT caches for faster start (half a minute, once).

    **Example**

        sorbus stack prepare
    """
    from sorbus.ops.embedded import packages, training

    fetched = packages.fetch(console=_console(stderr=True))
    with _console(stderr=True).status("Training Kafka and the registry for quick starts"):
        written = training.train(fetched)
    _console(stderr=True).print(f"Ready: {len(written)} caches written." if written else "Ready: nothing to do.")


@app.command(name="lock", hidden=True)
def lock_packages() -> None:
    """Regenerate packages.lock from the versions pinned in lock.py (for Sorbus's own developers: `make lock`)."""
    from sorbus.ops.embedded import lock

    lock.write(lock.resolve())


def _parse(ports: str | None) -> Ports | None:
    from sorbus.ops.embedded.ports import Ports

    if ports is None:
        return None
    try:
        numbers = [int(part) for part in ports.split(",")]
        if len(set(numbers)) != 4 or not all(0 < number < 65536 for number in numbers):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(
            f"{ports!r}: write four different ports, as in 9092,9093,8081,5432.", param_hint="--ports"
        ) from None
    return Ports(*numbers)


def _print_exports(addresses: Addresses) -> None:
    for name, value in addresses.env().items():
        _console().print(f"export {name}={shlex.quote(value)}", markup=False)
