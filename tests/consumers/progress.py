"""What every consumer does that keeps how far its flow has come."""

from __future__ import annotations

import time

from sorbus.abilities import KeepsProgress, Progress


def keeps_progress(consumer: KeepsProgress) -> None:
    """By topic and by partition, and never back."""
    began = int(time.time())
    assert consumer.progress("a.order id-1") == {}
    consumer.note_progress("a.order id-1", {0: 7, 11: 2**53})
    consumer.note_progress("a.order id-2", {0: 3})
    consumer.note_progress("a.order id-1", {0: 5, 1: 0})
    found = consumer.progress("a.order id-1")
    assert {number: one.offset for number, one in found.items()} == {0: 7, 1: 0, 11: 2**53}
    assert all(isinstance(one, Progress) and began <= one.noted_at <= time.time() for one in found.values())
    assert {number: one.offset for number, one in consumer.progress("a.order id-2").items()} == {0: 3}
    assert consumer.progress("a.order id-") == {}
