"""The service that applications post to: it verifies, puts notices into inboxes, and answers once Kafka has them.

Its answers have no bodies: what was wrong is nobody's business but ours, and is in the log and the metrics.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.bus.inbox import InboxWriter
from sorbus.errors import AuthError, SorbusError
from sorbus.http_api.interface import Json
from sorbus.http_api.values import load_json
from sorbus.producers.webhook.events import WebhookEvent, read_events
from sorbus.producers.webhook.receivers import WebhookReceiver
from sorbus.telemetry.metrics import WebhookMetrics
from sorbus.webhook.signatures import RefusedRequest, WebhookRequest, refuse_early, verify

LARGEST_BODY = 1_000_000
BODIES = 32_000_000
"""Bytes of all bodies that are held at a time; a quarter of them is kept for the small ones."""
_SMALL_BODY = 65_536
_MOST_AT_A_TIME = 256
_BODY_WITHIN, _AGAIN_AFTER = 10.0, 5
_REMEMBERED = 50_000
_TROUBLED_FOR = 10.0
_SAY_AGAIN = 60.0
_log = logging.getLogger(__name__)


class _Answer(Exception):
    """How a delivery ends early: the answer's status, and the outcome that is counted."""

    def __init__(self, status: HTTPStatus, outcome: str, *, is_read: bool = True) -> None:
        self.status, self.outcome, self.is_read = status, outcome, is_read
        super().__init__(outcome)


class _Budget:
    """Bytes of bodies that may still be held."""

    def __init__(self, total: int) -> None:
        self.left, self._for_small = total, total // 4

    def take(self, size: int, *, is_small: bool) -> bool:
        """Whether there is room: large bodies leave a quarter to small ones."""
        if self.left - size < (0 if is_small else self._for_small):
            return False
        self.left -= size
        return True


class _Body:
    """A body as it comes, counted against the budget until it is closed."""

    def __init__(self, budget: _Budget) -> None:
        self.held, self._budget = bytearray(), budget

    def add(self, chunk: bytes) -> bool:
        """False where there is no room for it."""
        is_small = len(self.held) + len(chunk) <= _SMALL_BODY
        if not self._budget.take(len(chunk), is_small=is_small):
            return False
        self.held += chunk
        return True

    def close(self) -> None:
        self._budget.left += len(self.held)
        self.held.clear()


class WebhookEndpoint:
    """Takes the deliveries of every system that is heard; called in one event loop."""

    def __init__(
        self,
        hearings: Mapping[str, WebhookReceiver],
        writer: InboxWriter,
        *,
        body_within: float = _BODY_WITHIN,
        most_at_a_time: int = _MOST_AT_A_TIME,
        bodies: int = BODIES,
    ) -> None:
        """`body_within`: seconds for a whole body. `most_at_a_time`: requests of one address. `bodies`: bytes held."""
        self._budget = _Budget(bodies)
        self._hearings, self._writer = hearings, writer
        self._body_within, self._most_at_a_time = body_within, most_at_a_time
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
        headers = {}
        self._busy[source] += 1
        try:
            outcome = await self._take(request, hearing, source)
            status = HTTPStatus.OK
        except _Answer as early:
            outcome, status = early.outcome, early.status
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
        return Response(status_code=status, headers=headers)

    async def _take(self, request: Request, hearing: WebhookReceiver | None, source: str) -> str:
        """The outcome of a delivery that is answered with 200; _Answer otherwise."""
        if self._busy[source] > self._most_at_a_time:
            raise _Answer(HTTPStatus.TOO_MANY_REQUESTS, "busy", is_read=False)
        if hearing is None:
            raise _Answer(HTTPStatus.NOT_FOUND, "unknown", is_read=False)
        received_at = time.time_ns() // 1000
        webhooks, token = hearing.webhooks, request.path_params.get("token", "")
        if webhooks.parameter:
            token = request.query_params.get(webhooks.parameter, "")
        elif token and (webhooks.signature != "shared-secret" or webhooks.header):
            raise _Answer(HTTPStatus.NOT_FOUND, "unknown", is_read=False)
        delivery = WebhookRequest(request.method, hearing.url, request.headers, b"", token)
        try:
            refuse_early(webhooks, hearing.secrets, delivery, received_at / 1e6)
        except RefusedRequest as error:
            raise self._refused(hearing, source, error, is_read=False) from error
        body = _Body(self._budget)
        try:
            raw = await self._read(request, body)
            try:
                verify(webhooks, hearing.secrets, delivery._replace(body=raw), received_at / 1e6)
            except RefusedRequest as error:
                raise self._refused(hearing, source, error) from error
            told = read_events(hearing, _parsed(raw), request.headers, received_at)
        finally:
            body.close()
        return await self._put(hearing, told)

    def _refused(
        self, hearing: WebhookReceiver, source: str, error: RefusedRequest, *, is_read: bool = True
    ) -> _Answer:
        self._say(f"{hearing.system} {error}", f"refused a webhook to {hearing.system} from {source}: {error}")
        return _Answer(HTTPStatus.UNAUTHORIZED, error.reason, is_read=is_read)

    async def _read(self, request: Request, body: _Body) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and (len(declared) > 12 or int(declared) > LARGEST_BODY):
            raise _Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large", is_read=False)
        try:
            async with asyncio.timeout(self._body_within):
                async for chunk in request.stream():
                    if len(body.held) + len(chunk) > LARGEST_BODY:
                        raise _Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large", is_read=False)
                    if not body.add(chunk):
                        raise _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "busy", is_read=False)
        except TimeoutError as error:
            raise _Answer(HTTPStatus.REQUEST_TIMEOUT, "slow", is_read=False) from error
        except ClientDisconnect as error:
            raise _Answer(HTTPStatus.BAD_REQUEST, "broken off", is_read=False) from error
        return bytes(body.held)

    async def _put(self, hearing: WebhookReceiver, told: list[WebhookEvent]) -> str:
        system, metrics = hearing.system, self._metrics[hearing.system]
        for why in ("unmapped", "malformed"):
            metrics.events(why, sum(one.why == why for one in told))
        fresh = [one for one in told if one.notice and not (one.key and (system, one.key) in self._seen)]
        notices = list({one.notice[:2]: one.notice for one in fresh if one.notice}.values())
        if not notices:
            return "repeated" if any(one.notice for one in told) else "of no use"
        delivery_id = fresh[0].key.partition("\0")[0]
        try:
            await asyncio.wrap_future(self._writer.put(system, notices, delivery_id))
        except SorbusError as error:
            self._trouble, self._troubled_at = str(error), time.monotonic()
            if isinstance(error, AuthError):
                self.refused = error
            self._say(system, f"{error}; {system} is asked to send its webhooks again")
            raise _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable") from error
        metrics.events("told", len(fresh))
        for one in fresh:  # only now: had Kafka not taken it, its repetition must not pass for known
            if one.key:
                self._seen[system, one.key] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return "accepted"

    def _say(self, about: str, words: str) -> None:
        """Logs a warning, but about the same thing only once a minute: anybody may post here as often as they like."""
        now = time.monotonic()
        if now - self._said_at.get(about, -_SAY_AGAIN) >= _SAY_AGAIN:
            self._said_at[about] = now
            _log.warning("%s", words)


def application(deliveries: WebhookEndpoint) -> Starlette:
    """POST /webhooks/SYSTEM, or /webhooks/SYSTEM/SECRET, and nothing else."""
    paths = ("/webhooks/{system}", "/webhooks/{system}/{token}")
    return Starlette(routes=[Route(path, deliveries.take, methods=["POST"]) for path in paths])


def _parsed(raw: bytes) -> Json:
    try:
        return load_json(raw)
    except ValueError as error:
        raise _Answer(HTTPStatus.BAD_REQUEST, "not JSON") from error
