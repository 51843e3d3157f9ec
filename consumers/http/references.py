"""The ids that other records have in the application: looked up for a whole batch at once, for `id_in` in its rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.http.shape import Shape, Wanted
from sorbus.errors import MustWait, PermanentError
from sorbus.event import id_fault
from sorbus.identity.crosswalk import Crosswalk, Link, place
from sorbus.mapping.errors import shown
from sorbus.mapping.id_lookup import ids_from
from sorbus.state.database import State

_Record = tuple[str, str, str]
"""A data type, our id and the resource that holds it."""
_ROUNDS = 10
"""Most looks for one batch: a record with several references shows the next one when the first is known."""


class References:
    """Makes records as the application wants them, its ids of other records in place of ours.

    What a batch refers to is found by making it once without sending it, so that it is one query per data type.
    """

    def __init__(self, state: State, flow: BoundFlow, shape: Shape) -> None:
        self._state, self._system, self._shape = state, flow.system.name, shape
        self._resources, self._data_types = flow.resources, shape.references
        self._links: dict[_Record, Link | None] = {}

    def prepare(self, deliveries: Iterable[Delivery]) -> None:
        """Looks up all that these refer to; what was known before is forgotten. TransientError."""
        self._links = {}
        if not self._data_types:
            return
        left: Sequence[Delivery] = [one for one in deliveries if not one.deleted]
        for _ in range(_ROUNDS):
            asked: set[_Record] = set()
            left = [one for one in left if self._asks(one, asked)]
            if not asked:
                return
            self._look(asked)

    def __call__(self, delivery: Delivery) -> Wanted:
        """What the application is to have of it. MustWait for a record that isn't there; errors as `Shape`'s."""
        if not self._data_types:
            return self._shape(delivery)
        with ids_from(self._found):
            return self._shape(delivery)

    def _asks(self, delivery: Delivery, asked: set[_Record]) -> bool:
        """Whether a record needs another look, and what for."""
        new: set[_Record] = set()

        def find(data_type: str, id: str, resource: str) -> str:
            key = data_type, id, self._resource(data_type, resource)
            if key not in self._links:
                if not _fault(id):
                    new.add(key)
                return id
            link = self._links[key]
            return id if link is None else link.external_id or id

        try:
            with ids_from(find):
                self._shape(delivery)
        except PermanentError:
            pass  # with an id that isn't the target's it may well fail; what is truly wrong shows when it is delivered
        asked |= new
        return bool(new)

    def _look(self, asked: Iterable[_Record]) -> None:
        by_place: dict[tuple[str, str], list[str]] = {}
        for data_type, id, resource in asked:
            by_place.setdefault((data_type, resource), []).append(id)
        for (data_type, resource), ids in by_place.items():
            links = Crosswalk(self._state, self._system, data_type, resource).find(ids)
            self._links |= {(data_type, id, resource): links.get(id) for id in ids}

    def _resource(self, data_type: str, named: str) -> str:
        """Which resource's id is meant: the one named, or the only one that takes the data type."""
        if named:
            return named
        known = self._resources.get(data_type, ())
        if len(known) != 1:
            raise PermanentError(
                f"{data_type} goes into {' and '.join(known) or 'no resource'} of {self._system}, and the rule doesn't"
                f' say whose id it wants; write id_in("{data_type}", "RESOURCE")',
                reason="reference",
            )
        return known[0]

    def _found(self, data_type: str, id: str, resource: str) -> str:
        if fault := _fault(id):
            raise PermanentError(
                f"{data_type} {shown(id)} can't be a record: its id {fault}; correct the reference in its source",
                reason="reference",
            )
        key = data_type, id, self._resource(data_type, resource)
        if key not in self._links:
            self._look([key])
        link = self._links[key]
        if link is not None and link.state == "linked" and link.external_id:
            return link.external_id
        how = {"intended": "is being made in", "gone": "was deleted in"}.get(link.state if link else "", "isn't in")
        raise MustWait(
            f"{data_type} {id} {how} {place(self._system, key[2])}{'' if link else ' yet'}",
            why="reference",
            needs=[key],
        )


def _fault(id: str) -> str:
    """What is wrong with an id that no record can have; "" if one can."""
    return id_fault(id.encode("utf-8", "surrogatepass"))
