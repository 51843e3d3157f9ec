"""A way to read that is under way, and how long it waits after faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sorbus.backoff import Backoff
from sorbus.http_api.interface import Page, Record
from sorbus.producers.polling.poll_state import AskPage, AskRecord, PageResult, Steps

TRIES = 3
"""How often a record that a webhook named, or a later page, is asked for before something else is tried."""
_MOST_DOUBLINGS = 6
LONGEST_PAUSE = 60.0
"""Seconds, whatever the application asks for."""
_FIRST_PAUSE = 0.5


@dataclass(slots=True)
class PollRun:
    """A way to read, under way: the question that waits for its answer, and what has come of it so far."""

    steps: Steps
    began: float
    name: Literal["look", "changes", "everything"]
    question: AskPage | AskRecord | None = None
    is_over: bool = False
    read: int = 0
    published: int = 0
    tries: int = 0
    """Faults of the question that is open."""
    is_probing: bool = False
    """The first page is asked for, in place of a later one that can't be read."""
    is_first_read: bool = False
    """And could be read: a later one that can't, still, isn't known any more."""

    @property
    def pace(self) -> Literal["look", "poll"]:
        """Whose faults these are: records may be readable where lists aren't, and the other way round."""
        return "look" if self.name == "look" else "poll"

    @property
    def asks(self) -> AskPage | AskRecord | None:
        """What is to be asked now."""
        question = self.question
        return question._replace(after=None) if self.is_probing and isinstance(question, AskPage) else question

    def failed(self, lost: int) -> bool:
        """Whether the page can't be read any more. Where a later one failed so often, the first is asked for next.

        `lost`: lists in a row that ended at such a page, each more patient than the one before.
        """
        if self.is_first_read:
            return True
        self.tries += 1
        is_later = isinstance(self.question, AskPage) and self.question.after is not None
        self.is_probing = is_later and not self.is_probing and self.tries >= TRIES << min(lost, _MOST_DOUBLINGS)
        return False

    def probed(self) -> None:
        """The first page could be read; the later one is asked for once more."""
        self.is_probing, self.is_first_read = False, True

    def send(self, answer: Page | Record | None) -> PageResult | None:
        """Gives the answer; what was found, or None with the next question in place, or when it is over."""
        self.question, self.is_first_read = None, False
        try:
            said = self.steps.send(answer)
        except StopIteration:
            self.is_over = True
            return None
        except Exception:
            self.is_over = True  # a generator that has raised gives nothing any more
            raise
        if isinstance(said, PageResult):
            self.read += said.read
            self.published += len(said.changes)
            return said
        self.question = said
        return None


@dataclass(slots=True)
class PollPace:
    """When to ask again (seconds, monotonic), and what is wrong."""

    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE, LONGEST_PAUSE, limit=LONGEST_PAUSE))
    not_before: float = 0.0
    problem: str | None = None
    gives_up_at_once: bool = False
    """Whether a record couldn't be read, and nothing else since."""

    def postpone(self, now: float, seconds: float) -> None:
        """It may not ask for so long: no fault, only later."""
        self.not_before = now + min(seconds, LONGEST_PAUSE)
