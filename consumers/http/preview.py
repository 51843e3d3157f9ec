"""What would be sent for a record, and why; nothing but reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from typing import cast

from pydantic import JsonValue

from sorbus.abilities import Preview, older_preview
from sorbus.connector import Delivery
from sorbus.consumers.http.actions import (
    Action,
    Again,
    Ask,
    Create,
    Forget,
    Hold,
    LinkTo,
    Note,
    Remove,
    UpdateRecord,
    Wait,
)
from sorbus.consumers.http.compare import Fields, body
from sorbus.consumers.http.decide import Decider
from sorbus.consumers.http.deliver import creation
from sorbus.consumers.http.shape import Shape, Wanted
from sorbus.errors import MustWait, PermanentError
from sorbus.http_api.description import ApiField
from sorbus.http_api.interface import Api, Call, FoundRecord, Json
from sorbus.http_api.path import read_path
from sorbus.http_api.values import dump_json, load_json, to_value
from sorbus.identity.crosswalk import Crosswalk

_KEY = "(made when it is sent)"


class Previewer:
    """Shows decisions in place of carrying them out."""

    def __init__(
        self,
        resource: str,
        api: Api,
        shape: Shape,
        make: Callable[[Delivery], Wanted],
        decider: Decider,
        crosswalk: Crosswalk,
    ) -> None:
        self._resource, self._api, self._shape, self._make = resource, api, shape, make
        self._decider, self._crosswalk = decider, crosswalk

    def preview(self, delivery: Delivery) -> Preview:
        """See `sorbus.abilities.SupportsPreview`."""
        id = delivery.id.decode(errors="replace")
        try:
            wanted = None if delivery.deleted else self._make(delivery)
            link = self._crosswalk.find([id]).get(id)
            if link is not None and link.version > delivery.version:
                return older_preview(delivery.version, link.version)
            return self._shown(id, wanted, self._decider.decide(delivery, wanted, link))
        except MustWait as error:
            return Preview("wait" if error.why == "reference" else "hold", str(error))
        except PermanentError as error:
            return Preview("refuse", str(error))

    def look(self, id: str) -> dict[str, JsonValue] | None:
        """See `sorbus.abilities.SupportsLookup`: the fields that the description knows, by what they mean.

        PermanentError where the application can't be asked for a record.
        """
        link = self._crosswalk.find([id]).get(id)
        if link is None or link.state != "linked" or link.external_id is None:
            return None
        found = self._api.get(self._resource, link.external_id)
        if found is None or found.other_id is not None:
            return None
        fields = self._shape.resource.fields
        return {path: _meant(read_path(found.record, path), field) for path, field in fields.items()}

    def _shown(self, id: str, wanted: Wanted | None, action: Action) -> Preview:
        resource, api = self._resource, self._api
        match action:
            case Note() | Forget() | Wait():
                return Preview("nothing", action.why)
            case Create(fields=fields):
                return Preview(
                    "create",
                    action.why,
                    request_json(api.creating(resource, creation(self._shape, id, fields), key=_KEY)),
                )
            case Again(fields=fields, key=key):
                return Preview(
                    "create",
                    action.why,
                    request_json(api.creating(resource, creation(self._shape, id, fields), key=key)),
                )
            case UpdateRecord(external_id=external_id, changes=changes, current=current):
                sent = body(changes, current.record if current else None)
                call = api.updating(resource, external_id, sent, current=current)
                return Preview(
                    "update", f"{resource} {external_id}: {action.why}", request_json(call, changes, current)
                )
            case Hold(external_id=external_id, contests=contests):
                asked = _plain({"changes": {one.field: [one.theirs, one.ours] for one in contests}})
                return Preview("ask", f"{resource} {external_id}: {action.why}", asked)
            case Remove(external_id=external_id, changes=None, current=current):
                call = api.deleting(resource, external_id, current=current)
                return Preview("delete", f"{resource} {external_id}: {action.why}", request_json(call))
            case Remove(external_id=external_id, changes=changes, current=current):
                assert changes is not None
                call = api.updating(resource, external_id, body(changes), current=current)
                return Preview(
                    "delete", f"{resource} {external_id}: {action.why}", request_json(call, changes, current)
                )
            case LinkTo(external_id=external_id):
                assert wanted is not None
                then = self._shown(id, wanted, self._decider.linked_to(id, wanted, external_id))
                return Preview("link", f"to {resource} {external_id}: {action.why}; then {then.action}", then.request)
            case Ask():
                found: list[JsonValue] = [
                    {"external_id": one.external_id, "score": one.score, "reasons": list(one.reasons)}
                    for one in action.candidates
                ]
                return Preview("ask", action.why, {"candidates": found} if found else None)


def _meant(value: Json, field: ApiField) -> JsonValue:
    try:
        meant = to_value(value, field)
    except PermanentError:
        meant = value  # it isn't what the description says; people see what there is
    if isinstance(meant, date | time):  # of which datetime is one
        return meant.isoformat()
    return cast("JsonValue", str(meant) if isinstance(meant, Decimal) else meant)


def request_json(call: Call, changes: Fields | None = None, current: FoundRecord | None = None) -> JsonValue:
    """The call as JSON, decimals as they are written; with each changed field's old and new value."""
    shown: Json = {"method": call.method, "path": call.path}
    if call.parameters:
        shown["parameters"] = dict(call.parameters)
    if call.headers:
        shown["headers"] = dict(call.headers)
    if call.json is not None:
        shown["json"] = call.json
    if call.form is not None:
        shown["form"] = dict(call.form)
    if changes is not None:
        shown["changes"] = {
            path: [read_path(current.record, path) if current else None, value] for path, value in changes.items()
        }
    made: JsonValue = _plain(load_json(dump_json(shown)))
    return made


def _plain(value: Json) -> JsonValue:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
