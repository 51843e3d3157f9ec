"""What the merge knows of a record: asked before a delivery, so that nothing is written over what it hasn't seen."""

from __future__ import annotations

from typing import NamedTuple, cast

from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.schema import RecordSchema
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.two_way.merged_record import Values
from sorbus.two_way.record_codec import FrameDecoder

_KNOWN = b"""
select m.version, json_array_length(m.about -> 'held') > 0, v.knows, v.frame
from merged_record m
left join system_view v on v.data_type = m.data_type and v.id = m.id and v.system = %s
where m.data_type = %s and m.id = %s
"""


class Known(NamedTuple):
    """A merged record, and what the merge knows of it in one system. `values` None: not shown, or deleted there.

    `is_held`: a person decides about it, and it has a new version then. `knows`: the newest version shown there.
    """

    version: int
    is_held: bool
    knows: int
    values: Values | None


_UNKNOWN = Known(0, False, 0, None)


class KnownRecords:
    """The merge's knowledge of one data type in one system. TransientError."""

    def __init__(self, state: State, topic_prefix: str, data_type: str, system: str, schema: RecordSchema) -> None:
        """`schema`: of what the system shows."""
        self._state, self._of, self._fields = state, (system, data_type), list(schema.by_name)
        self._decode = FrameDecoder(SchemaResolver(Settings(), Names(topic_prefix), [schema]))

    def of(self, id: str) -> Known:
        """What is known of a record."""
        rows = self._state.run(_KNOWN, (*self._of, id))
        if not rows:
            return _UNKNOWN
        version, is_held, knows, frame = rows[0]
        values = None
        if frame is not None:
            decoded = self._decode(bytes(cast("bytes", frame)))
            values = {name: decoded.get(name) for name in self._fields}
        return Known(cast("int", version), bool(is_held), cast("int | None", knows) or 0, values)
