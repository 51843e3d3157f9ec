"""What `id_in` finds: the ids that other records have in the target, while one of a consumer's records is mapped.

A rule knows no system. The consumer of a target with its own ids sets the lookup for the duration of a `with`;
elsewhere (a target that stores our ids, an explained or tested rule) a reference is returned unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

IdLookup = Callable[[str, str, str], str]
"""`find(data type, canonical id, resource)` gives the target's id, or raises MustWait.

Resource "": the only one that takes the data type."""
_lookup: ContextVar[IdLookup | None] = ContextVar("lookup", default=None)


@contextmanager
def ids_from(lookup: IdLookup) -> Iterator[None]:
    """Inside, `id_in` asks `lookup`."""
    token = _lookup.set(lookup)
    try:
        yield
    finally:
        _lookup.reset(token)


def id_in_target(data_type: str, id: object, resource: str) -> object:
    """The target resource's id of the record `id`; `id` itself without a lookup. MustWait."""
    lookup = _lookup.get()
    return id if lookup is None else lookup(data_type, str(id), resource)
