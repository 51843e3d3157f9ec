"""What every page of the console uses: who asks, what is known, how a page is written, how an action is answered.

A page module has `routes` (plain functions, which Starlette runs in threads). Those in pages/ have a `section` to be
in the menu; a kind of decision says it in `ConsolePages`. Templates extend base.html and use the macros of parts.html.
A form is sent by POST with `{{ csrf() }}` in it, is read by `form_of`, and is answered by `done` or `refused`, which
lead to a page that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from http import HTTPStatus
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

import sorbus
from sorbus.dlq.service import DeadLetterService
from sorbus.map.loaded import LoadedMap
from sorbus.map.render.pages.flow_words import timing_in_words
from sorbus.ops.console import template_filters
from sorbus.ops.console.access import csrf
from sorbus.ops.console.access.authenticators import Proxies
from sorbus.ops.console.access.host_policy import HostPolicy
from sorbus.ops.console.access.user import Role, User, Visit
from sorbus.ops.console.background_jobs import BackgroundJobs
from sorbus.ops.console.company import Company
from sorbus.ops.console.live import Live
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.settings import Settings
from sorbus.state import State

FLASH, FLASH_SECONDS = "sorbus-said", 60
Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages are about."""

    company: Company
    settings: Settings
    state: State
    live: Live
    site: HostPolicy
    jobs: BackgroundJobs
    kinds: Sequence[DecisionKind]
    proxies: Proxies
    """Whose word about where requests come from is believed."""
    has_login: bool = False
    """Whether people log in here, and so may leave."""

    @property
    def loaded(self) -> LoadedMap:
        """The current map; take it once per request."""
        return self.company.loaded

    @property
    def letters(self) -> DeadLetterService:
        """Where that map's dead letters are dealt with."""
        return self.company.letters


@dataclass(frozen=True, slots=True)
class Section:
    """A page's place in the menu. `count` is how many things wait there for people; nothing is shown of 0 and None."""

    label: str
    path: str
    count: Callable[[Console], int | None] = lambda _: 0
    role: Role = Role.viewer
    """Who sees it."""
    is_there: Callable[[Console], bool] = lambda _: True


def console_of(request: Request) -> Console:
    """The console that a request is to."""
    console = request.app.state.console
    assert isinstance(console, Console)
    return console


def person_of(request: Request) -> User:
    """Who makes a request; the gate has let nobody else through."""
    person = visit_of(request).person
    assert person is not None
    return person


def visit_of(request: Request) -> Visit:
    """The browser that a request comes from; pages need `person_of`."""
    visit = request.state.visit
    assert isinstance(visit, Visit)
    return visit


def form_of(request: Request) -> FormData:
    """The form that came with a POST; empty otherwise."""
    form = request.state.form
    assert isinstance(form, FormData)
    return form


def needs(role: Role) -> Callable[[Handler], Handler]:
    """For a handler that only people with this role, or more, may use; others get a page that says so (403)."""

    def guard(handler: Handler) -> Handler:
        @wraps(handler)
        def guarded(request: Request) -> Response:
            person = person_of(request)
            if not person.may(role):
                raise HTTPException(
                    HTTPStatus.FORBIDDEN,
                    f"this needs the role {role.name}; {person.name} has the role {person.role.name}. Ask an admin",
                )
            return handler(request)

        return guarded

    return guard


def render(request: Request, template: str, *, status: int = HTTPStatus.OK, **context: object) -> Response:
    """A page: `template` with `context`, and what base.html shows of the console, the person and what was just done."""
    visit = visit_of(request)
    console, sections = console_of(request), request.app.state.sections
    said = _read_flash(request, visit)
    page = request.app.state.templates.get_template(template)
    text = page.render(
        console=console,
        person=visit.person,
        sections=[each for each in sections if visit.person and visit.person.may(each.role) and each.is_there(console)],
        path=request.url.path,
        here=str(request.url.replace(scheme="", netloc="", fragment="")),
        csrf=lambda: Markup('<input type="hidden" name="{}" value="{}">').format(csrf.FIELD, csrf.token(visit.secret)),
        said=said,
        **context,
    )
    answer = HTMLResponse(text, status)
    if said:
        answer.delete_cookie(FLASH, path="/", secure=console_of(request).site.is_https, httponly=True, samesite="lax")
    return answer


def item_paths(kinds: Sequence[DecisionKind]) -> dict[str, str]:
    """What one decision of a kind is called -> what comes before its number in the address of its page."""
    found = {kind.item: pages.item_path for kind in kinds if (pages := kind.pages())}
    return {item: path for item, path in found.items() if path}


def done(request: Request, path: str, said: str) -> Response:
    """After a POST that did something: to the page at `path` (of the console), which says `said` once."""
    console_of(request).live.look_again()
    return _with_flash(request, path, "done", said)


def refused(request: Request, path: str, said: str) -> Response:
    """After a POST that did nothing: to the page at `path` (of the console), which says why once."""
    return _with_flash(request, path, "refused", said)


def _with_flash(request: Request, path: str, kind: str, said: str) -> Response:
    answer = RedirectResponse(path, HTTPStatus.SEE_OTHER)
    value = _signer(visit_of(request)).dumps([kind, said[:1000]])
    assert isinstance(value, str)
    answer.set_cookie(
        FLASH,
        value,
        max_age=FLASH_SECONDS,
        path="/",
        secure=console_of(request).site.is_https,
        httponly=True,
        samesite="lax",
    )
    return answer


def _read_flash(request: Request, visit: Visit) -> tuple[str, str] | None:
    """What was just done; not for a page's live part, which would take it from the page that it is meant for."""
    if "hx-request" in request.headers:
        return None
    try:
        kind, said = _signer(visit).loads(request.cookies.get(FLASH, ""), max_age=FLASH_SECONDS)
    except (BadSignature, ValueError, TypeError):
        return None
    return str(kind), str(said)


def _signer(visit: Visit) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(visit.secret, salt="said")


def templates(kinds: Sequence[DecisionKind]) -> Environment:
    """The console's own templates, and each kind's with its name before theirs."""
    return _templates(tuple((kind.name, pages.templates) for kind in kinds if (pages := kind.pages())))


@cache
def _templates(folders: tuple[tuple[str, Path], ...]) -> Environment:
    made = Environment(
        loader=ChoiceLoader(
            [
                FileSystemLoader(Path(__file__).parent / "templates"),
                PrefixLoader({name: FileSystemLoader(folder) for name, folder in folders}),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["version"] = sorbus.__version__
    made.filters |= {
        "ago": template_filters.ago,
        "moment": template_filters.moment,
        "number": template_filters.number,
        "span": template_filters.span,
        "sparkline": template_filters.sparkline,
        "timing": timing_in_words,
    }
    return made
