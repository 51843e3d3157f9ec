"""Forms are sent from our own pages only: a token bound to the browser's secret, and what it says of the sender.

OWASP's Cross-Site Request Forgery Prevention Cheat Sheet: a token bound to the session, plus Origin and Fetch Metadata.
"""

from __future__ import annotations

import hashlib
import hmac

from starlette.datastructures import Headers

FIELD, HEADER = "csrf", "x-csrf-token"
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))


def token(secret: str) -> str:
    """What a form of the visit with this secret carries; tells nothing of the secret."""
    return hmac.digest(secret.encode(), b"sorbus console form", hashlib.sha256).hex()


def refusal(headers: Headers, origin: str, secret: str, sent: str) -> str:
    """Why a request that changes something is not taken, in plain words; "" when it is.

    `origin` is our own, `secret` the visit's, `sent` the token that came with the request.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return "it was sent by a page of another site"
    said = headers.get("origin")
    if said is not None and said != origin:
        return f"it was sent by a page of another site than {origin}"
    if not hmac.compare_digest(sent.encode("utf-8", "replace"), token(secret).encode()):
        return "the page that it was sent from belongs to another session or is too old"
    return ""
