"""A topic of its own for each test of the bus."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import NewTopic

from sorbus.bus.kafka import admin
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.topics import make_topics


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka, registry="")


@pytest.fixture
def topic(settings: Settings, unique: str) -> str:
    """A topic of one partition."""
    client = admin(settings)
    make_topics(client, NewTopic(unique, 1, 1))
    return unique
