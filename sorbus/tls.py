"""Trusted certificates for HTTP clients, loaded once per process: loading takes 50 ms, and every client would do it."""

from __future__ import annotations

import re
import ssl
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

_NUMBER = re.compile(r"\[Errno -?\d+\] ")


@cache
def trusted_certificates() -> ssl.SSLContext:
    """For `httpx.Client(verify=...)`: certifi's certificates, or those of SSL_CERT_FILE or SSL_CERT_DIR."""
    return httpx.create_ssl_context()


def connection_words(error: Exception) -> str:
    """Why a server can't be reached, without numbers that mean nothing to people."""
    words = _NUMBER.sub("", str(error)) or type(error).__name__
    if "WRONG_VERSION_NUMBER" in words:
        return "it answers without TLS: write http:// in place of https://, or the port that speaks TLS"
    return words


def way_to(url: httpx.URL) -> str:
    """`HOST:PORT`, and the proxy in between if the environment names one: each without its user and password."""
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    proxies = getproxies()  # as httpx looks for them
    named = "" if proxy_bypass(url.host) else proxies.get(url.scheme) or proxies.get("all", "")
    proxy = urlsplit(named if "://" in named else f"//{named}")
    return f"{url.host}:{port}" + (f" (through the proxy {proxy.hostname}:{proxy.port})" if proxy.hostname else "")
