"""Taking away records of an application that a person has found to be doubles of others."""

from __future__ import annotations

from typing import Literal

from sorbus.api.interface import Api, Merges
from sorbus.api.path import read_path
from sorbus.consumers.http.shape import Shape
from sorbus.errors import PermanentError

Way = Literal["merge", "delete"]


class Retirer:
    """Merges or deletes records of one resource."""

    def __init__(self, resource: str, api: Api, shape: Shape, *, has_hook: bool) -> None:
        self._resource, self._api, self._shape = resource, api, shape
        self._reads = bool(shape.resource.get or has_hook)
        self._deletes = bool(shape.resource.delete or has_hook)

    def ways(self) -> frozenset[Way]:
        """How the application can do it."""
        found: set[Way] = {"delete"} if self._deletes else set()
        if isinstance(self._api, Merges) and self._api.can_merge(self._resource):
            found.add("merge")
        return frozenset(found)

    def retire(self, external_id: str, survivor: str, way: Way) -> str:
        """See `sorbus.connector.Retires`. The survivor must be there: a double is never the last one."""
        if self._reads and self._api.get(self._resource, survivor) is None:
            raise PermanentError(
                f"{self._resource} {survivor}, which was to stay, isn't there any more; {external_id} is left alone",
                reason="missing",
                value=survivor,
            )
        try:
            if way == "merge":
                assert isinstance(self._api, Merges)
                return self._api.merge(self._resource, external_id, survivor)
            current = self._api.get(self._resource, external_id) if self._reads else None
            if current is not None or not self._reads:
                self._api.delete(self._resource, external_id, current=current)
        except PermanentError as error:
            if error.reason != "gone":
                raise
        return self._left(survivor)

    def _left(self, survivor: str) -> str:
        """The id that the survivor's own address shows: a merge whose answer was lost may have given it a new one."""
        found = self._api.get(self._resource, survivor) if self._reads else None
        return survivor if found is None else str(read_path(found.record, self._shape.resource.id))
