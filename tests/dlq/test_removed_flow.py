"""Letters of flows that the map has no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sorbus.dlq.service import DeadLetterService
from sorbus.dlq.store import LetterFilter
from sorbus.errors import SorbusError
from sorbus.map.load import load_map
from sorbus.state.database import migrate
from tests.consumers.line import FLOW, RESTRICTED, Line, named
from tests.dlq.post import Post


def test_a_letter_of_a_flow_that_is_no_more_can_be_closed(line: Line) -> None:
    """The flow was renamed: nobody reads the old one's requeue topic."""
    migrate(line.state)
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named("a name that is much too long"))])
        (letter,) = line.until_letters(1)
    path = line.folder / "map.yaml"
    path.write_text(path.read_text().replace("    to: books\n", "    to: books\n    name: other\n"))
    service = DeadLetterService(load_map(path), line.settings, line.state)
    done = service.requeue(LetterFilter(), "Ada")
    assert (done.ids, done.stranded) == ((), 1)
    with pytest.raises(SorbusError, match=f"the map doesn't run flow {FLOW} any more"):
        service.requeue([letter.id], "Ada")
    found = service.find(letter.id)
    assert found is not None
    assert found.state == "open"
    assert service.discard([letter.id], "Ada", "its flow is no more").count == 1


def test_letters_of_a_flow_that_is_no_more_hold_up_no_others(line: Line, post: Post) -> None:
    """Its requeue topic is gone, too."""
    good, gone = post.letter(1), replace(post.letter(2), flow="old-flow", id="old-flow:gadget:0:2")
    post.write([gone, good])
    told = line.sorbus("dlq", "requeue", "--all")
    assert told.splitlines() == ["1 requeued", "1 left: the map doesn't run their flows any more; discard them"]
    states = {one["id"]: one["state"] for one in line.listed("dlq", "list", "--json")}
    assert states == {good.id: "requeued", gone.id: "open"}


def test_letters_of_no_system_of_the_map_hide_no_others(line: Line, post: Post) -> None:
    """Its system has another name by now, or it is a foreign message."""
    migrate(line.state)
    good = post.letter(1)
    gone = [
        replace(post.letter(number), system=name, flow="", id=f"{number}") for number, name in ((2, "old"), (3, ""))
    ]
    post.write([*gone, good])
    assert {one["id"] for one in line.listed("dlq", "list", "--json")} == {good.id, "2", "3"}
    assert "gadget 2" not in line.sorbus("dlq", "show", "2"), "nothing says which of its columns are personal"
    assert line.sorbus("dlq", "groups")
