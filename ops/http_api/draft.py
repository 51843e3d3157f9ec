"""Reads what `sorbus api new` makes a description from: files and addresses, bounded in bytes and in time."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import JsonValue

from sorbus.errors import AuthError, TransientError, UsageError
from sorbus.http_api import bounded
from sorbus.http_api.draft.from_answers import Answered
from sorbus.http_api.openapi import LARGEST, Spec, parse_spec, read_spec
from sorbus.http_api.values import load_json
from sorbus.tls import connection_words, trusted_certificates

_WITHIN = 60.0
"""Seconds for one address, from the DNS lookup to the last byte."""
_LARGEST_ANSWER = 32_000_000
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def spec_from(named: str, headers: Mapping[str, str]) -> Spec:
    """An OpenAPI file, by its path or address. MapError if it isn't one; TransientError, AuthError."""
    if not named.startswith(("https://", "http://")):
        return read_spec(Path(named))
    _, content = _fetched(named, headers, LARGEST)
    return parse_spec(
        content.decode("utf-8-sig", "replace"), Path(urlsplit(named).path.rpartition("/")[2] or "openapi")
    )


def answer_from(url: str, headers: Mapping[str, str]) -> Answered:
    """What a GET answers. UsageError if it isn't JSON; TransientError, AuthError."""
    response, content = _fetched(url, headers, _LARGEST_ANSWER)
    return Answered(url, _json(content, url), response.headers)


def saved_answer(written: str) -> Answered:
    """An answer in a file, written PATH=FILE: /api/customers?page=1=customers.json. UsageError."""
    path, _, file = written.rpartition("=")
    if not path.startswith(("/", "https://", "http://")) or not file:
        raise UsageError(
            f"{written!r} isn't PATH=FILE; write the path that was asked for, such as /customers=answer.json"
        )
    try:
        if Path(file).stat().st_size > _LARGEST_ANSWER:
            raise UsageError(f"{file} is larger than {_LARGEST_ANSWER // 1_000_000} MB; save fewer records")
        return Answered(path, _json(Path(file).read_bytes(), file))
    except OSError as error:
        raise UsageError(f"can't read {file}: {error.strerror}") from error


def header_from(written: str) -> tuple[str, str, JsonValue]:
    """A header written 'NAME: text with ${VARIABLE}': its name, value, and the `auth` it looks like. UsageError.

    The secret itself must be in an environment variable: commands are kept in histories.
    """
    name, colon, text = (part.strip() for part in written.partition(":"))
    variables = _VARIABLE.findall(text)
    if not colon or not name or len(variables) != 1:
        raise UsageError(
            f"{name!r}: write a header as 'NAME: ${{VARIABLE}}', the secret being in that environment variable"
        )
    secret = os.environ.get(variables[0], "")
    if not secret:
        raise UsageError(f"the environment variable {variables[0]} is empty or not set; put the secret into it")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in secret):
        raise UsageError(f"the environment variable {variables[0]} holds a line break or control character; remove it")
    prefix = text.partition("${")[0]
    value = _VARIABLE.sub(lambda _: secret, text)
    auth: JsonValue = {"kind": "api-key", "header": name, **({"prefix": prefix} if prefix else {})}
    if name.lower() == "authorization" and prefix.lower().strip() == "bearer":
        auth = {"kind": "bearer"}
    if name.lower() == "authorization" and prefix.lower().strip() == "basic":
        auth = {"kind": "basic"}
    return name, value, auth


def _fetched(url: str, headers: Mapping[str, str], largest: int) -> tuple[httpx.Response, bytes]:
    parts = urlsplit(url)
    if headers and parts.scheme != "https" and not _is_here(parts.hostname or ""):
        raise UsageError(
            f"{parts.hostname} is asked without encryption, where anyone in between reads the secret; use https"
        )
    try:
        client = httpx.Client(timeout=_WITHIN, verify=trusted_certificates(), follow_redirects=False)
        request = client.build_request("GET", url, headers={"Accept": "application/json, */*;q=0.5", **headers})
        with client, bounded.within(_WITHIN):
            response, content = bounded.read(client, request, largest=largest)
    except bounded.TooLarge as error:
        raise UsageError(f"{url} answers more than {largest // 1_000_000} MB; ask for less") from error
    except (httpx.HTTPError, httpx.InvalidURL, bounded.UnknownEncoding, ValueError) as error:
        raise TransientError(f"{url} can't be read: {connection_words(error)}") from error
    if response.is_redirect:
        raise UsageError(
            f"{url} is moved to {response.headers.get('location', 'nowhere')}; name that address if you trust it"
        )
    if response.status_code in (401, 403):
        raise AuthError(
            f"{url} answers {response.status_code}: give a credential with --header, or one that may read it"
        )
    if response.status_code != 200:
        raise TransientError(f"{url} answers {response.status_code}; see that the address is right")
    return response, content


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _json(content: bytes, where: str) -> object:
    try:
        return load_json(content)
    except ValueError as error:
        begins = content[:40].decode("utf-8", "replace").strip()
        raise UsageError(f"{where} isn't JSON, but begins {begins!r}; name the API's own address") from error
