"""The console as an ASGI application: its pages, and what stands in front of them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import ModuleType

from anyio import to_thread
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from sorbus.errors import AuthError, PermanentError, SorbusError, TransientError
from sorbus.ops.console.access.authenticators import Authenticator
from sorbus.ops.console.access.headers import SecurityHeaders
from sorbus.ops.console.access.middleware import AccessMiddleware
from sorbus.ops.console.access.streams import Streams
from sorbus.ops.console.access.user import Visit
from sorbus.ops.console.page_context import Console, Section, console_of, render, templates, visit_of
from sorbus.ops.console.pages import accounts, advice, audit, home, login, runbooks, trace
from sorbus.ops.decisions.kind import DecisionKind


@dataclass(frozen=True, slots=True, eq=False)
class PageGroup:
    """Routes that belong together, and their place in the menu."""

    routes: Sequence[BaseRoute]
    section: Section | None


def pages_of(kinds: Sequence[DecisionKind]) -> list[PageGroup]:
    """In the menu's order."""
    decisions = [page for kind in kinds if (page := _decision_page(kind))]
    return [_page(home), *decisions, *map(_page, (trace, advice, audit, accounts, login, runbooks))]


def _page(module: ModuleType) -> PageGroup:
    """A module of pages/ has `routes`, and may have a `section`."""
    return PageGroup(module.routes, getattr(module, "section", None))


def _decision_page(kind: DecisionKind) -> PageGroup | None:
    pages = kind.pages()
    if pages is None:
        return None

    def count(console: Console) -> int | None:
        measured = console.live.measured
        return None if measured is None else measured.of(kind.counts).needs_person()

    return PageGroup(pages.routes, Section(pages.label, pages.path, count))


_AWAY = "The console can't reach its database at this moment. Try again in a minute; whoever runs Sorbus can see why."
PING = 15
"""Seconds of silence after which a browser that listens is written to, so that one that has gone is noticed."""

_log = logging.getLogger(__name__)
_STATUS = (
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE),
    (AuthError, HTTPStatus.BAD_GATEWAY),
    (PermanentError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def application(console: Console, authenticator: Authenticator) -> ASGIApp:
    """The whole console; whoever serves it starts and ends its live measurements."""
    pages = pages_of(console.kinds)
    handlers = {HTTPException: _failed, SorbusError: _failed, Exception: _failed}
    app = Starlette(
        routes=[
            *(route for page in pages for route in page.routes),
            Route("/events", _events, methods=["GET"]),
            Mount("/static", _Static(directory=Path(__file__).parent / "static"), name="static"),
        ],
        middleware=[
            Middleware(ExceptionMiddleware, handlers=handlers),
            Middleware(AccessMiddleware, site=console.site, authenticator=authenticator),
        ],
        exception_handlers=handlers,
    )
    app.state.console = console
    app.state.authenticator, app.state.streams = authenticator, Streams()
    app.state.sections = tuple(page.section for page in pages if page.section)
    app.state.templates = templates(console.kinds)
    return SecurityHeaders(app, is_https=console.site.is_https)


class _Static(StaticFiles):
    """Our own files; their names or the version in their address change with them, so browsers may keep them."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers["cache-control"] = "private, max-age=86400"
        return answer


async def _events(request: Request) -> Response:
    live, visit, state = console_of(request).live, visit_of(request), request.app.state

    async def events() -> AsyncIterator[ServerSentEvent]:
        async for version in live.changes():
            if not await to_thread.run_sync(_may_listen, state.authenticator, request, visit):
                return
            yield ServerSentEvent(event="changed", data=str(version))

    return _EventStream(events(), visit, state.streams)


class _EventStream(EventSourceResponse):
    """Server-sent events, unless the session has enough such streams already."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], visit: Visit, streams: Streams) -> None:
        super().__init__(events, ping=PING)
        self._visit, self._streams = visit, streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._streams.has_room(self._visit):
            refusal = Response("other pages of yours listen already", HTTPStatus.TOO_MANY_REQUESTS)
            await refusal(scope, receive, send)
            return
        with self._streams.counted(self._visit):
            await super().__call__(scope, receive, send)


def _may_listen(authenticator: Authenticator, request: Request, visit: Visit) -> bool:
    """Whether the session that opened a stream lasts still; while that can't be asked, it does."""
    try:
        return authenticator.visit(request, visit.secret).person is not None
    except TransientError:
        return True
    except SorbusError:
        return False


def _failed(request: Request, error: Exception) -> Response:
    """What went wrong, as a page; of what nobody has foreseen only that it happened, the log has the rest."""
    scope: Scope = request.scope
    scope.setdefault("state", {}).setdefault("visit", Visit(None, ""))
    if isinstance(error, HTTPException):
        status, message = (
            error.status_code,
            "" if error.detail == HTTPStatus(error.status_code).phrase else error.detail,
        )
    elif isinstance(error, SorbusError):
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), HTTPStatus.CONFLICT)
        is_known = scope["state"]["visit"].person is not None
        # Where our servers are is nobody's business who isn't logged in.
        message = str(error) if is_known or not isinstance(error, TransientError) else _AWAY
        if not is_known:
            _log.warning("a page failed", extra={"path": scope["path"], "reason": str(error)})
    else:
        _log.error("a page failed", extra={"path": scope["path"]}, exc_info=error)
        status, message = 500, "The console failed; its log says where. What you did may be done or not: look first."
    return render(request, "error.html", status=status, phrase=HTTPStatus(status).phrase, message=message)
