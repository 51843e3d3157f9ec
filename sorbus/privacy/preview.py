"""Masks personal values in a preview, wherever they are in the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue

from sorbus.abilities import Preview
from sorbus.connector import BoundFlow, Delivery, consumer_connector
from sorbus.errors import PermanentError, SorbusError
from sorbus.mapping.field_refs import canonical_ref
from sorbus.privacy.errors import flow_privacy, row_is_personal
from sorbus.privacy.mask import masked, personal_names
from sorbus.privacy.words import without

_PLAIN = ("method", "table")


def masked_preview(shown: Preview, flow: BoundFlow, delivery: Delivery | None) -> Preview:
    """`shown` with the target's personal fields masked, and with the record's personal values masked in all other texts
    (its path, its reasons). A target field without a row is masked too, unless it has the name of a canonical field
    that isn't personal.
    """
    personal = personal_names(flow.schema.fields)
    if not personal:
        return shown
    resources = consumer_connector(flow.system.system.kind).resources_of(flow.options)
    privacy = flow_privacy(flow, lambda _: delivery.schema if delivery else flow.schema, resources)
    content = delivery.data if delivery is not None and not delivery.deleted else None
    id = delivery.id if delivery is not None else b""
    values = [*privacy.values(content)]
    mask = _Mask(flow, personal, values, id.decode(errors="replace"))
    why = privacy.words(shown.why, "", id, content)
    return Preview(shown.action, why, cast("JsonValue", mask.request(shown.request)))


def masked_fault(error: SorbusError, flow: BoundFlow, delivery: Delivery) -> SorbusError:
    """A failed delivery's error, its message without the record's personal values."""
    resources = consumer_connector(flow.system.system.kind).resources_of(flow.options)
    privacy = flow_privacy(flow, lambda _: delivery.schema, resources)
    if isinstance(error, PermanentError):
        return privacy.error(error, delivery.id, None if delivery.deleted else delivery.data)
    return privacy.fault(error, [delivery])


class _Mask:
    def __init__(self, flow: BoundFlow, personal: frozenset[str], values: list[object], id: str) -> None:
        self._values, self._id = values, id
        hidden: set[str] = set()
        known = {"id", getattr(flow.options, "key", "id"), "external_id", "score"}
        for row in flow.mapping:
            name = row.target_field.rpartition(".")[2]
            if row_is_personal(row.source_field, row.rule, personal):
                hidden.add(name)
            else:
                known.add(name)
        if not flow.mapping:
            known |= {path.rpartition(".")[2] for path, _ in flow.schema.leaves()}
        mapped = {canonical_ref(row.source_field).part for row in flow.mapping}
        for field in flow.schema.fields:
            if field.type.item is not None and field.name not in mapped:
                known |= {inner.name for inner in field.type.item.fields}
        self._open = known - hidden - personal

    def request(self, request: JsonValue) -> object:
        """The request: method, path and the table are kept; its content is masked field by field."""
        if not isinstance(request, Mapping):
            return masked(request)
        return {
            name: value if name in _PLAIN else self._text(value) if name == "path" else self._inside(name, value)
            for name, value in request.items()
        }

    def _inside(self, name: str, value: object) -> object:
        if isinstance(value, Mapping):
            return {inner: self._inside(inner, each) for inner, each in value.items()}
        if isinstance(value, list):
            return [self._inside(name, each) for each in value]
        if name.rpartition(".")[2] in self._open or str(value) == self._id:
            return self._text(value)
        return masked(value)

    def _text(self, value: object) -> object:
        return without(value, self._values, keep=[self._id]) if isinstance(value, str) else value
