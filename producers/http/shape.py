"""How an application's records become canonical: by the mapping and the description's kinds; no I/O."""

from __future__ import annotations

from functools import partial

from sorbus.connector import BoundSource
from sorbus.errors import Finding, MapError
from sorbus.http_api.description import ApiResource
from sorbus.http_api.values import to_value
from sorbus.producers.http.options import HttpSource
from sorbus.producers.polling.json_shape import JsonShape

_FIX = "map a field that is answered, or delete the row"


def application_shape(source: BoundSource, system: str, resource: ApiResource) -> JsonShape:
    """MapError with every fault of the mapping."""
    options = source.options
    assert isinstance(options, HttpSource)
    lists = {field: resource.lists.get(name, name) for field, name in options.lists.items()}
    readers = {path: partial(to_value, field=field) for path, field in resource.fields.items()}
    made = JsonShape(source, system, options.resources, lists, readers)
    hidden = {path for path, field in resource.fields.items() if field.write_only}
    if findings := [
        Finding(
            row.file, row.line, f"{system}: {path} is in no answer, so nothing can be read from it", _FIX, "write-only"
        )
        for assignment in made.assignments
        if (row := assignment.row) is not None
        for path in sorted(hidden & {assignment.source or "", *(assignment.rule.uses if assignment.rule else ())})
    ]:
        raise MapError(findings)
    return made
