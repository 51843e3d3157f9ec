"""A bus that a producer of the test's `source` publishes to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from tests.conformance.test_debezium import TopicThings


@pytest.fixture
def tape(source: TopicThings) -> Iterator[InMemoryBus]:
    tape = InMemoryBus(source)
    yield tape
    tape.close()
