"""Ids of other records."""

from __future__ import annotations

from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.id_lookup import id_in_target
from sorbus.mapping.types import WHOLE


@rule_filter(takes=WHOLE | {"string", "uuid"}, pure=False)
def id_in(value: object, data_type: str, resource: str = "") -> object:
    """The target's id for another record, from our id of it and its data type.

    If the target stores our ids, it is our id. If it has its own and doesn't have that record yet, the event is
    deferred while others continue (docs/incomplete.md).

    `resource` says which one, if records of the data type go into several resources of the target, such as
    `id_in("customer", "companies")`.

    `record.customer_id | id_in("customer")`: 4711 becomes 8f3c-22.
    """
    return None if value == "" else id_in_target(data_type, value, resource)
