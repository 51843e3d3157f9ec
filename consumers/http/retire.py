"""Taking away records of an application that a person has found to be doubles of others."""

from __future__ import annotations

from typing import Literal

from sorbus.consumers.http.shape import Shape
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Api, FoundRecord, Merges
from sorbus.http_api.path import read_path

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
        """See `sorbus.abilities.SupportsMerge`. The survivor must be there: a double is never the last one."""
        current, left = None, survivor
        if self._reads:
            stays, current = self._api.get(self._resource, survivor), self._api.get(self._resource, external_id)
            if stays is None:
                raise PermanentError(
                    f"{self._resource} {survivor}, which was to stay, isn't there any more; {external_id} is left"
                    " alone",
                    reason="missing",
                    value=survivor,
                )
            left = self._own_id(stays) or survivor
            if current is None or self._is_same(current, external_id, left):
                return left
        try:
            if way == "merge":
                assert isinstance(self._api, Merges)
                return self._api.merge(self._resource, external_id, survivor)
            self._api.delete(self._resource, external_id, current=current)
        except PermanentError as error:
            if error.reason != "gone" or self._is_there(external_id):
                raise
        return self._left(survivor)

    def _is_same(self, current: FoundRecord, external_id: str, left: str) -> bool:
        """Whether somebody has merged the double into the survivor by hand: applications show the one for both then.

        PermanentError if what is shown is neither: to take that away was never decided.
        """
        own = self._own_id(current)
        if own == left:
            return True
        if own != external_id:
            raise PermanentError(
                f"{self._resource} {external_id} is {own or 'a record without an id'} by now, and is left alone; look"
                " whether it was merged there, and decide again",
                reason="missing",
                value=external_id,
            )
        return False

    def _is_there(self, external_id: str) -> bool:
        """Whether the double can still be read: a write that finds nothing may lack the right to it."""
        found = self._api.get(self._resource, external_id) if self._reads else None
        return found is not None and found.other_id is None

    def _left(self, survivor: str) -> str:
        """The id that the survivor's own address shows: a merge whose answer was lost may have given it a new one."""
        found = self._api.get(self._resource, survivor) if self._reads else None
        return (self._own_id(found) if found else "") or survivor

    def _own_id(self, found: FoundRecord) -> str:
        own = read_path(found.record, self._shape.resource.id)
        return "" if own is None else str(own)
