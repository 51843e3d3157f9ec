"""What one measurement found of one kind of decision, as pages, metrics, `sorbus status` and alerts show it. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import JsonValue

from sorbus.ops.monitoring.flow_state import FlowState

Severity = Literal["ok", "warn", "bad", "idle"]
"""As the console's chips have them; bad: needs action."""


class HealthBadge(NamedTuple):
    """How something is: its kind, what is said of it in a word or two, and why, where there is more to say."""

    kind: Severity
    text: str
    why: str = ""


def counted(kind: Severity, count: int, what: str, rest: str = "") -> Iterator[HealthBadge]:
    """A badge such as `3 records waiting`, with `what` in the singular; none for 0."""
    if count:
        yield HealthBadge(kind, f"{count:,} {what}{'s' * (count != 1)}{rest}")


@dataclass(frozen=True, slots=True)
class Figure:
    """A count among those at the top of a page. `kind` marks it unless it is 0; `path` is the page that lists it."""

    label: str
    count: int
    kind: Severity
    path: str


class Fact(NamedTuple):
    """A line about a system on its page; `path` is the page with more."""

    label: str
    text: str
    path: str


class Gauge(NamedTuple):
    """A Prometheus metric: each sample is the labels' values and the figure."""

    name: str
    documentation: str
    labels: Sequence[str]
    samples: Sequence[tuple[Sequence[str], float]]


class OpenDecisions:
    """What one measurement found of a kind; made without arguments: nothing. A kind overrides what it has to say."""

    def needs_person(self) -> int:
        """How many wait for a person; shown in the console's menu."""
        return 0

    def figure(self, flow: str | None = None) -> Figure | None:
        """The count on the home page, or with `flow` on that flow's page."""
        return None

    def flow_badges(self, flow: str) -> Iterable[HealthBadge]:
        """What the map says of a flow."""
        return ()

    def system_badges(self, system: str) -> Iterable[HealthBadge]:
        """What the map says of a system."""
        return ()

    def system_facts(self, system: str) -> Iterable[Fact]:
        """What a system's page says of it."""
        return ()

    def complaints(self) -> Iterable[str]:
        """What needs attention, each as `<flow, system or data type>: <what>`."""
        return ()

    def lines(self) -> Iterable[str]:
        """What `sorbus status` says below its table."""
        return ()

    def as_json(self) -> dict[str, JsonValue]:
        """Keys of `sorbus status --json`."""
        return {}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterable[Gauge]:
        """What `sorbus watch` exports. `at`: when it was measured, in seconds since 1970."""
        return ()
