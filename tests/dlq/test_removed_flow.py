"""Letters of flows that the map has no more."""

from __future__ import annotations

from contextlib import suppress

from sorbus.dlq.service import DeadLetterService
from sorbus.dlq.store import LetterFilter
from sorbus.errors import SorbusError
from sorbus.map.load import load_map
from sorbus.state.database import migrate
from tests.consumers.line import RESTRICTED, Line, named


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
    with suppress(SorbusError):  # it may say that there is nobody to send it to
        service.requeue(LetterFilter(), "Ada")
    assert service.discard([letter.id], "Ada", "its flow is no more").count == 1
