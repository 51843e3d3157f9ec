"""How a tap is, for `sorbus doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sorbus.connector import BoundSystem
from sorbus.diagnosis import Diagnosis
from sorbus.producers.singer.options import SingerConnection
from sorbus.producers.singer.tap_environment import TapEnvironment


def diagnose_tap(system: BoundSystem) -> Iterator[Diagnosis]:
    """What is installed, with the hash of its archive. Starts nothing."""
    connection = system.connection
    assert isinstance(connection, SingerConnection)
    if connection.command:
        program = Path(connection.command[0])
        if program.is_absolute() and not program.exists():
            yield Diagnosis(system.name, "tap", f"{program} isn't there", "problem", "install it, or fix `command:`")
        else:
            yield Diagnosis(system.name, "tap", f"it is started with {program}")
        return
    environment = TapEnvironment.of(connection)
    if not environment.is_installed:
        yield Diagnosis(
            system.name, "tap", f"{connection.package} isn't installed here", "warning", "run `sorbus apply`"
        )
        return
    own = next((f"{one} {digest}" for one, digest in environment.installed.items() if _is_own(one, connection)), "")
    yield Diagnosis(system.name, "tap", f"{own or connection.package} in {environment.folder}")


def _is_own(package: str, connection: SingerConnection) -> bool:
    return package.partition("==")[0].lower().replace("_", "-") == connection.name
