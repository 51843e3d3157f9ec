"""Conditional requests: what was read before isn't sent again while it is the same (RFC 9110, section 13)."""

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
    """The last answers that came with an ETag, the newest few. Safe for threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, Answer] = OrderedDict()
        self._lock = Lock()

    def ask(self, call: Call) -> Call:
        """The call, made conditional where its answer is known. One that is conditional by itself stays as it is."""
        known = self._find(call)
        if known is None or not _OWN.isdisjoint(name.lower() for name in call.headers):
            return call
        return replace(call, headers={**call.headers, "If-None-Match": header(known.headers, "etag")})

    def hear(self, call: Call, answer: Answer) -> Answer:
        """The whole answer: the known one, if it is still good."""
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
