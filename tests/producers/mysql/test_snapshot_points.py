"""What a snapshot of MariaDB sees, where the log is a moment ahead of the tables."""

from __future__ import annotations

from typing import cast

import pytest

from sorbus.errors import TransientError
from sorbus.mysql.connection import Session
from sorbus.producers.mysql import snapshot_point
from sorbus.producers.mysql.server import MysqlServer
from sorbus.producers.mysql.snapshot_point import Told, begin_after, begin_snapshot

SERVER = MysqlServer(is_mariadb=True, identity="x", variables={})


class Answers:
    """A session with a server whose log has a transaction's second half: the rows can be seen once it isn't listed."""

    is_mariadb = True

    def __init__(self, listed: list[list[str]], seconds: int) -> None:
        """`listed`: prepared transactions, each time that they are asked for; `seconds`: XA COMMITs so far."""
        self.listed, self.seconds = listed, seconds
        self.begun_with: list[str] = []

    def query(self, statement: str) -> list[tuple[object, ...]]:
        if statement == "xa recover":
            found = self.listed[0]
            del self.listed[: len(self.listed) > 1]
            return [(1, 1, 0, name) for name in found]
        if "Com_xa_commit" in statement:
            return [("Com_xa_commit", str(self.seconds))]
        return [("binlog_snapshot_file", "log.000001"), ("binlog_snapshot_position", "500")]

    def value(self, statement: str, parameters: object) -> str:
        return "0-1-7"

    def execute(self, statement: str) -> None:
        if statement.startswith("start transaction"):
            self.begun_with = self.listed[0]


@pytest.mark.parametrize(
    ("listed", "seconds", "unseen"),
    [
        ([["a"], ["a"], []], 1, []),
        ([["a", "b"], ["b"], ["b", "c"]], 1, ["b", "c"]),  # b is prepared, and c came later
        ([["b"]], 0, ["b"]),
    ],
)
def test_what_the_log_has_of_a_transaction_in_two_phases_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, listed: list[list[str]], seconds: int, unseen: list[str]
) -> None:
    monkeypatch.setattr(snapshot_point, "_CARRIED_OUT", 0.05)
    answers = Answers(listed, seconds)
    point = begin_snapshot(cast("Session", answers), SERVER, Told())
    assert (str(point.gtids), point.file, point.end) == ("0-1-7", "log.000001", 500)
    assert answers.begun_with == unseen


def test_what_was_read_from_another_server_is_waited_for_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_point, "_PATIENCE", 0.1)
    answers = cast("Session", Answers([[]], 0))
    begin_after(answers, SERVER, Told("0-1-7", "", 0))
    with pytest.raises(TransientError, match="not committed yet"):
        begin_after(answers, SERVER, Told("0-1-8", "", 0))
