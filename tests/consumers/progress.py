"""What every consumer does that keeps how far its flow has come."""

from __future__ import annotations

from sorbus.abilities import KeepsProgress, Progress


def keeps_progress(consumer: KeepsProgress) -> None:
    """By topic and by partition, and never back."""
    assert consumer.progress("a.order id-1") == {}
    consumer.note_progress("a.order id-1", {0: Progress(7, 50.0), 11: Progress(2**53, 1.8e9)})
    consumer.note_progress("a.order id-2", {0: Progress(3, 60.0)})
    consumer.note_progress("a.order id-1", {0: Progress(5, 40.0), 1: Progress(0, 70.0)})
    assert consumer.progress("a.order id-1") == {0: (7, 50.0), 1: (0, 70.0), 11: (2**53, 1.8e9)}
    assert consumer.progress("a.order id-2") == {0: (3, 60.0)}
    assert consumer.progress("a.order id-") == {}
