"""A flow into a webhook as people run it: paused by its endpoint, resumed, tested, and posted again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from sorbus.map.load import load_map
from sorbus.ops.replay.again import chosen_again, deliver_again
from sorbus.state.database import State
from tests.consumers.line import FLOW, MAP, Line, eventually, named
from tests.consumers.plugin import line, make_line
from tests.ops.test_duplicates import Typed, state, typed
from tests.ops.test_flow_control import flow_state
from tests.webhook.receiver import SECRET, Receiver, Reply, receiving

__all__ = ["line", "make_line", "state", "typed"]

HOOK = (
    '{{kind: webhook, connection: {{url: "URL", signing_secret: "${{HOOK_SECRET}}", allow_private_addresses: true}}}}'
)
POSTED = MAP.replace('{{kind: postgres, connection: {{dsn: "${{BOOKS_DSN}}"}}, owner: Finance}}', HOOK).replace(
    "target: {{table: gadgets, children: {{lines: {{table: gadget_lines}}}}}}", "target: {{}}"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def hook(line: Line, receiver: Receiver, state: State) -> Line:
    prefix = line.loaded.map.topic_prefix[:-1]
    assert HOOK in POSTED
    with (line.folder / ".env").open("a") as env:
        env.write(f"HOOK_SECRET={SECRET}\n")
    line.write_map(POSTED.format(prefix=prefix, timing="real-time").replace("URL", receiver.url), "")
    return line


@pytest.mark.slow
def test_an_endpoint_that_is_gone_pauses_its_flow_until_a_person_resumes_it(
    hook: Line, receiver: Receiver, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answer = lambda body: Reply(410)
    with hook.process() as process:
        hook.publish([("g1", 1, named("One", "a"))])
        eventually(lambda: "paused by itself" in process.told, "the flow's word that it paused itself")
        found = flow_state(hook)
        assert found.pause is not None
        assert found.complaint is not None
        assert "answered 410" in found.complaint
        posts = len(receiver.posts)
        receiver.answer = lambda body: Reply(200)
        assert len(receiver.posts) == posts, "a paused flow posts nothing"
        assert "accepted" not in typed("webhook", "attempts", FLOW)
        typed("resume", FLOW, "--by", "Anna")
        eventually(lambda: "g1" in receiver.state(), "the record after the resume")
        hook.publish([("g1", 2, None), ("g2", 1, named("Two"))])
        eventually(lambda: set(receiver.state()) == {"g2"}, "the delete and the new record")
        process.end()
    before = len(receiver.accepted())
    typed("replay", FLOW, "--id", "g2")
    assert len(receiver.accepted()) == before + 1
    assert len({one.id for one in receiver.accepted() if one.body["id"] == "g2"}) == 1, "a repeat has its former id"
    assert receiver.accepted()[-1].body["historical"]
    listed = [json.loads(each) for each in typed("webhook", "attempts", FLOW, "--json").splitlines()]
    assert [one["status"] for one in listed[::-1]][:2] == [410, 200]
    count = len(receiver.accepted())
    assert "0 records" in typed("replay", FLOW, "--to", "2020-01-01T00:00", "--dry-run")
    typed("replay", FLOW, "--from", "2020-01-01T00:00", "--to", "2100-01-01T00:00")
    assert len(receiver.accepted()) == count + 2, "the delete and the record, once more"
    assert "can't be asked" in typed("reconcile", FLOW)
    for name in ("SORBUS_KAFKA", "SORBUS_REGISTRY", "SORBUS_DATABASE"):
        monkeypatch.setenv(name, hook.env[name])
    loaded = load_map(hook.folder / "map.yaml")
    assert "1 records brought up to date" in deliver_again(loaded, FLOW, chosen_again("g2", "", ""), "Anna")
    assert len(receiver.accepted()) == count + 3
    shown = json.loads(typed("preview", FLOW, "g2", "--json", "--show-personal"))
    assert shown["action"] == "nothing"
    assert (shown["request"]["data"]["name"], shown["request"]["data"]["lines"]) == ("Two", [])


@pytest.mark.slow
def test_a_record_that_the_receiver_can_t_take_waits_while_others_are_delivered(
    hook: Line, receiver: Receiver, typed: Typed
) -> None:
    receiver.answer = lambda body: Reply(500 if (body["data"] or {}).get("name") == "Bad" else 200)
    with hook.process() as process:
        hook.publish([("g1", 1, named("One")), ("g2", 1, named("Bad")), ("g3", 1, named("Three"))])
        eventually(lambda: set(receiver.state()) == {"g1", "g3"}, "the other records")
        eventually(lambda: "g2" in typed("waiting", "list", "--json"), "the record that waits")
        hook.publish([("g4", 1, named("Four"))])
        eventually(lambda: "g4" in receiver.state(), "what came afterwards")
        hook.publish([("g2", 2, named("Good"))])
        eventually(lambda: "g2" in receiver.state(), "the corrected record")
        eventually(lambda: "g2" not in typed("waiting", "list", "--json"), "nothing waits")
        assert receiver.state()["g2"]["name"] == "Good"
        process.end()
    assert hook.letters() == []


def test_a_test_event_is_posted_or_only_shown(hook: Line, receiver: Receiver, typed: Typed) -> None:
    shown = typed("webhook", "test", FLOW, "--dry-run")
    assert "webhook-signature: ***" in shown
    assert '"type":"sorbus.test"' in shown
    assert SECRET not in shown
    assert receiver.posts == []
    assert "answered 204" in typed("webhook", "test", FLOW)
    assert receiver.posts[0].body["data"].keys() >= {"name", "lines"}
    receiver.answer = lambda body: Reply(422, {}, b"what is that?")
    told = json.loads(typed.json("webhook", "test", FLOW, status=1))
    assert (told["accepted"], told["status"]) == (False, 422)
    receiver.stop()
    assert "can't be reached" in typed("webhook", "test", FLOW, status=3)
    assert typed("webhook", "secret").startswith("whsec_")
    assert "nothing was posted" in typed("webhook", "attempts", FLOW)
