"""An application whose fields are called by ids or dates: new ones come for ever, and cost no more for that."""

from __future__ import annotations

import logging

import pytest

from sorbus.drift.watch import DriftWatch
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Record
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.assign import Assignment
from sorbus.producers.http import drift
from sorbus.producers.http.drift import RecordWatch
from sorbus.schema import parse_schema

SCHEMA = parse_schema({"type": "record", "name": "person", "fields": [{"name": "name", "type": "string"}]})
ROW = FieldMapping(
    source_system="desk", source_field="people.name", target_system="canonical", target_field="person.name"
)
MOST = 50


def person(number: int, **more: object) -> Record:
    return {"id": number, "name": "Ada", f"seen on day {number}": 1, **more}


@pytest.mark.parametrize("learns", [False, True])
def test_names_that_are_values_are_remembered_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, learns: bool
) -> None:
    monkeypatch.setattr(drift, "_MOST", MOST)
    watch = RecordWatch("person", "people", [Assignment("name", "name", None, ROW)], SCHEMA)
    findings = DriftWatch("desk", None)
    if not learns:
        findings.accept("people", {"id": "integer", "name": "text"})
    watch.begin(findings, ())
    look = watch.watched(lambda _: b"")
    with caplog.at_level(logging.WARNING):
        for begin in (0, 1_000, 2_000):
            watch.begin_list()
            for number in range(begin, begin + 500):
                look(person(number))
            watch.end_list()
            assert len(findings.current("person", "people")) <= MOST + 2
    assert sum("as if names of fields were values" in one.getMessage() for one in caplog.records) == 1
    assert watch.always == {"name"}
    look(person(9_999, id="a text now"))
    assert findings.current("person", "people")["id"] != "integer"
    with pytest.raises(PermanentError, match="name is gone"):
        look({"id": 1})
    findings.close()
