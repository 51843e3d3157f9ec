"""Writing to an application without setting off its notifications: e-mail, webhooks, workflows.

Whether a write is silent is the caller's matter, what silence looks like the description's; in between are the hooks of
applications, so it is a property of the running delivery (a context variable), not an argument of each call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from sorbus.http_api.description import Description, Operation
from sorbus.http_api.interface import Call, Record
from sorbus.http_api.path import write_path
from sorbus.http_api.placeholders import Values, fill_text

_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def silently(is_silent: bool) -> Iterator[None]:
    """Writes in the block are silent, if `is_silent` and where the application's description says how."""
    token = _silent.set(is_silent)
    try:
        yield
    finally:
        _silent.reset(token)


def silent_fields(operation: Operation, fields: Record) -> Record:
    """The fields to send, with those that keep the application silent."""
    if not _silent.get() or operation.silent is None or not operation.silent.fields:
        return fields
    out: Record = dict(fields)
    for path, value in operation.silent.fields.items():
        write_path(out, path, value)
    return out


def silenced(operation: Operation, call: Call, values: Values) -> Call:
    """The call with the parameters and headers that keep the application silent."""
    if not _silent.get() or operation.silent is None:
        return call
    parameters = {name: fill_text(text, values) for name, text in operation.silent.parameters.items()}
    headers = {name: fill_text(text, values) for name, text in operation.silent.headers.items()}
    return replace(call, parameters={**call.parameters, **parameters}, headers={**call.headers, **headers})


def can_be_silent(description: Description, resource: str) -> bool:
    """Whether the description says how some write to this resource is silent."""
    about = description.resources.get(resource)
    writes = (about.create, about.update, about.delete) if about is not None else ()
    return any(one is not None and one.silent is not None for one in writes)
