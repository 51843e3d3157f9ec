"""What a person is asked about stays as it was asked, and the record waits until the answer has come."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.conflict.store import Choice, Conflict, Conflicts
from sorbus.producers.merge.loops import TURNS
from tests.producers.merge.two_systems import Proposals, proposals

__all__ = ["proposals"]


@pytest.fixture
def asked(proposals: Proposals) -> Proposals:
    """The CRM changed the address of 1 to c, the books to b, while c is on its way to them."""
    proposals.says(merges={"name": "ask", "email": "ask"})
    proposals.show("crm", "1", name="a", email="o")
    (made,) = proposals.merge()
    proposals.show("books", "1", delivered=made.changes[0].version, name="a", email="o")
    proposals.show("crm", "1", name="a", email="c")
    (on_its_way,) = proposals.merge()
    proposals.show("books", "1", name="a", email="b")
    proposals.quiet()
    (held,) = Conflicts(proposals.state).page()
    assert (held.field, held.theirs, held.ours, held.version) == ("email", "b", "c", on_its_way.changes[0].version)
    return proposals


def decide(proposals: Proposals, choice: Choice) -> Conflict:
    (held,) = Conflicts(proposals.state).page()
    return Conflicts(proposals.state).decide(held.number, choice, who="ada", reason="")


def delivered(proposals: Proposals) -> None:
    (held,) = Conflicts(proposals.state).page()
    proposals.show("books", "1", delivered=held.version, name="a", email="c")


def deleted(proposals: Proposals) -> None:
    proposals.show("books", "1")


def made_again(proposals: Proposals) -> None:
    deleted(proposals)
    proposals.show("books", "1", name="a", email=None)


@pytest.mark.parametrize("happens", [delivered, deleted, made_again])
def test_the_value_that_a_person_keeps_is_the_one_that_was_asked_about(
    asked: Proposals, happens: Callable[[Proposals], None]
) -> None:
    happens(asked)
    assert not [change for batch in asked.quiet() for change in batch.changes]
    assert decide(asked, "keep").theirs == "b"
    (batch,) = asked.merge()
    assert [change.id for change in batch.changes] == [b"1"]
    assert asked.records()["1"]["email"] == "b"


def test_a_value_that_the_record_cant_have_is_not_kept_in_its_place(proposals: Proposals) -> None:
    proposals.says(merges={"name": "ask", "email": "ask"})
    proposals.show("crm", "1", name="o")
    (made,) = proposals.merge()
    proposals.show("books", "1", delivered=made.changes[0].version, name="o")
    proposals.show("crm", "1", name="c")
    proposals.merge()
    proposals.show("books", "1", name="b")
    proposals.quiet()
    proposals.show("books", "1", name=None, email="x")
    proposals.quiet()
    decide(proposals, "keep")
    proposals.merge()
    assert proposals.records()["1"] == {"name": "b", "email": "x"}


def test_what_an_earlier_release_held_is_decided(asked: Proposals) -> None:
    asked.state.run(
        b"update merged_record set about = jsonb_set(about::jsonb, '{held,0}', (about::jsonb #> '{held,0}') - 4 - 3)"
    )
    decide(asked, "keep")
    asked.merge()
    assert asked.records()["1"]["email"] == "b"


@pytest.mark.parametrize(
    "flows", [{"crm": "customer-to-crm"}, {"crm": "customer-to-crm", "books": "renamed"}], ids=["left", "renamed"]
)
def test_a_decision_about_a_system_that_left_the_map_or_whose_flow_has_another_name_is_carried_out(
    asked: Proposals, flows: dict[str, str]
) -> None:
    asked.says(flows=flows, proposes={system: ["name", "email"] for system in flows})
    decide(asked, "overwrite")
    (batch,) = asked.merge()
    assert [change.id for change in batch.changes] == [b"1"]
    assert Conflicts(asked.state).page(("open", "overwrite", "keep")) == []


def test_a_loop_about_a_value_that_the_field_cant_have_is_held_and_the_value_never_kept(proposals: Proposals) -> None:
    """A trigger in the books empties a name that the CRM owns, and that no customer lacks, after each delivery."""
    proposals.says(merges={"email": "latest"})
    proposals.show("crm", "1", name="a")
    (made,) = proposals.merge()
    for _ in range(TURNS):
        proposals.show("books", "1", delivered=made.changes[0].version, name="a")
        proposals.show("books", "1", name=None)
    proposals.quiet()
    (held,) = Conflicts(proposals.state).page()
    assert (held.field, held.theirs, held.in_turn_with) == ("name", None, "crm")
    proposals.show("books", "1", name=None, email="x")  # saved once more, as it was read
    proposals.quiet()
    decide(proposals, "keep")
    proposals.merge()
    assert proposals.records() == {"1": {"name": "a", "email": "x"}}
