"""The faulty application's HTTP side: endpoints, credentials, rate limits, and the faults that were ordered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.http_api.faulty_records import FIELDS, Order, Record, Records, Refused
from tests.http_api.faulty_tokens import Tokens

Fault = Literal[
    "429",  # with Retry-After in seconds
    "429-date",  # with Retry-After as an HTTP date
    "429-bare",  # without
    "500",
    "502",  # a proxy's HTML
    "503",  # with Retry-After in seconds
    "timeout-before",  # no answer ever, nothing done
    "timeout-after",  # no answer ever, but the request was carried out
    "reset",  # connection reset before the request was read, nothing done
    "reset-after",  # connection reset without an answer, but the request was carried out
    "cut",  # carried out; the connection breaks in the middle of the answer
    "expired",  # 401, and the access token is worth nothing from now on
    "html",  # 200 with a maintenance page in place of JSON; nothing done
    "renamed",  # carried out; the answer's records have another name for their id
    "retyped",  # carried out; the answer is a list where an object was and the other way round
    "empty",  # carried out; 200 with no body
]
_SHAPES = ("html", "renamed", "retyped", "empty", "expired")
"""What the token endpoint never does."""
_AFTER = ("timeout-after", "reset-after", "cut", "renamed", "retyped", "empty")
_PAGE = "<!DOCTYPE html><html><body><h1>We'll be right back</h1></body></html>"


class Asked(NamedTuple):
    """A request and what became of it. `status` 0: no answer was given; `key`: the idempotency key, `notify`: the
    header X-Notify."""

    at: float
    method: str
    path: str
    parameters: dict[str, str]
    body: Any
    status: int
    fault: Fault | None
    key: str
    notify: str = ""


class Behaviour:
    """What can be ordered; the faulty application's handle inherits it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.records = Records(seed)
        self.tokens = Tokens()
        self.api_key = secrets.token_urlsafe(24)
        self.auth: Literal["none", "key", "oauth2"] = "none"
        self.faults: dict[Fault, float] = {}
        self.limits: list[tuple[int, float]] = []
        self.retry_after: Literal["seconds", "date", "none"] = "seconds"
        self.order: Order = "id"
        self.settle = 0.0
        self.lists_lag = 0.0
        self.inclusive = True
        self.contains = False
        self.finds: Callable[[str, str], bool] | None = None
        self.most_found = 0
        self.idempotent = True
        self.renumbers = False
        self.hold = 60.0
        self.slow = 0.0
        self.before: Callable[[str, str, dict[str, str]], None] | None = None
        self.shown: Callable[[Record], Record] | None = None
        self.raw: Callable[[str, str, dict[str, str]], Response | None] | None = None
        self.asked: list[Asked] = []
        self._scripted: list[tuple[str, str, deque[Fault]]] = []
        self._times: Counter[str] = Counter()
        self._taken: list[deque[float]] = []
        self._answers: dict[str, tuple[int, Record]] = {}

    def script(self, method: str, path: str, *faults: Fault) -> None:
        """The next requests of this method whose path begins so get these faults, one each."""
        self._scripted.append((method, path, deque(faults)))

    def unscript(self) -> None:
        """What was scripted, and hasn't come yet, doesn't come."""
        self._scripted.clear()

    def _fault(self, method: str, path: str, body: bytes) -> Fault | None:
        for wanted, start, faults in self._scripted:
            if faults and method == wanted and path.startswith(start):
                return faults.popleft()
        if not self.faults:
            return None
        # By the request and how often it came, so that it doesn't depend on which of two threads was first.
        same = f"{method} {path} {body!r}"
        self._times[same] += 1
        draw = random.Random(f"{self.seed} {same} {self._times[same]}").random()
        for fault, share in self.faults.items():
            if draw < share:
                return fault
            draw -= share
        return None

    def _over_limit(self) -> float:
        """Seconds until a request is allowed again; 0.0: it is, and counts."""
        now = time.monotonic()
        while len(self._taken) < len(self.limits):
            self._taken.append(deque())
        waits = [0.0]
        for (requests, per), taken in zip(self.limits, self._taken, strict=False):
            while taken and taken[0] <= now - per:
                taken.popleft()
            if len(taken) >= requests:
                waits.append(taken[0] + per - now)
        if max(waits) == 0.0:
            for taken in self._taken:
                taken.append(now)
        return max(waits)

    def _too_many(self, wait: float, how: str) -> Response:
        headers = {"seconds": {"Retry-After": str(max(1, int(wait + 0.999)))}, "none": {}}.get(how)
        if headers is None:
            headers = {"Retry-After": format_datetime(_http_now() + timedelta(seconds=wait + 1), usegmt=True)}
        return JSONResponse({"message": "too many requests"}, 429, headers)


def _each(answer: Any, shown: Callable[[Record], Record]) -> Any:
    """An answer with every contact in it as `shown` shows it."""
    if isinstance(answer, dict) and isinstance(answer.get("contacts"), list):
        return {**answer, "contacts": [shown(one) for one in answer["contacts"]]}
    return (
        {**answer, "contact": shown(answer["contact"])} if isinstance(answer, dict) and "contact" in answer else answer
    )


def _http_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Connection(H11Protocol):
    """uvicorn's connection, kept at hand so that a fault can reset it."""

    alive: dict[tuple[str, int], asyncio.Transport] = {}  # noqa: RUF012 - uvicorn makes the instances

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.client:
            self.alive[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client:
            self.alive.pop(self.client, None)
        super().connection_lost(exc)


class FaultyApp:
    """The ASGI application: wraps the endpoints in the faults."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._of = behaviour
        self._endpoints = Starlette(
            routes=[
                Route("/oauth/token", self._token, methods=["POST"]),
                Route("/contacts", self._list),
                Route("/contacts", self._create, methods=["POST"]),
                Route("/contacts/search", self._search),
                Route("/contacts/{id:int}", self._get),
                Route("/contacts/{id:int}", self._update, methods=["PATCH", "PUT"]),
                Route("/contacts/{id:int}", self._delete, methods=["DELETE"]),
                Route("/contacts/{id:int}/merge", self._merge, methods=["POST"]),
                Route("/contacts/{style:str}", self._list_by),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body = await request.body()
        of, method, path = self._of, request.method, request.url.path
        parameters = dict(request.query_params)
        if of.before:
            await asyncio.get_running_loop().run_in_executor(None, of.before, method, path, parameters)
        if of.slow:
            await asyncio.sleep(of.slow)
        fault = of._fault(method, path + "?" + request.url.query, body)
        if path == "/oauth/token" and fault in _SHAPES:
            fault = None
        is_noted = False

        def note(status: int) -> None:
            # Before the client can know of the answer, or a test that has it may look too early.
            nonlocal is_noted
            if not is_noted:
                is_noted = True
                of.asked.append(_asked(request, body, status, fault))

        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                note(message["status"])
            await send(message)

        async def again() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            response = await self._answer(request, body, fault, again)
            if fault in ("timeout-before", "timeout-after"):
                note(0)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(_gone(receive), of.hold)
                _abort(scope)
            elif fault in ("reset", "reset-after"):
                note(0)
                _abort(scope)
            elif fault == "cut":
                length = str(len(response.body)).encode()
                headers = [(b"content-type", b"application/json"), (b"content-length", length)]
                await told({"type": "http.response.start", "status": response.status_code, "headers": headers})
                half = bytes(response.body)[: max(0, len(response.body) // 2)]
                await told({"type": "http.response.body", "body": half, "more_body": True})
                _abort(scope, close=True)
            else:
                await response(scope, receive, told)
        finally:
            note(0)

    async def _answer(self, request: Request, body: bytes, fault: Fault | None, again: Receive) -> Response:
        of = self._of
        is_token = request.url.path == "/oauth/token"
        if fault == "expired":
            of.tokens.expire()
        if of.raw and (raw := of.raw(request.method, request.url.path, dict(request.query_params))) is not None:
            return raw
        if not is_token:
            if (refused := self._unknown(request)) is not None:
                return refused
            if wait := of._over_limit():
                return of._too_many(wait, of.retry_after)
        if fault and fault.startswith("429"):
            return of._too_many(1.0, {"429": "seconds", "429-date": "date", "429-bare": "none"}[fault])
        if fault == "502":
            return Response("<html><body>Bad Gateway</body></html>", 502, media_type="text/html")
        if fault in ("500", "503"):
            headers = {"Retry-After": "1"} if fault == "503" else None
            return JSONResponse({"message": "something went wrong"}, int(fault), headers)
        if fault == "html":
            return Response(_PAGE, 200, media_type="text/html")
        if fault and fault not in _AFTER:
            return JSONResponse({"message": "expired"}, 401)
        kept: list[Any] = []

        async def keep(message: Any) -> None:
            kept.append(message)

        await self._endpoints(request.scope, again, keep)
        found = Response(b"".join(part.get("body", b"") for part in kept[1:]), kept[0]["status"])
        found.raw_headers = list(kept[0]["headers"])
        if of.shown is not None and found.body:
            found = JSONResponse(_each(json.loads(bytes(found.body)), of.shown), found.status_code)
        if fault == "empty":
            return Response(b"", 200)
        if fault == "renamed" and found.body:
            return Response(
                bytes(found.body).replace(b'"id":', b'"ident":'), found.status_code, media_type="application/json"
            )
        if fault == "retyped" and found.body:
            shown = json.loads(bytes(found.body))
            return JSONResponse({"data": shown} if isinstance(shown, list) else [shown], found.status_code)
        return found

    def _unknown(self, request: Request) -> Response | None:
        of = self._of
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if of.auth == "key" and request.headers.get("x-api-key") != of.api_key:
            return JSONResponse({"message": "unknown key"}, 401)
        if of.auth == "oauth2" and (scheme != "Bearer" or of.tokens.access.get(given, 0.0) < time.monotonic()):
            return JSONResponse({"message": "token expired"}, 401)
        return None

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        scheme, _, basic = request.headers.get("authorization", "").partition(" ")
        status, found = self._of.tokens.answer(form, basic if scheme == "Basic" else "")
        return JSONResponse(found, status)

    async def _list(self, request: Request) -> Response:
        return self._page(request, "page")

    async def _list_by(self, request: Request) -> Response:
        return self._page(request, request.path_params["style"])

    def _page(self, request: Request, style: str) -> Response:
        """A part of the list: by-page, by-offset, by-cursor, by-link, by-url; `since` and `sort` everywhere."""
        of, asked = self._of, request.query_params
        since = datetime.fromisoformat(asked["since"].replace("Z", "+00:00")) if asked.get("since") else None
        order: Order = {"updated": "updated", "-updated": "newest"}.get(asked.get("sort", ""), of.order)  # type: ignore[assignment]
        found = of.records.ordered(order, since, of.lists_lag, inclusive=of.inclusive)
        size = min(int(asked.get("limit", "100")), 200)
        if style == "page":
            begin = (int(asked.get("page", "1")) - 1) * size
        elif style in ("by-cursor", "by-link", "by-url"):
            begin = int(asked.get("cursor") or "0")
        elif style == "by-offset":
            begin = int(asked.get("offset", "0"))
        else:
            return JSONResponse({"message": f"there is no list called {style}"}, 404)
        part, end = found[begin : begin + size], begin + size
        more = end < len(found)
        answer: Record = {"contacts": part, "total": len(found), "has_more": more}
        headers = {"Date": format_datetime((of.records.now()).replace(microsecond=0), usegmt=True)}
        if more and style == "by-cursor":
            answer["next"] = str(end)
        onwards = request.url.replace(query=urlencode({**asked, "cursor": str(end)}))
        if more and style == "by-url":
            answer["next_url"] = str(onwards)
        if more and style == "by-link":
            headers["Link"] = f'<{request.url}>; rel="self", <{onwards}>; rel="next"'
        return JSONResponse(answer, headers=headers)

    async def _search(self, request: Request) -> Response:
        of, asked = self._of, request.query_params
        field, value = asked["field"], asked["value"]
        if of.finds is not None:
            finds = of.finds
            found = [one for one in of.records.all(of.settle) if one.get(field) and finds(str(one[field]), value)]
        elif of.contains:
            words = value.casefold()
            found = [one for one in of.records.all(of.settle) if words in str(one.get(field) or "").casefold()]
        else:
            found = of.records.find(field, value, of.settle)
        found = [one for one in found if not one["archived"]]
        most = of.most_found or len(found)
        begin = (int(asked.get("page", "1")) - 1) * most
        return JSONResponse({"contacts": found[begin : begin + most], "total": len(found)})

    async def _get(self, request: Request) -> Response:
        found = self._of.records.get(request.path_params["id"])
        if found is None:
            return JSONResponse({"message": "no such contact"}, 404)
        etag = f'"{found["revision"]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304)
        return JSONResponse({"contact": found}, headers={"ETag": etag})

    async def _create(self, request: Request) -> Response:
        of, key = self._of, request.headers.get("idempotency-key", "")
        if of.idempotent and key in of._answers:
            status, body = of._answers[key]
            return JSONResponse(body, status, {"Idempotent-Replayed": "true"})

        async def create() -> tuple[int, Record]:
            return 201, {"contact": of.records.create((await request.json())["contact"], key)}

        status, body = await _refusing(create)
        if of.idempotent and key and status == 201:
            of._answers[key] = status, body
        return JSONResponse(body, status)

    async def _update(self, request: Request) -> Response:
        of, id = self._of, int(request.path_params["id"])
        wanted = request.headers.get("if-match")

        async def update() -> tuple[int, Record]:
            fields = (await request.json())["contact"]
            with of.records.lock:
                before = of.records.get(id)
                if before and wanted and wanted != f'"{before["revision"]}"':
                    return 412, {"message": "the contact has changed meanwhile"}
                found = of.records.update(id, fields, "api", whole=request.method == "PUT")
            return (200, {"contact": found}) if found else (404, {"message": "no such contact"})

        status, body = await _refusing(update)
        return JSONResponse(body, status)

    async def _merge(self, request: Request) -> Response:
        records, id = self._of.records, int(request.path_params["id"])
        into = (await request.json())["into"]
        with records.lock:
            gone, stays = records.get(id), records.get(into)
            if gone is None or stays is None or id == into:
                return JSONResponse({"message": "no such contact"}, 404)
            lacked = {name: gone[name] for name, value in stays.items() if value in (None, []) and name in gone}
            records.delete(id, "api")
            if not self._of.renumbers:
                return JSONResponse({"contact": records.update(into, lacked, "api")})
            records.delete(into, "api")
            given = {name: value for name, value in {**stays, **lacked}.items() if name in FIELDS}
            return JSONResponse({"contact": records.create(given, "api")})

    async def _delete(self, request: Request) -> Response:
        if not self._of.records.delete(int(request.path_params["id"]), "api"):
            return JSONResponse({"message": "no such contact"}, 404)
        return Response(status_code=204)


async def _refusing(write: Callable[[], Awaitable[tuple[int, Record]]]) -> tuple[int, Record]:
    try:
        return await write()
    except Refused as refused:
        code = "duplicate" if refused.status == 409 else "invalid"
        shown = {"field": refused.field, "message": refused.words, "code": code}
        return refused.status, {"message": "validation failed", "errors": [shown]}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _asked(request: Request, body: bytes, status: int, fault: Fault | None) -> Asked:
    sent = None
    if body and "oauth" not in request.url.path:  # credentials stay out of the audit: no failed test can show them
        with contextlib.suppress(ValueError):
            sent = json.loads(body)
    key = request.headers.get("idempotency-key", "")
    parameters = dict(request.query_params)
    notify = request.headers.get("x-notify", "")
    return Asked(time.monotonic(), request.method, request.url.path, parameters, sent, status, fault, key, notify)


def _abort(scope: Scope, *, close: bool = False) -> None:
    transport = Connection.alive.get(tuple(scope["client"]))
    if transport is not None:
        transport.close() if close else transport.abort()
