"""Whether a list that was read to its end shows every record: a list that answers 200 may still be cut short."""

from __future__ import annotations

from collections.abc import Collection

from sorbus.http_api.interface import Page


def cut_words(count: int, refused: str) -> str:
    """`count`: records that all came in full pages; `refused`: what the application said in place of the next."""
    return (
        f"after {count:,} records in full pages it refused the next one, so that there may be more: {refused}. If that"
        " is how it ends a list, write so: `errors: {rules: [{status: [...], says: ..., means: gone}]}`"
    )


class WholeList:
    """Counts a list's pages as they are read. `seen` holds the ids of its records, those that count as deleted too."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._records = self._without_id = self._alike = 0
        self._total: int | None = None
        self._has_more, self._cut = False, ""

    def add(self, page: Page, ids: Collection[str]) -> None:
        """`ids`: those of the page's records that have one."""
        self.seen.update(ids)
        self._records += len(page.records)
        self._without_id += len(page.records) - len(ids)
        self._alike += len(ids) - len(set(ids))  # that is the list's way: nothing shifts within a page
        self._total = self._total if page.total is None else max(page.total, self._total or 0)
        self._has_more, self._cut = page.has_more, page.refused if page.may_be_cut else ""

    @property
    def why_short(self) -> str:
        """What shows that records are lacking; "" where nothing does."""
        there = len(self.seen) + self._without_id + self._alike
        if self._has_more:
            return f"after {there:,} records it says that there are more, but not where"
        if self._total is not None and there < self._total:
            return f"it says that it has {self._total:,} records, and shows {there:,}"
        if self._cut and self._total is None:
            return cut_words(there, self._cut)
        twice = self._records - there
        if twice and self._total is None:
            return f"its pages shifted while they were read: {twice:,} records came twice, so others may be hidden"
        return ""
