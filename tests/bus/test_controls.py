"""What flows were told, as several flows of one process read it."""

from __future__ import annotations

import pytest

from sorbus.bus.controls import ControlReader, shared_controls
from sorbus.bus.names import Names
from sorbus.errors import TransientError
from sorbus.settings import Settings

AWAY, NAMES = Settings(kafka="127.0.0.1:1"), Names("nobody.")


def test_a_flow_is_not_told_that_it_isnt_paused_while_that_cant_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def begin(_: ControlReader) -> None:
        tries.append("one")
        raise TransientError("Kafka is away")

    monkeypatch.setattr(ControlReader, "_begin", begin)
    reader = ControlReader(AWAY, NAMES)
    for _ in range(3):  # the second within the second in which nobody asks Kafka again
        with pytest.raises(TransientError, match="Kafka is away"):
            reader.of("some-flow")
    assert len(tries) == 1, "each flow of a process would wait for Kafka in turn"


def test_flows_share_a_reader_which_the_last_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[ControlReader] = []
    monkeypatch.setattr(ControlReader, "close", lambda self: closed.append(self))
    one, other = shared_controls(AWAY, NAMES), shared_controls(AWAY, NAMES)
    assert one is other
    one.close()
    assert closed == []
    assert shared_controls(AWAY, NAMES) is one
    one.close()
    other.close()
    assert closed == [one]
    again = shared_controls(AWAY, NAMES)
    assert again is not one
    again.close()
