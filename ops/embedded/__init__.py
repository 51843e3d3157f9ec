"""The embedded stack: a real Kafka, schema registry and PostgreSQL, run from packages on one machine.

`Stack(folder)` starts all three on loopback and keeps their data in the folder, so that a demo, a test run or a small
company needs neither Docker nor a server. Nothing else in Sorbus knows it: everything reads the three addresses
SORBUS_KAFKA, SORBUS_REGISTRY and SORBUS_DATABASE, which may point at a cluster just as well.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sorbus.ops.embedded.errors import StackError
    from sorbus.ops.embedded.ports import Ports
    from sorbus.ops.embedded.stack import Addresses, Stack

__all__ = ["Addresses", "Ports", "Stack", "StackError"]

_HOMES = {"Addresses": "stack", "Ports": "ports", "Stack": "stack", "StackError": "errors"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: the command line loads this package for every command."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
