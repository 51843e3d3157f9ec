"""Rebuilding a target beside itself: shadow tables that are filled, compared and applied as one change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from sorbus.connector import BoundFlow, Consumer


class ShadowComparison(NamedTuple):
    """Live tables compared with their shadows, in records.

    missing: only the shadow has it. different: other values, or an older version. deleted: the topic says it was.
    extra: the topic says nothing of it. foreign: the same, and Sorbus never wrote it. newer: the live table has a newer
    version than the shadow; it is left alone.
    """

    live: int
    shadow: int
    missing: int
    different: int
    deleted: int
    extra: int
    foreign: int
    newer: int

    @property
    def to_apply(self) -> int:
        """Records that `apply` changes, without extra ones."""
        return self.missing + self.different + self.deleted


class ShadowApplied(NamedTuple):
    """What was applied: records changed, ids of those that the database refused, seconds that writers waited."""

    changed: int
    refused: Sequence[str]
    seconds: float


class ShadowProof(NamedTuple):
    """Records that both sides have in the same version, and the sum of their hashes on each side."""

    records: int
    live_sum: int
    shadow_sum: int

    @property
    def are_equal(self) -> bool:
        """Whether they hold the same."""
        return self.live_sum == self.shadow_sum


class Shadow(Protocol):
    """A flow's shadow tables. All methods raise TransientError and AuthError."""

    def prepare(self, *, keep: bool) -> bool:
        """Makes them, empty; with `keep`, those that are there are kept. Whether they were."""

    def size(self) -> int:
        """Bytes of the live tables with their indexes: what the shadow needs in addition, about."""

    def compare(self, *, again: bool = False, outside: Collection[str] = ()) -> ShadowComparison:
        """Compares both as of now, and remembers what differs for `apply`.

        `again`: the shadow has caught up since the comparison before; only what was extra then, and is still, is extra.
        `outside`: records that the flow leaves as they are; they aren't extra.
        """

    def apply(self, *, without: Sequence[str], remove_extra: bool) -> ShadowApplied:
        """Applies what `compare` found in one transaction, under the version guard, except records `without`.

        Readers are not blocked; the flow's consumer waits until it is committed.
        """

    def prove(self) -> ShadowProof:
        """Sums up what both have in the same version, in one snapshot."""

    def drop(self) -> None:
        """Removes the shadow tables and what belongs to them."""

    def close(self) -> None:
        """Disconnects."""


@runtime_checkable
class SupportsShadow(Protocol):
    """A consumer connector whose targets can be rebuilt in shadow tables."""

    def shadow(self, flow: BoundFlow) -> Shadow:
        """The flow's shadow. TransientError, AuthError."""

    def shadow_consumer(self, flow: BoundFlow) -> Consumer:
        """A consumer that delivers the flow into the shadow."""
