"""Inboxes on the shared Kafka, and ports that nobody listens on."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.ops.embedded import Addresses
from sorbus.ops.run.topics import Topic, plan_topics
from sorbus.settings import Settings


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka, database=stack.database)


@pytest.fixture
def names(unique: str) -> Names:
    return Names(f"{unique}.")


@pytest.fixture
def make_inbox(settings: Settings, names: Names) -> Callable[[str], None]:
    """Makes a system's inbox topic."""

    def make(system: str) -> None:
        topic = Topic(names.inbox(system), 1, {"cleanup.policy": "delete"}, is_keyed=False)
        for step in plan_topics(admin(settings), [topic]):
            assert step.apply is not None
            step.apply()

    return make


@pytest.fixture
def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
