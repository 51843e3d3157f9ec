"""Records that a snapshot spares since they have an open dead letter, and that are gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.producers.postgres import open_source
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]


def test_a_record_with_a_dead_letter_goes_without_a_word(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.2)
    shop = make_shop(
        """create table parts (id text, day int, v text, primary key (id, day)) partition by list (day);
        create table parts_1 partition of parts for values in (1);
        create table parts_2 partition of parts for values in (2);
        insert into parts values ('1', 1, '1'), ('2', 2, '2')"""
    )
    shop.describe({"part": ([{"name": "v", "type": "int"}], {"table": "parts", "key": ["id"]})})
    shop.apply()
    tape, letters = shop.tape("part"), shop.dead_letters("part")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 2, "both records")
        shop.execute("update parts set v = 'bad' where id = '1'")
        letters.wait(lambda: not letters.read() and bool(letters.letters), "a letter")
        shop.execute("truncate parts_1")
        tape.wait(lambda: not tape.read() and tape.live() == {"2": {"v": 2}}, lambda: tape.live(), 20)
        letters.wait(lambda: not letters.read() and not letters.letters, lambda: letters.letters, 20)
