"""What loops do now and then, they do sooner in the tests' own process: same looks, less waiting for them.

What rests in production wakes less often: each look costs thirty flows a percent of a core.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sorbus.backoff import Backoff

_PAUSES = 0.2
_SECONDS = {
    "sorbus.bus.controls._EVERY": 0.2,
    "sorbus.bus.requests._EVERY": 0.1,
    "sorbus.consumers.group_member._IDLE": 0.2,
    "sorbus.consumers.kafka.consumer._CHECK_EVERY": 1.0,
    "sorbus.consumers.loop._CHECK_EVERY": 0.5,
    "sorbus.consumers.read_positions._COMPARE_EVERY": 1.0,
    "sorbus.consumers.waiting.LOOK": 0.2,
    "sorbus.producers.debezium.producer._CHECK_EVERY": 1.0,
    "sorbus.producers.event_writer._IDLE": 0.25,
    "sorbus.producers.own_topics._COMPARE_EVERY": 1.0,
    "sorbus.producers.postgres.incremental_snapshot._LONG": 0.2,
    "sorbus.producers.postgres.open_source._LOOK_EVERY": 1.0,
    "sorbus.producers.merge.producer._IDLE_STORE": 0.5,
    "sorbus.producers.postgres.stream_reader._IDLE_STORE": 1.0,
    "sorbus.producers.step.source_topic._CHECK_EVERY": 1.0,
    "sorbus.two_way.proposal_topics._CHECK_EVERY": 1.0,
}


@contextmanager
def sooner() -> Iterator[None]:
    """While the block lasts. Pauses whose jitter a test gives stay as they are: they are its subject."""
    plain = Backoff.next

    def next_pause(backoff: Backoff, retry_after: float | None = None) -> float:
        is_ours = retry_after is None and backoff._jitter is random.random
        return plain(backoff, retry_after) * (_PAUSES if is_ours else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backoff, "next", next_pause)
        for name, seconds in _SECONDS.items():
            patch.setattr(name, seconds)
        yield
