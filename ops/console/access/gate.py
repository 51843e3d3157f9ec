"""In front of every page: the right host, a bounded body, a person, and for what changes something a form of ours."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import FormData, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sorbus.errors import AuthError
from sorbus.ops.console.access import csrf
from sorbus.ops.console.access.door import Door
from sorbus.ops.console.access.person import Visit
from sorbus.ops.console.access.site import Site

LARGEST_BODY, BODY_WITHIN, MOST_FIELDS = 1024 * 1024, 30.0, 5000
"""Bytes, seconds and fields of a form; the largest is one letter's edit or the marks of one page of letters."""


class Gate:
    """Lets requests through that are in order, with `visit` and `form` in their state."""

    def __init__(self, app: ASGIApp, *, site: Site, door: Door) -> None:
        self._app, self._site, self._door = app, site, door
        self._limiter: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise HTTPException(HTTPStatus.NOT_FOUND)
        request = Request(scope, receive)
        if not self._site.is_ours(request.headers.get("host", "")):
            raise HTTPException(HTTPStatus.MISDIRECTED_REQUEST, f"this console is at {self._site.url}")
        try:
            # Threads of its own: pages that take long keep nobody out.
            limiter = self._limiter = self._limiter or CapacityLimiter(8)
            cookie = request.cookies.get(self._site.cookie, "")
            visit = await to_thread.run_sync(self._door.visit, request, cookie, limiter=limiter)
        except AuthError as error:
            raise HTTPException(HTTPStatus.FORBIDDEN, str(error)) from error
        scope.setdefault("state", {})
        scope["state"] |= {"visit": visit, "form": FormData()}
        if visit.person is None and not _is_for_all(scope["path"]):
            await _to_login(request)(scope, receive, self._with_cookie(send, visit))
            return
        if request.method not in csrf.SAFE:
            receive = await self._checked(request, visit)
        await self._app(scope, receive, self._with_cookie(send, visit))

    async def _checked(self, request: Request, visit: Visit) -> Receive:
        """The body, read and found in order, to be read again."""
        body = await _read(request)

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        form = await Request(request.scope, again).form(max_fields=MOST_FIELDS, max_files=0, max_part_size=LARGEST_BODY)
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


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise _too_large()
    except TimeoutError as error:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the form did not arrive in time; send it again") from error
    except ClientDisconnect as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the form broke off") from error
    return bytes(body)


def _too_large() -> HTTPException:
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the form is larger than {LARGEST_BODY // 1024} KiB; send less at a time"
    )


def _to_login(request: Request) -> Response:
    if request.method not in csrf.SAFE or "hx-request" in request.headers or request.url.path == "/events":
        return Response("log in first", HTTPStatus.UNAUTHORIZED, {"hx-redirect": "/login"})
    way = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?{urlencode({'next': way})}", HTTPStatus.SEE_OTHER)
