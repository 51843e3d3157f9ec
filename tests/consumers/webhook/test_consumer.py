"""What the webhook consumer does with answers, beyond the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sorbus.conformance.sample_type import NAME, SCHEMA, Deliveries, rows
from sorbus.connector import BoundFlow, BoundSystem, RejectedDelivery
from sorbus.consumers.webhook.consumer import WebhookConsumer
from sorbus.errors import AuthError, MustWait, PauseFlow, RateLimited, TransientError, Undecided, Unfinished
from sorbus.mapfile.model import DataType, Flow, System
from sorbus.ops.webhook.posted import posted
from sorbus.state import State
from sorbus.webhook.connection import WebhookTargetConnection
from sorbus.webhook.options import WebhookTarget
from tests.webhook.receiver import SECRET, Receiver, Reply, receiving

make = Deliveries(SCHEMA).make


class Sender:
    """A consumer for one flow into the receiver."""

    def __init__(self, receiver: Receiver, *, deletes: str = "hard", mapping: Any = (), **options: object) -> None:
        connection = WebhookTargetConnection.model_validate(
            {"url": receiver.url, "signing_secret": SECRET, "allow_private_addresses": True}
        )
        self.receiver = receiver
        self.flow = BoundFlow(
            Flow.model_validate({"data_type": NAME, "from": "suite", "to": "hook", "deletes": deletes}),
            DataType(system_of_record="suite"),
            SCHEMA,
            rows("hook", mapping, into=True),
            WebhookTarget.model_validate({"concurrency": 2, **options}),
            BoundSystem("hook", System(kind="webhook"), connection),
        )
        for step in WebhookConsumer.plan(self.flow):
            assert step.apply is not None
            step.apply()
        self.consumer = WebhookConsumer(self.flow)
        self.consumer.open()

    def names(self, version: int, names: Mapping[str, str | None], **how: bool) -> list[RejectedDelivery]:
        """Delivers things of these names by id; None: deleted."""
        things = [make(id, version, None if name is None else {"name": name}) for id, name in names.items()]
        while True:
            try:
                return self.consumer.apply(things, **how)
            except Unfinished as error:
                if isinstance(error, RateLimited):
                    raise

    def statuses(self, statuses: Mapping[str, int], **headers: str) -> None:
        """Records with these names are answered so, all others 200."""
        self.receiver.answer = lambda body: Reply(statuses.get((body["data"] or {}).get("name", ""), 200), headers)

    def posted(self) -> list[tuple[str, int, str]]:
        return [(one.body["id"], one.body["version"], one.id) for one in self.receiver.posts]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def sender(receiver: Receiver, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    monkeypatch.setenv("SORBUS_DATABASE", database)
    made = Sender(receiver)
    yield made
    made.consumer.close()


def test_a_refused_record_is_alone_and_says_what_the_receiver_said(sender: Sender) -> None:
    sender.receiver.answer = lambda body: Reply(422, {}, b"country is unknown") if body["id"] == "2" else Reply(200)
    [refusal] = sender.names(1, {"1": "a", "2": "b", "3": "c"})
    assert (refusal.place, refusal.error.status, refusal.error.words) == (1, 422, "country is unknown")
    assert not isinstance(refusal.error, MustWait)
    assert "sample 2" in str(refusal.error)
    assert set(sender.receiver.state()) == {"1", "3"}


def test_a_record_that_fails_while_others_land_waits_and_holds_nobody_up(sender: Sender) -> None:
    for status in (500, 502, 503, 404, 408, 302):
        good, bad = f"good {status}", f"bad {status}"
        sender.statuses({"bad": status})
        [refusal] = sender.names(1, {good: "a", bad: "bad", f"{good} too": "c"})
        assert isinstance(refusal.error, MustWait)
        [alone] = sender.names(1, {bad: "bad"})  # as it comes again: known to be the record's fault
        assert isinstance(alone.error, MustWait)
        sender.statuses({})
        assert sender.names(1, {bad: "bad"}) == []


def test_an_answer_about_one_record_alone_doesn_t_stop_the_others(sender: Sender) -> None:
    for status in (401, 403, 410):
        sender.statuses({"bad": status})
        [refusal] = sender.names(1, {f"{status} a": "a", f"{status} b": "bad", f"{status} c": "c"})
        assert refusal.error.status == status


def test_an_endpoint_that_takes_nothing_stops_the_batch_and_loses_nothing(sender: Sender) -> None:
    for status, error in ((500, Undecided), (404, Undecided), (429, RateLimited), (401, AuthError), (410, PauseFlow)):
        things = {f"{status} {name}": name for name in "abc"}
        sender.statuses(dict.fromkeys("abc", status))
        before = len(sender.receiver.posts)
        with pytest.raises(error):
            sender.names(1, things)
        assert len(sender.receiver.posts) <= before + 3
        sender.statuses({})
        assert sender.names(1, things) == []
        assert things.keys() <= sender.receiver.state().keys()


def test_pauses_grow_and_an_endpoint_that_names_one_gets_it(sender: Sender) -> None:
    pauses = []
    sender.statuses({"a": 500})
    for _ in range(8):
        with pytest.raises(TransientError) as failed:
            sender.names(1, {"1": "a"})
        pauses.append(failed.value.retry_after)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    sender.statuses({"a": 429}, **{"retry-after": "120"})
    with pytest.raises(RateLimited) as busy:
        sender.names(1, {"1": "a"})
    assert busy.value.retry_after == 120
    sender.statuses({})
    sender.names(1, {"1": "a"})
    sender.statuses({"b": 500})
    with pytest.raises(TransientError) as failed:
        sender.names(1, {"2": "b"})
    assert failed.value.retry_after == 1


def test_after_days_without_success_the_flow_is_to_pause_and_starts_over_when_resumed(
    sender: Sender, database: str
) -> None:
    sender.statuses({"a": 500})
    with pytest.raises(Undecided):
        sender.names(1, {"1": "a"})
    failed_for(sender, "3 days 1 minute", every="50 minutes")
    with pytest.raises(PauseFlow, match=r"nothing was accepted for 3\.0 days"):
        sender.names(1, {"1": "a"})
    with pytest.raises(Undecided):
        sender.names(1, {"1": "a"})


def test_days_in_which_nobody_tried_pause_no_flow(sender: Sender, database: str) -> None:
    """The process was stopped, the flow paused, or it was quiet: two failures are no days of them."""
    sender.statuses({"a": 500})
    for days in (4, 5, 60):
        with pytest.raises(Undecided):
            sender.names(1, {"1": "a"})
        with State.of("").connection() as connection:
            connection.execute(f"update webhook_endpoint set failing_since = failing_since - interval '{days} days'")
            connection.execute(f"update webhook_attempt set at = at - interval '{days} days'")
    for _ in range(3):
        with pytest.raises(Undecided):
            sender.names(1, {"1": "a"})
    failed_for(sender, "3 days 1 minute", every="50 minutes")
    with pytest.raises(PauseFlow, match=r"nothing was accepted for 3\.0 days"):
        sender.names(1, {"1": "a"})


def test_an_endpoint_has_failed_since_now_at_the_latest(sender: Sender) -> None:
    """The database's clock was ahead for a moment."""
    sender.statuses({"a": 500})
    with pytest.raises(Undecided):
        sender.names(1, {"1": "a"})
    with State.of("").connection() as connection:
        connection.execute("update webhook_endpoint set failing_since = failing_since + interval '1 year'")
    with pytest.raises(Undecided):
        sender.names(1, {"1": "a"})
    assert State.of("").run(b"select failing_since <= now() from webhook_endpoint") == [(True,)]


def failed_for(sender: Sender, length: str, *, every: str) -> None:
    """As if its endpoint had failed for so long, tried again and again."""
    with State.of("").connection() as connection:
        connection.execute("update webhook_endpoint set failing_since = now() - %s::interval", [length])
        connection.execute(
            "insert into webhook_attempt (flow, data_type, at, id, version, message, outcome, seconds)"
            " select %s, %s, at, '1', 1, '', 'failed', 0"
            " from generate_series(now() - %s::interval, now(), %s::interval) as at",
            [sender.flow.flow.id, NAME, length, every],
        )


def test_a_first_record_at_fault_doesn_t_keep_the_others_from_their_turn(sender: Sender) -> None:
    bad = {str(number): "bad" for number in range(20)}
    sender.statuses({"bad": 500})
    things = {**bad, "good": "good"}
    refusals: list[RejectedDelivery] = []
    for _ in range(200):
        try:
            refusals = sender.names(1, things)
            break
        except Undecided:
            continue
    assert len(refusals) == 20
    assert set(sender.receiver.state()) == {"good"}


def test_what_was_posted_but_not_recorded_is_posted_again_with_the_same_id(sender: Sender) -> None:
    sender.names(5, {"1": "a", "2": "b"})
    with State.of("").connection() as connection:
        connection.execute("delete from webhook_record where id = '1'")  # as a kill before the record would
    sender.names(5, {"1": "a", "2": "b"})
    first, again = (one for one in sender.posted() if one[0] == "1")
    assert first == again
    sender.names(5, {"1": "a"}, again=True)
    assert sender.posted()[-1] == first


def test_what_was_accepted_while_the_state_failed_is_recorded_later_and_not_posted_again(
    sender: Sender,
) -> None:
    def run(statement: str) -> None:
        with State.of("").connection() as connection:
            connection.execute(statement)

    run("alter table webhook_attempt rename to elsewhere")  # the state fails between the posts and their record
    with pytest.raises(TransientError):
        sender.names(5, {"1": "a"})
    run("alter table elsewhere rename to webhook_attempt")
    sender.names(5, {"1": "a"})
    sender.names(4, {"1": "older"})
    assert [one[:2] for one in sender.posted()] == [("1", 5)]


_TOO_SLOW = """
create function too_slow() returns trigger language plpgsql as
    $$begin raise exception 'canceling statement due to statement timeout' using errcode = 'query_canceled'; end$$;
create trigger too_slow before delete on webhook_attempt for each row execute function too_slow();
insert into webhook_attempt (flow, data_type, at, id, version, message, outcome, seconds)
select %(flow)s, 'sample', now() - interval '31 days', 'old', 1, 'm', 'delivered', 1
"""


def test_old_attempts_go_and_those_that_cannot_stop_no_post(sender: Sender) -> None:
    with State.of("").connection() as connection:
        for statement in _TOO_SLOW.split(";\n"):
            connection.execute(statement, {"flow": sender.flow.flow.id} if "%(flow)s" in statement else None)
    assert sender.names(1, {"1": "a"}) == []
    sender.names(2, {"1": "b"})
    assert [(one.id, one.version) for one in posted(State.of(""), sender.flow.flow.id)][:2] == [("1", 2), ("1", 1)]
    with State.of("").connection() as connection:
        connection.execute("drop trigger too_slow on webhook_attempt")
    sender.consumer._pruned_at = float("-inf")
    sender.names(3, {"1": "c"})
    with State.of("").connection() as connection:
        found = connection.execute("select id, version from webhook_attempt order by version").fetchall()
    assert found == [("1", 1), ("1", 2), ("1", 3)]


def test_deletes_are_told_unless_the_flow_ignores_them(receiver: Receiver, sender: Sender) -> None:
    sender.names(1, {"1": "a"})
    sender.names(2, {"1": None})
    assert receiver.posts[-1].body["type"] == f"{NAME}.deleted"
    assert receiver.posts[-1].body["data"] is None
    quiet = Sender(receiver, deletes="ignore")
    quiet.names(3, {"1": None})
    assert len(receiver.posts) == 2
    quiet.consumer.close()


def test_the_log_tells_what_was_posted_and_nothing_of_the_records(sender: Sender) -> None:
    sender.statuses({"secret name": 422})
    sender.names(1, {"1": "a", "2": "secret name"})
    found = posted(State.of(""), sender.flow.flow.id)
    assert {(one.id, one.status, one.outcome) for one in found} == {("1", 200, "delivered"), ("2", 422, "refused")}
    assert "secret" not in repr(found)
    [failed] = posted(State.of(""), sender.flow.flow.id, failed=True)
    assert failed.id == "2"


def test_a_preview_shows_the_data_and_posts_nothing(sender: Sender) -> None:
    shown = sender.consumer.preview(make("1", 1, {"name": "a"}))
    assert shown.action == "create"
    assert isinstance(shown.request, dict)
    assert shown.request["data"]["name"] == "a"  # type: ignore[call-overload,index]
    sender.names(1, {"1": "a"})
    assert sender.consumer.preview(make("1", 1, {"name": "a"})).action == "nothing"
    assert sender.consumer.preview(make("1", 0, {"name": "a"})).action == "older"
    assert sender.consumer.preview(make("1", 2, None)).action == "delete"
    assert len(sender.receiver.posts) == 1


def test_an_answer_that_never_ends_is_the_endpoint_s_fault(sender: Sender) -> None:
    sender.receiver.answer = lambda _: Reply(500, {"content-length": "100000000"}, b"x" * 100_000)
    with pytest.raises(Undecided, match="500"):
        sender.names(1, {"1": "a"})
