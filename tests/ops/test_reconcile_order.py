"""An older event of a record that lies behind a newer one, as after two producers: it says nothing of the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from sorbus.checksums import RecordTexts, TargetChecksumReader
from sorbus.connector import Delivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.ops.reconcile import by_topic
from sorbus.ops.reconcile.by_topic import TopicRecords
from tests.consumers.line import Line, named
from tests.consumers.plugin import line, make_line

__all__ = ["line", "make_line"]


class Expected:
    """What a delivery would write: its version."""

    def records(self, deliveries: Sequence[Delivery]) -> dict[str, RecordTexts]:
        return {one.id.decode(): RecordTexts({"at": str(one.version)}, {}) for one in deliveries if not one.deleted}

    def close(self) -> None: ...


class Held:
    """A target with these records."""

    def __init__(self, versions: Mapping[str, int]) -> None:
        self._versions = versions

    def snapshot(self) -> None: ...

    def spelled(self, ids: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(ids[:0], "")

    def records(self, ids: Sequence[str]) -> dict[str, RecordTexts]:
        return {id: RecordTexts({"at": str(self._versions[id])}, {}) for id in ids if id in self._versions}


@pytest.mark.parametrize("size", [1, 100])
def test_the_newest_version_decides(line: Line, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(by_topic, "_BATCH", size)
    line.publish([("g1", 1, named("A")), ("g1", 2, named("B")), ("g1", 1, named("A")), ("g2", 1, named("C"))])
    records = TopicRecords(line.flow, Expected(), PostgresConsumer(line.flow), line.settings)
    assert records.records(["g1"]) == {"g1": RecordTexts({"at": "2"}, {})}
    for held, differing in ((1, ["g1"]), (2, [])):
        target = cast("TargetChecksumReader", Held({"g1": held, "g2": 1}))
        assert records.among(target, ["g1", "g2"]).differing == differing
        suspects = records.suspects(target, lambda *_: None).differing
        assert suspects == differing or (size == 1 and suspects == ["g1"]), "that is settled by reading it again"
