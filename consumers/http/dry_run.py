"""A dry run into an application: the delivery itself, on a state and an application whose changes stay in memory."""

from __future__ import annotations

from collections.abc import Sequence

import stamina
from pydantic import JsonValue

from sorbus.abilities import Preview, older_preview
from sorbus.connector import Delivery
from sorbus.consumers.http.actions import Action, Again, Ask, Create, Hold, LinkTo, Remove, UpdateRecord
from sorbus.consumers.http.compare import Fields
from sorbus.consumers.http.decide import Decider
from sorbus.consumers.http.deliver import Deliverer
from sorbus.consumers.http.dry_run_api import DryRunApi
from sorbus.consumers.http.preview import request_json
from sorbus.consumers.http.references import References
from sorbus.consumers.http.shape import Wanted
from sorbus.errors import MustWait, PermanentError, TransientError, Unfinished
from sorbus.identity.crosswalk import Crosswalk, Link

_TRIES = 5


class RecordingDecider(Decider):
    """A decider that keeps what it decided; `actions` is emptied before each record."""

    actions: list[Action]

    def decide(self, delivery: Delivery, wanted: Wanted | None, link: Link | None, *, again: bool = False) -> Action:
        """See `Decider.decide`."""
        action = super().decide(delivery, wanted, link, again=again)
        self.actions.append(action)
        return action


class DryRun:
    """One flow's dry run, a record at a time. What the application itself would refuse doesn't show."""

    def __init__(
        self,
        deliverer: Deliverer,
        decider: RecordingDecider,
        api: DryRunApi,
        make: References,
        crosswalk: Crosswalk,
    ) -> None:
        self._deliverer, self._decider, self._api = deliverer, decider, api
        self._make, self._crosswalk = make, crosswalk

    def read_list(self, resource: str) -> bool:
        """Reads it once in place of each record alone; False where there is no list."""
        for attempt in stamina.retry_context(on=_is_passing, attempts=_TRIES, wait_initial=0.2, wait_max=5.0):
            with attempt:
                return self._api.read_list(resource)
        raise AssertionError("stamina ends with a return or the last error")

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `sorbus.abilities.SupportsDryRun`."""
        self._make.prepare(deliveries)
        return [self._preview(one) for one in deliveries]

    def _preview(self, delivery: Delivery) -> Preview:
        id = delivery.id.decode(errors="replace")
        link = self._crosswalk.find([id]).get(id)
        if link is not None and link.version > delivery.version:
            return older_preview(delivery.version, link.version)
        self._decider.actions = []
        self._api.writes.clear()
        try:
            for attempt in stamina.retry_context(on=_is_passing, attempts=_TRIES, wait_initial=0.2, wait_max=5.0):
                with attempt:
                    self._deliverer.deliver(delivery, again=True)
        except MustWait as error:
            return Preview("wait" if error.why == "reference" else "hold", str(error))
        except Unfinished as error:
            return Preview("wait", str(error))
        except PermanentError as error:
            asked = self._decider.actions and isinstance(self._decider.actions[-1], Ask | Hold)
            return Preview("ask" if asked else "refuse", str(error))
        return self._shown()

    def _shown(self) -> Preview:
        actions = self._decider.actions
        last = actions[-1]
        request = self._request(last)
        if (linked := next((one for one in actions if isinstance(one, LinkTo)), None)) is not None:
            return Preview("link", f"to {linked.external_id}: {linked.why}", request)
        if not self._api.writes:
            return Preview("nothing", last.why)
        if any(isinstance(one, Create | Again) for one in actions):
            return Preview("create", last.why, request)
        return Preview("delete" if isinstance(last, Remove) else "update", last.why, request)

    def _request(self, last: Action) -> JsonValue:
        if not self._api.writes:
            return None
        call, current = self._api.writes[-1]
        changes: Fields | None = None
        if isinstance(last, UpdateRecord | Remove):
            changes = last.changes
        return request_json(call, changes, current)


def _is_passing(error: Exception) -> bool:
    return isinstance(error, TransientError) and not isinstance(error, Unfinished)
