"""Systems that post their records: what senders are told, and what is published, through the real service and Kafka."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sorbus.abilities import PublishedState
from sorbus.avro.decode import read_record
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.record_inbox import PostedRecord
from sorbus.bus.topic_facts import topic_ids
from sorbus.connector import BoundSource, BoundSystem, Change, RejectedRecord
from sorbus.errors import LostPosition, PermanentError
from sorbus.mapfile.model import DataType, FieldMapping, System
from sorbus.ops.embedded import Addresses
from sorbus.producers.webhook.intake import RecordIntake
from sorbus.producers.webhook.producer import WebhookProducer
from sorbus.producers.webhook.record_feed import RecordFeed
from sorbus.schema import parse_schema
from sorbus.settings import Settings
from sorbus.webhook.connection import WebhookSourceConnection
from sorbus.webhook.options import WebhookSource
from tests.topics import delete_topic
from tests.webhook.posting import RecordHouse, posting_house, signed
from tests.webhook.receiver import SECRET

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
CONTACT = parse_schema(
    {
        "type": "record",
        "name": "contact",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "email", "type": ["null", "string"], "default": None},
            {"name": "limit", "type": ["null", DECIMAL], "default": None},
        ],
    }
)  # fmt: skip
PATH_SECRET = "a-long-random-part-of-the-address"
NOW = datetime(2026, 11, 29, 8, tzinfo=UTC)
MICROS = int(NOW.timestamp() * 1_000_000)


def source(name: str = "contact", rows: tuple[tuple[str, str], ...] = (), **options: object) -> BoundSource:
    mapping = tuple(
        FieldMapping.model_validate(
            {
                "source_system": "form",
                "source_field": f"record.{field}",
                "target_system": "canonical",
                "target_field": f"{name}.{into}",
            }
        )
        for field, into in rows
    )
    made = WebhookSource.model_validate({"id": "id", **options})
    return BoundSource(name, DataType(system_of_record="form"), CONTACT, mapping, made)


class Form:
    """A system that posts contacts, and its producer."""

    def __init__(self, house: RecordHouse, sources: list[BoundSource], **connection: object) -> None:
        made = WebhookSourceConnection.model_validate({"webhook_secret": SECRET, **connection})
        self.system = BoundSystem("form", System(kind="webhook"), made, house.names.prefix)
        self.house, self.sources = house, sources
        house.hear(self.system, sources)
        self.state: dict[tuple[str, str], tuple[int, bytes | None]] = {}
        self.rejected: dict[str, RejectedRecord] = {}
        self.position: dict[str, Any] | None = None
        self.events = 0

    def drain(self, *, commits: bool = True, unsure: Collection[str] = ()) -> dict[str, dict[str, object]]:
        """What a new producer publishes of all that was posted; the records as they are then.

        `unsure`: records with an open dead letter.
        """
        producer = WebhookProducer(self.system, self.sources)
        for one in self.sources:
            producer.remember(
                one.name,
                [
                    PublishedState(id.encode(), version, version, b"" if id in unsure else data)
                    for (name, id), (version, data) in self.state.items()
                    if name == one.name and data is not None
                ],
            )
        producer.open(self.position)
        deadline = time.monotonic() + 30
        while (batch := producer.read(0.2)) is not None or producer.lag():
            assert time.monotonic() < deadline, f"{producer.lag()} posts are still to be read"
            if batch is None or not commits:
                continue
            for change in batch.changes:
                key = (change.data_type, change.id.decode())
                assert change.version > self.state.get(key, (0, None))[0], "versions only grow"
                self.state[key] = (change.version, change.data)
                self.events += 1
                self.rejected.pop(key[1], None)
            self.rejected |= {one.id.decode(): one for one in batch.rejects}
            self.position = {**batch.position}
        producer.close()
        return {id: read_record(CONTACT, data, 0)[0] for (_, id), (_, data) in self.state.items() if data is not None}


MakeForm = Callable[..., Form]


@pytest.fixture
def make_form(stack: Addresses, unique: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeForm]:
    monkeypatch.setenv("SORBUS_KAFKA", stack.kafka)
    with posting_house(Settings(kafka=stack.kafka), Names(f"{unique}.")) as house:

        def make(*sources: BoundSource, **connection: object) -> Form:
            return Form(house, list(sources or (source(),)), **connection)

        yield make


def test_a_sender_is_told_what_was_taken_and_what_was_not(make_form: MakeForm) -> None:
    form = make_form()
    assert form.house.post({"id": 1, "name": "Anna"}).json() == {"accepted": 1}
    answer = form.house.post([{"id": 2, "name": "Bea"}, {"id": 3}, {"name": "nobody"}, "text"])
    assert answer.status_code == 422
    told = answer.json()
    assert (told["accepted"], told["refused_records"]) == (1, 3)
    assert [one["record"] for one in told["refused"]] == ["3", "number 3", "number 4"]
    assert told["refused"][1]["field"] == "id"
    assert {id: one["name"] for id, one in form.drain().items()} == {"1": "Anna", "2": "Bea"}
    assert len(form.rejected) == 3


FORM = {"content-type": "application/x-www-form-urlencoded"}
UNREADABLE: list[tuple[bytes, dict[str, str], int]] = [
    (b"{", {}, 400),
    (b"\xff\xfe", {}, 400),
    (b"[" * 100_000, {}, 400),
    (b'"text"', {}, 400),
    (b"<a/>", {"content-type": "application/xml"}, 400),
    (b"id=%ff&name=x", FORM, 400),
    (b"[" + b'{"id":1},' * 10_001 + b"{}]", {}, 400),
    (b"x", {"content-encoding": "gzip"}, 400),
    (b"x", {"content-encoding": "br"}, 415),
    (gzip.compress(b" " * 50_000_000), {"content-encoding": "gzip"}, 413),
    (b" " * 1_000_001, {}, 413),
]


def test_a_body_that_can_t_be_read_is_answered_in_bounds_and_is_one_dead_letter(make_form: MakeForm) -> None:
    form, letters = make_form(), 0
    for body, headers, status in [*UNREADABLE, *UNREADABLE]:  # the same body again is the same dead letter
        began = time.monotonic()
        assert form.house.post(body, headers=headers).status_code == status, body[:20]
        assert time.monotonic() - began < 5, body[:20]
        letters += status == 400 and "content-encoding" not in headers
    assert form.house.post({"id": 1, "name": "Anna"}).status_code == 200
    assert form.drain().keys() == {"1"}
    assert len(form.rejected) == letters // 2
    assert {one.error.reason for one in form.rejected.values()} <= {"unreadable body", "no record"}
    assert all(b"body" in one.raw for one in form.rejected.values())


def test_forms_and_compressed_bodies_are_read(make_form: MakeForm) -> None:
    form = make_form(source(absent="empty"))
    form.house.post(
        b"id=1&name=M%C3%BCller+AG&email=&limit=12.50", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"id": "2", "name": "Zoë", "email": "z@example.com"}.items()
    )
    multipart = {"content-type": "multipart/form-data; boundary=b"}
    assert form.house.post(f"{parts}--b--\r\n".encode(), headers=multipart).status_code == 200
    body = json.dumps({"id": 3, "name": "packed"}).encode()
    packed = gzip.compress(body)
    assert form.house.post(packed, headers={"content-encoding": "gzip"}).status_code == 200  # the sent bytes are signed
    inner = {"content-encoding": "gzip", **signed(body)}
    assert form.house.post(packed, is_signed=False, headers=inner).status_code == 200  # or what was compressed
    latin = f"{parts}--b--\r\n".encode("latin-1")
    assert form.house.post(latin, headers=multipart).status_code == 400, "text of another encoding isn't guessed"
    file = 'Content-Disposition: form-data; name="f"; filename="x.pdf"\r\nContent-Type: application/pdf\r\n\r\nx\r\n'
    assert form.house.post(f"--b\r\n{file}--b--\r\n".encode(), headers=multipart).status_code == 400
    found = form.drain()
    assert {id: one["name"] for id, one in found.items()} == {"1": "Müller AG", "2": "Zoë", "3": "packed"}
    assert (found["1"]["email"], str(found["1"]["limit"])) == (None, "12.50")


def test_who_isn_t_verified_gets_no_words_and_leaves_nothing(make_form: MakeForm) -> None:
    form = make_form()
    body = json.dumps({"id": 1, "name": "x"}).encode()
    other = {**signed(body, key=b"another key of 32 bytes or so..."), "content-type": "application/json"}
    old = {**signed(body), "webhook-timestamp": str(int(time.time()) - 600)}
    for headers in ({}, other, old):
        answer = form.house.post(body, is_signed=False, headers=headers)
        assert (answer.status_code, answer.content) == (401, b"")
    assert form.drain() == {}


def test_a_secret_in_the_address_is_enough_and_nothing_else_is(make_form: MakeForm) -> None:
    form = make_form(webhook_secret=PATH_SECRET, verify={"signature": "shared-secret"})

    def post(path: str, method: str = "POST", body: object = b"") -> int:
        return form.house.post(body, path=path, method=method, is_signed=False).status_code

    assert post(f"/{PATH_SECRET}", body={"id": 1, "name": "a"}) == 200
    assert post(f"/contact/{PATH_SECRET}", body={"id": 2, "name": "b"}) == 200
    assert post("", body={"id": 3, "name": "c"}) == 401
    assert post(f"/{PATH_SECRET}x", body={"id": 3, "name": "c"}) == 401
    assert post("/contact", body={"id": 3, "name": "c"}) == 401
    assert post(f"/other/{PATH_SECRET}", body={"id": 3, "name": "c"}) == 404
    assert form.drain().keys() == {"1", "2"}
    assert post(f"/{PATH_SECRET}?id=1", method="DELETE") == 200
    assert form.drain().keys() == {"2"}


def test_a_vendor_s_own_header_is_verified(make_form: MakeForm) -> None:
    secret = "a secret of a form tool"
    verify = {"signature": "hmac-sha256", "header": "X-Signature", "encoding": "hex", "prefix": "sha256="}
    form = make_form(webhook_secret=secret, verify=verify)
    body = json.dumps({"id": 1, "name": "x"}).encode()
    made = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    for value, status in ((f"sha256={made}", 200), (made, 401), (f"sha256={made[::-1]}", 401)):
        assert form.house.post(body, is_signed=False, headers={"x-signature": value}).status_code == status


@pytest.mark.parametrize(
    "connection",
    [
        {"webhook_secret": "short", "verify": {"signature": "shared-secret"}},
        {"webhook_secret": "with/a/slash/in/the/middle", "verify": {"signature": "shared-secret"}},
        {"webhook_secret": "not base64 of anything!!"},
        {"webhook_secret": "a secret of a form tool", "verify": {"signature": "hmac-sha256"}},
    ],
)
def test_secrets_that_keep_nobody_out_are_refused_by_the_map(connection: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WebhookSourceConnection.model_validate(connection)


def test_a_delete_is_told_by_a_field_or_by_the_method(make_form: MakeForm) -> None:
    form = make_form(source(deleted={"status": "archived"}))
    form.house.post([{"id": id, "name": "x"} for id in range(1, 5)])
    form.house.post({"id": 1, "status": "archived"})
    assert form.house.post({"id": 2}, method="DELETE").status_code == 200
    assert form.house.post(b"", path="?id=3", method="DELETE").status_code == 400, "the signature doesn't cover it"
    assert form.house.post({"id": 9}, method="DELETE").status_code == 200
    assert form.drain().keys() == {"3", "4"}
    form.house.post({"id": 1, "name": "again"})
    assert form.drain()["1"]["name"] == "again"


def test_several_data_types_have_an_address_each(make_form: MakeForm) -> None:
    form = make_form(source("contact"), source("company"))
    assert form.house.post({"id": 1, "name": "a"}, path="/contact").status_code == 200
    assert form.house.post({"id": 1, "name": "b"}, path="/company").status_code == 200
    answer = form.house.post({"id": 1, "name": "c"})
    assert answer.status_code == 404
    assert "/webhooks/form/company" in answer.json()["error"]
    form.drain()
    assert {key[0] for key in form.state} == {"contact", "company"}


def test_a_repeated_delivery_is_published_once_also_after_a_restart(make_form: MakeForm) -> None:
    form = make_form()
    form.house.post({"id": 1, "name": "old"}, id="msg_a")
    form.house.post({"id": 1, "name": "new"}, id="msg_b")
    assert form.drain()["1"]["name"] == "new"
    form.house.post({"id": 1, "name": "old"}, id="msg_a")
    assert form.drain()["1"]["name"] == "new", "a repetition isn't news, whatever came meanwhile"
    form.house.post({"id": 1, "name": "old"}, id="msg_c")
    assert form.drain()["1"]["name"] == "old", "a new delivery is"
    assert form.events == 3


def test_a_refused_delivery_that_is_sent_again_is_taken_once_the_map_is_right(make_form: MakeForm) -> None:
    form = make_form(source(fields={"limit": {"kind": "boolean"}}))
    body = {"id": 1, "name": "a", "limit": "12.50"}
    assert form.house.post(body, id="msg_a").status_code == 422
    form.drain()
    form.sources = [source()]
    form.house.hear(form.system, form.sources)
    assert form.house.post(body, id="msg_a").json() == {"accepted": 1}
    assert form.drain().keys() == {"1"}


def test_a_delete_that_was_refused_stays_a_delete(make_form: MakeForm) -> None:
    form = make_form(source(absent="empty"))
    form.house.post({"id": 1, "name": "a", "email": "a@example.com"})
    form.drain()
    form.house.hear(form.system, [source(absent="empty", updated="at")])
    assert form.house.post({"id": 1, "name": "a"}, method="DELETE").status_code == 422, "it has no time"
    assert form.drain() == {}, "judged without that demand, it deletes"


def test_a_letter_isn_t_closed_by_an_older_state_of_the_record() -> None:
    feed = RecordFeed(RecordIntake(source(updated="at"), "form"))
    bodies = ({"id": "1", "name": "a", "at": NOW.isoformat()}, {"id": "1", "name": "b"})
    good, untimed = (PostedRecord("contact", "1", "record", json.dumps(one).encode(), "", MICROS) for one in bodies)
    assert feed.newest([good, untimed])["1"] is untimed
    assert feed.newest([untimed, good])["1"] is good


def test_an_absent_field_is_no_sign_of_a_delete() -> None:
    intake = RecordIntake(source(deleted={"left": ""}), "form")
    assert not intake.is_deleted({"id": "1"})
    assert intake.is_deleted({"id": "1", "left": ""})


def test_what_another_program_put_into_the_inbox_is_a_letter_and_stops_nothing() -> None:
    feed = RecordFeed(RecordIntake(source(), "form"))
    assert isinstance(feed.judge(PostedRecord("contact", "1", "record", b"{", "", MICROS)), RejectedRecord)


def test_what_was_read_and_not_published_is_read_again(make_form: MakeForm) -> None:
    form = make_form()
    form.house.post([{"id": id, "name": "x"} for id in range(50)], id="msg_a")
    form.drain(commits=False)
    assert len(form.drain()) == 50
    assert form.events == 50


def test_a_partial_body_is_refused_unless_the_map_says_that_absent_is_empty(make_form: MakeForm) -> None:
    rows = (("name", "name"), ("contact.mail", "email"))
    form = make_form(source(rows=rows))
    assert form.house.post({"id": 1, "name": "a", "contact": {"mail": "a@example.com"}}).status_code == 200
    answer = form.house.post({"id": 1, "name": "b"})
    assert answer.status_code == 422
    assert "part of the record" in answer.json()["refused"][0]["error"]
    assert form.house.post({"id": 2, "name": "b", "contact": None}).status_code == 200
    found = form.drain()
    assert (found["1"]["name"], found["1"]["email"], found["2"]["email"]) == ("a", "a@example.com", None)
    assert form.rejected["1"].error.reason == "incomplete body"
    lenient = RecordIntake(source(rows=rows, absent="empty"), "form")
    assert lenient.canonical({"id": 1, "name": "b"})["email"] is None


def test_without_a_sheet_an_absent_field_never_empties_one_that_has_a_value(make_form: MakeForm) -> None:
    form = make_form()
    form.house.post([{"id": 1, "name": "a", "email": "a@example.com"}, {"id": 2, "name": "b"}])
    form.house.post({"id": 1, "name": "c"})
    form.house.post({"id": 2, "name": "d"})
    found = form.drain()
    assert (found["1"]["email"], found["2"]["name"]) == ("a@example.com", "d")
    assert form.rejected["1"].error.reason == "incomplete body"
    form.house.post({"id": 1, "name": "e"})
    assert form.drain(unsure={"1"})["1"]["email"] == "a@example.com", "nor with an open dead letter, after a restart"
    form.house.post({"id": 1, "name": "f", "email": None})
    assert form.drain()["1"]["email"] is None, "null is said"
    lenient = RecordFeed(RecordIntake(source(absent="empty"), "form"))
    for body in (b'{"id":1,"name":"a","email":"x"}', b'{"id":1,"name":"a"}'):
        assert isinstance(lenient.judge(PostedRecord("contact", "1", "record", body, "", MICROS)), Change)


def test_posts_that_kafka_removed_unread_stop_the_producer_until_the_map_says_otherwise(make_form: MakeForm) -> None:
    form = make_form()
    for id in (1, 2):
        form.house.post({"id": id, "name": "x"})
    topic, client = form.house.names.inbox("form"), admin(form.house.settings)
    place = TopicPartition(topic, 0, 1)
    client.delete_records([place])[place].result(10)  # as its retention does
    with pytest.raises(LostPosition, match="1 posts were removed"):
        form.drain()
    form.system = replace(form.system, system=System(kind="webhook", on_lost_slot="resnapshot"))
    assert form.drain().keys() == {"2"}
    form.system = replace(form.system, system=System(kind="webhook"))
    assert form.drain().keys() == {"2"}, "it has been told once"


def test_an_inbox_that_was_made_again_stops_the_producer_however_much_it_holds(make_form: MakeForm) -> None:
    form = make_form()
    form.house.post({"id": 1, "name": "x"})
    form.drain()
    topic, client = form.house.names.inbox("form"), admin(form.house.settings)
    delete_topic(client, topic)
    deadline = time.monotonic() + 20
    while topic_ids(client, [topic]):
        assert time.monotonic() < deadline, f"{topic} is still there"
    form.house.hear(form.system, form.sources)
    form.house.post([{"id": id, "name": "y"} for id in (2, 3)])
    with pytest.raises(LostPosition, match="made again"):
        form.drain()
    form.system = replace(form.system, system=System(kind="webhook", on_lost_slot="resnapshot"))
    assert form.drain().keys() == {"1", "2", "3"}


ORDER = parse_schema(
    {
        "type": "record",
        "name": "order",
        "fields": [
            {
                "name": "lines",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "line",
                        "fields": [{"name": "item", "type": ["null", "string"], "default": None}],
                    },
                },
            }
        ],
    }
)


def test_an_absent_list_is_no_empty_one() -> None:
    options = WebhookSource.model_validate({"id": "id", "lists": {"lines": "content.items"}})
    intake = RecordIntake(BoundSource("order", DataType(system_of_record="form"), ORDER, (), options), "form")
    for body in ({"id": "1"}, {"id": "1", "content": {}}):
        with pytest.raises(PermanentError, match=r"content\.items"):
            intake.encode(body)
    assert intake.canonical({"id": "1", "content": {"items": []}}) == {"lines": []}
    assert intake.canonical({"id": "1", "content": {"items": [{"item": "a"}]}}) == {"lines": [{"item": "a"}]}


def test_a_letter_is_retried_from_the_inbox_once_the_map_is_right(make_form: MakeForm) -> None:
    form = make_form(source(fields={"limit": {"kind": "boolean"}}))
    assert form.house.post({"id": 1, "name": "a", "limit": "12.50"}).status_code == 422
    form.drain()
    assert form.rejected.keys() == {"1"}
    producer = WebhookProducer(form.system, [source()])
    producer.open(form.position)
    producer.reread("contact", [b"1", b"2"])
    batch = producer.read(0.2)
    assert batch is not None
    [change] = batch.changes
    assert change.id == b"1"
    assert WebhookProducer.read_record(form.system, source(), "1") == change.data
    scanned = [one for found in WebhookProducer.scan(form.system, source()) for one in found]
    assert [one.id for one in scanned if isinstance(one, Change)] == [b"1"]
    [resource] = WebhookProducer.discover(form.system)
    assert [(field.name, field.kind) for field in resource.fields] == [
        ("id", "long"), ("limit", "string"), ("name", "string"),
    ]  # fmt: skip
    producer.close()


def test_many_senders_at_once_are_each_answered_and_none_is_lost(make_form: MakeForm) -> None:
    form = make_form()

    def post(sender: int) -> None:
        for number in range(10):
            assert form.house.post({"id": f"{sender}-{number}", "name": "x"}).status_code == 200

    threads = [threading.Thread(target=post, args=(sender,)) for sender in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(form.drain()) == 100


Step = tuple[int, int, str, bool]
STEPS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 6), st.sampled_from(["a", "b", "c"]), st.booleans()), max_size=25
)


@settings(max_examples=60)
@given(STEPS, st.booleans())
def test_the_newest_state_stays_whatever_the_order_of_arrival(steps: list[Step], timed: bool) -> None:
    """Against a ledger of our own: by update time, or by arrival where there is none."""
    feed = RecordFeed(RecordIntake(source(updated="at" if timed else "", deleted={"gone": "true"}), "form"))
    ledger: dict[str, tuple[int, str | None]] = {}
    published: dict[str, str | None] = {}
    versions: dict[bytes, int] = {}
    for place, (id, at, name, gone) in enumerate(steps):
        moment = (NOW + timedelta(minutes=at)).isoformat()
        body = {"id": str(id), "name": name, "at": moment, "gone": gone}
        before = ledger.get(str(id))
        if before is None or not timed or at >= before[0]:
            is_same_time_after_delete = timed and before is not None and before[1] is None and at == before[0]
            if not is_same_time_after_delete or gone:  # at the same moment, a delete stays
                ledger[str(id)] = (at, None if gone else name)
        posted = PostedRecord("contact", str(id), "record", json.dumps(body).encode(), "", MICROS + place)
        change = feed.judge(posted)
        if isinstance(change, Change):
            assert change.version > versions.get(change.id, 0)
            versions[change.id] = change.version
            data = change.data
            published[change.id.decode()] = None if data is None else str(read_record(CONTACT, data, 0)[0]["name"])
        else:
            assert change is None
    assert {id: name for id, name in published.items() if name} == {
        id: name for id, (_, name) in ledger.items() if name
    }


def test_a_time_that_would_outlive_all_others_is_refused() -> None:
    intake = RecordIntake(source(updated="at"), "form")
    for value in ("2099-01-01T00:00:00Z", "yesterday", None, 12, "", True, "9999-99-99"):
        feed = RecordFeed(intake)
        body = json.dumps({"id": "1", "name": "x", "at": value}).encode()
        judged = feed.judge(PostedRecord("contact", "1", "record", body, "", MICROS))
        assert isinstance(judged, RejectedRecord), value
        assert judged.error.reason == "no time"


@pytest.mark.parametrize("id", [None, "", True, 1.5, [1], {"a": 1}, "x" * 1001, "a\nb", "a\x00b"])
def test_what_identifies_no_record_is_refused(id: object) -> None:
    from sorbus.http_api.values import load_json

    intake = RecordIntake(source(), "form")
    with pytest.raises(PermanentError):
        intake.id_of(load_json(json.dumps({"id": id})))
