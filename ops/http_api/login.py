"""`sorbus api login`: a person lets Sorbus into an application, once (RFC 6749 with PKCE, on loopback: RFC 8252)."""

from __future__ import annotations

import html
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlsplit

import typer

from sorbus.cli.context import Context
from sorbus.errors import AuthError, MapError, TransientError
from sorbus.plain_server import PlainHandler, PlainServer

if TYPE_CHECKING:
    from sorbus.http_api.auth.tokens import Tokens
    from sorbus.http_api.connection import Application

_OURS = frozenset({"code", "state", "scope", "session_state", "iss"})
_LOOPBACK = ("127.0.0.1", "localhost")


def login_command(
    ctx: typer.Context,
    system: Annotated[str, typer.Argument(help="A system of the map that uses OAuth2.", show_default=False)],
    redirect: Annotated[
        str, typer.Option(metavar="URL", help="The redirect address that the application knows; any port if none.")
    ] = "http://127.0.0.1/callback",
    wait: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long to wait for the person.")] = 300,
    refresh_token_stdin: Annotated[
        bool, typer.Option("--refresh-token-stdin", help="Read a refresh token from stdin in place of a login.")
    ] = False,
) -> None:
    """Let Sorbus into an application: prints an address to open in a browser, waits, and keeps the tokens.

    They are in the state database then, and renewed by every process that needs them. Exit code 4: refused.

    Examples: `sorbus api login accounting`, `sorbus api login accounting --redirect http://localhost:8765/callback`,
    `pass show refresh | sorbus api login accounting --refresh-token-stdin`
    """
    from sorbus.http_api.auth.endpoint import TokenEndpoint
    from sorbus.http_api.auth.tokens import TokenStore
    from sorbus.http_api.connection import application
    from sorbus.state import State

    bound = Context.of(ctx).load().system(system)
    made = application(bound)
    if made.auth.kind != "oauth2" or made.grant != "refresh_token":
        message = f"{made.description.title} is used with {made.auth.kind}, so there is no login"
        raise MapError([bound.finding("api", "no-login", message, "nothing to do; the map holds its credentials")])
    store = TokenStore(State.of(bound.topic_prefix), made)
    store.read()  # says at once if there is no state to keep them in
    if refresh_token_stdin:
        given = sys.stdin.readline().strip()
        if not given:
            raise typer.BadParameter("stdin holds no refresh token")
        with store.renewing() as renewal:
            renewal.keep(TokenEndpoint(made).refresh(given))
    else:
        store.keep(log_in(made, redirect, wait, lambda text: typer.echo(text, err=True)))
    typer.echo(f"{system}: logged in; its flows may be started again.")


def log_in(application: Application, redirect: str, wait: float, say: Callable[[str], None]) -> Tokens:
    """What a person's login in a browser brings. AuthError when it is refused, TransientError when nobody comes."""
    from sorbus.http_api.auth.endpoint import TokenEndpoint
    from sorbus.http_api.error_mapping import clean

    parts = urlsplit(redirect)
    if parts.scheme != "http" or parts.hostname not in _LOOPBACK:
        raise typer.BadParameter("the redirect address is http://127.0.0.1:PORT/PATH or http://localhost:PORT/PATH")
    if not application.auth.authorize_url:
        raise AuthError(f"{application.description.title} has no page to log in; use --refresh-token-stdin")
    endpoint, verifier = TokenEndpoint(application), secrets.token_urlsafe(48)
    with _Listener(parts.port or 0, parts.path or "/") as listener:
        back = f"http://{parts.hostname}:{listener.server_port}{parts.path}"
        url, listener.state = endpoint.login_url(verifier=verifier, redirect_uri=back)
        say(f"Open this address and log in to {application.description.title}:\n\n    {url}\n")
        answer = listener.wait(wait)
    if answer is None:
        raise TransientError(f"no login within {wait:g} s; run it again")
    if "code" not in answer:
        words = clean(" ".join(answer.get(name, "") for name in ("error", "error_description")))
        raise AuthError(f"{application.description.title} refuses the login: {words}; ask its administrator")
    for name in answer.keys() - _OURS:
        say(f"{application.description.title} says {clean(name)}: {clean(answer[name])}")
    tokens = endpoint.exchange(answer["code"], verifier=verifier, redirect_uri=back)
    if tokens.refresh is None and tokens.lasts is not None:
        raise AuthError(
            f"{application.description.title} gives no refresh token, so it would end in {tokens.lasts:g} s;"
            " add its scope for offline access to login_scopes in the API's description"
        )
    return tokens


class _Listener(PlainServer):
    """Waits on loopback for the browser to come back."""

    state = ""

    def __init__(self, port: int, path: str) -> None:
        self._path = path
        self.answer: Mapping[str, str] | None = None
        self._came = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    def wait(self, seconds: float) -> Mapping[str, str] | None:
        """What it brought; None if it didn't come."""
        serving = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        serving.start()
        self._came.wait(seconds)
        self.shutdown()
        serving.join()
        return self.answer

    def take(self, target: str) -> bool:
        """Whether this is the answer to our question (the state says so), and not somebody else's."""
        parts = urlsplit(target)
        found = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path != self._path or not secrets.compare_digest(found.get("state", "").encode(), self.state.encode()):
            return False
        self.answer = found
        return True

    def answered(self) -> None:
        """The person has been told."""
        self._came.set()


class _Handler(PlainHandler):
    def do_GET(self) -> None:  # noqa: N802
        assert isinstance(self.server, _Listener)
        ours = self.server.take(self.path)
        words = (
            "Thank you. You can close this window: Sorbus continues." if ours else "This isn't what Sorbus waits for."
        )
        page = f"<!doctype html><meta charset=utf-8><title>Sorbus</title><p>{html.escape(words)}".encode()
        self.send_response(200 if ours else 404)
        for name, value in {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(page)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "Connection": "close",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page)
        if ours:
            self.server.answered()
