"""A record that its owner has again while it is erased: what came is kept, or the command says how to bring it back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from sorbus.cli.context import Context
from sorbus.ops.forget.forget import Erasure, OwnerHasIt
from sorbus.ops.forget.receipt import Receipt
from sorbus.settings import Settings
from sorbus.state.database import State
from tests.privacy.people import People, eventually
from tests.privacy.test_forget import MARKER, live

PUT = "insert into people values ('p1', 'Xanthippe', 'xanthippe@x.org', 'k', null, 'active')"
PUT_AGAIN = PUT.replace("'k'", "'again'")  # the target may still have what was there before
THERE = "select 1 from persons where id = 'p1' and name = 'Xanthippe' and sorbus_deleted_at is null"


@pytest.fixture
def erasure(people: People, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], None]], Erasure]:
    """Makes the erasure of p1, whose owner has deleted it while no flow ran."""
    for name, value in people.env.items():
        monkeypatch.setenv(name, value)
    people.execute("crm", PUT)
    with people.running():
        eventually(lambda: people.rows("archive", THERE), "p1 in the archive")
    people.execute("crm", "delete from people where id = 'p1'")
    with people.running("produce"):
        eventually(lambda: MARKER not in live(people, people.names.topic("person")), "the delete on the topic")

    def make(say: Callable[[str], None]) -> Erasure:
        receipt = Receipt("person", "p1", "ann", "", datetime.now(UTC), dry_run=False)
        loaded = Context(people.folder / "map.yaml", verbose=False, quiet=False).load_sound()
        return Erasure(loaded, Settings(), State.of(loaded.map.topic_prefix), receipt, say=say)

    return make


def bring_back(people: People, stack: ExitStack) -> None:
    people.execute("crm", PUT_AGAIN)
    stack.enter_context(people.running())
    eventually(lambda: people.rows("archive", f"{THERE} and code = 'again'"), "p1 in the archive again")


def test_a_record_that_comes_back_while_flows_are_waited_for_is_left_alone(
    people: People, erasure: Callable[[Callable[[str], None]], Erasure]
) -> None:
    with ExitStack() as stack:
        told: list[str] = []

        def say(words: str) -> None:
            told.append(words)
            if len(told) == 1:
                bring_back(people, stack)

        with pytest.raises(OwnerHasIt, match="came back while flows were waited for"):
            erasure(say).run(wait=60)
    assert people.rows("archive", THERE), "its new state in the target is untouched"


def test_one_that_comes_back_while_it_is_erased_is_named_with_its_cure(
    people: People, erasure: Callable[[Callable[[str], None]], Erasure], monkeypatch: pytest.MonkeyPatch
) -> None:
    with people.running("consume"):
        gone = "select 1 from persons where id = 'p1' and sorbus_deleted_at is not null"
        eventually(lambda: people.rows("archive", gone), "the delete in the archive")
    with ExitStack() as stack:
        monkeypatch.setattr(Erasure, "_made", lambda _: bring_back(people, stack))
        with pytest.raises(OwnerHasIt, match="sorbus replay person-to-archive --id p1"):
            erasure(lambda _: None).run(wait=60)
