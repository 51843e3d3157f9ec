"""What was posted before the map was changed."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from sorbus.connector import BoundSource
from sorbus.errors import LostPosition
from sorbus.mapfile.model import System
from tests.producers.webhook.test_records import MakeForm, make_form, source

_ = make_form


def ruled(rule: str, **options: object) -> BoundSource:
    made = source("contact", (("name", "name"),), **options)
    return replace(made, mapping=tuple(one.model_copy(update={"rule": rule}) for one in made.mapping))


@pytest.mark.parametrize("options", [{}, {"updated": "at"}], ids=str)
def test_another_mapping_publishes_again_what_it_makes_otherwise(
    make_form: MakeForm, options: dict[str, object]
) -> None:
    form = make_form(ruled("value", **options))
    form.house.post([{"id": n, "name": "Anna" if n < 3 else "BEA", "at": "2026-11-01T00:00:00Z"} for n in range(1, 5)])
    form.house.post({"id": 4, "at": "2026-11-01T00:00:01Z"}, method="DELETE")
    assert {id: one["name"] for id, one in form.drain().items()} == {"1": "Anna", "2": "Anna", "3": "BEA"}
    before = form.events
    form.sources = [ruled("value | upper", **options)]
    assert {id: one["name"] for id, one in form.drain().items()} == {"1": "ANNA", "2": "ANNA", "3": "BEA"}
    assert form.events == before + 2, "what is the same as before is no event"
    form.drain()
    assert form.events == before + 2


def test_posts_of_a_data_type_that_has_left_the_map_are_told_of(
    make_form: MakeForm, caplog: pytest.LogCaptureFixture
) -> None:
    form = make_form(source("contact"))
    assert form.house.post({"id": 1, "name": "Anna"}).status_code == 200
    form.sources = [source("person")]
    with caplog.at_level(logging.WARNING):
        assert form.drain() == {}
    assert "1 posts that were accepted for contact are not published" in caplog.text
    form.sources = [source("contact")]
    assert form.drain().keys() == {"1"}


def test_another_id_never_leaves_a_record_there_twice_in_silence(
    make_form: MakeForm, caplog: pytest.LogCaptureFixture
) -> None:
    form = make_form(source("contact"))
    form.house.post({"id": 1, "number": "A1", "name": "Anna"})
    form.drain()
    form.sources = [source("contact", id="number")]
    with pytest.raises(LostPosition, match=r"published by the id id\. By number"):
        form.drain()
    form.sources = [source("contact")]
    form.drain()
    form.sources = [source("contact", id="number")]
    form.system = replace(form.system, system=System(kind="webhook", on_lost_slot="resnapshot"))
    with caplog.at_level(logging.WARNING):
        form.drain()
    assert "what has the former stays in every target" in caplog.text
