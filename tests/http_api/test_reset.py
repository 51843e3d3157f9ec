"""When a limit begins anew, as applications write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from sorbus.http_api.limits.reset import until_reset

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("name", "text", "seconds"),
    [
        ("X-RateLimit-Reset", "30", 30.0),
        ("x-ratelimit-reset", "1.5", 1.5),
        ("X-Rate-Limit-Reset", "3600000", 3600.0),
        ("X-RateLimit-Reset", str(EPOCH + 90), 90.0),
        ("X-RateLimit-Reset", str((EPOCH + 90) * 1000), 90.0),
        ("X-RateLimit-Reset", f"{EPOCH + 90}.0", 90.0),
        ("X-RateLimit-Reset", str(EPOCH - 90), 0.0),
        ("X-RateLimit-Reset", "2026-11-28T12:01:30Z", 90.0),
        ("X-RateLimit-Reset", format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        ("x-ratelimit-requests-reset", "6m0s", 360.0),
        ("x-ratelimit-requests-reset", "250ms", 0.25),
        ("RateLimit-Reset", "50", 50.0),
        ("RateLimit", "limit=100, remaining=0, reset=50", 50.0),
        ("RateLimit", '"default";r=0;t=50', 50.0),
        ("RateLimit", '"hour";r=9;t=50, "day";r=0;t=900', 900.0),
        ("RateLimit", '"default";r=50', None),
        ("X-RateLimit-Reset", "", None),
        ("X-RateLimit-Reset", "soon", None),
        ("X-RateLimit-Reset", "-1", None),
        ("X-RateLimit-Reset", "9" * 400, None),
    ],
)
def test_a_reset_header_is_read(name: str, text: str, seconds: float | None) -> None:
    found = until_reset({name: text}, now=NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_the_descriptions_own_header_comes_first() -> None:
    headers = {"X-Our-Reset": "7", "X-RateLimit-Reset": "99"}
    assert until_reset(headers, ["x-our-reset"], now=NOW) == 7.0
    assert until_reset(headers, ["X-Other"], now=NOW) == 99.0
