"""Whether a list that was read to its end shows every record: a list that answers 200 may still be cut short."""

from __future__ import annotations

from collections.abc import Collection

from sorbus.http_api.interface import Page


class WholeList:
    """Counts a list's pages as they are read. `seen` holds the ids of its records, those that count as deleted too."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._records = self._without_id = self._alike = 0
        self._total: int | None = None
        self._has_more = False

    def add(self, page: Page, ids: Collection[str]) -> None:
        """`ids`: those of the page's records that have one."""
        self.seen.update(ids)
        self._records += len(page.records)
        self._without_id += len(page.records) - len(ids)
        self._alike += len(ids) - len(set(ids))  # that is the list's way: nothing shifts within a page
        self._total = self._total if page.total is None else max(page.total, self._total or 0)
        self._has_more = page.has_more

    @property
    def why_short(self) -> str:
        """What shows that records are lacking; "" where nothing does."""
        there = len(self.seen) + self._without_id + self._alike
        if self._has_more:
            return f"after {there:,} records it says that there are more, but not where"
        if self._total is not None and there < self._total:
            return f"it says that it has {self._total:,} records, and shows {there:,}"
        twice = self._records - there
        if twice and self._total is None:
            return f"its pages shifted while they were read: {twice:,} records came twice, so others may be hidden"
        return ""
