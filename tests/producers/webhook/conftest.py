"""Inboxes on the shared Kafka, and ports that nobody listens on."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

import pytest

from sorbus.bus.names import Names
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.producers.webhook.house import make_topic


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka, database=stack.database)


@pytest.fixture
def names(unique: str) -> Names:
    return Names(f"{unique}.")


@pytest.fixture
def make_inbox(settings: Settings, names: Names) -> Callable[[str], None]:
    """Makes a system's inbox topic."""

    return partial(make_topic, settings, names)


@pytest.fixture
def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
