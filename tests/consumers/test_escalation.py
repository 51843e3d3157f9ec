"""A target that doesn't answer for longer than its flow allows: a person is called by name, and the flow goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from sorbus.connector import Delivery, RejectedDelivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import TransientError
from tests.consumers.line import Line, eventually, named
from tests.consumers.plugin import line, make_line

__all__ = ["line", "make_line"]


class Away(PostgresConsumer):
    """A target that can't be reached until `is_back` is set."""

    is_back = False

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        if not Away.is_back:
            raise TransientError("books does not answer")
        return super().apply(deliveries, again=again, alone=alone)


def test_whom_the_map_names_is_called_and_the_flow_goes_on_by_itself(line: Line) -> None:
    map_file = line.folder / "map.yaml"
    map_file.write_text(map_file.read_text() + '    escalate_after: 1s\n    escalate_to: "Ann Lee <ann@example.com>"\n')
    limit = {"escalate_after": "1s", "escalate_to": "Ann Lee <ann@example.com>"}
    line.flow = replace(line.flow, flow=line.flow.flow.model_copy(update=limit))
    Away.is_back = False
    line.publish([("g1", 1, named("x"))])
    with line.consuming(make=lambda: Away(line.flow)) as running:
        called = "books does not answer; retrying for longer than 1s: call Ann Lee <ann@example.com>"
        eventually(lambda: running.health.waiting() == called, "the person's name in the flow's health")

        def escalated() -> dict[str, object] | None:
            found = json.loads(line.sorbus("status", "--json"))["escalations"]
            return found[0] if found else None

        found = eventually(escalated, "the escalation in sorbus status")
        assert (found["why"], found["records"]) == ("late", 1)
        assert found["person"] == "Ann Lee <ann@example.com>"
        Away.is_back = True
        line.until({"g1": "x"})
        eventually(lambda: running.health.waiting() is None, "the flow's good health")
