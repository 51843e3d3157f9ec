"""Diagnosis of an HTTP application's server reachability, clock, certificate expiry, and whether the login reads."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime

import httpx

from sorbus.connector import BoundSystem
from sorbus.diagnosis import Diagnosis, clock
from sorbus.errors import TransientError, missing
from sorbus.http_api import bounded
from sorbus.http_api.connection import Application, application
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import open_transport
from sorbus.state import State
from sorbus.tls import connection_words, trusted_certificates

_ANSWERS_WITHIN = 10.0
_CERTIFICATE_WARNS = 14 * 86_400.0


def diagnose_application(system: BoundSystem) -> Iterator[Diagnosis]:
    """One request without credentials, whose status doesn't matter, and a page of the first list with them.

    MapError, TransientError, AuthError, PermanentError.
    """
    made = application(system)
    yield from _server(system.name, made.base_url)
    yield _login(system, made)


def _login(system: BoundSystem, made: Application) -> Diagnosis:
    name = next((name for name, resource in made.description.resources.items() if resource.list), None)
    if name is None:
        found = "not tried: the application's description has no list"
        return Diagnosis(system.name, "login", found, "warning", "try it with `sorbus api try`")
    transport = open_transport(made, State.of(system.topic_prefix))
    try:
        open_api(transport).page(name)
    finally:
        transport.close()
    return Diagnosis(system.name, "login", f"it reads {name}")


def _server(where: str, url: str) -> Iterator[Diagnosis]:
    before = time.time()
    try:
        client = httpx.Client(timeout=_ANSWERS_WITHIN, verify=trusted_certificates(), follow_redirects=False)
        asked = client.build_request("GET", url)
        with client, bounded.within(_ANSWERS_WITHIN), bounded.head(client, asked) as answer:
            headers, certificate = answer.headers, _certificate(answer)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        address = httpx.URL(url).netloc.decode()
        told = f"{where}: {address} can't be reached ({connection_words(error)})"
        raise missing("system", TransientError(told)) from error
    after = time.time()
    yield Diagnosis(where, "connection", f"answers within {1000 * (after - before):.0f} ms")
    if certificate is not None:
        yield _validity(where, certificate - after)
    try:
        theirs = parsedate_to_datetime(headers.get("date", "")).timestamp() + 0.5  # a header has whole seconds
    except ValueError:
        return
    yield clock(where, theirs, before - 0.5, after + 0.5)


def _certificate(answer: httpx.Response) -> float | None:
    """When the server's certificate expires, in seconds since 1970; None without TLS."""
    connection = answer.extensions["network_stream"].get_extra_info("ssl_object")
    if not isinstance(connection, ssl.SSLObject | ssl.SSLSocket):
        return None
    found: Mapping[str, object] = connection.getpeercert() or {}
    return ssl.cert_time_to_seconds(str(found["notAfter"])) if "notAfter" in found else None


def _validity(where: str, left: float) -> Diagnosis:
    found = f"its certificate is valid for {left / 86_400:.0f} more days"
    if left >= _CERTIFICATE_WARNS:
        return Diagnosis(where, "certificate", found)
    return Diagnosis(where, "certificate", found, "warning", "ask the server's operator to renew it")
