"""Success answers to a write whose body reports a failure: 200 with {"success": false}, or GraphQL's errors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sorbus.http_api.interface import Json

_DONE = frozenset({"success", "ok", "successful", "succeeded", "issuccess", "is_success", "issuccessful"})
_STATE = frozenset({"status", "result"})
_FAILED = frozenset({"error", "errors", "fail", "failed", "failure"})
_WRONG = frozenset({"error", "errors", "usererrors", "user_errors"})


def reports_failure(body: Json, data: Collection[str] = ()) -> bool:
    """Whether the answer to a write says that it wasn't carried out.

    `data`: top-level names that are the record's own fields, and so say nothing about the request.
    """
    if not isinstance(body, Mapping):
        return False
    inside = body.get("data")  # GraphQL's mutations: {"data": {"customerCreate": {"userErrors": [...]}}}
    results = [each for each in inside.values() if isinstance(each, Mapping)] if isinstance(inside, Mapping) else []
    nested = ((name, value) for each in results for name, value in each.items() if str(name).lower() == "usererrors")
    own = ((name, value) for name, value in body.items() if name not in data)
    return any(_failures(own)) or any(_failures(nested))


def _failures(said: Iterator[tuple[Json, Json]]) -> Iterator[bool]:
    for name, value in said:
        key = str(name).lower()
        if key in _DONE:
            yield value is False or (isinstance(value, int) and value == 0) or str(value).lower() == "false"
        elif key in _STATE:
            yield isinstance(value, str) and value.lower() in _FAILED
        elif key in _WRONG:
            yield bool(value) and str(value).lower() not in ("0", "false", "none", "null")
