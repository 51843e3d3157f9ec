"""The audit trail: in one transaction with the deed, and only ever added to."""

from __future__ import annotations

import pytest

from sorbus.audit import AuditFilter, AuditTrail
from sorbus.errors import PermanentError
from sorbus.state.database import State


def test_the_newest_comes_first_page_by_page(state: State) -> None:
    trail = AuditTrail(state)
    numbers = [trail.note("Ada", "discard", "letter", f"L{number}", reason="it is old") for number in range(5)]
    first = trail.page(most=3)
    assert [entry.number for entry in first] == numbers[:1:-1]
    assert [entry.subject for entry in trail.page(first[-1].number, most=3)] == ["L1", "L0"]
    assert (first[0].who, first[0].action, first[0].reason) == ("Ada", "discard", "it is old")


def test_entries_are_found_by_what_they_are_about(state: State) -> None:
    trail = AuditTrail(state)
    trail.note("Ada", "edit", "letter", "L1", data_type="gadget", record="g1", details={"fields": ["name"]})
    trail.note("Bo", "settle", "drift", "3")
    (about,) = trail.page(filter=AuditFilter(data_type="gadget", record="g1"))
    assert (about.subject, about.details) == ("L1", {"fields": ["name"]})
    assert [entry.who for entry in trail.page(filter=AuditFilter(subject_kind="drift", who="Bo"))] == ["Bo"]
    assert trail.page(filter=AuditFilter(action="edit", who="Bo")) == []


def test_a_part_is_shown_to_who_asks_for_its_subject(state: State) -> None:
    trail = AuditTrail(state)
    with state.connection() as connection:
        whole = trail.note_in(connection, "Ada", "requeue", "letters", "reason TooLong", details={"count": 2})
        trail.note_in(connection, "Ada", "requeue", "letter", "L1", data_type="gadget", record="g1", part_of=whole)
    assert [entry.number for entry in trail.page()] == [whole]
    (part,) = trail.page(filter=AuditFilter(subject="L1"))
    assert part.part_of == whole
    assert len(trail.page(filter=AuditFilter(data_type="gadget", record="g1"))) == 1


def test_a_deed_that_fails_is_not_noted(state: State) -> None:
    trail = AuditTrail(state)

    def fail() -> None:
        with state.connection() as connection:
            trail.note_in(connection, "Ada", "edit", "letter", "L1")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert trail.page() == []


@pytest.mark.parametrize(
    "statement",
    [b"update audit set who = 'Nobody'", b"delete from audit", b"truncate audit cascade"],
)
def test_nothing_is_taken_back(state: State, statement: bytes) -> None:
    AuditTrail(state).note("Ada", "edit", "letter", "L1")
    with pytest.raises(PermanentError, match="only ever added to"):
        state.run(statement)
    assert [entry.who for entry in AuditTrail(state).page()] == ["Ada"]
