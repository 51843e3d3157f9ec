"""A flow that the map points at another table, or has deliver something else than before."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.flow_place import rules_of_flow
from sorbus.map.load import load_map
from sorbus.ops.runtime.places import outdated_flows, plan_places
from sorbus.settings import Settings
from sorbus.waiting.complete import consumer_of
from tests.consumers.line import FLOW, MAP, Line, eventually, named

ALL = {f"g{n}": f"n{n}" for n in range(1, 20)}


def point_at(line: Line, table: str) -> None:
    prefix = line.loaded.map.topic_prefix[:-1]
    text = MAP.replace("{{table: gadgets,", f"{{{{table: {table},")
    text = text.replace("gadget_lines", f"{table}_lines")
    line.write_map(text.format(prefix=prefix, timing="real-time"), prefix)
    line.loaded = load_map(line.folder / "map.yaml")
    line.flow = line.loaded.flow(FLOW)
    line.make_target()


def held(line: Line, table: str) -> dict[str, str]:
    return dict(line.connection.execute(f"select id, name from {table}".encode()).fetchall())


def planned(line: Line) -> str:
    return " ".join(step.detail for step in plan_places(line.loaded, line.settings))


def test_another_table_gets_all_records_and_the_plan_says_so(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.publish([("gone", 1, named("gone")), *((id, 1, named("older")) for id in ALL)])
    with line.consuming():
        line.publish([("gone", 2, None), *((id, 2, named(name)) for id, name in ALL.items())])
        line.until(ALL)
    assert planned(line) == ""
    point_at(line, "things")
    assert "wrote to table public.gadgets of books, and the map now says table public.things of books" in planned(line)
    with caplog.at_level(logging.WARNING), line.consuming():
        line.publish([("g1", 3, named("newest"))])
        eventually(lambda: held(line, "things") == ALL | {"g1": "newest"}, "all records")
    assert held(line, "gadgets") == ALL, "what was written before stays"
    assert "reads" in caplog.text
    assert planned(line) == ""
    point_at(line, "gadgets")
    with line.consuming():
        eventually(lambda: held(line, "gadgets") == ALL | {"g1": "newest"}, "what changed meanwhile")


def test_the_same_table_gets_only_what_is_new(line: Line) -> None:
    line.publish([(id, 1, named(name)) for id, name in ALL.items()])
    with line.consuming():
        line.until(ALL)
    line.execute("delete from gadgets where id = 'g1'")
    point_at(line, "public.gadgets")
    with line.consuming():
        line.publish([("g2", 2, named("new"))])
        line.until({id: name for id, name in ALL.items() if id != "g1"} | {"g2": "new"})


def test_another_condition_is_told_of_until_all_is_replayed(
    line_with_state: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line, prefix = line_with_state, line_with_state.loaded.map.topic_prefix[:-1]
    line.publish([(id, 1, named(name)) for id, name in ALL.items()])
    with line.consuming():
        line.until(ALL)

    def told() -> list[str]:
        return outdated_flows(
            line.loaded,
            Settings(kafka=line.settings.kafka, registry=line.settings.registry, database=line.env["SORBUS_DATABASE"]),
        )

    assert told() == []
    where = '    to: books\n    where: name != "n1"\n    on_leave: delete\n'
    line.write_map(MAP.replace("    to: books\n", where).format(prefix=prefix, timing="real-time"), prefix)
    line.loaded = load_map(line.folder / "map.yaml")
    line.flow = line.loaded.flow(FLOW)
    (words,) = told()
    assert f"`sorbus replay {FLOW}`" in words
    with caplog.at_level(logging.WARNING), line.consuming(make=lambda: consumer_of(PostgresConsumer, line.flow)):
        line.publish([(f"new{n}", 1, named("new")) for n in range(9)])
        line.until(ALL | {f"new{n}": "new" for n in range(9)})
    assert "makes something else of records than before" in caplog.text
    assert told() == [words], "n1 is still there"
    line.sorbus("replay", FLOW, "--id", "g2")
    assert told() == [words]
    line.sorbus("replay", FLOW)
    line.until({id: name for id, name in ALL.items() if id != "g1"} | {f"new{n}": "new" for n in range(9)})
    assert told() == []


@pytest.mark.parametrize(
    "change", [{"where": 'name != "n1"', "on_leave": "keep"}, {"deletes": "ignore"}, {"on_incomplete": "hold"}], ids=str
)
def test_what_decides_what_is_delivered_counts_and_nothing_else(line: Line, change: dict[str, str]) -> None:
    def rules(**changed: str) -> str:
        return rules_of_flow(replace(line.flow, flow=line.flow.flow.model_copy(update=changed)))

    assert rules(**change) != rules()
    assert rules(timing="every 15m", notes="a note", wait_limit="2h") == rules()
