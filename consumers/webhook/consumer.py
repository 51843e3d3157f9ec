"""The webhook consumer: the records of a batch are posted side by side, each in its own order.

What was accepted (2xx) is recorded after the batch. A crash in between posts it again, with the same webhook-id.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal, NoReturn

from pydantic import BaseModel

from sorbus.abilities import Preview, older_preview
from sorbus.connector import BoundFlow, BoundSystem, Delivery, RejectedDelivery, Step
from sorbus.consumers.webhook.message_maker import MessageMaker
from sorbus.consumers.webhook.post_round import Post, PostRounds
from sorbus.consumers.webhook.posts import PostAttempt, PostLog
from sorbus.diagnosis import Diagnosis
from sorbus.dry_run import DryRunReads
from sorbus.errors import (
    AuthError,
    MustWait,
    PauseFlow,
    PermanentError,
    RateLimited,
    SorbusError,
    TransientError,
    Undecided,
    Unfinished,
    missing,
)
from sorbus.settings import Settings
from sorbus.state import State, plan_state
from sorbus.webhook.connection import WebhookConnection, WebhookTargetConnection
from sorbus.webhook.endpoint import PostAnswer, Verdict, WebhookClient
from sorbus.webhook.options import WebhookTarget

_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_WAIT = 1.0, 60.0, 3600.0
_MOST_DOUBLINGS = 20
_PRUNE_EVERY = 3600.0
_OUTCOMES = {Verdict.ACCEPTED: "delivered", Verdict.REFUSED: "refused"}
_log = logging.getLogger(__name__)


class WebhookConsumer:
    """Delivers one flow to one endpoint."""

    Connection: type[BaseModel] = WebhookTargetConnection
    Target: type[BaseModel] = WebhookTarget
    shares_process = True
    batch = 200
    is_write_only: Literal[True] = True

    def __init__(self, flow: BoundFlow) -> None:
        """MapError where the mapping doesn't fit."""
        assert isinstance(flow.options, WebhookTarget)
        assert isinstance(flow.system.connection, WebhookConnection)
        self._flow, self._options, self._connection = flow, flow.options, flow.system.connection
        self._messages = MessageMaker(flow)
        self._log = PostLog(State.of(flow.system.topic_prefix), flow.flow.id, flow.flow.data_type)
        self._rounds: PostRounds | None = None
        self._unrecorded = list[tuple[Post, PostAnswer]]()
        self._newer: dict[bytes, int] = {}
        self._outcomes: Counter[str] = Counter()
        self._pruned_at = -_PRUNE_EVERY

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """The state: an endpoint needs nothing from us."""
        return plan_state(Settings().database, flow.system.topic_prefix)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The posted data."""
        assert isinstance(options, WebhookTarget)
        return {"": options.resource}

    @classmethod
    def can_be_silent(cls, flow: BoundFlow) -> bool:
        """Always: a message says that it repeats a known state, and the receiver sends no welcome for it."""
        return flow.flow.notify == "changes"

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """What can be said without posting."""
        connection = system.connection
        assert isinstance(connection, WebhookConnection)
        yield Diagnosis(
            system.name, "endpoint", f"changes are posted to {connection.origin}; `sorbus webhook test FLOW` tries it"
        )

    def open(self) -> None:
        """Gets ready; posts nothing. TransientError without the state's tables."""
        self._log.find(())
        options = self._options
        client = WebhookClient(
            self._connection, options.path, timeout=options.timeout.total_seconds(), concurrency=options.concurrency
        )
        self._rounds = PostRounds(client, options.concurrency, self._flow.flow.id)

    def close(self) -> None:
        """Ends connections."""
        rounds, self._rounds = self._rounds, None
        if rounds is not None:
            rounds.close()

    def apply(
        self,
        deliveries: Sequence[Delivery],
        *,
        again: bool = False,
        alone: bool = False,  # noqa: ARG002 - always claims the records
    ) -> list[RejectedDelivery]:
        """Posts what is newer. TransientError, PauseFlow, AuthError; Undecided; RateLimited, Unfinished."""
        assert self._rounds is not None
        made, refused = self._made(deliveries)
        ids = [one.id for one in made]
        with self._log.claim(ids):
            known = self._log.find(ids)
            accepted = {one.message.id for one in made if not _is_due(known.get(one.id), one.version, again=again)}
            todo = [one for one in made if one.message.id not in accepted]
            self._newer = {
                deliveries[one.place].id: known[one.id] for one in made if known.get(one.id, one.version) > one.version
            }
            failing = self._log.failing(ids) if todo else set[str]()
            now, answered = self._rounds.run(todo, failing, is_troubled=bool(todo) and self._log.is_failing())
            self._unrecorded += now
            self._record(self._unrecorded)  # also what was accepted before the state failed
            self._unrecorded = []
        try:
            rejected = self._judged(answered, failing)
        except SorbusError:
            self._rounds.start_over()
            raise
        if len(answered) < len(todo):
            raise Unfinished(f"flow {self._flow.flow.id}: the rest of the batch is posted next", retry_after=0.0)
        self._rounds.start_over()
        self._outcomes["skipped"] += len(made) - len(todo)
        return refused + rejected

    def _made(self, deliveries: Sequence[Delivery]) -> tuple[list[Post], list[RejectedDelivery]]:
        made, refused = list[Post](), list[RejectedDelivery]()
        for place, one in enumerate(deliveries):
            if one.deleted and self._flow.flow.deletes == "ignore":
                continue
            try:
                message = self._messages.make(one)
            except PermanentError as error:
                refused.append(RejectedDelivery(place, error))
            else:
                made.append(Post(place, one.id.decode(errors="replace"), one.version, message))
        return made, refused

    def _record(self, now: Sequence[tuple[Post, PostAnswer]]) -> None:
        if not now:
            return
        accepted = {one.id: one.version for one, answer in now if answer.verdict is Verdict.ACCEPTED}
        attempts = [
            PostAttempt(
                answer.at,
                one.id,
                one.version,
                one.message.id,
                answer.status,
                _OUTCOMES.get(answer.verdict, "failed"),
                answer.seconds,
            )
            for one, answer in now
        ]
        is_well = any(answer.verdict in _OUTCOMES for _, answer in now)
        self._log.record(accepted, attempts, is_well=is_well)
        self._outcomes["written"] += sum(one.id in accepted and not one.message.is_delete for one, _ in now)
        self._outcomes["deleted"] += sum(one.id in accepted and one.message.is_delete for one, _ in now)
        if time.monotonic() - self._pruned_at > _PRUNE_EVERY:
            self._pruned_at = time.monotonic()
            try:
                self._log.prune()
            except SorbusError as error:  # what was posted is recorded
                _log.info("flow %s: attempts older than 30 days stay for now: %s", self._flow.flow.id, error)

    def _judged(self, answered: Sequence[tuple[Post, PostAnswer]], failing: Collection[str]) -> list[RejectedDelivery]:
        """The refused ones, once all others are accepted; raises what concerns the endpoint.

        An endpoint that accepts records is well: what it says of others is about those alone.
        """
        assert self._rounds is not None
        given = {answer.verdict: answer for _, answer in answered}
        began = min((answer.at for _, answer in answered), default=datetime.now(UTC))
        is_well = self._rounds.is_well
        stops = (Verdict.AWAY, Verdict.BUSY, *(() if is_well else (Verdict.GONE, Verdict.UNAUTHORIZED)))
        for verdict in stops:
            if verdict in given:
                self._raise(given[verdict], began)
        failed = [(one, answer) for one, answer in answered if answer.verdict is Verdict.FAILED]
        if is_well:
            self._log.note_failing([one.id for one, _ in failed])
        elif unknown := [answer for one, answer in failed if one.id not in failing]:
            self._raise(unknown[0], began)
        return [
            RejectedDelivery(one.place, self._refusal(one, answer))
            for one, answer in answered
            if answer.verdict is not Verdict.ACCEPTED
        ]

    def _refusal(self, one: Post, answer: PostAnswer) -> PermanentError:
        what = f"{self._flow.flow.data_type} {one.id}: {answer.words}"
        refused = PermanentError(
            f"{what}. See the receiver's own log, correct the record or the receiver, then retry",
            reason="refused by the endpoint",
            words=answer.said or None,
            status=answer.status,
        )
        if answer.verdict is not Verdict.FAILED:
            return refused
        return MustWait(
            f"{what}; other records are accepted, so this one waits and is posted again",
            why="reference",
            refused=refused,
        )

    def _raise(self, answer: PostAnswer, began: datetime) -> NoReturn:
        flow = self._flow.flow.id
        if answer.verdict is Verdict.UNAUTHORIZED:
            error = AuthError(f"{flow}: {answer.words}")
            error.status = answer.status
            raise error
        failing = self._log.failed(began)
        if answer.verdict is Verdict.GONE or failing.seconds >= self._options.pause_after.total_seconds():
            self._log.start_over()
            since = (
                ""
                if answer.verdict is Verdict.GONE
                else f"nothing was accepted for {failing.seconds / 86400:.1f} days: "
            )
            raise PauseFlow(f"{since}{answer.words}")
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failing.failures - 1, _MOST_DOUBLINGS))
        if answer.retry_after is not None:
            pause = min(max(pause, answer.retry_after), _LONGEST_WAIT)
        told = f"{flow}: {answer.words}"
        if answer.verdict is Verdict.BUSY:
            raise RateLimited(told, retry_after=pause)
        if answer.verdict is Verdict.FAILED:
            raise Undecided(told, retry_after=pause)
        raise missing("system", TransientError(told, retry_after=pause))

    def take_outcomes(self) -> dict[str, int]:
        """See `sorbus.abilities.SupportsOutcomes`."""
        found, self._outcomes = self._outcomes, Counter()
        return dict(found)

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:  # noqa: ARG002 - of the last `apply`
        """See `sorbus.abilities.SupportsVersions`."""
        return self._newer

    def versions(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsAppliedVersions`."""
        known = self._log.find([one.id.decode(errors="replace") for one in deliveries])
        return {one.id: known[id] for one in deliveries if (id := one.id.decode(errors="replace")) in known}

    def preview(self, delivery: Delivery) -> Preview:
        """The body that would be posted. TransientError."""
        return self.preview_all([delivery])[0]

    def begin_dry_run(self, reads: DryRunReads) -> None:  # noqa: ARG002 - a receiver can't be read
        """Nothing is posted by `preview_all`."""
        self._log.find(())

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `sorbus.dry_run.SupportsDryRun`: what the receiver has isn't known, only what it accepted."""
        known = self._log.find([one.id.decode(errors="replace") for one in deliveries])
        return [self._preview(one, known.get(one.id.decode(errors="replace"))) for one in deliveries]

    def _preview(self, delivery: Delivery, before: int | None) -> Preview:
        if before is not None and before > delivery.version:
            return older_preview(delivery.version, before)
        if delivery.deleted and self._flow.flow.deletes == "ignore":
            return Preview("nothing", "the flow ignores deletes")
        try:
            message = self._messages.make(delivery)
        except PermanentError as error:
            return Preview("refuse", str(error))
        request = {"data": json.loads(message.body)["data"]}
        if before == delivery.version:
            return Preview("nothing", "the receiver has accepted this version", request)
        action: Literal["create", "update", "delete"] = (
            "delete" if message.is_delete else "create" if before is None else "update"
        )
        why = "it has accepted no version of the record" if before is None else f"it has accepted version {before}"
        return Preview(action, f"{self._connection.origin}: {why}", request)


def _is_due(known: int | None, version: int, *, again: bool) -> bool:
    return known is None or version > known or (again and version == known)
