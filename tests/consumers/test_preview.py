"""A preview of a flow into PostgreSQL: the row as it would be, and nothing written."""

from __future__ import annotations

import psycopg

from tests.consumers.gadgets import GADGET_WITH_LINES, Writer, flow_into, gadget, make_tables, opened, state_of
from tests.consumers.line import FLOW, RESTRICTED, Line, named

CHILD = {"lines": {"table": "gadget_lines"}}


def test_the_row_before_and_after(database: str) -> None:
    flow = flow_into(database, schema=GADGET_WITH_LINES, children=CHILD)
    make_tables(flow)
    writer, consumer = Writer(GADGET_WITH_LINES), opened(flow)
    first = writer.delivery("g1", 1, gadget("One", lines=[{"sku": "a", "quantity": 1}]))
    shown = consumer.preview(first)
    assert shown.action == "create"
    assert isinstance(shown.request, dict)
    assert shown.request["row"] == {"id": "g1", "name": "One", "note": None, "price": None, "made_on": None}
    assert shown.request["lines"] == [{"parent_id": "g1", "position": 1, "sku": "a", "quantity": 1}]
    with psycopg.connect(database) as connection:
        assert state_of(connection).gadgets == {}
        assert consumer.apply([first]) == []
        assert consumer.preview(first).action == "nothing"
        shown = consumer.preview(writer.delivery("g1", 2, gadget("Two", lines=[])))
        assert (shown.action, isinstance(shown.request, dict) and shown.request["changes"]) == (
            "update",
            {"name": ["One", "Two"]},
        )
        assert consumer.preview(writer.delivery("g1", 3, None)).action == "delete"
        assert state_of(connection).gadgets == {"g1": ("One", None, None, None)}
    consumer.close()


def test_what_the_target_would_refuse_is_said(line: Line) -> None:
    line.execute(RESTRICTED)
    line.publish([("g1", 1, named("a name that is too long for it"))])
    told = line.sorbus("preview", FLOW, "g1", "--explain", status=1)
    assert "refuse" in told
    assert "from gadget.name" in told
    assert "short_name" in told
    assert line.rows() == {}
