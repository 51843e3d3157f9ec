"""From a delivery to the message that is posted; no I/O."""

from __future__ import annotations

from sorbus.avro.decode import Undecodable
from sorbus.calendar_limits import moment_of
from sorbus.connector import BoundFlow, Delivery
from sorbus.errors import PermanentError
from sorbus.event import occurred_at, open_frame
from sorbus.mapping.record import target_maker
from sorbus.webhook.message import WebhookMessage, changed_message
from sorbus.webhook.options import WebhookTarget


class MessageMaker:
    """One flow's."""

    def __init__(self, flow: BoundFlow) -> None:
        """MapError with every fault of the mapping."""
        assert isinstance(flow.options, WebhookTarget)
        self._flow, self._data_type = flow.flow.id, flow.flow.data_type
        self._fields = target_maker(flow, flow.options.resource)

    def make(self, delivery: Delivery) -> WebhookMessage:
        """The message. PermanentError names field, value and cause."""
        id = delivery.id.decode(errors="replace")
        data = None if delivery.deleted else self._fields(delivery)
        return changed_message(
            self._flow,
            self._data_type,
            id,
            delivery.version,
            data,
            changed_at=None if delivery.deleted else _changed_at(delivery),
            historical=delivery.historical,
        )


def _changed_at(delivery: Delivery) -> str | None:
    try:
        micros = occurred_at(delivery.data, open_frame(delivery.data).at)
    except Undecodable as error:
        raise PermanentError(f"the event can't be decoded: {error}", reason="undecodable") from error
    return moment_of(micros).isoformat().replace("+00:00", "Z")
