"""What a flow does with links from before links were of a resource."""

from __future__ import annotations

import logging

from sorbus.connector import BoundFlow, Step
from sorbus.consumers.http.options import HttpTarget
from sorbus.errors import LostPosition, MapError
from sorbus.identity.account import require_account
from sorbus.identity.adopt import adopt, unassigned
from sorbus.identity.left_links import require_none_left
from sorbus.state.database import State

_log = logging.getLogger(__name__)


def settle_links(state: State, flow: BoundFlow) -> None:
    """Gives them to the flow's resource where it is the only one that takes the data type. MapError where it isn't."""
    system, data_type = flow.system.name, flow.flow.data_type
    assert isinstance(flow.options, HttpTarget)
    if not (count := unassigned(state, system, data_type)):
        return
    if len(flow.resources.get(data_type, ())) > 1:
        raise MapError([flow.finding("shared-links", *_words(flow, count))])
    done = adopt(state, system, data_type, flow.options.resource)
    _log.info("%d links of %s in %s are links of %s now", done.links, data_type, system, flow.options.resource)
    if done.shared:
        _log.warning(
            "%d records of %s in %s are linked to records of two data types: both flows write them; see"
            " `sorbus crosswalk export --system %s`",
            done.shared, flow.options.resource, system, system,
        )  # fmt: skip


def links_step(state: State, flow: BoundFlow) -> list[Step]:
    """What a person has to do before the flow can start; nothing where the map says whose the links are."""
    system, data_type = flow.system.name, flow.flow.data_type
    if len(flow.resources.get(data_type, ())) < 2 or not (count := unassigned(state, system, data_type)):
        return []
    message, fix = _words(flow, count)
    return [Step(f"links of {data_type} in {system}", message, fix)]


def refused_step(state: State, flow: BoundFlow, account: str) -> list[Step]:
    """What a person has to decide where links are of another account, or of names that the map had. TransientError."""
    assert isinstance(flow.options, HttpTarget)
    try:
        require_account(state, flow.system.name, account, keeps=False)
        require_none_left(state, flow, flow.options.resource)
    except LostPosition as error:
        return [Step(flow.system.name, "its links", str(error))]
    return []


def _words(flow: BoundFlow, count: int) -> tuple[str, str]:
    system, data_type = flow.system.name, flow.flow.data_type
    resources = flow.resources[data_type]
    message = (
        f"{count} links and questions of {data_type} in {system} were shared by {' and '.join(resources)}, and nothing"
        " says of which each is. Records may have been left out of one, and records that aren't ours overwritten"
    )
    fix = (
        f"compare `sorbus crosswalk export --system {system}` with {system}: where an id is a record of"
        f" {resources[0]} and where of {resources[1]}, and whether its values are ours; then"
        f" `sorbus crosswalk assign {system} {data_type} RESOURCE` for the resource that most are of, and"
        " `sorbus crosswalk unlink` the others; the other resource's records are matched again"
    )
    return message, fix
