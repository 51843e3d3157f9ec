"""The ids that other records have in the application: looked up for a whole batch at once, for `id_in` in its rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.http.shape import Shape, Wanted
from sorbus.errors import MustWait, PermanentError
from sorbus.identity.crosswalk import Crosswalk, Link
from sorbus.mapping.references import found_by
from sorbus.state.database import State

_ROUNDS = 10
"""Most looks for one batch: a record with several references shows the next one when the first is known."""


class References:
    """Makes records as the application wants them, its ids of other records in place of ours.

    What a batch refers to is found by making it once without sending it, so that it is one query per data type.
    """

    def __init__(self, state: State, flow: BoundFlow, shape: Shape) -> None:
        self._state, self._system, self._shape = state, flow.system.name, shape
        self._data_types = shape.references
        self._links: dict[tuple[str, str], Link | None] = {}

    def prepare(self, deliveries: Iterable[Delivery]) -> None:
        """Looks up all that these refer to; what was known before is forgotten. TransientError."""
        self._links = {}
        if not self._data_types:
            return
        left: Sequence[Delivery] = [one for one in deliveries if not one.deleted]
        for _ in range(_ROUNDS):
            asked: set[tuple[str, str]] = set()
            left = [one for one in left if self._asks(one, asked)]
            if not asked:
                return
            self._look(asked)

    def __call__(self, delivery: Delivery) -> Wanted:
        """What the application is to have of it. MustWait for a record that isn't there; errors as `Shape`'s."""
        if not self._data_types:
            return self._shape(delivery)
        with found_by(self._found):
            return self._shape(delivery)

    def _asks(self, delivery: Delivery, asked: set[tuple[str, str]]) -> bool:
        """Whether a record needs another look, and what for."""
        new: set[tuple[str, str]] = set()

        def find(data_type: str, id: str) -> str:
            key = data_type, id
            if key not in self._links:
                new.add(key)
                return id
            link = self._links[key]
            return id if link is None else link.external_id or id

        try:
            with found_by(find):
                self._shape(delivery)
        except PermanentError:
            pass  # with an id that isn't the target's it may well fail; what is truly wrong shows when it is delivered
        asked |= new
        return bool(new)

    def _look(self, asked: Iterable[tuple[str, str]]) -> None:
        by_type: dict[str, list[str]] = {}
        for data_type, id in asked:
            by_type.setdefault(data_type, []).append(id)
        for data_type, ids in by_type.items():
            links = Crosswalk(self._state, self._system, data_type).find(ids)
            self._links |= {(data_type, id): links.get(id) for id in ids}

    def _found(self, data_type: str, id: str) -> str:
        if (data_type, id) not in self._links:
            self._look([(data_type, id)])
        link = self._links[data_type, id]
        if link is not None and link.state == "linked" and link.external_id:
            return link.external_id
        how = {"intended": "is being made in", "gone": "was deleted in"}.get(link.state if link else "", "isn't in")
        raise MustWait(
            f"{data_type} {id} {how} {self._system}{'' if link else ' yet'}", why="reference", needs=[(data_type, id)]
        )
