"""A record that the application won't have written as it is stops nobody else."""

from __future__ import annotations

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.errors import MustWait, PermanentError
from tests.consumers.http.house import House, contact, event


@pytest.mark.parametrize(
    ("status", "headers", "waits", "fix"),
    [
        (409, {}, True, "another program"),
        (412, {}, False, "etag: false"),
        (412, {"Retry-After": "60"}, True, "etag: false"),
        (423, {}, True, "locked"),
        (425, {}, True, "too early"),
        (428, {}, False, "etag: true"),
        (400, {}, True, "another program"),
    ],
)
def test_a_status_that_comes_back_is_that_records_dead_letter(
    house: House, status: int, headers: dict[str, str], waits: bool, fix: str
) -> None:
    errors = {
        "message": ["message"],
        "rules": [{"status": [409, 412], "means": "transient"}, {"status": [400], "means": "conflict"}],
    }
    consumer = house.opened(errors=errors)
    house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bob")))
    reads: list[str] = []

    def raw(method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        if path == f"/contacts/{house.linked('c1')}":
            reads.append(method)
            if method == "PATCH":
                return JSONResponse({"message": "not so"}, status, headers)
        return None

    house.faulty.raw = raw
    others = [event(f"n{n}", 1, contact(f"N {n}")) for n in range(12)]
    changes = [event(id, 2, contact(name, city="Oslo")) for id, name in (("c1", "Ada"), ("c2", "Bob"))]
    done = house.deliver(consumer, *changes, *others)
    assert done.refused.keys() == {0}
    assert len(house.there()) == 14
    assert house.there()["Bob"][-1] == "Oslo"
    assert reads.count("PATCH") == reads.count("GET") <= 3, "each right after a fresh read"
    error = done.refused[0]
    assert isinstance(error, MustWait) == waits
    letter = error.refused if isinstance(error, MustWait) else error
    assert isinstance(letter, PermanentError)
    assert (letter.status, letter.words) == (status, "not so")
    assert f"answers {status}" in str(letter)
    assert fix in str(letter)
