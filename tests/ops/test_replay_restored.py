"""A replay that is resumed in a target that was put back meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from confluent_kafka import Message

from sorbus.errors import TransientError
from sorbus.ops.replay import replay, topic_delivery
from sorbus.ops.replay.run import ReplayRun
from sorbus.ops.replay.selection import Selection
from sorbus.ops.replay.topic_delivery import Delivered, TopicDelivery
from tests.consumers.line import FLOW, Line, eventually, named
from tests.consumers.plugin import line, line_with_state, make_line
from tests.consumers.test_target_progress import back_up, ends_of, noted, restore

__all__ = ["line", "line_with_state", "make_line"]


@pytest.mark.parametrize("shadow", [False, True], ids=["in place", "in a shadow"])
@pytest.mark.parametrize("is_put_back", [False, True], ids=["the same target", "put back"])
def test_a_replay_that_is_resumed_delivers_what_its_target_lacks(
    line_with_state: Line, monkeypatch: pytest.MonkeyPatch, is_put_back: bool, shadow: bool
) -> None:
    line = line_with_state
    for name in ("SORBUS_KAFKA", "SORBUS_REGISTRY"):
        monkeypatch.setenv(name, line.env[name])
    expected = {str(id): "known" for id in range(12)}
    with line.consuming():
        line.publish([(id, 1, named("known", "a")) for id in expected])
        line.until(expected)
        eventually(lambda: sorted(noted(line).values()) == sorted(ends_of(line)), "a note of all")
    line.execute("truncate gadgets, gadget_lines")
    back_up(line)
    for module in (replay, topic_delivery):
        monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(replay, "_SAVE_EVERY", 0.0)
    deliver, sizes = TopicDelivery.deliver, list[int]()

    def delivering(one: TopicDelivery, batch: Sequence[Message]) -> Delivered:
        sizes.append(len(batch))
        if len(sizes) == 4:
            raise TransientError("a fault of the test")
        return deliver(one, batch)

    monkeypatch.setattr(TopicDelivery, "deliver", delivering)

    def run() -> None:
        asked = ReplayRun(line.loaded, FLOW, "Ada")
        if shadow:
            asked.shadow(Selection(), lambda *_: None, remove_extra=False)
        else:
            asked.in_place(Selection(), lambda *_: None, without_deleted=True)

    with pytest.raises(TransientError):
        run()
    if is_put_back:
        restore(line)
        if shadow:
            line.execute("delete from sorbus_shadow_gadgets; delete from sorbus_shadow_gadget_lines")
    run()
    assert line.rows() == expected
    assert sum(sizes) == (18 if is_put_back else 12) + 2, "what was delivered before is delivered again"
