"""In front of every page: the right host, a bounded body, a person, and for changes a form of the console."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import unquote, urlencode

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import FormData, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sorbus.errors import AuthError
from sorbus.ops.console.access import csrf
from sorbus.ops.console.access.authenticators import Authenticator
from sorbus.ops.console.access.host_policy import HostPolicy
from sorbus.ops.console.access.user import Visit

LARGEST_BODY, BODY_WITHIN, MOST_FIELDS = 1024 * 1024, 30.0, 5000
"""Bytes, seconds and fields of a form; the largest is one letter's edit or the marks of one page of letters."""
LARGEST_OF_STRANGERS = 64 * 1024
"""Bytes of a form sent before login: a name and a password."""
ALL_BODIES, ALL_OF_STRANGERS = 32 * 1024 * 1024, 8 * 1024 * 1024
"""Bytes of all forms together that are being read or worked on, and of those of strangers."""

_NUL = "it holds a character that no text can have (NUL); go back, take it out and repeat"


class _Budget:
    """Bytes that may be held at one time; used in one event loop."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        """Takes them, if there are so many left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size


class _Body:
    """One form on its way in: never larger than `largest`, and what it holds is taken from a budget until `release`."""

    def __init__(self, budget: _Budget, largest: int) -> None:
        self._budget, self._largest = budget, largest
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        """HTTPException when it gets too large, or all forms together do."""
        if len(self._bytes) + len(chunk) > self._largest:
            raise _too_large(self._largest)
        if not self._budget.take(len(chunk)):
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "nothing was done: too many forms are being sent at this moment; wait a minute, and send it again",
                {"retry-after": "60", "connection": "close"},
            )
        self._bytes += chunk

    def check(self, declared: str) -> None:
        """Refuses a length that is too large before anything is read."""
        if declared.isdigit() and (len(declared) > 15 or int(declared) > self._largest):
            raise _too_large(self._largest)

    def content(self) -> bytes:
        return bytes(self._bytes)

    def release(self) -> None:
        self._budget.give_back(len(self._bytes))
        self._bytes = bytearray()


class AccessMiddleware:
    """Lets requests through that are in order, with `visit` and `form` in their state."""

    def __init__(self, app: ASGIApp, *, site: HostPolicy, authenticator: Authenticator) -> None:
        self._app, self._site, self._authenticator = app, site, authenticator
        self._limiter: CapacityLimiter | None = None
        self._bodies, self._of_strangers = _Budget(ALL_BODIES), _Budget(ALL_OF_STRANGERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise HTTPException(HTTPStatus.NOT_FOUND)
        request = Request(scope, receive)
        if not self._site.is_ours(request.headers.get("host", "")):
            raise HTTPException(HTTPStatus.MISDIRECTED_REQUEST, f"this console is at {self._site.url}")
        if "\0" in scope["path"] or "\0" in unquote(scope["query_string"].decode("latin-1")):
            raise HTTPException(HTTPStatus.BAD_REQUEST, _NUL)
        try:
            # Threads of its own: pages that take long keep nobody out.
            limiter = self._limiter = self._limiter or CapacityLimiter(8)
            cookie = request.cookies.get(self._site.cookie, "")
            visit = await to_thread.run_sync(self._authenticator.visit, request, cookie, limiter=limiter)
        except AuthError as error:
            raise HTTPException(HTTPStatus.FORBIDDEN, str(error)) from error
        scope.setdefault("state", {})
        scope["state"] |= {"visit": visit, "form": FormData()}
        if visit.person is None and not _is_for_all(scope["path"]):
            await _to_login(request)(scope, receive, self._with_cookie(send, visit))
            return
        send = self._with_cookie(send, visit)
        if request.method in csrf.SAFE:
            await self._app(scope, receive, send)
            return
        is_stranger = visit.person is None
        body = _Body(
            self._of_strangers if is_stranger else self._bodies, LARGEST_OF_STRANGERS if is_stranger else LARGEST_BODY
        )
        try:
            await self._app(scope, await self._checked(request, visit, body), send)
        finally:
            body.release()

    async def _checked(self, request: Request, visit: Visit, held: _Body) -> Receive:
        """The body, read and found in order, to be read again."""
        await _read(request, held)
        body = held.content()

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        form = await Request(request.scope, again).form(max_fields=MOST_FIELDS, max_files=1, max_part_size=LARGEST_BODY)
        if any("\0" in name or (isinstance(value, str) and "\0" in value) for name, value in form.multi_items()):
            raise HTTPException(HTTPStatus.BAD_REQUEST, _NUL)
        sent = form.get(csrf.FIELD) or request.headers.get(csrf.HEADER, "")
        if why := csrf.refusal(request.headers, self._site.origin(request), visit.secret, str(sent)):
            raise HTTPException(HTTPStatus.FORBIDDEN, f"nothing was done: {why}; open the page again and repeat")
        request.scope["state"]["form"] = form
        return again

    def _with_cookie(self, send: Send, visit: Visit) -> Send:
        if not visit.is_new:
            return send

        answer = Response()
        self._site.set_cookie(answer, visit.secret)
        cookie = answer.headers["set-cookie"]

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        return with_cookie


def _is_for_all(path: str) -> bool:
    return path == "/login" or path.startswith("/static/")


async def _read(request: Request, body: _Body) -> None:
    body.check(request.headers.get("content-length", ""))
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for chunk in request.stream():
                body.add(chunk)
    except TimeoutError as error:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the form did not arrive in time; send it again") from error
    except ClientDisconnect as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the form broke off") from error


def _too_large(largest: int) -> HTTPException:
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the form is larger than {largest // 1024} KiB; send less at a time"
    )


def _to_login(request: Request) -> Response:
    if request.method not in csrf.SAFE or "hx-request" in request.headers or request.url.path == "/events":
        return Response("log in first", HTTPStatus.UNAUTHORIZED, {"hx-redirect": "/login"})
    way = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?{urlencode({'next': way})}", HTTPStatus.SEE_OTHER)
