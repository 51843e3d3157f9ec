"""Dead letters by cause in the digest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from sorbus.bus.names import Names
from sorbus.dlq.explain import title_of
from sorbus.dlq.index import LetterIndex
from sorbus.ops.digest.items import DigestItem, DigestRequest
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.monitoring.status import ago

_CAUSES = (Path(__file__).parent / "sql" / "causes.sql").read_bytes()


class LetterCause(NamedTuple):
    """Dead letters with one cause; `flow` "": rows of `system` that could not be made canonical."""

    data_type: str
    flow: str
    system: str
    reason: str
    field: str
    open: int
    new: int
    closed: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class LetterDigest:
    """What is open, new and closed `until` a moment, for who owns the data or the target."""

    causes: tuple[LetterCause, ...]
    until: datetime
    title: str = "Dead letters"

    def items(self, recipient: Recipient) -> Iterator[DigestItem]:
        for cause in self.causes:
            if recipient.owns_data_type(cause.data_type) or (cause.flow and recipient.owns_target(cause.flow)):
                yield DigestItem(self._words(cause), _page(cause), grave=cause.open > 0)

    def _words(self, cause: LetterCause) -> str:
        where = f"to {cause.system}" if cause.flow else f"from {cause.system}"
        field = f" ({cause.field})" if cause.field else ""
        new = f" ({cause.new:,} of them new)" if cause.new and cause.open else ""
        told = [f"{cause.open:,} open{new}" if cause.open else "none open"]
        told += [f"{cause.closed:,} closed"] if cause.closed else []
        since = f", oldest {ago((self.until - cause.oldest).total_seconds())}" if cause.oldest else ""
        return f"{cause.data_type} {where}: {title_of(cause.reason).lower()}{field}: {', '.join(told)}{since}"


def _page(cause: LetterCause) -> str:
    asked = {"flow": cause.flow} if cause.flow else {"data_type": cause.data_type}
    return f"/letters?{urlencode({**asked, 'reason': cause.reason})}"


def letter_digest(request: DigestRequest) -> LetterDigest:
    """Asks the index once it has caught up. TransientError, AuthError."""
    company = request.company
    index = LetterIndex(request.state, request.settings, Names(company.topic_prefix), company.data_types)
    try:
        index.catch_up()
    finally:
        index.close()
    rows = request.state.run(_CAUSES, {"since": request.since})
    return LetterDigest(tuple(LetterCause(*row) for row in rows), request.until)  # type: ignore[arg-type]
