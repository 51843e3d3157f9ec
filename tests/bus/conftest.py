"""A topic of its own for each test of the bus."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import NewTopic

from sorbus.bus.kafka import admin
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka, registry="")


@pytest.fixture
def topic(settings: Settings, unique: str) -> str:
    """A topic of one partition."""
    client = admin(settings)
    client.create_topics([NewTopic(unique, 1, 1)])[unique].result(30)
    return unique
