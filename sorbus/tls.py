"""Trusted certificates for HTTP clients, loaded once per process: loading takes 50 ms, and every client would do it."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted_certificates() -> ssl.SSLContext:
    """For `httpx.Client(verify=...)`: certifi's certificates, or those of SSL_CERT_FILE or SSL_CERT_DIR."""
    return httpx.create_ssl_context()
