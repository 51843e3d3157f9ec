"""Rejections that nobody needs to see: of states older than what the target has, which would change nothing there."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.abilities import SupportsAppliedVersions
from sorbus.connector import Consumer, Delivery, RejectedDelivery


def still_needed(
    consumer: Consumer, deliveries: Sequence[Delivery], rejected: Sequence[RejectedDelivery], *, again: bool
) -> list[RejectedDelivery]:
    """Those of `rejected` whose states the target lacks. A target checks values before it compares versions.

    `again`: an equal version was to be written once more. TransientError, AuthError.
    """
    if not rejected or not isinstance(consumer, SupportsAppliedVersions):
        return list(rejected)
    known = consumer.versions([deliveries[one.place] for one in rejected])
    left = []
    for one in rejected:
        delivery = deliveries[one.place]
        has = known.get(delivery.id)
        if has is None or has < delivery.version or ((again or delivery.reread) and has == delivery.version):
            left.append(one)
    return left
