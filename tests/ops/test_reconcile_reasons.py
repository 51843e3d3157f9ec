"""Why records differ, with more dead letters of the data type than are kept in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sorbus.ops.reconcile import reasons
from sorbus.ops.reconcile.finding import RecordDifference
from tests.consumers.line import Line
from tests.consumers.plugin import make_line
from tests.dlq.plugin import line, post
from tests.dlq.post import Post

__all__ = ["line", "make_line", "post"]


@pytest.mark.parametrize(
    ("limit", "value"), [("sorbus.ops.reconcile.reasons.MOST_SHOWN", 3), ("sorbus.dlq.store.PAGE_BYTES", 100)]
)
def test_a_dead_letter_behind_many_of_other_flows_explains_its_record(
    line: Line, post: Post, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(limit, value)
    others = [replace(post.letter(number), flow="other", id=f"other:{number}") for number in range(5)]
    post.write([*others, post.letter(9)])
    known = reasons.Reasons(line.flow, "crm", line.settings, line.state)
    causes = {id: known.explain(RecordDifference(id, "different")).cause for id in ("g1", "g9", "g10")}
    assert causes == {"g1": "unexplained", "g9": "dead_letter", "g10": "unexplained"}
