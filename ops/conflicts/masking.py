"""Conflicts with personal values masked."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from sorbus.conflict.store import Conflict
from sorbus.map.loaded import LoadedMap
from sorbus.ops.conflicts.side_by_side import RECORD, two_way_of
from sorbus.privacy.errors import PersonalNames, target_names
from sorbus.privacy.mask import masked, personal_names


class ConflictMask:
    """Masks the values of fields that hold personal ones, and of those that no row of the mapping is about."""

    def __init__(self, loaded: LoadedMap) -> None:
        @cache
        def names(system: str, data_type: str) -> PersonalNames:
            return target_names(loaded.schema(data_type), loaded.target_rows(system, data_type))

        self._data_types, self._names = frozenset(loaded.map.data_types), names
        self._loaded = loaded

    def __call__(self, conflict: Conflict) -> Conflict:
        """The conflict as everybody may see it. A data type that the map no longer has is masked whole."""
        if two_way_of(self._loaded, conflict) is not None:
            schema = self._loaded.schema(conflict.data_type)
            if conflict.field in {*schema.by_name, RECORD} - personal_names(schema.fields):
                return conflict
        elif conflict.data_type in self._data_types:
            names = self._names(conflict.system, conflict.data_type)
            if not names.personal or names.is_open(conflict.field):
                return conflict
        return replace(conflict, sent=masked(conflict.sent), theirs=masked(conflict.theirs), ours=masked(conflict.ours))
