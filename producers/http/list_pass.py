"""What one pass through a list says of it: whether anything could shift meanwhile, and whether it is whole; no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Self

from sorbus.http_api.interface import Page
from sorbus.http_api.whole_list import cut_words


class ListPass:
    """Counts the pages as they are read."""

    def __init__(self, size: int, before: Self | None = None) -> None:
        """`size`: records of a full page. `before`: an earlier pass, to whose records `unseen` adds."""
        self._size, self._count, self._is_full = size, 0, False
        self._shown: set[bytes] = set() if before is None else before._shown
        self._named: int = 0 if before is None else before._named
        self._nameless = 0
        self._least: int | None = None
        self._has_more, self._refused, self._may_be_cut = False, "", False

    def add(self, page: Page, fresh: int, nameless: int) -> None:
        """`fresh`: how many of its records no earlier page has shown; `nameless`: how many have no id."""
        if self._count == 0:
            self._is_full = len(page.records) >= self._size
        if self._count == 0 or page.records or self._is_full:
            self._count += 1
        self._named += fresh
        self._nameless += nameless
        if page.total is not None and page.records:  # behind the last page some say that there are none at all
            self._least = page.total if self._least is None else min(page.total, self._least)
        self._has_more, self._refused, self._may_be_cut = page.has_more, page.refused, page.may_be_cut

    def unseen(self, ids: Iterable[bytes]) -> int:
        """How many of a page's records no earlier page has shown: one that a page shows twice counts twice."""
        fresh = [id for id in ids if id not in self._shown]
        self._shown.update(fresh)
        return len(fresh)

    @property
    def is_one(self) -> bool:
        """Whether it was a single request, or as good as one: behind a page that was not full nothing can shift."""
        return self._count == 1

    @property
    def why_short(self) -> str:
        """What the application itself says against it, once it was read to its end; "" for nothing.

        A record that goes while pages are read is nothing: the least of the totals counts.
        """
        said = f"; in place of the next page it said: {self._refused}" if self._refused else ""
        records = self._named + self._nameless
        if self._has_more:
            return f"after {records:,} records it says that there are more, but not where"
        if self._least is not None and records < self._least:
            return f"it says that it has {self._least:,} records, and gave {records:,}{said}"
        if self._may_be_cut and self._least is None:
            return cut_words(records, self._refused)
        return ""


def listing_problem(what: str, short: Mapping[str, str], unread: Collection[bytes], why_unread: str) -> str | None:
    """What people are told of lists that aren't whole, and of records whose deletes wait; None for nothing.

    `short`: way to read -> why. `unread`: records that the list lacks, and that can't be looked at.
    """
    for way, which in (("everything", "list"), ("changes", "list of changes")):
        if short[way]:
            return (
                f"the {which} of {what} isn't whole: {short[way]}. What it gave is published, and the rest is asked for"
                " again; if that lasts, correct the paging, `total:` or `more:` in the API's description"
            )
    if unread:
        return (
            f"the list of {what} lacks {len(unread):,} record{'s' * (len(unread) != 1)}, such as"
            f" {next(iter(unread)).decode(errors='replace')}, that can't be looked at, so that nothing is deleted of"
            f" them: {why_unread}"
        )
    return None
