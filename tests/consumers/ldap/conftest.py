"""A slapd with people and groups, and flows into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.consumers.ldap.staff import Staff
from tests.ldap.slapd import Slapd

MakeStaff = Callable[..., Staff]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Slapd]:
    made = Slapd(tmp_path / "slapd")
    made.start()
    made.organize()
    yield made
    made.stop()


@pytest.fixture
def make_staff(server: Slapd, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeStaff]:
    """Flows, prepared; closed when the test ends."""
    monkeypatch.setenv("SORBUS_DATABASE", database)
    made: list[Staff] = []

    def make(**given: object) -> Staff:
        staff = Staff(server, **given)  # type: ignore[arg-type]
        staff.prepare()
        made.append(staff)
        return staff

    yield make
    for staff in made:
        staff.close()


@pytest.fixture
def staff(make_staff: MakeStaff) -> Staff:
    return make_staff()
