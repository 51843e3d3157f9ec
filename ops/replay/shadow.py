"""A replay into shadow tables: filled from the topic while the flow writes the live ones, compared, then applied."""

from __future__ import annotations

from contextlib import closing

from sorbus.bus.deserialize import DecodedBatch
from sorbus.connector import BoundFlow, Consumer, ConsumerConnector
from sorbus.errors import UsageError
from sorbus.ops.replay.job import ReplayCancelled, ReplayCounts, ReplayJob
from sorbus.ops.replay.outcome import ReplayOutcome
from sorbus.ops.replay.replay import Replay
from sorbus.ops.replay.selection import Selection
from sorbus.ops.replay.topic_delivery import Progress, Refused, key_of
from sorbus.settings import Settings
from sorbus.shadow import Shadow, ShadowApplied, ShadowComparison, ShadowProof, SupportsShadow
from sorbus.waiting.complete import Completing, completing, consumer_of

_NEARLY = 1000
"""Events left behind at which the shadow counts as caught up: the flow's next ones come while it is compared."""
_ROUNDS = 20


class ShadowRejects:
    """Records that the shadow refuses: they are left alone there, and delivered to the live table as usual."""

    def __init__(self) -> None:
        self.ids: set[bytes] = set()

    def file(self, taken: DecodedBatch, refused: Refused) -> tuple[int, int]:
        """See `Rejects`."""
        bad = {key_of(message) for message, _ in refused}
        if self.ids:
            self.ids -= {one.id for one in taken.deliveries} - bad
        self.ids |= bad
        return len(bad), 0


class ShadowReplay:
    """One shadow replay of one flow. Errors as `Replay`; UsageError where the target has no shadow."""

    def __init__(
        self,
        flow: BoundFlow,
        connector: ConsumerConnector,
        settings: Settings,
        progress: Progress,
        *,
        remove_extra: bool,
    ) -> None:
        self._flow, self._settings, self._progress = flow, settings, progress
        self._connector, self._removes_extra = connector, remove_extra
        self._shadows = shadows_of(connector, flow)
        self._left_alone: set[bytes] = set()

    def foresee(self) -> ReplayOutcome:
        """What it would need and keep; writes nothing."""
        with closing(self._shadows.shadow(self._flow)) as shadow:
            size = shadow.size()
        told = (
            f"{self._flow.flow.id}: a shadow table beside the live one would be filled from the topic (about"
            f" {size / 1e6:,.0f} MB more disk), compared, and the differences applied in one transaction. Readers are"
            " not blocked; the flow's consumer waits while they are applied. The live table stays the same table: its"
            " indexes, constraints, foreign keys, grants, triggers, views and sequences are untouched; its triggers"
            " fire for the rows that change; materialized views are not refreshed"
        )
        return ReplayOutcome(self._flow.flow.id, ReplayCounts(), told, more={"bytes": size})

    def run(self, job: ReplayJob | None) -> ReplayOutcome:
        """Fills, compares, applies, and proves the result."""
        rejects = ShadowRejects()
        # What was refused or left alone before isn't known any more.
        is_known = self._flow.flow.on_leave != "keep" and job is not None and not job.stored.counts.refused
        resumes = is_known and job is not None and bool(job.stored.offsets)
        with closing(self._shadows.shadow(self._flow)) as shadow:
            if not shadow.prepare(keep=resumes) and job is not None:
                job.restart()
            try:
                return self._rebuild(job, shadow, rejects)
            except ReplayCancelled:
                shadow.drop()
                raise

    def _rebuild(self, job: ReplayJob | None, shadow: Shadow, rejects: ShadowRejects) -> ReplayOutcome:
        with closing(self._filling(rejects)) as filling:
            filling.run(job)
            for _ in range(_ROUNDS):
                if filling.catch_up() < _NEARLY:
                    break
            self._progress("comparing", 0, 0)
            shadow.compare(outside=self._outside())
            filling.catch_up()  # what the live table had just now was on the topic before
            found = shadow.compare(again=True, outside=self._outside())
            self._progress("applying the differences", 0, found.to_apply)
            refused = sorted(id.decode("utf-8", "replace") for id in rejects.ids)
            done = shadow.apply(without=refused, remove_extra=self._removes_extra)
            counts = self._refuse({*rejects.ids, *(id.encode() for id in done.refused)}, filling.counts)
            self._progress("comparing again", 0, 0)
            filling.catch_up()
            proof = shadow.prove()
        shadow.drop()
        return self._outcome(found, done, proof, counts)

    def _refuse(self, ids: set[bytes], counts: ReplayCounts) -> ReplayCounts:
        """What the shadow or the database refused is delivered as usual: to be a dead letter, or to wait."""
        if not ids:
            return counts._replace(refused=0)
        selection = Selection(ids=frozenset(ids))
        make = lambda: consumer_of(self._connector, self._flow)  # noqa: E731
        with closing(Replay(self._flow, make, self._settings, selection)) as replay:
            done = replay.run()
        return counts._replace(applied=counts.applied + done.applied, refused=done.refused, waiting=done.waiting)

    def _filling(self, rejects: ShadowRejects) -> Replay:
        return Replay(self._flow, self._consumer, self._settings, Selection(), self._progress, rejects)

    def _consumer(self) -> Consumer:
        consumer = completing(self._shadows.shadow_consumer(self._flow), self._flow)
        if isinstance(consumer, Completing):
            consumer.left_alone = self._left_alone
        return consumer

    def _outside(self) -> list[str]:
        return [id.decode("utf-8", "replace") for id in self._left_alone]

    def _outcome(
        self, found: ShadowComparison, done: ShadowApplied, proof: ShadowProof, counts: ReplayCounts
    ) -> ReplayOutcome:
        flow = self._flow.flow.id
        told = [
            f"{flow}: {counts.events:,} events read into the shadow; {found.missing:,} records were missing,"
            f" {found.different:,} different, {found.deleted:,} to be deleted: {done.changed:,} changed in one"
            f" transaction of {done.seconds:.2f} s"
        ]
        if proof.are_equal:
            told.append(f"compared: {proof.records:,} records in the same version have equal checksums")
        else:
            told.append(
                f"compared: the checksums of {proof.records:,} records in the same version differ: a trigger or a"
                f" person changes the table; see `sorbus reconcile {flow}`"
            )
        if found.extra and not self._removes_extra:
            told.append(
                f"{found.extra:,} rows are unknown to the topic and were kept: `sorbus reconcile {flow}` compares them"
                " with the owner; --remove-extra deletes them"
            )
        if found.foreign:
            told.append(f"{found.foreign:,} rows were never written by Sorbus and were kept")
        if found.newer:
            told.append(f"{found.newer:,} records were newer than the shadow and were kept")
        if counts.waiting:
            told.append(f"{counts.waiting:,} wait: see `sorbus waiting --flow {flow}`")
        if counts.refused:
            told.append(f"{counts.refused:,} refused: see `sorbus dlq list --flow {flow}`")
        findings = bool(counts.refused or not proof.are_equal or (found.extra and not self._removes_extra))
        more = {
            **found._asdict(),
            "changed": done.changed,
            "seconds": round(done.seconds, 3),
            "compared": proof.records,
            "equal": proof.are_equal,
        }
        return ReplayOutcome(flow, counts, "\n".join(told), findings, dict(more))


def shadows_of(connector: ConsumerConnector, flow: BoundFlow) -> SupportsShadow:
    """The connector's ability. UsageError where it has none."""
    if not isinstance(connector, SupportsShadow):
        raise UsageError(
            f"{flow.system.name} has no tables to rebuild in a shadow: leave out --shadow, and the records are"
            " delivered in place, without a request where the application has them already"
        )
    return connector


def drop_shadow(connector: ConsumerConnector, flow: BoundFlow) -> None:
    """Removes the shadow of a replay that was given up. TransientError, AuthError."""
    with closing(shadows_of(connector, flow).shadow(flow)) as shadow:
        shadow.drop()
