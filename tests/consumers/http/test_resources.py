"""Two resources of one application, or two data types in one resource: whose record is whose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.errors import MapError
from sorbus.identity.adopt import unassigned
from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.crosswalk import Crosswalk, links_of
from tests.consumers.http.house import House, contact, event
from tests.http_api.faulty import Faulty, serving

BOTH = {"contact": ("contacts", "ascending")}
"""The resources that take contacts. Each keeps records of its own here, with ids that begin at 1."""


@pytest.fixture
def elsewhere() -> Iterator[Faulty]:
    """Where the second resource's records are."""
    with serving() as made:
        yield made


def opened(
    house: House, at: Faulty | None = None, *, data_type: str = "contact", shared: bool = False, **more: object
) -> HttpConsumer:
    """A flow into `contacts`, or into `ascending`, which is kept at `at`."""
    resource = "contacts" if at is None else "ascending"
    flow = house.flow(resource=resource, target={"shared": shared}, **more)  # type: ignore[arg-type]
    if at is not None:
        update = {"base_url": at.base_url, "api_key": flow.system.connection.api_key.__class__(at.api_key)}  # type: ignore[attr-defined]
        flow = replace(flow, system=replace(flow.system, connection=flow.system.connection.model_copy(update=update)))
    named = flow.flow.model_copy(update={"data_type": data_type})
    return house.opened(replace(flow, flow=named, resources={**BOTH, "lead": ("contacts",)}))


def test_a_record_has_a_link_in_each_resource(house: House, elsewhere: Faulty) -> None:
    elsewhere.add(name="Somebody else", email="else@example.test")
    for consumer in (opened(house), opened(house, elsewhere)):
        assert house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bob"))).refused == {}
    assert set(house.faulty.contacts("name")) == {"Ada", "Bob"}
    assert set(elsewhere.contacts("name")) == {"Ada", "Bob", "Somebody else"}
    links = links_of(house.state, "contact", "c1")
    assert {one.resource for one in links if one.system == house.system} == {"contacts", "ascending"}


def test_a_stranger_with_the_other_resources_id_is_left_alone(house: House, elsewhere: Faulty) -> None:
    """Case 23: the id that a record has in one resource is a stranger's in the other one."""
    first, second = opened(house), opened(house, elsewhere)
    house.deliver(first, event("c1", 1, contact("Ada")))
    stranger = elsewhere.add(name="Stranger", email="stranger@example.test")
    assert stranger == Crosswalk(house.state, house.system, "contact", "contacts").external_of(["c1"])["c1"]
    for version, record in ((2, contact("Ada", city="Oslo")), (3, contact("Ada", city="Bern")), (4, None)):
        assert house.deliver(second, event("c1", version, record)).refused == {}
    assert set(elsewhere.contacts("name")) == {"Stranger"}
    assert set(house.faulty.contacts("name")) == {"Ada"}, "the other resource's record is not deleted with it"
    assert house.deliver(first, event("c1", 4, None)).refused == {}
    assert house.faulty.contacts() == {}


def test_a_question_and_its_answer_are_of_one_resource(house: House, elsewhere: Faulty) -> None:
    """What a person says of a contact is not said of a company."""
    for at in (house.faulty, elsewhere):
        at.add(name="Ada", tax_number="1", email="ada@example.test")
        at.add(name="Ada", tax_number="1", email="ada@example.test")
    first, second = opened(house), opened(house, elsewhere)
    for consumer in (first, second):
        done = house.deliver(consumer, event("c1", 1, contact("Ada", tax_number="1")))
        assert done.reasons == {0: "duplicate"}
    questions = Candidates(house.state, house.system, "contact").open()
    assert {one.resource for one in questions} == {"contacts", "ascending"}
    Candidates(house.state, house.system, "contact", "contacts").decide(
        next(one.number for one in questions if one.resource == "contacts"),
        Decision("create", None),
        who="Sales",
        reason="",
    )
    assert house.deliver(first, event("c1", 1, contact("Ada", tax_number="1"))).refused == {}
    done = house.deliver(second, event("c1", 1, contact("Ada", tax_number="1")))
    assert done.reasons == {0: "duplicate"}, "nobody has said anything of this one"


def test_a_record_is_not_two_data_types_records(house: House) -> None:
    """A lead with a customer's address would overwrite the customer, and the customer the lead, for ever."""
    customers, leads = opened(house), opened(house, data_type="lead")
    house.deliver(customers, event("c1", 1, contact("Ada")))
    done = house.deliver(leads, event("l1", 1, contact("Ada")), event("c1", 1, contact("Bob")))
    assert done.reasons == {0: "duplicate"}, "the same id of another data type is another record"
    assert "contact c1" in str(done.refused[0])
    assert set(house.faulty.contacts("name")) == {"Ada", "Bob"}
    assert house.deliver(customers, event("c1", 2, contact("Ada", city="Oslo"))).refused == {}
    assert house.faulty.contacts("name")["Bob"]["city"] is None


def test_a_data_type_that_only_adds_fields_may_share_records(house: House) -> None:
    customers = opened(house)
    house.deliver(customers, event("c1", 1, contact("Ada")))
    adding = opened(
        house, data_type="lead", shared=True, rows=[("email", "contacts.email", ""), ("city", "contacts.city", "")]
    )
    assert house.deliver(adding, event("l1", 1, contact("Ada", city="Oslo"))).refused == {}
    (one,) = house.faulty.contacts().values()
    assert one["city"] == "Oslo"


@pytest.mark.parametrize("several", [False, True])
def test_links_from_before_go_where_the_map_says_and_else_to_a_person(house: House, several: bool) -> None:
    id = house.faulty.add(name="Ada", email="ada@example.test")
    Crosswalk(house.state, house.system, "contact", "").link("c1", id, 1, None)
    flow = replace(house.flow(), resources=BOTH if several else {"contact": ("contacts",)})
    if several:
        with pytest.raises(MapError, match=r"(?s)shared by contacts and ascending.*crosswalk assign"):
            house.opened(flow)
        assert unassigned(house.state, house.system, "contact") == 1
        return
    consumer = house.opened(flow)
    assert house.linked("c1") == id
    assert house.deliver(consumer, event("c1", 2, contact("Ada", city="Oslo"))).refused == {}
    assert house.faulty.contacts()[id]["city"] == "Oslo"
    assert unassigned(house.state, house.system, "contact") == 0
