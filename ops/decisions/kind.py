"""The interface of a kind of decision: all that home page, status, watch, digest and trace ask of it.

A kind is a folder of ops/ and a line in registry.py. What its class doesn't override, it doesn't take part in. What one
method needs and is slow to import, such as pages, is imported in it: every `sorbus status` imports all kinds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from sorbus.mapfile.model import Map
from sorbus.ops.decisions.open_decisions import OpenDecisions
from sorbus.ops.digest.items import DigestPart, DigestRequest
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state.database import State

if TYPE_CHECKING:
    from starlette.routing import Route  # only the console needs it

    from sorbus.map.loaded import LoadedMap
    from sorbus.settings import Settings


class ConsolePages(NamedTuple):
    """A kind's pages: their place in the menu, routes, and the folder of templates (`render(request, "<name>/...")`).

    `item_path` comes before a decision's number in the address of its page; "" where it has none.
    """

    label: str
    path: str
    routes: Sequence[Route]
    templates: Path
    item_path: str = ""


class DecisionKind(ABC):
    """One kind of decision."""

    name: ClassVar[str]
    """The folder's, which also comes before its templates' names."""
    item: ClassVar[str]
    """What one of them is called in traces and in the audit trail."""
    counts: ClassVar[type[OpenDecisions]]
    """What `measure` returns."""
    has_own_audit: ClassVar[bool] = False
    """Whether `trace` tells who decided what, so that the audit trail doesn't have to."""
    is_about_records: ClassVar[bool] = True
    """Whether a moment of it means that the record is known."""

    @abstractmethod
    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], OpenDecisions]:
        """What the watch calls with what it has measured so far; `has_state`: whether there is a state database."""

    def pages(self) -> ConsolePages | None:
        """Its part of the console."""
        return None

    def recurring(self, loaded: LoadedMap, settings: Settings) -> Callable[[], None] | None:
        """What the watch calls after each measurement; it returns at once, and never raises."""
        return None

    def digest(self, request: DigestRequest) -> DigestPart | None:
        """Its section of the digests; asks the state once for all recipients. TransientError, AuthError."""
        return None

    def trace(self, record: TracedRecord, state: State) -> Iterable[Moment]:
        """What it knows of a record. TransientError, AuthError."""
        return ()

    def trace_without_state(self, record: TracedRecord) -> Iterable[Moment]:
        """The same where no state database is configured."""
        return ()
