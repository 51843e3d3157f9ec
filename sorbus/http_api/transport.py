"""HTTP transport to one application: credentials, rate limits, circuit breaker, timeouts and error mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from threading import Event
from time import monotonic
from urllib.parse import urlsplit

import httpx

from sorbus import __version__
from sorbus.errors import PermanentError, RateLimited, TransientError, missing
from sorbus.http_api import bounded
from sorbus.http_api.auth import Credentials, Session, Signature, credentials
from sorbus.http_api.client_pool import ClientPool
from sorbus.http_api.connection import Application
from sorbus.http_api.error_mapping import clean, fault, retry_after
from sorbus.http_api.interface import Answer, Call, Json
from sorbus.http_api.limits.breaker import Breaker
from sorbus.http_api.limits.limiter import Limiter
from sorbus.http_api.pagination import join_url, same_origin
from sorbus.http_api.values import dump_json, load_json
from sorbus.state import State
from sorbus.telemetry.metrics import ApiMetrics
from sorbus.tls import connection_words, trusted_certificates

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes, decompressed."""
PATIENCE = 10.0
"""Seconds that `send` waits for the rate limit before it raises `RateLimited`."""
_REDIRECTS = 3
_LONGEST_FAULT = 300
_LOCKED_FOR = 330.0
"""Seconds; Tryton counts the attempts of five minutes, those that it refuses with 429 included."""
_MAY_HAVE_HAPPENED = "it may have been carried out nevertheless"


def open_transport(
    application: Application, state: State, *, flow: str = "", each_waits: bool = False
) -> HttpTransport:
    """The transport to an application, for one flow or producer. AuthError if the connection lacks credentials.

    `each_waits`: the caller backs off from each endpoint itself, so that one that fails while others succeed says
    nothing about the system, and must not open the circuit for them.
    """
    return HttpTransport(application, state, flow=flow, each_waits=each_waits)


class HttpTransport:
    """Implements `Transport` of `interface`. Thread-safe. Also raises RateLimited."""

    def __init__(
        self,
        application: Application,
        state: State,
        *,
        flow: str = "",
        patience: float = PATIENCE,
        each_waits: bool = False,
        background: bool = False,
        before_request: Callable[[], None] = lambda: None,
    ) -> None:
        """`background`: its requests give way to others'. `before_request` is called before each, and may raise."""
        self.application = application
        self.description = application.description
        self.base_url = application.base_url
        self.settings = application.settings
        self._credentials: Credentials = credentials(application, state)
        limits = application.limits
        self._before_request = before_request
        everywhere = [each for each in limits if not each.only]
        self._limiter = Limiter(state, application.system, everywhere, flow=flow, background=background)
        self._narrow = {
            tuple(each.only): Limiter(
                state, f"{application.system} {each.only[0]}", [each], flow=flow, background=background
            )
            for each in limits
            if each.only
        }
        """Limits that count only requests whose path has one of these prefixes."""
        self._breaker = Breaker(state, application.system)
        self._each_waits, self._well = each_waits, set[str]()
        self._last_fault = ""
        self._metrics = ApiMetrics(application.system)
        self._patience = patience
        self._closed = Event()
        self._longest = 4 * self.description.timeout.total_seconds()
        self._clients = ClientPool(self._made_client, self.description.concurrency, self._longest)

    def log_in_by(self, login: Callable[[], Signature]) -> None:
        """For hooks: sign requests with the result of `login`, and call it again when that is rejected."""
        self._credentials = Session(login)

    def send(self, call: Call, *, doing: str) -> Answer:
        """See `Transport`. Retries only once, after a 401, with new credentials."""
        signature = self._credentials.signature()
        answer = self._asked(call, signature, doing)
        if answer.status == 401 and self._credentials.refresh_after_401(signature):
            answer = self._asked(call, self._credentials.signature(), doing)
        return self._good(call, answer, doing)

    def send_unsigned(self, call: Call, *, doing: str) -> Answer:
        """For a hook's login: without credentials. Errors as in `send`.

        A 429 that names no time is a locked account: each attempt would prolong that, so all processes wait longer.
        """
        return self._good(call, self._asked(call, Signature(), doing, at_429=_LOCKED_FOR), doing)

    def close(self) -> None:
        """Ends waits and connections."""
        self._closed.set()
        self._clients.close()

    def _made_client(self, cookies: CookieJar) -> httpx.Client:
        return httpx.Client(
            timeout=httpx.Timeout(self.description.timeout.total_seconds(), connect=10.0),
            headers={
                "User-Agent": f"Sorbus/{__version__}",
                "Accept": "application/json",
                **{name: self.application.fill(text) for name, text in self.description.headers.items()},
            },
            cookies=cookies,
            follow_redirects=False,
            verify=trusted_certificates(),
        )

    def _good(self, call: Call, answer: Answer, doing: str) -> Answer:
        sent = call.json if call.form is None else call.form
        error = fault(answer, self.description.errors, system=self.application.system, doing=doing, sent=sent)
        if error is not None:
            raise error
        return answer

    def _asked(self, call: Call, signature: Signature, doing: str, at_429: float | None = None) -> Answer:
        """One request's answer, whatever its status, once breaker and rate limit allow it.

        `at_429`: seconds to wait after an answer 429 that says nothing of it.
        """
        closed_for = self._breaker.allow()
        if closed_for > 0:
            last = f"; last error: {self._last_fault}" if self._last_fault else ""
            away = TransientError(
                f"{doing}: {self.application.system} has failed too often, so requests are paused{last}",
                retry_after=closed_for,
            )
            raise missing("system", away)
        for begins, limiter in self._narrow.items():
            if urlsplit(call.path).path.startswith(begins):
                self._wait_for_limit(limiter, doing)
        self._wait_for_limit(self._limiter, doing)
        request = self._request(call, signature)
        self._before_request()
        began = monotonic()
        try:
            with self._connection_errors(doing):
                answer = self._exchange(request, doing)
        except TransientError as error:
            self._metrics.answered(call.method, None, monotonic() - began)
            self._last_fault = str(error).removeprefix(f"{doing}: ")[:_LONGEST_FAULT]
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                self._well.clear()  # unreachable: that is about the system, whichever endpoints succeeded before
            self._failed(call)
            raise
        self._metrics.answered(call.method, answer.status, monotonic() - began)
        named = retry_after(answer.headers)
        self._limiter.heard(answer.status, answer.headers, at_429 if named is None else named)
        if answer.status >= 500 and answer.status != 501:
            self._last_fault = f"{self.application.system} answered {answer.status}"
            self._failed(call)
        else:
            self._breaker.succeeded()
            if self._each_waits:
                self._well.add(call.endpoint)
        return answer

    def _failed(self, call: Call) -> None:
        """Counts for the circuit, unless another endpoint succeeded at its last try."""
        self._well.discard(call.endpoint)
        if not self._well or not self._breaker.is_clean:
            self._breaker.failed()

    def _wait_for_limit(self, limiter: Limiter, doing: str) -> None:
        deadline = monotonic() + self._patience
        while True:
            left = max(0.0, deadline - monotonic())
            wait = limiter.take(patience=left)
            if wait <= 0:
                return
            if wait > left or self._closed.wait(wait):
                system = self.application.system
                raise RateLimited(f"{doing}: the rate limit of {system} is used up; waiting", retry_after=wait)

    def _request(self, call: Call, signature: Signature) -> httpx.Request:
        parameters = {**call.parameters, **signature.parameters}
        headers = {**signature.headers, **call.headers}
        content: bytes | None = None
        if call.form is not None:
            content = str(httpx.QueryParams(dict(call.form))).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif call.json is not None:
            content = dump_json(call.json).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            url = httpx.URL(join_url(self.base_url, call.path))
            if parameters:
                url = url.copy_merge_params(parameters)
            return self._clients.build_request(call.method, url, headers=headers, content=content)
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise PermanentError(
                f"{call.method} {clean(call.path)[:100]} can't be sent: a value doesn't fit into a URL or header",
                reason="value",
            ) from error

    def _exchange(self, request: httpx.Request, doing: str) -> Answer:
        """The answer, within one request's time limit, including redirects."""
        with bounded.within(self._longest):
            return self._redirected(request, doing)

    def _redirected(self, request: httpx.Request, doing: str) -> Answer:
        """The answer, after redirects within the same origin, unless they would turn a write into a read."""
        for _ in range(_REDIRECTS):
            answer = self._read(request, doing)
            location = answer.headers.get("location", "")
            followed = (301, 302, 303, 307, 308) if request.method == "GET" else (307, 308)
            if answer.status not in followed or not location:
                return answer
            url = same_origin(location, str(request.url), self.base_url)
            headers = {name: value for name, value in request.headers.items() if name != "host"}
            request = self._clients.build_request(request.method, url, headers=headers, content=request.content)
        raise PermanentError(f"{doing}: {self.application.system} redirects in circles; fix base_url", reason="loop")

    def _read(self, request: httpx.Request, doing: str) -> Answer:
        system = self.application.system
        try:
            with self._clients.client() as client:
                response, content = bounded.read(client, request, largest=LARGEST_ANSWER)
        except bounded.TooLarge as error:
            raise PermanentError(
                f"{doing}: the answer of {system} is larger than {LARGEST_ANSWER // 1024 // 1024} MB; request smaller"
                " pages in the API's description",
                reason="too large",
            ) from error
        except bounded.UnknownEncoding as error:
            raise PermanentError(
                f"{doing}: {system} encodes its answer as {clean(str(error))!r}, though only gzip was requested; check"
                f" any proxy in between{_may_have_happened(request.method)}",
                reason="too large",
            ) from error
        return Answer(response.status_code, response.headers, self._body(response, content, doing, request.method))

    def _body(self, response: httpx.Response, content: bytes, doing: str, method: str) -> Json:
        """The JSON, or text if none is needed. TransientError for a web page instead of JSON."""
        if not content.strip():
            return None
        try:
            return load_json(content, broken_text=True)
        except ValueError as error:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            is_xml = kind.endswith(("/xml", "+xml")) and "html" not in kind  # a hook may read that
            is_page = "html" in kind or (content.lstrip().startswith(b"<") and not is_xml)
            if response.is_success and ("json" in kind or is_page):
                why = "" if is_page else f" ({clean(error)})"
                raise TransientError(
                    f"{doing}: {self.application.system} answers {response.status_code} with {kind or 'a web page'}"
                    f" that isn't JSON{why}; it may be under maintenance, or base_url is another's"
                    f"{_may_have_happened(method)}"
                ) from error
            return content[:20_000].decode("utf-8", "replace")

    @contextmanager
    def _connection_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # Such as "certificate verify failed"; the address is the map's.
            words = clean(connection_words(error))
            away = TransientError(f"{doing}: {self.application.system} can't be reached: {words}")
            raise missing("system", away) from error
        except httpx.UnsupportedProtocol as error:
            raise PermanentError(f"{doing}: base_url is not a valid http(s) address", reason="value") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            away = TransientError(
                f"{doing}: no answer from {self.application.system} ({type(error).__name__}); {_MAY_HAVE_HAPPENED}"
            )
            raise missing("system", away) from error


def _may_have_happened(method: str) -> str:
    """Ends a sentence about an answer that can't be read."""
    return "" if method == "GET" else f"; {_MAY_HAVE_HAPPENED}"
