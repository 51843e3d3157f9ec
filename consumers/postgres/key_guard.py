"""What a batch passes where its ids may be taken for others': by the key column, or by a list's parent column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.key_kind import KeyCut
from sorbus.consumers.postgres.key_owners import Candidate, KeyOwners
from sorbus.consumers.postgres.list_parents import ListParents
from sorbus.consumers.postgres.packed import Packed
from sorbus.consumers.postgres.stages import Stages
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection


class KeyGuard:
    """One session's, for one flow."""

    def __init__(
        self,
        session: Connection,
        flow: BoundFlow,
        tables: Mapping[str, Table],
        stages: Stages,
        applied: sql.Identifier,
    ) -> None:
        self.owners = KeyOwners(session, flow, tables[""], stages.kinds[""], applied)
        self._parents = ListParents(session, tables, stages.kinds)

    def may_meet(self, items: Sequence[Packed]) -> bool:
        """Whether `settle` is to be called for these, with no other writer of ours at work."""
        ids = [item.delivery.id for item in items]
        return self.owners.may_meet(ids) or self._parents.may_change(ids)

    def settle(self, items: Sequence[Packed], *, again: bool) -> list[Packed]:
        """Those that can be written in the transaction in progress.

        What would change nothing, since the row is another record's, is left out. KeyTaken, KeyCut; psycopg.Error.
        """
        texts = {at: text for at, item in enumerate(items) if (text := _text(item.delivery.id)) is not None}
        asked = [Candidate(text, items[at].delivery.version, items[at].is_delete) for at, text in texts.items()]
        try:
            self._parents.check(list(texts.values()))
            kept = self.owners.kept(asked, again=again)
        except KeyCut as error:
            error.place = list(texts)[error.place]
            raise
        out = {at for at, is_kept in zip(texts, kept, strict=True) if not is_kept}
        return [item for at, item in enumerate(items) if at not in out]


def _text(id: bytes) -> str | None:
    """None for what the server refuses as text: it says so itself."""
    try:
        return None if b"\0" in id else id.decode()
    except UnicodeDecodeError:
        return None
