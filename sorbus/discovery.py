"""What a connector may tell of its system, beside the records: each a small protocol, used where it is implemented."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel

from sorbus.abilities import Resource
from sorbus.connector import BoundFlow, BoundSource, BoundSystem
from sorbus.diagnosis import Diagnosis


@runtime_checkable
class SupportsSourceWarnings(Protocol):
    """A producer connector that can say which records will become dead letters, or aren't made as the map says now."""

    def source_warnings(self, system: BoundSystem, sources: Sequence[BoundSource]) -> list[str]:
        """For `sorbus plan` and `apply`: one warning each, with its fix. Warnings don't stop the producer.

        TransientError, AuthError, MapError.
        """


@runtime_checkable
class SupportsTargetWarnings(Protocol):
    """A consumer connector that can predict which values its target can't store."""

    def target_warnings(self, flow: BoundFlow) -> list[str]:
        """Like `source_warnings`; each warning names flow, field and column."""


@runtime_checkable
class SupportsIdListing(Protocol):
    """A producer connector that can list the ids of a data type's records without reading the records."""

    def ids(self, system: BoundSystem, source: BoundSource) -> Iterable[bytes]:
        """Ids as they are on the topic, for `sorbus plan`. TransientError, AuthError."""


@runtime_checkable
class SupportsOwnerLookup(Protocol):
    """A producer connector that can read one record of its source now, apart from what its producer publishes."""

    def read_record(self, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """The record as canonical Avro in the schema of `source`; None if the source has no such record.

        Changes nothing and publishes nothing. PermanentError: it can't be made canonical; UsageError: such records
        can't be read alone. TransientError, AuthError, MapError.
        """


@runtime_checkable
class SupportsLocation(Protocol):
    """A connector that can tell whether two systems of the map are the same one."""

    def location(self, system: BoundSystem, *, ask: bool = False) -> str | None:
        """Where its data is, from its connection and without secrets; with `ask`, from what the system itself reports.

        None if unknown. Raises TransientError and AuthError with `ask`.
        """


@runtime_checkable
class SupportsDescription(Protocol):
    """A connector that knows a system's resources from a description, without connecting."""

    def describe(self, system: BoundSystem) -> list[Resource]:
        """The system's resources, for `sorbus map check`. MapError."""


@runtime_checkable
class SupportsDiscovery(Protocol):
    """A connector that can list a system's resources by connecting to it."""

    def discover(self, system: BoundSystem) -> list[Resource]:
        """For `sorbus discover`. MapError, TransientError, AuthError."""


@runtime_checkable
class SupportsDiagnosis(Protocol):
    """A connector that can examine a system: its version, clock and remaining quotas."""

    def diagnose(self, system: BoundSystem) -> Iterator[Diagnosis]:
        """For `sorbus doctor`; changes nothing and takes seconds at most. TransientError, AuthError, MapError."""


class NullCount(NamedTuple):
    """How many of the rows read have no value; `is_sample`: the resource has more rows than were read."""

    rows: int
    nulls: int
    is_sample: bool


@runtime_checkable
class SupportsNullCounts(Protocol):
    """A connector that can count the records that lack a value."""

    def count_nulls(self, system: BoundSystem, columns: dict[str, list[str]]) -> dict[tuple[str, str], NullCount]:
        """Counts for columns by resource, for `sorbus discover`. Bounded in time; unreadable columns are left out.

        TransientError, AuthError.
        """


@runtime_checkable
class SupportsTargetSchema(Protocol):
    """A consumer connector whose resources have their own fields, against which `map check` validates the mapping."""

    def makes_tables(self, options: BaseModel) -> bool:
        """Whether Sorbus creates the target's resources, from the data type's schema."""

    def fills(self, options: BaseModel) -> dict[str, frozenset[str]]:
        """Part -> columns that the connector fills itself: the record's id, an item's parent and position."""


@runtime_checkable
class SupportsSampling(Protocol):
    """A connector that can show a system's values as they are stored."""

    def sample(self, system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
        """A few records of a resource by field, read-only, for `sorbus map suggest --samples`."""


@runtime_checkable
class SupportsMapping(Protocol):
    """A connector that can map one raw record to its canonical form."""

    def canonical(self, system: BoundSystem, source: BoundSource, record: dict[str, Any]) -> dict[str, object]:
        """The canonical record by field name. PermanentError names field, value and rule."""
