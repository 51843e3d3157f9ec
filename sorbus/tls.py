"""Trusted certificates for HTTP clients, loaded once per process: loading takes 50 ms, and every client would do it."""

from __future__ import annotations

import re
import ssl
from functools import cache

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
