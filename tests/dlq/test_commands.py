"""`sorbus dlq` as people run it: list, show, requeue, with exit codes and errors that say what to do."""

from __future__ import annotations

import json

import pytest

from sorbus.dlq import action_commands
from tests.consumers.line import FLOW, RESTRICTED, Line, eventually, named

LONG = "a name that is too long for it"


def test_letters_are_listed_shown_and_requeued_until_they_land(line: Line) -> None:
    line.execute(RESTRICTED)
    for nothing in (line.sorbus("dlq", "list"), line.sorbus("dlq", "groups")):
        assert nothing.startswith("No dead letters. What waits")
        assert "delivered" not in nothing, "records may wait"
    assert line.listed("dlq", "list", "--json") == []
    with line.consuming():
        line.publish([("g1", 1, named(LONG, "sku-1")), ("g2", 1, named("fine"))])
        line.write("g3", b"\x07garbage")
        line.flush()
        line.until_letters(2)

        listed = {str(letter["record"]): letter for letter in line.listed("dlq", "list", "--json")}
        assert listed.keys() == {"g1", "g3"}
        assert listed["g1"]["reason"] == "CheckViolation"
        assert listed["g1"]["field"] == "short_name"
        (only,) = line.listed("dlq", "list", "--json", "--reason", "undecodable", "--flow", FLOW, "--type", "gadget")
        assert only == listed["g3"]
        assert LONG not in line.sorbus("dlq", "list"), "the table shows why, not the record"

        long, garbage = str(listed["g1"]["id"]), str(listed["g3"]["id"])
        (shown,) = line.listed("dlq", "show", long, "--json")
        assert shown["version"] == 1
        record = shown["record_data"]
        assert isinstance(record, dict)
        assert record["name"] == LONG
        assert record["lines"] == [{"sku": "sku-1", "quantity": 1}]
        (shown,) = line.listed("dlq", "show", garbage, "--json")
        assert shown["bytes"] == b"\x07garbage".hex()
        assert "0x07" in str(shown["cannot_be_read"])
        assert "short_name" in line.sorbus("dlq", "show", long)

        dry = json.loads(line.sorbus("dlq", "requeue", "--all", "--dry-run", "--json"))
        assert sorted(dry["requeued"]) == sorted([long, garbage])
        assert "1 requeued" in line.sorbus("dlq", "requeue", garbage)
        line.execute("alter table gadgets drop constraint short_name")
        sent = json.loads(line.sorbus("dlq", "requeue", "--reason", "CheckViolation", "--json"))
        assert sent == {"requeued": [long], "dry_run": False, "to_be_read_again": 0, "stranded": 0}
        line.until({"g1": LONG, "g2": "fine"})
        (left,) = line.until_letters(1)
        assert left.id == garbage


def test_what_is_unknown_is_an_error_that_says_what_there_is(line: Line) -> None:
    told = line.sorbus("dlq", "list", "--flow", "gadget-to-nowhere", status=2)
    assert "gadget-to-nowhere" in told
    assert FLOW in told
    assert "gadget" in line.sorbus("dlq", "list", "--type", "widget", status=2)
    assert "sorbus dlq list" in line.sorbus("dlq", "show", "no:such:letter", status=1)
    assert "no open dead letter" in line.sorbus("dlq", "requeue", "no:such:letter", status=1)
    assert "--all" in line.sorbus("dlq", "requeue", status=2)
    for deed in (
        ["requeue"],
        ["requeue", "--dry-run"],
        ["discard", "--yes", "--reason", "x"],
        ["assign", "--to", "Ada"],
        ["list"],
        ["list", "--json"],
        ["export"],
    ):
        assert "sorbus dlq groups" in line.sorbus("dlq", *deed, "--cause", "1f0c52a7d3e9", status=2)


def test_kafka_out_of_reach_is_exit_code_three(line: Line) -> None:
    line.env |= {"SORBUS_KAFKA": "127.0.0.1:1"}
    assert "Kafka" in line.sorbus("dlq", "list", status=3)


@pytest.mark.parametrize("also", ["", "another"])
def test_what_somebody_else_edits_meanwhile_is_not_undone(
    line: Line, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    """Ada's editor shows the record as it was before Bo edited it, and that was refused again."""
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named("a name that is much too long"))])
        (letter,) = line.until_letters(1)

    def edit(text: str) -> str:
        if also:
            line.sorbus("dlq", "edit", letter.id, "--set", f"note={also}", "--by", "Bo")
            with line.consuming():
                eventually(lambda: [one.attempts for one in line.letters()] == [2], "a second refusal")
        return json.dumps({**json.loads(text), "name": 1.10}).replace("1.1", "1.10")

    monkeypatch.setattr(action_commands, "_in_editor", edit)
    told = line.sorbus("dlq", "edit", letter.id, "--by", "Ada", status=1 if also else 0)
    if also:
        assert "has changed meanwhile" in told
    else:
        with line.consuming():
            line.until({"g1": "1.10"})
