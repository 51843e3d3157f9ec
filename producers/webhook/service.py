"""The service that applications post to: it verifies, puts notices into inboxes, and answers once Kafka has them.

Whoever isn't verified gets no words: what was wrong is in the log and the metrics. Senders of records are told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.bus.inbox import InboxWriter
from sorbus.errors import AuthError, SorbusError
from sorbus.http_api.interface import Json
from sorbus.http_api.values import load_json
from sorbus.producers.webhook.events import WebhookEvent, read_events
from sorbus.producers.webhook.posted_body import verified
from sorbus.producers.webhook.receivers import WebhookReceiver
from sorbus.producers.webhook.record_receiver import ReceivedRecords, RecordReceiver
from sorbus.producers.webhook.request_body import BODIES, BODY_WITHIN, BodyReader, EarlyAnswer
from sorbus.telemetry.metrics import WebhookMetrics
from sorbus.webhook.signatures import RefusedRequest, WebhookRequest, refuse_early

_MOST_AT_A_TIME = 256
_AGAIN_AFTER = 5
_REMEMBERED = 50_000
_TROUBLED_FOR = 10.0
_SAY_AGAIN = 60.0
_log = logging.getLogger(__name__)


class WebhookEndpoint:
    """Takes the deliveries of every system that is heard; called in one event loop."""

    def __init__(
        self,
        hearings: Mapping[str, WebhookReceiver | RecordReceiver],
        writer: InboxWriter,
        *,
        body_within: float = BODY_WITHIN,
        most_at_a_time: int = _MOST_AT_A_TIME,
        bodies: int = BODIES,
    ) -> None:
        """`body_within`: seconds for a whole body. `most_at_a_time`: requests of one address. `bodies`: bytes held."""
        self._bodies = BodyReader(bodies, body_within)
        self._hearings, self._writer = hearings, writer
        self._most_at_a_time = most_at_a_time
        self._busy: Counter[str] = Counter()
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._metrics = {system: WebhookMetrics(system) for system in ("", *hearings)}
        self._trouble, self._troubled_at = "", -_TROUBLED_FOR
        self._said_at: dict[str, float] = {}
        self.refused: AuthError | None = None
        """What a person has to correct: Kafka refused the login, so no delivery will be taken."""

    def trouble(self) -> str | None:
        """Why deliveries could not be taken a moment ago; None if nothing is known to be wrong."""
        return self._trouble if time.monotonic() - self._troubled_at < _TROUBLED_FOR else None

    async def take(self, request: Request) -> Response:
        """Answers one POST: 200 once Kafka has all that it tells; 503 when Kafka is away, so that it is sent again."""
        begun = time.monotonic()
        source = request.client.host if request.client else ""
        hearing = self._hearings.get(request.path_params["system"])
        metrics = self._metrics[hearing.system if hearing else ""]
        headers, words = {}, b""
        self._busy[source] += 1
        try:
            outcome, words = await self._take(request, hearing, source)
            status = HTTPStatus.OK
        except EarlyAnswer as early:
            outcome, status, words = early.outcome, early.status, early.words
            if not early.is_read:
                headers["connection"] = "close"  # what is still to come is not worth reading
            if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
                headers["retry-after"] = str(_AGAIN_AFTER)
        except Exception as error:  # noqa: BLE001 - whoever sent it gets an answer, and we a line in the log
            self._say(
                f"{type(error)}", f"a webhook from {source} can't be read ({type(error).__name__}: {error!s:.200})"
            )
            outcome, status = "malformed", HTTPStatus.BAD_REQUEST
        finally:
            self._busy[source] -= 1
            if not self._busy[source]:
                del self._busy[source]
        metrics.answered(outcome, time.monotonic() - begun)
        return Response(words, status, headers, "application/json" if words else None)

    async def _take(
        self, request: Request, hearing: WebhookReceiver | RecordReceiver | None, source: str
    ) -> tuple[str, bytes]:
        """The outcome of a delivery that is answered with 200, and the answer's body; EarlyAnswer otherwise."""
        if self._busy[source] > self._most_at_a_time:
            raise EarlyAnswer(HTTPStatus.TOO_MANY_REQUESTS, "busy", is_read=False)
        if hearing is None or (request.method != "POST" and not isinstance(hearing, RecordReceiver)):
            raise EarlyAnswer(HTTPStatus.NOT_FOUND, "unknown", is_read=False)
        received_at = time.time_ns() // 1000
        webhooks, names = hearing.webhooks, [request.path_params.get(name, "") for name in ("first", "second")]
        token = self._token(request, hearing, names)
        delivery = WebhookRequest(request.method, hearing.url, request.headers, b"", token)
        try:
            refuse_early(webhooks, hearing.secrets, delivery, received_at / 1e6)
        except RefusedRequest as error:
            raise self._refused(hearing, source, error, is_read=False) from error
        async with self._bodies.read(request) as raw:
            try:
                body = verified(webhooks, hearing.secrets, delivery._replace(body=raw), received_at / 1e6)
            except RefusedRequest as error:
                raise self._refused(hearing, source, error) from error
            if isinstance(hearing, RecordReceiver):
                received = await hearing.receive(request, [name for name in names if name], body, received_at)
                return await self._put_records(hearing, received)
            told = read_events(hearing, _parsed(body), request.headers, received_at)
        return await self._put(hearing, told), b""

    @staticmethod
    def _token(request: Request, hearing: WebhookReceiver | RecordReceiver, names: list[str]) -> str:
        """The secret in the address, taken out of `names`, which are the parts of its path; "" if there is none."""
        webhooks = hearing.webhooks
        if webhooks.parameter:
            return request.query_params.get(webhooks.parameter, "")
        last = max((place for place, name in enumerate(names) if name), default=-1)
        if webhooks.signature == "shared-secret" and not webhooks.header and last >= 0:
            token, names[last] = names[last], ""
        else:
            token = ""
        if any(names) and not isinstance(hearing, RecordReceiver):
            raise EarlyAnswer(HTTPStatus.NOT_FOUND, "unknown", is_read=False)
        return token

    async def _put_records(self, hearing: RecordReceiver, received: ReceivedRecords) -> tuple[str, bytes]:
        names = self._writer.names
        messages = [record.message(names, hearing.system) for record in received.records]
        await self._written(hearing.system, self._writer.send(messages, f"writing to {names.inbox(hearing.system)}"))
        self._metrics[hearing.system].events("told", len(messages) - len(received.refusals))
        self._metrics[hearing.system].events("malformed", len(received.refusals))
        if received.status is not HTTPStatus.OK:
            raise EarlyAnswer(received.status, "malformed", words=received.words)
        return "accepted", received.words

    def _refused(
        self, hearing: WebhookReceiver | RecordReceiver, source: str, error: RefusedRequest, *, is_read: bool = True
    ) -> EarlyAnswer:
        self._say(f"{hearing.system} {error}", f"refused a webhook to {hearing.system} from {source}: {error}")
        return EarlyAnswer(HTTPStatus.UNAUTHORIZED, error.reason, is_read=is_read)

    async def _put(self, hearing: WebhookReceiver, told: list[WebhookEvent]) -> str:
        system, metrics = hearing.system, self._metrics[hearing.system]
        for why in ("unmapped", "malformed"):
            metrics.events(why, sum(one.why == why for one in told))
        fresh = [one for one in told if one.notice and not (one.key and (system, one.key) in self._seen)]
        notices = list({one.notice[:2]: one.notice for one in fresh if one.notice}.values())
        if not notices:
            return "repeated" if any(one.notice for one in told) else "of no use"
        delivery_id = fresh[0].key.partition("\0")[0]
        await self._written(system, self._writer.put(system, notices, delivery_id))
        metrics.events("told", len(fresh))
        for one in fresh:  # only now: had Kafka not taken it, its repetition must not pass for known
            if one.key:
                self._seen[system, one.key] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return "accepted"

    async def _written(self, system: str, done: Future[None]) -> None:
        """Returns once Kafka has it; EarlyAnswer."""
        try:
            await asyncio.wrap_future(done)
        except SorbusError as error:
            self._trouble, self._troubled_at = str(error), time.monotonic()
            if isinstance(error, AuthError):
                self.refused = error
            self._say(system, f"{error}; {system} is asked to send its webhooks again")
            raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable") from error

    def _say(self, about: str, words: str) -> None:
        """Logs a warning, but about the same thing only once a minute: anybody may post here as often as they like."""
        now = time.monotonic()
        if now - self._said_at.get(about, -_SAY_AGAIN) >= _SAY_AGAIN:
            self._said_at[about] = now
            _log.warning("%s", words)


def application(deliveries: WebhookEndpoint) -> Starlette:
    """POST /webhooks/SYSTEM, or /webhooks/SYSTEM/SECRET; records also to /webhooks/SYSTEM/DATA_TYPE[/SECRET]."""
    paths = ("/webhooks/{system}", "/webhooks/{system}/{first}", "/webhooks/{system}/{first}/{second}")
    return Starlette(routes=[Route(path, deliveries.take, methods=["POST", "PUT", "DELETE"]) for path in paths])


def _parsed(raw: bytes) -> Json:
    try:
        return load_json(raw)
    except ValueError as error:
        raise EarlyAnswer(HTTPStatus.BAD_REQUEST, "not JSON") from error
