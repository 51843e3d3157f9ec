"""Where the console is, as browsers know it: which host names are ours, and how its cookie is kept."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

LOOPBACK_NAMES = frozenset(("127.0.0.1", "localhost", "::1"))


class HostPolicy:
    """`url` is the address that people use: SCHEME://HOST[:PORT], without a path.

    At a loopback address every name of it will do; no other: a page elsewhere whose name is made to mean 127.0.0.1 (DNS
    rebinding) is told apart by the Host header.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url, self._host = f"{parts.scheme}://{parts.netloc}", parts.netloc
        self.is_https, self.is_loopback = parts.scheme == "https", parts.hostname in LOOPBACK_NAMES
        self.cookie = "__Host-sorbus" if self.is_https else "sorbus"
        self.device_cookie = f"{self.cookie}-device"

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names this console."""
        if not self.is_loopback:
            return host == self._host
        try:
            return urlsplit(f"//{host}").hostname in LOOPBACK_NAMES
        except ValueError:  # no host at all, such as "["
            return False

    def origin(self, request: Request) -> str:
        """What Origin says in requests from our own pages."""
        return f"{urlsplit(self.url).scheme}://{request.headers['host']}" if self.is_loopback else self.url

    def set_cookie(self, answer: Response, secret: str) -> None:
        """Puts the visit's cookie into an answer; kept until the browser is closed."""
        answer.set_cookie(self.cookie, secret, secure=self.is_https, httponly=True, samesite="lax", path="/")

    def set_device_cookie(self, answer: Response, token: str, seconds: int) -> None:
        """Has the browser remember that a person has logged in with it."""
        answer.set_cookie(
            self.device_cookie,
            token,
            max_age=seconds,
            secure=self.is_https,
            httponly=True,
            samesite="lax",
            path="/",
        )

    def drop_cookie(self, answer: Response) -> None:
        """Has the browser forget it."""
        answer.delete_cookie(self.cookie, secure=self.is_https, httponly=True, samesite="lax", path="/")
