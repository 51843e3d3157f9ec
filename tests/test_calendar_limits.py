"""Points in time near and beyond the calendar's ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.avro.encode import micros
from sorbus.calendar_limits import FIRST_TICK, LAST_TICK, moment_of

ENDS = (FIRST_TICK, LAST_TICK)


@given(
    st.floats() | st.integers() | st.sampled_from(ENDS).flatmap(lambda end: st.integers(end - 10, end + 10)),
    st.integers(-1439, 1439),
)
def test_every_number_is_a_point_in_time_in_every_time_zone(number: float, minutes: int) -> None:
    moment = moment_of(number)
    local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert micros(local) == micros(moment), "what is shown can be written to a topic"


@pytest.mark.parametrize("end", [datetime.min, datetime.max])
def test_a_topic_takes_the_whole_calendar_and_no_more(end: datetime) -> None:
    assert micros(end.replace(tzinfo=UTC)) in ENDS
    sign = 1 if end is datetime.min else -1
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        micros(end.replace(tzinfo=timezone(sign * timedelta(hours=1))))
