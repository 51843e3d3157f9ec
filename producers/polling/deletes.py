"""When a whole list lacks records that are published: which of them are deleted, and which a person is asked about.

A list that answers 200 proves little: it may be cut short, be another account's, or hide what our rights no longer
show. So a record that a list lacks is deleted only with proof: its own address says so, or, where records have none,
two lists in a row lack it and no total contradicts them. Many at once are no proof in either case: a right taken away
looks just the same. They are held until a person confirms.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sorbus.http_api.interface import Page
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.polling.poll_state import (
    NO_ID,
    UNREADABLE,
    AskRecord,
    HeldDeletes,
    PageResult,
    Rules,
    Steps,
    add,
    out,
)

_AT_LEAST = 2
_SHARE = 10
"""One in so many of the records may vanish between two lists, `_AT_LEAST` in any case but all of them."""
_MOST_ASKED = 200
_ENOUGH = 20
_log = logging.getLogger(__name__)


class AbsenceCheck(NamedTuple):
    """A list that was read to its end: how many different records it held, and how many it says there are."""

    known: int
    records: int
    total: int | None
    is_whole: bool
    """Every record of it had an id."""
    is_short: bool = False
    """It said itself that it has more records than it gave."""


class Deletes:
    """Decides for one data type. `held`: what a person is asked about; `confirmed`: what a person has confirmed."""

    def __init__(
        self,
        rules: Rules,
        memory: ChangeDetector,
        now: Callable[[], int],
        look_later: Callable[[bytes], None] | None = None,
    ) -> None:
        """`look_later`: takes the ids of records that are there, instead of their states."""
        self.look_later = look_later
        self.held: HeldDeletes | None = None
        self.confirmed: frozenset[bytes] = frozenset()
        self._rules, self._memory, self._now = rules, memory, now
        self._lacking: set[bytes] = set()
        self._shown_alone: set[bytes] = set()
        """Records that the last list lacked, and whose own addresses showed them."""
        self.unread: list[bytes] = []
        """Records that the last list lacked, and whose own addresses could not be read: nothing is known of them."""

    @property
    def waits_for_list(self) -> bool:
        """Whether the next list decides, so that it should come soon."""
        return bool(self._lacking) and self.held is None

    def settle(self, lacking: Sequence[bytes], listed: AbsenceCheck) -> Steps:
        """Deletes, of what the list lacks, what is proven to be gone."""
        found, self.held, self.unread = PageResult(), None, []
        for id in lacking:
            if id.startswith(NO_ID):  # a letter of ours, not one of the application's records
                add(found, self._memory.gone(id, self._now()))
        lacking = [id for id in lacking if not id.startswith(NO_ID)]
        if self._rules.can_look:
            yield from self._by_address(found, lacking, listed)
        else:
            yield from self._by_second_list(found, lacking, listed)

    def is_too_many(self, count: int, known: int) -> bool:
        """Whether so many of those that were published may not be gone without a person's confirmation."""
        if self._rules.may_vanish:
            return False
        if self._rules.max_deletes is not None:
            return count > self._rules.max_deletes
        return count > max(_AT_LEAST, known // _SHARE) or count == known > 1

    def _by_second_list(self, found: PageResult, lacking: Sequence[bytes], listed: AbsenceCheck) -> Steps:
        before, self._lacking = self._lacking, set()
        is_fewer = listed.total is not None and listed.records < listed.total
        if lacking and (is_fewer or listed.is_short or not listed.is_whole) and not self._rules.may_vanish:
            why = f"says that it has {listed.total} and gave {listed.records}" if is_fewer else "isn't whole"
            why = why if is_fewer or listed.is_short else "has some without an id"
            _log.warning(
                "the list of %s lacks %d records and %s: nothing is deleted", self._rules.name, len(lacking), why
            )
            yield found
            return
        unsure = [id for id in lacking if id not in self.confirmed]
        if self.is_too_many(len(unsure), listed.known):
            self._hold(unsure, listed, self._rules.weak_proof)
        for id in lacking:
            if id in self.confirmed or (self.held is None and id in before):
                add(found, self._memory.gone(id, self._now()))
        self._lacking = {id for id in lacking if id in self._memory}
        yield found

    def _by_address(self, found: PageResult, lacking: Sequence[bytes], listed: AbsenceCheck) -> Steps:
        gone: dict[bytes, int] = {}
        there: set[bytes] = set()
        unsure = 0
        for id in _in_order(lacking):
            found = yield from out(found)
            record = yield AskRecord(id.decode())
            assert not isinstance(record, Page)
            found.read += 1
            if record is None or (record is not UNREADABLE and self._rules.is_other(id.decode(), record)):
                gone[id] = self._memory.version(id)
                unsure += id not in self.confirmed
                if self.is_too_many(unsure, listed.known):
                    break
                continue
            there.add(id)
            if record is UNREADABLE:
                self.unread.append(id)
            if record is not UNREADABLE and self._rules.is_deleted(record):
                add(found, self._memory.gone(id, self._now()))
            elif record is not UNREADABLE and self.look_later is not None:
                self.look_later(id)
            elif record is not UNREADABLE:
                add(found, self._memory.judge(id, record, self._now(), trusted=True))
            if not gone and len(there) >= _ENOUGH and len(lacking) > _MOST_ASKED:
                _log.warning(
                    "the list of %s lacks %d of %d records that are there when asked for alone: nothing is deleted",
                    self._rules.name,
                    len(lacking),
                    listed.known,
                )
                break
        if self.is_too_many(unsure, listed.known):
            held = [id for id in lacking if id not in there and id not in self.confirmed]
            self._hold(held, listed, "and their own addresses say that they are gone, as they do without the right")
        # Some there and some gone, of many that were listed before: a right that comes or goes, or pages that shift; or
        # a list that gave less than it said. Then a second list has to lack them too.
        before = self._lacking
        news = [id for id in lacking if id not in self._shown_alone and id not in self.confirmed]
        is_unsteady = bool(there - self._shown_alone) and self.is_too_many(len(news), listed.known)
        is_unsteady = is_unsteady or listed.is_short
        self._shown_alone = {id for id in there if id in self._memory}
        self._lacking = {id for id in gone if id not in before | self.confirmed} if is_unsteady else set()
        for id, version in gone.items():
            is_sure = (self.held is None and (not is_unsteady or id in before)) or id in self.confirmed
            if is_sure and self._memory.version(id) == version:  # nobody has heard since that it is back
                add(found, self._memory.gone(id, self._now()))
        yield found

    def _hold(self, ids: Sequence[bytes], listed: AbsenceCheck, why: str) -> None:
        self.held = HeldDeletes(tuple(ids), listed.known, why)


def _in_order(ids: Sequence[bytes]) -> Sequence[bytes]:
    """As they are; of very many first some from everywhere, which tell what is the matter."""
    if len(ids) <= _MOST_ASKED:
        return ids
    first = ids[:: len(ids) // _ENOUGH]
    chosen = set(first)
    return [*first, *(id for id in ids if id not in chosen)]
