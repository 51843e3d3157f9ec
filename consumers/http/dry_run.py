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
from sorbus.consumers.http.dry_run_api import TRIES, UNREAD, DryRunApi, is_forbidden, is_passing
from sorbus.consumers.http.preview import request_json
from sorbus.consumers.http.references import References
from sorbus.consumers.http.shape import Wanted
from sorbus.errors import AuthError, MustWait, PermanentError, RateLimited, TransientError, Unfinished
from sorbus.identity.crosswalk import Crosswalk, Link

_MOST_UNREAD = 5
"""Records in a row that can't be read, after which it is the application that can't."""


class RecordingDecider(Decider):
    """A decider that keeps what it decided; `actions` is emptied before each record."""

    actions: list[Action]
    dry_api: DryRunApi

    def decide(self, delivery: Delivery, wanted: Wanted | None, link: Link | None, *, again: bool = False) -> Action:
        """See `Decider.decide`."""
        action = super().decide(delivery, wanted, link, again=again)
        self.actions.append(action)
        return action

    def is_back(self, id: str, link: Link) -> bool:
        """See `Decider.is_back`. A list that was read spares a request for each deleted record."""
        is_absent = link.external_id is None or self.dry_api.is_absent(link.external_id)
        return not is_absent and super().is_back(id, link)

    def _unlinked(self, id: str, wanted: Wanted) -> Action:
        if self.dry_api.searches:
            return super()._unlinked(id, wanted)
        return Create("nothing was searched for", wanted.fields)

    def _made_before(self, id: str, wanted: Wanted | None, sent: Fields, *, is_decided: bool) -> list[str] | Ask | None:
        return super()._made_before(id, wanted, sent, is_decided=is_decided) if self.dry_api.searches else None


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
        decider.dry_api = api
        self._unread = 0
        self._make, self._crosswalk = make, crosswalk

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `sorbus.dry_run.SupportsDryRun`."""
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
            for attempt in stamina.retry_context(on=is_passing, attempts=TRIES, wait_initial=0.2, wait_max=5.0):
                with attempt:
                    self._deliverer.deliver(delivery, again=True)
        except MustWait as error:
            return Preview("wait" if error.why == "reference" else "hold", str(error))
        except RateLimited:
            raise
        except Unfinished as error:
            return Preview("wait", str(error))
        except (TransientError, AuthError) as error:
            if isinstance(error, AuthError) and not is_forbidden(error):
                raise
            return self._not_read(error)
        except PermanentError as error:
            if error.status is not None or error.reason == UNREAD:  # nothing is sent, so a read was refused
                return self._not_read(error)
            asked = self._decider.actions and isinstance(self._decider.actions[-1], Ask | Hold)
            return Preview("ask" if asked else "refuse", str(error))
        self._unread = 0
        return self._shown()

    def _not_read(self, error: TransientError | AuthError | PermanentError) -> Preview:
        """The error, where no record can be read any more."""
        self._unread += not isinstance(error, PermanentError)
        if self._unread >= _MOST_UNREAD:
            raise error
        return Preview("unread", str(error))

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
