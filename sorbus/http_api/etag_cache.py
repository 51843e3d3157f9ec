"""Conditional requests: an unchanged resource isn't transferred again (RFC 9110, section 13)."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from threading import Lock

from sorbus.http_api.error_mapping import header
from sorbus.http_api.interface import Answer, Call

_MOST = 64
_OWN = frozenset({"if-none-match", "if-modified-since"})
_Key = tuple[str, tuple[tuple[str, str], ...]]


class Revalidation:
    """A small cache of the latest answers with an ETag. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, Answer] = OrderedDict()
        self._lock = Lock()

    def ask(self, call: Call) -> Call:
        """The call, made conditional if its answer is cached. A call with its own condition is returned unchanged."""
        known = self._find(call)
        if known is None or not _OWN.isdisjoint(name.lower() for name in call.headers):
            return call
        return replace(call, headers={**call.headers, "If-None-Match": header(known.headers, "etag")})

    def hear(self, call: Call, answer: Answer) -> Answer:
        """The full answer: the cached one, if it is still valid."""
        if answer.status == 304:
            known = self._find(call) if header(call.headers, "if-modified-since") == "" else None
            return copy.deepcopy(known) if known is not None else answer
        if call.method == "GET" and answer.status == 200 and header(answer.headers, "etag"):
            with self._lock:
                self._known[_key(call)] = copy.deepcopy(answer)
                self._known.move_to_end(_key(call))
                while len(self._known) > _MOST:
                    self._known.popitem(last=False)
        return answer

    def _find(self, call: Call) -> Answer | None:
        with self._lock:
            return self._known.get(_key(call)) if call.method == "GET" else None


def _key(call: Call) -> _Key:
    return call.path, tuple(sorted(call.parameters.items()))
