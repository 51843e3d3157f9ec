"""A running console and those who visit it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx

from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.access.authenticators import Authenticator, Proxies
from sorbus.ops.console.access.host_policy import HostPolicy
from sorbus.ops.console.serve import Parts, run_console
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.server import listen
from sorbus.settings import Settings
from sorbus.state import State
from sorbus.telemetry.stop import Stop
from sorbus.tls import trusted_certificates

TOKEN = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class Visitor:
    """A browser without eyes: keeps cookies, and sends forms as a page's own form would."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=30, headers=headers or {}, verify=trusted_certificates())

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def token(self, path: str) -> str:
        """The CSRF token in a form of the page at `path`."""
        page = self.get(path)
        found = TOKEN.search(page.text)
        assert found, f"no form with a token at {path} ({page.status_code}): {page.text[:500]}"
        return found[1]

    def post(
        self,
        path: str,
        data: Mapping[str, str | list[str]] | None = None,
        *,
        form: str = "",
        files: Mapping[str, tuple[str, bytes]] | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Sends a form of the page at `form` (`path` itself by default); redirects aren't followed."""
        sent = {"csrf": self.token(form or path), **(data or {})}
        said = {"Origin": self.url, "Sec-Fetch-HostPolicy": "same-origin", **headers}
        return self.client.post(path, data=sent, files=files, headers=said)


class Served:
    """A console that runs at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._visitors: list[Visitor] = []

    def visitor(self, headers: Mapping[str, str] | None = None) -> Visitor:
        """Somebody with no cookies yet."""
        self._visitors.append(Visitor(self.url, headers))
        return self._visitors[-1]

    def close(self) -> None:
        for visitor in self._visitors:
            visitor.client.close()


@contextmanager
def serving(
    loaded: LoadedMap,
    settings: Settings,
    state: State,
    authenticator: Authenticator,
    url: str = "",
    proxies: Sequence[str] = (),
    kinds: Sequence[DecisionKind] = DECISION_KINDS,
) -> Iterator[Served]:
    """Runs the console in a thread while the block lasts."""
    stop, listener = Stop(), listen("127.0.0.1", 0, "serve the console")
    here = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(
        target=run_console,
        args=(
            Parts(loaded, settings, state, HostPolicy(url or here), authenticator, Proxies(proxies), kinds),
            listener,
            stop,
            lambda _: None,
        ),
        kwargs={"interval": 0.5},
    )
    thread.start()
    served = Served(here)
    try:
        yield served
    finally:
        served.close()
        stop.set()
        thread.join(30)
        listener.close()
        assert not thread.is_alive(), "the console did not stop"


def eventually(question: Callable[[], bool], message: str, within: float = 20.0) -> None:
    """Waits until `question` says yes."""
    deadline = time.monotonic() + within
    while not question():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)
