"""Links that no flow of the map uses any more: with another name in the map, their records would be made again."""

from __future__ import annotations

from typing import NamedTuple, Self, cast

from sorbus.connector import BoundFlow
from sorbus.errors import LostPosition, SorbusError, UsageError
from sorbus.identity.account import account_of_links
from sorbus.identity.statements import statement
from sorbus.state.database import State


class LinkPlace(NamedTuple):
    """Whose links: a data type's in one resource of a system, written SYSTEM:DATA_TYPE:RESOURCE."""

    system: str
    data_type: str
    resource: str

    @classmethod
    def read(cls, text: str) -> Self:
        """UsageError."""
        parts = text.split(":")
        if len(parts) != len(cls._fields):
            raise UsageError(f"{text!r}: write SYSTEM:DATA_TYPE:RESOURCE, such as accounting:customer:contacts")
        return cls(*parts)

    def __str__(self) -> str:
        return ":".join(self)

    def is_like(self, other: LinkPlace) -> bool:
        """Whether one of the three alone is another: its name may have been changed."""
        return sum(one != another for one, another in zip(self, other, strict=True)) == 1


def require_none_left(state: State, flow: BoundFlow, resource: str) -> None:
    """LostPosition where a flow has no links yet, and those that are left may be its own. TransientError."""
    here = LinkPlace(flow.system.name, flow.flow.data_type, resource)
    if not flow.places or _is_linked(state, here):
        return
    left = {
        place: count for place, count in link_counts(state).items() if place.is_like(here) and _is_left(place, flow)
    }
    if not left:
        return
    place, count = max(left.items(), key=lambda one: one[1])
    raise LostPosition(
        f"flow {flow.flow.id}: nothing is linked yet of {here}, and Sorbus has {count:,} links of {place}, which no"
        " flow of the map writes any more. If only a name has changed in the map, so that none of its records is to be"
        f" made again: `sorbus crosswalk renamed {place} {here}`. If it is something else: `sorbus crosswalk forget"
        f" {place}`"
    )


def link_counts(state: State) -> dict[LinkPlace, int]:
    """Whose links there are, and how many. TransientError."""
    rows = cast("list[tuple[str, str, str, int]]", state.run(statement("link_counts")))
    return {LinkPlace(*row[:3]): row[3] for row in rows}


def carry_links(state: State, place: LinkPlace, to: LinkPlace) -> int:
    """All that is known of the links of `place` is of `to` from now on; how many they are.

    SorbusError where `to` has links, or is another account. TransientError.
    """
    if _is_linked(state, to):
        raise SorbusError(f"there are links of {to} already: `sorbus crosswalk export` shows them")
    before, now = account_of_links(state, place.system), account_of_links(state, to.system)
    if before is not None and now is not None and before != now:
        raise SorbusError(
            f"the links of {place.system} are of {before}, and {to.system} is {now}, where the same ids may be other"
            f" records. If they have the same ids there: `sorbus crosswalk export`, change the names in the file, and"
            " `sorbus crosswalk import` it"
        )
    return _changed(state, "carry", place, to)


def forget_links(state: State, place: LinkPlace) -> int:
    """Forgets all links of `place`; how many there were. TransientError."""
    return _changed(state, "forget_links", place, place)


def _changed(state: State, name: str, place: LinkPlace, to: LinkPlace) -> int:
    of = {"from_system": place.system, "from_type": place.data_type, "from_resource": place.resource, **to._asdict()}
    return cast("int", state.run(statement(name), of)[0][0])


def _is_linked(state: State, place: LinkPlace) -> bool:
    return state.run(statement("is_linked"), place._asdict()) == [(True,)]


def _is_left(place: LinkPlace, flow: BoundFlow) -> bool:
    """A flow that doesn't run names no resource: what was linked by it is kept for it."""
    return place not in flow.places and place._replace(resource="") not in flow.places
