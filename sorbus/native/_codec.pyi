"""What `codec.c` offers. Everything gives None for what it doesn't do: Python's own code is to be asked then."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sorbus.connector import Change

INTERFACE: int

class RowEncoder:
    """Rows of one table, as PostgreSQL writes values in text, to records in Avro."""

    def __init__(
        self,
        name: str,
        change: type[Change],
        columns: int,
        key: int | Callable[[Sequence[object]], bytes | None],
        fields: tuple[tuple[str, int, bool, int, int, bytes], ...],
        rest: Callable[[Sequence[bytes | None]], list[bytes]] | None,
        needed: tuple[int, ...],
    ) -> None:
        """`change` is made of (`name`, id, version, occurred_at, data). `key`: the column of the id, or what makes it
        of a row. `fields`: kind, column, nullable, precision, scale, constant. `rest` makes the fields of kind "rest"
        of a row with the `needed` columns.
        """

    def encode(self, row: Sequence[bytes | None]) -> bytes | None:
        """A row's Avro."""

    def take_lines(self, lines: list[bytes], at: int, changes: list[Change], version: int, occurred_at: int, /) -> int:
        """Adds what lines of COPY's text format say, from `at` on; where the first is that must be handed back."""

class EventEncoder:
    """See `sorbus.event.event_encoder`."""

    def __init__(
        self,
        prefix: bytes,
        source: bytes,
        subject: bytes,
        upserts: list[tuple[str, str | bytes | None]],
        deletes: list[tuple[str, str | bytes | None]],
        names: tuple[str, str],
        moment: Callable[[int], tuple[bytes, bytes]],
        plainly: Callable[[bytes, int, int, int, bytes | None], tuple[bytes, list[tuple[str, str | bytes | None]]]],
        /,
    ) -> None:
        """`names`: of the headers with the event's id and the time. `plainly` does the same."""

    def __call__(
        self, id: bytes, version: int, occurred_at: int, captured_at: int, data: bytes | None, /
    ) -> tuple[bytes, list[tuple[str, str | bytes | None]]]: ...

class CellEncoder:
    """Records of one writer's schema to rows for COPY."""

    def __init__(
        self,
        start: bytes,
        reads: tuple[tuple[str, bool, int, int, tuple[bytes, ...]], ...],
        computed: tuple[tuple[Callable[..., bytes] | Mapping[Any, bytes], bool, tuple[int, ...], bool], ...],
        /,
    ) -> None:
        """`start`: of each row. `reads`: of each field in the schema's order its kind, whether it is nullable, its
        limit (of a text: characters, or -1; of a decimal: the units that it must be whole in), scale, an enum's cells.
        `computed`: the cells behind them, which a function (or a table: True) makes of these fields' bytes; whether
        such a text must show something.
        """

    def pack(self, id: bytes, version: int, data: bytes, at: int, /) -> bytes | None:
        """The whole row of the record at `at`."""

def take_rows(
    frames: list[bytes],
    at: int,
    tables: Mapping[bytes, object],
    changes: list[Change],
    occurred_at: int,
    version: int,
    final: int,
    size: int,
    most_changes: int,
    most_bytes: int,
    /,
) -> tuple[int, int, int]:
    """Adds what rows say, from the frame `at` on, up to the first that is not a row of `tables` (by the oid's four
    bytes: what has a RowEncoder as `native`), or that must be handed back: where that is, the last version, and `size`
    with the messages' bytes.
    """

def read_event(frame: bytes, /) -> tuple[bytes, bytes, bool, int, int, int] | None:
    """The prefix, the record's id, whether it is deleted, its version, where `source` and the data (-1: none) begin."""

def arrays(rows: list[bytes], oids: tuple[int, ...], /) -> list[bytes] | None:
    """See `sorbus.consumers.postgres.staging.take_apart`; None for what isn't a packed row of so many cells."""
