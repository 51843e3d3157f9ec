"""How an application's records become canonical: by the mapping and the description's kinds; no I/O."""

from __future__ import annotations

from functools import partial

from sorbus.connector import BoundSource
from sorbus.http_api.description import ApiResource
from sorbus.http_api.values import to_value
from sorbus.producers.http.options import HttpSource
from sorbus.producers.polling.json_shape import JsonShape


def application_shape(source: BoundSource, system: str, resource: ApiResource) -> JsonShape:
    """MapError with every fault of the mapping."""
    options = source.options
    assert isinstance(options, HttpSource)
    lists = {field: resource.lists.get(name, name) for field, name in options.lists.items()}
    readers = {path: partial(to_value, field=field) for path, field in resource.fields.items()}
    return JsonShape(source, system, options.resources, lists, readers)
